"""docs/operations.md is tried as it is written; the examples for orchestrators run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from batchedit import Control, load_job, run_job_sync
from batchedit.effects import Effects
from batchedit.errors import ExitCode
from tests.conftest import Result

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
FILES = ("night.yaml", "try.yaml", "after.yaml", "week.yaml")


def test_from_the_installation_to_the_tenth_night(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are written, its commands run in their order, one evening."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNFLOW_API_KEY", raising=False)
    shift = datetime(2026, 11, 25, 21, 0, tzinfo=UTC).timestamp() - time.time()
    monkeypatch.setattr(Effects, "real", classmethod(lambda cls: cls(wall=lambda: time.time() + shift)))
    texts = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    assert len(texts) == len(FILES)
    for name, text in zip(FILES, texts, strict=True):
        Path(name).write_text(text)
    commands = [
        line for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()
    ]
    assert len(commands) > 12
    for line in commands:
        words = shlex.split(line.removeprefix("$ "))
        assert words[0] == "batchedit"
        result = cli(*words[1:])
        assert result.code == 0, f"{line}\n{result.out}{result.err}"
    told = json.loads(Path("last-night.json").read_text())
    assert (told["done"], told["exit_code"]) == (4, 0)
    assert sorted(path.name for path in Path("reports").iterdir()) == [
        "2026-11-25.html", "tried.md", "week-2026-11-25.csv", "week-2026-11-25.html",
    ]  # fmt: skip


def test_the_page_knows_every_exit_code() -> None:
    """But those that no job ends with."""
    table = PAGE.split("| code |")[1].split("\n\n")[0]
    codes = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for code in row.split(",")}
    assert codes == {int(code) for code in ExitCode} - {ExitCode.WORK_TO_BUY, ExitCode.NOTHING_SELECTED}


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "orchestrators.md").read_text("utf-8"), re.M | re.S)


def test_the_examples_for_orchestrators_are_python() -> None:
    """All of them compile."""
    assert len(python_blocks()) == 5
    for block in python_blocks():
        compile(block, "orchestrators.md", "exec")


def test_the_plain_example_runs(tmp_path: Path) -> None:
    """A process, its exit code, its facts."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "night.yaml").write_text("job: 1\nmanifests: [examples/manifests/smallest.csv]\nbudget: {night: 5}\n")
    code = python_blocks()[0] + "\nprint(night('night.yaml')['done'])\n"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["5"], result.stderr
    (tmp_path / "night.yaml").write_text("job: 1\n")
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode
    assert "there are no manifests" in result.stderr


def test_the_example_within_the_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    """Inside of a running loop, too; its facts are those of the command, and a failure says why."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night.yaml").write_text("job: 1\nmanifests: [examples/manifests/smallest.csv]\nbudget: {night: 5}\n")
    names: dict[str, Any] = {}
    exec(compile(python_blocks()[1], "orchestrators.md", "exec"), names)

    async def notebook() -> Any:
        return names["night_here"]("night.yaml")

    facts = anyio.run(notebook)
    assert (facts["done"], facts["exit_code"], facts["left"]) == (5, 0, 0)
    again = cli("job", "run", "night.yaml", "--json").json()
    assert {**facts, "spent": again["spent"], "estimate": again["estimate"]} == again
    (tmp_path / "night.yaml").write_text("job: 1\nmanifests: [nowhere.csv]\n")
    with pytest.raises(RuntimeError, match=r"exit code 2: nowhere\.csv"):
        names["night_here"]("night.yaml")


def test_another_thread_stops_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its window opens, and while it goes on: exit code 130; the next start goes on."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    text = "job: 1\nmanifests: [examples/manifests/smallest.csv]\n"
    hour = (datetime.now(UTC) + timedelta(hours=6)).hour
    (tmp_path / "night.yaml").write_text(f"{text}window: {{from: '{hour:02}:00', until: '{hour:02}:30'}}\n")
    control = Control()
    threading.Timer(0.3, control.stop).start()
    end = run_job_sync(load_job("night.yaml"), wait=True, control=control)
    assert (end.exit_code, end.summaries) == (130, [])
    (tmp_path / "night.yaml").write_text(text)
    end = run_job_sync(load_job("night.yaml"), control=control)  # asked already
    assert end.exit_code == 130
    assert run_job_sync(load_job("night.yaml")).exit_code == 0
