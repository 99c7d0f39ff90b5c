"""What this program costs beside another checkout of itself, such as the one from before its defences were built."""

from __future__ import annotations

import io
import os
import statistics
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.clients import CLIENTS, Client, run_command, take
from benchmarks.provider import Behaviour
from benchmarks.running import Ground, Job, Outcome, Result, say
from benchmarks.scenarios import Settings, bar, order

_SIDE = 600
_MOST = 1.05


def beside(settings: Settings) -> Result:
    """
    The main job by this program and by the checkout that `--beside` names: 5,000 edits of pictures at URLs (64 in
    flight), and 1,000 of photos from this machine, which carry metadata and go within the request; neither takes time.
    """
    if settings.beside is None:
        return {
            "columns": [],
            "rows": [],
            "bars": [],
            "notes": ["not run: name another checkout with --beside"],
            "rounds": [],
        }
    behaviour = Behaviour(latency=0.0, picture_bytes=10_000)
    remote = Job(behaviour=behaviour, count=settings.count(5000))
    local = Job(behaviour=behaviour, count=settings.count(1000))
    photos = _photos(settings.ground, local.count)
    jobs = {
        "pictures at URLs": (remote, CLIENTS["batchedit"].run),
        "photos from here": (local, partial(_local, photos)),
    }
    rows, bars, raw = [], [], []
    for what, (job, run) in jobs.items():
        rounds = _rounds(job, run, settings)
        for name in ("batchedit", "batchedit-beside"):
            mine = [outcomes[name].usage for outcomes in rounds]
            seconds, processor = ([getattr(usage, kind) for usage in mine] for kind in ("seconds", "processor"))
            rows.append(
                [f"{what}: {name}", job.count, statistics.median(seconds), statistics.median(processor),
                 statistics.median(usage.memory for usage in mine) / 1e6]
            )  # fmt: skip
        for kind in ("seconds", "processor"):
            ratio = statistics.median(
                getattr(one["batchedit"].usage, kind) / getattr(one["batchedit-beside"].usage, kind) for one in rounds
            )
            bars.append(bar(f"{what}: {kind} / those of the other checkout", ratio, _MOST))
        raw += [[{"job": what, **outcome.raw()} for outcome in outcomes.values()] for outcomes in rounds]
    columns = ["job and client", "edits", "seconds", "processor s", "MB"]
    return {"columns": columns, "rows": rows, "bars": bars, "notes": [], "rounds": raw}


def _rounds(job: Job, run: Any, settings: Settings) -> list[dict[str, Outcome]]:
    clients = [
        Client(name="batchedit", run=run),
        Client(name="batchedit-beside", run=partial(_elsewhere, run, settings.beside)),
    ]
    rounds = []
    for number in range(-1, settings.rounds):  # the first one fills the caches
        outcomes = {}
        for client in order(clients, number):
            outcomes[client.name] = take(client, job, settings.ground)
            say(f"  round {number + 1}: {client.name} {job.count} edits in {outcomes[client.name].usage.seconds:.1f} s")
        rounds.append(outcomes)
    return rounds[1:]


def _elsewhere(run: Any, checkout: Path, job: Job, origin: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    command, environment = run(job, origin, folder)
    return command, {**environment, "PYTHONPATH": str(checkout.resolve())}


def _local(photos: Path, job: Job, origin: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    (folder / "job.yaml").write_text(
        f"version: 1\nprovider: {{name: runflow, base_url: '{origin}', images_as: data-uri}}\n"
        f"limits: {{rpm: none, concurrency: {job.in_flight}}}\n"
        f"defaults: {{prompt: on white}}\nsources: [{{glob: '{photos}/*.jpg'}}]\n"
    )
    return run_command()


def _photos(ground: Ground, count: int) -> Path:
    """Different photos of some 200 KB with a place, a camera and a comment in them."""
    from PIL import Image

    folder = ground.new("photos")
    tags = Image.Exif()
    tags[0x010F] = "Some Camera"
    tags[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    draw = Random(7)
    for number in range(count):
        image = Image.frombytes("L", (_SIDE, _SIDE), draw.randbytes(_SIDE * _SIDE))
        data = io.BytesIO()
        image.save(data, "JPEG", quality=60, exif=tags.tobytes(), comment=f"photo {number}")
        (folder / f"{number:05d}.jpg").write_bytes(data.getvalue())
    os.sync()
    return folder
