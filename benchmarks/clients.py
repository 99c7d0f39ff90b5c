"""Who takes part: batchedit, the loops that a user would write, and the tools that a user would pick."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.running import Ground, Job, Outcome, Result, books, empty, measured, pictures, provider

STRUCTURAL = "verify: structure"
"""What goes into the manifest's limits so that pictures are checked without being decoded."""

_KEY = {"RUNFLOW_API_KEY": "rf_live_benchmark", "BATCHEDIT_KEY_ORIGIN": "loopback"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """
    One that takes part.

    Attributes:
        run: Does the job in a folder, against an origin.
        missing: Why it cannot take part here, empty if it can.
        share: The part of the edits that it is given where edits take no time; its figures are per edit.
        retries: It gets through faults and refusals.
    """

    name: str
    run: Callable[[Job, str, Path], tuple[list[str], dict[str, str]]]
    missing: Callable[[], str] = lambda: ""
    share: float = 1.0
    retries: bool = False


def take(client: Client, job: Job, ground: Ground) -> Outcome:
    """Let a client do a job; fails if the client does, or if pictures are missing."""
    folder = ground.new(client.name)
    with provider(job.behaviour) as origin:
        command, environment = client.run(job, origin, folder)
        usage = measured(command, folder=folder, environment=environment)
        counted = books(origin)
    end = _end(folder) if client.name.startswith("batchedit") else {}
    found = len(pictures(folder / "out"))
    if job.strict and (usage.status or found != job.count):
        said = (folder / "stderr").read_text("utf-8", "replace")[-2000:]
        raise SystemExit(f"{client.name}: exit code {usage.status}, {found} of {job.count} pictures\n{said}{end}")
    if job.empty:
        empty(folder)
    return Outcome(client=client.name, count=job.count, usage=usage, files=found, books=counted, end=end)


def given(client: Client, job: Job) -> Job:
    """The job with as many edits as this client is given."""
    if job.behaviour.latency or client.share == 1.0:
        return job
    return replace(job, count=max(min(job.count, job.in_flight), round(job.count * client.share)))


# -- batchedit ---------------------------------------------------------------------------------------------------


def write_manifest(folder: Path, origin: str, count: int, limits: str, name: str = "job") -> None:
    """A spreadsheet of pictures at URLs, and the manifest that names it."""
    rows = "rows.csv" if name == "job" else f"{name}.csv"
    with (folder / rows).open("w", encoding="utf-8") as file:
        file.write("id,image,prompt\n")
        for number in range(count):
            file.write(f"{name}{number:07d},https://example.com/{name}-{number}.jpg,on white\n")
    (folder / f"{name}.yaml").write_text(
        f"version: 1\nprovider: {{name: runflow, base_url: '{origin}'}}\n"
        f"limits: {{{limits}{_jobs(count)}}}\nsources: [{{csv: {rows}}}]\n"
    )


def command_line(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and its environment."""
    return [sys.executable, "-m", "batchedit", *arguments], _KEY


def _jobs(count: int) -> str:
    """The limit that a manifest of more than the usual size needs; older versions know no such limit."""
    return f", jobs: {count}" if count > 100_000 else ""


def run_command() -> tuple[list[str], dict[str, str]]:
    """The command that does everything, and goes on with it."""
    return command_line("run", "job.yaml", "--yes", "--quiet", "--json")


def _batchedit(job: Job, origin: str, folder: Path, more: str = "") -> tuple[list[str], dict[str, str]]:
    pace = f"rpm: {job.per_minute or 'none'}" if "rpm:" not in job.limits else ""
    limits = ", ".join(part for part in (pace, f"concurrency: {job.in_flight}", job.limits, more) if part)
    write_manifest(folder, origin, job.count, limits)
    return run_command()


def _end(folder: Path) -> Result:
    said = (folder / "stdout").read_text("utf-8")
    if not said:
        raise SystemExit((folder / "stderr").read_text("utf-8", "replace"))
    end: Result = json.loads(said)
    return end


def _lacks_setting(limits: str) -> str:
    """Why the installed batchedit does not take these limits."""
    with tempfile.TemporaryDirectory() as name:
        write_manifest(Path(name), "http://127.0.0.1:9", 1, limits)
        command, environment = command_line("plan", "job.yaml")
        refused = measured(command, folder=Path(name), environment=environment).status
    return f"its manifest does not take `{limits}`" if refused else ""


# -- loops and tools ---------------------------------------------------------------------------------------------


def _arguments(job: Job, origin: str, folder: Path) -> list[str]:
    latency = str(float(job.behaviour.latency))
    return [origin, str(job.count), str(job.in_flight), latency, str(folder / "out"), str(job.per_minute)]


def _loop(name: str, job: Job, origin: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "benchmarks.loops", name, *_arguments(job, origin, folder)], {}


def _scrapy(job: Job, origin: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "benchmarks.spider", *_arguments(job, origin, folder)], {}


def _xargs(job: Job, origin: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    return ["sh", str(Path(__file__).with_name("xargs.sh")), *_arguments(job, origin, folder)], {}


def _lacks_module(name: str) -> str:
    return "" if find_spec(name) else f"the package {name} is not installed; it comes with `pip install '.[bench]'`"


def _lacks_programs(*names: str) -> str:
    absent = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


CLIENTS = {
    client.name: client
    for client in (
        Client(name="batchedit", run=_batchedit, retries=True),
        Client(
            name="batchedit-structural",
            run=partial(_batchedit, more=STRUCTURAL),
            missing=partial(_lacks_setting, STRUCTURAL),
            retries=True,
        ),
        Client(name="aiohttp", run=partial(_loop, "aiohttp"), missing=partial(_lacks_module, "aiohttp"), retries=True),
        Client(
            name="aiohttp-durable",
            run=partial(_loop, "aiohttp-durable"),
            missing=partial(_lacks_module, "aiohttp"),
            retries=True,
        ),
        Client(name="httpx", run=partial(_loop, "httpx"), retries=True),
        Client(name="scrapy", run=_scrapy, missing=partial(_lacks_module, "scrapy")),
        Client(
            name="xargs-curl", run=_xargs, missing=partial(_lacks_programs, "xargs", "curl", "sed", "seq"), share=0.2
        ),
    )
}


def present(names: list[str]) -> tuple[list[Client], dict[str, str]]:
    """Those of the names that can take part, and why the others cannot."""
    absent = {name: why for name in names if (why := CLIENTS[name].missing())}
    return [CLIENTS[name] for name in names if name not in absent], absent
