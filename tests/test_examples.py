"""Every example and every job is run to its outputs, and the README's commands and code are what works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from batchedit.cli.commands import cli as commands
from batchedit.effects import Effects
from tests.conftest import Result

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
Cli = Callable[..., Result]

EXAMPLES = {
    "examples/manifests/smallest.csv": 5,
    "examples/manifests/autumn.csv": 4,
    "examples/manifests/shop.yaml": 12,
    "examples/manifests/masks-and-variants.yaml": 8,
    "examples/manifests/packshots.yaml": 4,
    "examples/manifests/white-then-scene.yaml": 4,
}
JOBS = {
    "jobs/nightly-catalog.yaml": ("out-night", 4, ["{night}.csv", "{night}.html"]),
    "jobs/pilot-then-full.yaml": ("out-pilot", 12, ["{night}.md"]),
    "jobs/rehearse-tomorrow.yaml": ("out-rehearsal", 4, ["{night}.txt"]),
}
"""Where they work, how many pictures they make, and what they write."""
FOLLOWERS = {
    "jobs/resume-after-crash.yaml": ["after-the-crash.txt"],
    "jobs/weekly-cost-report.yaml": ["week-{night}.csv", "week-{night}.html"],
}
"""Those that work on what the nightly job has left."""


def test_every_example_is_listed_here() -> None:
    """A new example cannot be forgotten."""
    found = {
        str(path.relative_to(ROOT))
        for pattern in ("examples/manifests/*.yaml", "examples/manifests/*.csv")
        for path in ROOT.glob(pattern)
    }
    helpers = {"examples/manifests/autumn.defaults.yaml", "examples/manifests/shop-export.csv"}
    assert found - helpers == set(EXAMPLES)
    assert {str(path.relative_to(ROOT)) for path in ROOT.glob("jobs/*")} == {*JOBS, *FOLLOWERS}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the examples, as a user has them after a clone."""
    for name in ("examples", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNFLOW_API_KEY", raising=False)
    return tmp_path


@pytest.mark.parametrize(("manifest", "pictures"), EXAMPLES.items())
def test_examples_run_to_their_outputs(cli: Cli, copy: Path, manifest: str, pictures: int) -> None:
    """Checked, run, all pictures decode and differ from their inputs; run again, nothing is sent."""
    assert cli("check", manifest, "--out", "out").code == 0
    result = cli("run", manifest, "--out", "out")
    assert result.code == 0, result.err
    found = [path for path in Path("out").rglob("*") if path.is_file() and ".batchedit" not in path.parts]
    assert len(found) == pictures
    inputs = {path.read_bytes() for path in (copy / "examples" / "manifests" / "in").iterdir()}
    for path in found:
        assert path.read_bytes() not in inputs
        with Image.open(path) as image:
            image.load()
    assert cli("run", manifest, "--out", "out", "--json").json()["spent"] == "0.00"


@pytest.fixture
def evening(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a Wednesday, ten at night in Berlin, from now on."""
    shift = datetime(2026, 11, 25, 21, 0, tzinfo=UTC).timestamp() - time.time()
    monkeypatch.setattr(Effects, "real", classmethod(lambda cls: cls(wall=lambda: time.time() + shift)))


def files_for(job: str, end: dict[str, Any], out: str, names: list[str]) -> None:
    """The reports and exports of a job are there, and it names them."""
    found = [Path(f"{out}-reports") / name.format(night=end["night"]) for name in names]
    assert {Path(name).resolve() for name in end["files"]} == {path.resolve() for path in found}, job
    assert all(path.stat().st_size for path in found)


@pytest.mark.parametrize("job", JOBS)
def test_jobs_run_to_their_outputs(cli: Cli, copy: Path, evening: None, job: str) -> None:
    """Checked, run, all pictures and files there; started again, nothing is sent."""
    out, pictures, names = JOBS[job]
    checked = cli("job", "check", job)
    assert (checked.code, checked.err) == (0, "")
    result = cli("job", "run", job, "--json")
    assert result.code == 0, result.err
    end = result.json()
    assert end["rehearsal"]
    found = [path for path in Path(out).rglob("*") if path.is_file() and ".batchedit" not in path.parts]
    assert len(found) == pictures == end["done"]
    files_for(job, end, out, names)
    again = cli("job", "run", job, "--json").json()
    assert (again["exit_code"], again["spent"], again["spent_night"]) == (0, "0.00", end["spent"])


@pytest.mark.parametrize("job", FOLLOWERS)
def test_jobs_after_a_night(cli: Cli, copy: Path, evening: None, job: str) -> None:
    """Before there is a ledger they say so; then they write what they are for, and spend nothing."""
    assert cli("job", "check", job).code == 0
    assert cli("job", "run", job).code in (8, 9)
    assert cli("job", "run", "jobs/nightly-catalog.yaml").code == 0
    end = cli("job", "run", job, "--json").json()
    assert (end["exit_code"], end["spent"]) == (0, "0.00")
    files_for(job, end, "out-night", FOLLOWERS[job])


def keys_of(tree: object) -> Iterator[str]:
    """The keys of a manifest, but for the names that are somebody's own."""
    if isinstance(tree, list):
        for entry in tree:
            yield from keys_of(entry)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            inner = (
                value.values()
                if key in ("edits", "variants")
                else []
                if key in ("labels", "limits", "budget")
                else [value]
            )
            for entry in inner:
                yield from keys_of(entry)


@pytest.mark.parametrize("manifest", [name for name in EXAMPLES if name.startswith("examples/")])
def test_the_manual_explains_each_example(cli: Cli, copy: Path, manifest: str) -> None:
    """Every key that it uses, and what the plan says of it."""
    name = manifest.rpartition("/")[2]
    text = (ROOT / "docs" / "manifest.md").read_text("utf-8").split("\n## Examples\n")[1]
    (section,) = [part for part in text.split("\n### ") if part.startswith(f"[{name}](../{manifest})\n")]
    plan = cli("plan", manifest, "--json").json()
    money = plan["quote"]
    assert f"\nPlan: {plan['tasks']} tasks, ${money['low']} to ${money['high']}.\n" in section
    head = copy / manifest
    if head.suffix == ".csv":
        columns = re.split("[,;]", head.read_text("utf-8").splitlines()[0])
        explained = {*columns} - ({"id", "image"} if name == "autumn.csv" else set())
        head = head.with_suffix(".defaults.yaml")
    else:
        explained = set()
    if head.exists():
        explained |= {*keys_of(yaml.safe_load(head.read_text("utf-8")))} - {"version"}
    assert {key for key in explained if not re.search(rf"`{key}(: [^`]*)?`", section)} == set()


def test_the_pictures_are_what_the_script_draws(copy: Path) -> None:
    """`examples/draw_pictures.py` writes the committed pictures, up to the encoder's version."""
    subprocess.run([sys.executable, "examples/draw_pictures.py"], check=True, cwd=copy)
    for path in sorted((ROOT / "examples" / "manifests").glob("*/*")):
        with Image.open(path) as committed, Image.open(copy / path.relative_to(ROOT)) as drawn:
            assert committed.size == drawn.size
            one, other = (image.convert("RGB").resize((32, 32)).tobytes() for image in (committed, drawn))
            assert max(abs(a - b) for a, b in zip(one, other, strict=True)) <= 6, path.name


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


def test_the_first_screen_has_exactly_two_set_up_commands() -> None:
    """One installs and runs the main job, one installs and passes the tests."""
    main, test = code_blocks("sh")[:2]
    assert main.count("\n") == test.count("\n") == 1
    assert "pip install" in main
    assert "batchedit run" in main
    assert "pip install" in test
    assert test.strip().endswith("pytest -n 4")


def test_every_command_in_the_documents_exists() -> None:
    """Command names and flags that README and docs show are known to the command line."""
    for path in (README, *(ROOT / "docs").glob("*.md"), *(ROOT / "examples" / "manifests").glob("*.yaml")):
        for line in re.findall(
            r"(?:^|[\s`#])batchedit ((?:check|plan|run|status|report|emulate)\b[^\n`#]*)", path.read_text()
        ):
            words = shlex.split(line.split("  ")[0].split(" && ")[0], comments=True)
            known = {flag for option in commands.commands[words[0]].params for flag in option.opts}
            for word in words[1:]:
                if word.startswith("-"):
                    assert word.split("=")[0] in known, f"{path.name}: {line}"


def test_the_python_in_the_readme_works(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is run as it stands."""
    blocks = code_blocks("python")
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert "0.665" in capsys.readouterr().out
