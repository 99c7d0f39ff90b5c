"""What is printed for schedulers is what their own tools take, whatever stands in names and paths."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import check_jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from batchedit.errors import UsageError
from batchedit.jobs import Job, load_job
from batchedit.jobs.installing import cron_command, github_text, printed, unit_name, unit_program, unit_word
from tests.conftest import Result

GITHUB = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "github-workflows.json"
TEXT = """job: 1
name: %s
manifests: [night.yaml]
zone: Europe/Berlin
window: {from: "19:30", until: "05:00", days: [mon, wed, sun]}
notify: [{via: slack, url_env: SLACK_URL}]
"""
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=30).filter(
    lambda text: "/" not in text and text not in (".", "..") and text.strip() == text and len(text.encode()) < 200
)
HOSTILE = "50% $HOME `id` $(id) \\ \"q\" 'a' ${{ secrets.X }} # ; é"
FOR_EACH = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def job(folder: Path, name: str = "night", file: str = "night job.yaml", text: str = TEXT) -> Job:
    path = folder / file
    path.write_text(text % json.dumps(name, ensure_ascii=False))
    return load_job(path)


def units(text: str) -> dict[str, str]:
    """The files, by the names above them."""
    parts = re.split(r"^# (\S+\.(?:service|timer))$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def as_systemd_reads(command: str, *, first: bool = False) -> list[str]:
    """The words of a command: quotes and escapes, then specifiers, then variables in all but the first."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"', command)
    found = []
    for number, word in enumerate(words):
        text = re.sub(r"\\(.)", r"\1", word).replace("%%", "%")
        found.append(text if first and number == 0 else text.replace("$$", "$"))
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", ["night", HOSTILE])
def test_systemd_takes_the_units(tmp_path: Path, name: str) -> None:
    """`systemd-analyze verify` and `systemd-analyze calendar` have nothing against them."""
    made = units(printed(job(tmp_path, name, file=f"{name.replace('/', '')}.yaml"), "systemd"))
    folder = tmp_path / "units"
    folder.mkdir()
    for file, text in made.items():
        (folder / file).write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in result.stderr.splitlines() if "batchedit" in line]
    assert (ours, result.returncode) == ([], 0), result.stderr
    (timer,) = [text for file, text in made.items() if file.endswith(".timer")]
    (when,) = re.findall(r"^OnCalendar=(.*)$", timer, re.M)
    assert when == "Mon,Wed,Sun *-*-* 19:30:00 Europe/Berlin"
    subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_check_of_units_notices(tmp_path: Path) -> None:
    """A unit that is wrong does not pass."""
    (tmp_path / "batchedit-x.service").write_text(
        '[Service]\nType=oneshot\nExecStart="/nowhere/python" "x"\nKillSignal=SIGNO\n'
    )
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "batchedit-x.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0 or "batchedit-x" in result.stderr


def test_a_unit_lets_what_is_in_flight_come_home(tmp_path: Path) -> None:
    """The time for a stop is longer than the window's grace; a night may end with codes 3 and 6; no secret is in it."""
    made = units(printed(job(tmp_path), "systemd"))
    (service,) = [text for file, text in made.items() if file.endswith(".service")]
    assert "TimeoutStopSec=690\n" in service
    assert "SuccessExitStatus=3 6\n" in service
    assert "# SLACK_URL=...\n" in printed(job(tmp_path), "systemd")


@FOR_EACH
@given(NAMES)
def test_units_hold_the_words_as_they_are(name: str) -> None:
    """Whatever is in them."""
    line = f"{unit_program('/opt/' + name)} {unit_word(name)}"
    assert as_systemd_reads(line, first=True) == ["/opt/" + name, name]


@pytest.mark.skipif(shutil.which("crontab") is None, reason="crontab is not installed")
@pytest.mark.parametrize("name", ["night", HOSTILE.replace("/", "")])
def test_cron_takes_the_lines(tmp_path: Path, name: str) -> None:
    """`crontab -n`, or `-T` where it is called so, finds nothing wrong, and does find what is wrong."""
    (tmp_path / "wrong").write_text("99 99 * * * x\n")
    (tmp_path / "tab").write_text(printed(job(tmp_path, file=f"{name}.yaml"), "cron"))
    for flag in ("-n", "-T"):
        if subprocess.run(["crontab", flag, str(tmp_path / "tab")], capture_output=True, check=False).returncode == 0:
            assert subprocess.run(
                ["crontab", flag, str(tmp_path / "wrong")], capture_output=True, check=False
            ).returncode
            return
    raise AssertionError("crontab refuses it")


@FOR_EACH
@given(NAMES)
def test_a_shell_reads_the_line_as_it_is(name: str) -> None:
    """Once cron has taken the per cent signs for what they are, a real shell finds the same words."""
    line = cron_command(f"printf %s {shlex.quote(name)}")
    assert not re.search(r"(?<!\\)%", line)
    command = line.replace("\\%", "%")
    assert subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout.decode() == name


