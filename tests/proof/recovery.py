"""
The same command again, on what a power cut has left, on a clock that jumps; and whether the night ended as it should.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import anyio
import anyio.lowlevel
import trio.testing

from batchedit import batch, load_manifest, make_plan, run_plan
from batchedit.effects import Effects
from batchedit.emulator import Emulator, pixels
from batchedit.endpoint import Endpoint, Key
from batchedit.errors import BatchEditError
from batchedit.providers.registry import Connected, Setup
from batchedit.providers.runflow import Runflow
from tests.conftest import KEY
from tests.proof.autopsy import LEDGER, STATE, Cut, examine
from tests.proof.images import Image
from tests.proof.studio import REQUESTS, Scene, prune, render

T = TypeVar("T")

_LATER_SECONDS = 60.0


async def _inline(work: Callable[[], T], /) -> T:
    await anyio.lowlevel.checkpoint()
    return work()


def recover(scene: Scene, cut: Cut, folder: Path, seed: str) -> list[str]:
    """
    Start the program again on an image, in an empty folder, and say what is wrong afterwards.

    Args:
        seed: Decides which purchases on the way the provider has got, and every draw of the run.
    """
    folder.mkdir()
    cut.image.write(folder)
    books = folder / "books"
    books.mkdir()
    (books / "emulator.db").write_bytes(scene.books)
    prune(books, scene.unknown(cut.moment, random.Random(seed)))
    clock = trio.testing.MockClock(autojump_threshold=0)
    with mock.patch.object(pixels, "render", render):
        return anyio.run(_play, scene, folder, seed, backend="trio", backend_options={"clock": clock})


async def _play(scene: Scene, folder: Path, seed: str) -> list[str]:
    def wall() -> float:
        return scene.ended + _LATER_SECONDS + anyio.current_time()

    emulator = Emulator(state_dir=folder / "books", clock=wall, offload=_inline)

    def connect(setup: Setup) -> Connected:
        provider = Runflow(setup.settings, poll_seconds=setup.limits.poll_seconds)
        endpoint = Endpoint(base_url=scene.url, key=Key(KEY), app=emulator.app, timeout_seconds=20)
        return Connected(provider=provider, endpoint=endpoint, world="real")

    try:
        with mock.patch.object(batch, "connect", connect):
            plan = make_plan(load_manifest(scene.folder / "night.yaml"), out=folder / "out")
            summary = await run_plan(plan, effects=Effects(wall=wall, offload=_inline, commit=_inline, seed=seed))
        audit = emulator.audit()
    except BatchEditError as error:
        return [f"it was refused: {error}"]
    finally:
        emulator.close()
    problems = []
    if summary.exit_code != 0:
        problems.append(f"exit code {summary.exit_code}: {summary.reason or summary.notes}")
    return problems + _wrong_end(scene, folder, audit)


def _wrong_end(scene: Scene, folder: Path, audit: dict[str, Any]) -> list[str]:
    """Nothing is missing, each request has one bill, and the ledger says what the provider says."""
    problems = []
    image = Image()
    for path in (folder / "out").rglob("*"):
        if path.is_file():
            image.files[str(path.relative_to(folder))] = path.read_bytes()
    names = {path.removeprefix("out/") for path in image.files if not path.startswith(STATE)}
    if lost := scene.names - names:
        problems.append(f"the tree lacks {sorted(lost)}")
    if strange := names - scene.names - scene.former:
        problems.append(f"the tree has {sorted(strange)}")
    with contextlib.closing(sqlite3.connect(folder / "books/emulator.db")) as books:
        sold = frozenset(hashlib.sha256(row[0]).hexdigest() for row in books.execute("SELECT content FROM pictures"))
    check = folder / "check"
    problems += examine(Cut(image, 0, ()), check, sold, is_over=True)
    with contextlib.closing(sqlite3.connect(check / LEDGER)) as db:
        references = {reference for (reference,) in db.execute("SELECT client_ref FROM requests")}
        spent, risk, listed = db.execute(
            "SELECT sum(cost_microusd + surplus_microusd),"
            " sum(doubt_microusd + surplus_doubt_microusd + (outcome IS NULL) * reserved_microusd),"
            " (SELECT count(*) FROM outputs) FROM attempts"
        ).fetchone()
    bills = Counter(run["client_ref"] for run in audit["runs"] if run["billed_microusd"])
    if set(bills.values()) != {1} or len(bills) != REQUESTS or set(bills) != references:
        problems.append(f"{REQUESTS} requests, and the bills are {dict(bills)}")
    if audit["will_bill_microusd"] or spent != audit["billed_microusd_total"] or risk:
        problems.append(f"spent {spent}, at risk {risk}, and the provider bills {audit['billed_microusd_total']}")
    if listed != len(scene.names):
        problems.append(f"{listed} files are listed, {len(scene.names)} were delivered")
    return problems