def test_the_line_is_the_window(tmp_path: Path) -> None:
    """Its beginning, its days, its zone; only what needs a person is printed."""
    lines = [line for line in printed(job(tmp_path), "cron").splitlines() if not line.startswith("#")]
    assert lines[0] == "CRON_TZ=Europe/Berlin"
    assert lines[1].startswith("30 19 * * 0,1,3 ")
    assert shlex.split(lines[1])[5:] == [
        sys.executable, "-m", "batchedit", "job", "run", str(tmp_path / "night job.yaml"), "--no-input", "--quiet",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["night", HOSTILE])
def test_kubernetes_takes_the_cron_job(tmp_path: Path, name: str) -> None:
    """By the schema of its API."""
    data = yaml.safe_load(printed(job(tmp_path, name, file=f"{name}.yaml"), "k8s"))
    kubernetes_validate.validate(data, kubernetes_validate.latest_version(), strict=True)
    spec = data["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["concurrencyPolicy"]) == (
        "30 19 * * 0,1,3",
        "Europe/Berlin",
        "Forbid",
    )
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"][3] == f"/data/{name}.yaml"
    assert pod["terminationGracePeriodSeconds"] == 690
    data["spec"]["concurrencyPolicy"] = 7
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(data, kubernetes_validate.latest_version(), strict=True)


def workflow(text: str) -> Any:
    """As GitHub reads it: `on` is a word there."""
    return json.loads(
        json.dumps({("on" if key is True else key): value for key, value in yaml.safe_load(text).items()})
    )


@pytest.mark.parametrize("name", ["night", HOSTILE])
def test_github_takes_the_workflow(tmp_path: Path, name: str) -> None:
    """By its schema; both UTC times of the year are in it, and secrets only by their names."""
    data = workflow(printed(job(tmp_path, name, file=f"{name}.yaml"), "github"))
    validator = Draft7Validator(json.loads(GITHUB.read_text()))
    assert not list(validator.iter_errors(data))
    assert list(validator.iter_errors({**data, "jobs": {}}))
    assert data["on"]["schedule"] == [{"cron": "30 18 * * 0,1,3"}, {"cron": "30 17 * * 0,1,3"}]
    night = data["jobs"]["night"]
    assert night["env"] == {
        "RUNFLOW_API_KEY": "${{ secrets.RUNFLOW_API_KEY }}",
        "SLACK_URL": "${{ secrets.SLACK_URL }}",
    }
    script = night["steps"][1]["run"].replace("${{ '${{' }}", "${{")
    assert "${{ secrets" not in night["steps"][1]["run"].replace("${{ '${{' }} secrets", "")
    assert shlex.split(script.splitlines()[0])[:4] == ["batchedit", "job", "run", f"jobs/{name}.yaml"]
    subprocess.run(["bash", "-n", "-c", script], check=True)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (6, 0), (2, 2), (4, 4), (7, 7), (8, 8)])
def test_the_workflows_step_fails_when_somebody_is_needed(tmp_path: Path, code: int, expected: int) -> None:
    """Its script is run as GitHub runs it, with a command that ends with each code."""
    script = workflow(printed(job(tmp_path), "github"))["jobs"]["night"]["steps"][1]["run"]
    fake = f"batchedit() {{ return {code}; }}\n{script}"
    assert subprocess.run(["bash", "-eo", "pipefail", "-c", fake], check=False).returncode == expected


@FOR_EACH
@given(NAMES)
def test_names_and_files_of_any_kind(tmp_path: Path, name: str) -> None:
    """Each form reads back as what was meant."""
    made = job(tmp_path, name, file=f"{name}.yaml")
    assert (
        yaml.safe_load(printed(made, "k8s"))["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0][
            "command"
        ][3]
        == f"/data/{name}.yaml"
    )
    assert workflow(printed(made, "github"))["name"] == github_text(name)
    assert re.fullmatch(r"batchedit-[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", unit_name(name))
    assert f"Description=batchedit: {name.replace('%', '%%')}".rstrip("\\").rstrip() in printed(made, "systemd")


def test_a_path_with_a_line_break_is_refused(tmp_path: Path) -> None:
    """No scheduler could hold it; every form would begin another line there."""
    made = job(tmp_path, file="a\nb.yaml")
    for scheduler in ("systemd", "cron", "k8s", "github"):
        with pytest.raises(UsageError, match="line breaks"):
            printed(made, scheduler)


def test_the_command_prints_one_of_them(cli: Callable[..., Result], tmp_path: Path) -> None:
    """And asks which, if that is not said."""
    job(tmp_path, file="j.yaml")
    assert cli("job", "install", tmp_path / "j.yaml", "--cron").out.strip().endswith("--quiet")
    for flags in ([], ["--cron", "--k8s"]):
        result = cli("job", "install", tmp_path / "j.yaml", *flags)
        assert (result.code, "name one scheduler" in result.err) == (2, True)
