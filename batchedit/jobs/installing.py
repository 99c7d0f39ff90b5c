"""
What schedulers need to start a job: printed, never installed.

Every form starts the same command, which goes on wherever the last start ended. Exit codes 3 (some failed) and 6 (work
is left) are how a night may well end; the ledger's lock keeps two starts apart (exit code 8). No key is ever printed.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo

from batchedit.errors import UsageError
from batchedit.jobs.model import Job
from batchedit.jobs.vocabulary import DAYS
from batchedit.jobs.window import moment, sample_days

_KEY_VARIABLE = "RUNFLOW_API_KEY"
_IMAGE = "registry.example.com/batchedit:latest"
_HOURS_OF_A_RUNNER = 6


def printed(job: Job, scheduler: str, *, python: str = sys.executable) -> str:
    """
    What a scheduler needs to start a job.

    Args:
        scheduler: ``systemd``, ``cron``, ``k8s`` or ``github``.
        python: The interpreter that batchedit is installed for.

    Raises:
        UsageError: for a path with line breaks or control characters.
    """
    if not (str(job.path) + python).isprintable():
        raise UsageError(
            "schedulers take no line breaks or control characters in paths", hint="rename the file or folder"
        )
    match scheduler:
        case "systemd":
            return _systemd(job, python)
        case "cron":
            return _cron(job, python)
        case "k8s":
            return _k8s(job)
        case _:
            return _github(job)


def unit_name(name: str) -> str:
    """A name that units, Kubernetes and workflows take: lower case letters, digits and hyphens, at most 40."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return f"batchedit-{plain}" if plain else "batchedit-job"


# -- systemd -------------------------------------------------------------------------------------------------


def _systemd(job: Job, python: str) -> str:
    name = unit_name(job.name)
    stop = 90 if job.window is None else int(job.window.grace_seconds) + 90
    program, *arguments = _command(job, python)
    command = " ".join([unit_program(program), *map(unit_word, arguments)])
    variables = "".join(f"# {variable}=...\n" for variable in _variables(job))
    return f"""\
# Two files. Install them with:
#   batchedit job install {_comment(shlex.quote(str(job.path)))} --systemd > units
# put each part into /etc/systemd/system under the name above it, then
#   systemctl daemon-reload && systemctl enable --now {name}.timer
#   systemctl start {name}.service      to start it now
#   journalctl -u {name}.service        what it said
#
# The secrets that it needs stand in /etc/batchedit/{name}.env, which only root can read (0600):
{variables}
# {name}.service
[Unit]
Description={_description(job)}
Wants=network-online.target
After=network-online.target
# OnFailure=a unit of yours that tells you, besides the notices of the job

[Service]
Type=oneshot
ExecStart={command}
EnvironmentFile=-/etc/batchedit/{name}.env
# 3: some edits failed; 6: stopped at a limit, work is left. The notices of the job tell of both.
SuccessExitStatus=3 6
# A stop lets what is in flight come home; a second signal is not needed.
KillSignal=SIGTERM
TimeoutStopSec={stop}
UMask=0077
# User=batchedit

# {name}.timer
[Unit]
Description=Starts {name}.service

[Timer]
{_on_calendar(job)}
# A start that was missed, as when the machine was off, is caught up with.
Persistent=true
Unit={name}.service

[Install]
WantedBy=timers.target
"""


def unit_word(word: str) -> str:
    """An argument of a command in a unit: no variable, no specifier, no escape is read into it."""
    return unit_program(word).replace("$", "$$")


def unit_program(path: str) -> str:
    """The program of a command in a unit, in which no variables are looked for."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def _on_calendar(job: Job) -> str:
    if job.window is None:
        return f"OnCalendar=*-*-* 19:00:00{_calendar_zone(job.zone)}\n# The job has no window: choose the time."
    days = ",".join(DAYS[day].capitalize() for day in sorted(job.window.days)) if len(job.window.days) < 7 else ""
    start = job.window.start
    return f"OnCalendar={days + ' ' if days else ''}*-*-* {start:%H:%M:%S}{_calendar_zone(job.zone)}"


def _calendar_zone(zone: tzinfo) -> str:
    return f" {_zone_name(zone)}"


# -- cron ----------------------------------------------------------------------------------------------------


def _cron(job: Job, python: str) -> str:
    hour, minute, days = _cron_fields(job)
    command = " ".join(shlex.quote(word) for word in [*_command(job, python), "--quiet"])
    line = f"{minute} {hour} * * {days} {cron_command(command)}"
    zone = _zone_name(job.zone)
    return f"""\
# Add these lines with: crontab -e
# cron mails whatever the job prints: with --quiet only what needs a person. Its environment is nearly empty, so that
# secrets ({_comment(", ".join(_variables(job)))}) must be set here, or by a wrapper that reads a file of yours.
# CRON_TZ is known to cronie; other crons use the machine's zone, and start at {hour}:{minute:0>2} of that.
CRON_TZ={zone}
{line}
"""


def cron_command(command: str) -> str:
    """A shell's command in a crontab, where a per cent sign would end it."""
    return command.replace("%", "\\%")


def _cron_fields(job: Job) -> tuple[str, str, str]:
    if job.window is None:
        return "19", "0", "*"
    days = (
        "*"
        if len(job.window.days) == 7
        else ",".join(str(day) for day in sorted((each + 1) % 7 for each in job.window.days))
    )
    return str(job.window.start.hour), str(job.window.start.minute), days


# -- Kubernetes ----------------------------------------------------------------------------------------------


def _k8s(job: Job) -> str:
    name = unit_name(job.name)
    hour, minute, days = _cron_fields(job)
    container = {
        "name": "batchedit",
        "image": _IMAGE,
        "command": ["batchedit", "job", "run", f"/data/{job.path.name}", *_waiting(job), "--no-input"],
        "workingDir": "/data",
        "envFrom": [{"secretRef": {"name": name}}],
        "volumeMounts": [{"name": "work", "mountPath": "/data"}],
    }
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 90 if job.window is None else int(job.window.grace_seconds) + 90,
        "containers": [container],
        "volumes": [{"name": "work", "persistentVolumeClaim": {"claimName": f"{name}-work"}}],
    }
    data = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {
            "schedule": f"{minute} {hour} * * {days}",
            "timeZone": _kubernetes_zone(job.zone),
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 0,
                    "podFailurePolicy": {
                        "rules": [
                            {
                                "action": "FailJob",
                                "onExitCodes": {
                                    "containerName": "batchedit",
                                    "operator": "In",
                                    "values": [2, 4, 6, 7, 8],
                                },
                            }
                        ]
                    },
                    "template": {"spec": spec},
                }
            },
        },
    }
    return f"""\
# kubectl apply -f FILE. Before that:
# - an image with batchedit in it, in place of {_IMAGE};
# - a secret {name} with {_comment(", ".join(_variables(job)))};
# - a volume claim {name}-work, ReadWriteOnce on a disk (no NFS, no bucket: the ledger lives there), with the job file,
#   its manifests and their pictures in /data; relative paths in the job start there.
# Kubernetes may start a job twice or not at all: the ledger's lock and the resuming start are there for that.
{_yaml(data)}"""


# -- GitHub --------------------------------------------------------------------------------------------------


def _github(job: Job) -> str:
    name = unit_name(job.name)
    schedules, note = _utc_schedules(job)
    secrets = {variable: f"${{{{ secrets.{variable} }}}}" for variable in _variables(job)}
    file = f"jobs/{job.path.name}"
    run = [
        f"batchedit job run {github_text(shlex.quote(file))} --no-input && code=0 || code=$?",
        'if [ "$code" -ne 0 ] && [ "$code" -ne 3 ] && [ "$code" -ne 6 ]; then exit "$code"; fi',
    ]
    outs = list(dict.fromkeys(str(part.out) for part in job.parts)) or [str(path) for path in job.ledgers]
    shown = [github_text(_below(job, out)) for out in outs]
    reports = [f'batchedit report {shlex.quote(out)} --markdown - >> "$GITHUB_STEP_SUMMARY"' for out in shown]
    data = {
        "name": github_text(job.name),
        "on": {"schedule": [{"cron": schedule} for schedule in schedules], "workflow_dispatch": {}},
        "permissions": {"contents": "read"},
        "concurrency": {"group": name, "cancel-in-progress": False},
        "jobs": {
            "night": {
                "runs-on": "self-hosted",
                "timeout-minutes": 60 * _HOURS_OF_A_RUNNER,
                "env": secrets,
                "steps": [
                    {"uses": "actions/checkout@v4", "with": {"clean": False}},
                    {"name": "Night", "shell": "bash", "run": "\n".join(run) + "\n"},
                    {"name": "Report", "if": "always()", "shell": "bash", "run": "\n".join(reports) + "\n"},
                ],
            }
        },
    }
    return f"""\
# .github/workflows/{name}.yml, with the job as {_comment(file)} in the repository.
# The ledger must outlive the runner: a runner of your own keeps its working folder (`clean: false`). On GitHub's own
# runners keep the ledger on a disk that you mount; a ledger that is gone buys everything again.
# GitHub ends a job after {_HOURS_OF_A_RUNNER} hours: let the job's window be shorter.
{note}{_yaml(data)}"""


def github_text(text: str) -> str:
    """Text in which GitHub reads no expression but the one that stands for its mark."""
    return text.replace("${{", "${{ '${{' }}")


def _utc_schedules(job: Job) -> tuple[list[str], str]:
    """GitHub's clock is UTC: one start for each of the zone's offsets in a year; the one outside the window ends."""
    window = job.window
    if window is None:
        return ["0 19 * * *"], "# The job has no window: choose the time, which is in UTC.\n"
    found: dict[str, None] = {}
    for day in sample_days():
        opens = moment(day, window.start, window.zone)
        shift = (opens.date() - day).days
        days = "*"
        if len(window.days) < 7:
            days = ",".join(str(number) for number in sorted((each + 1 + shift) % 7 for each in window.days))
        found[f"{opens.minute} {opens.hour} * * {days}"] = None
    note = ""
    if len(found) > 1:
        note = (
            "# GitHub's clock is UTC: one start for each time of the year; the one outside the window does nothing.\n"
        )
    return [*found], note


# -- words ---------------------------------------------------------------------------------------------------


def _command(job: Job, python: str) -> list[str]:
    return [python, "-m", "batchedit", "job", "run", str(job.path), *_waiting(job), "--no-input"]


def _waiting(job: Job) -> list[str]:
    # Clocks of schedulers are a little early now and then, and know only whole minutes.
    return ["--wait"] if job.window is not None and job.window.start.second else []


def _variables(job: Job) -> Sequence[str]:
    return list(dict.fromkeys([_KEY_VARIABLE, *(name for notice in job.notices for name in notice.variables)]))


def _description(job: Job) -> str:
    text = "".join(char if char.isprintable() else " " for char in job.name).replace("%", "%%")
    return f"batchedit: {text}".rstrip("\\").rstrip()


def _comment(text: str) -> str:
    """Text that stays within its comment line."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _zone_name(zone: tzinfo) -> str:
    return "UTC" if zone is UTC else str(zone)


def _kubernetes_zone(zone: tzinfo) -> str:
    return "Etc/UTC" if zone is UTC else str(zone)


def _below(job: Job, path: str) -> str:
    """An output folder as it lies in a repository that has the job in jobs/."""
    relative = os.path.relpath(path, job.folder)
    return os.path.normpath(os.path.join("jobs", relative))


def _yaml(data: object, depth: int = 0) -> str:
    """YAML of mappings, lists, texts and numbers; every text in quotes."""
    return "".join(f"{line}\n" for line in _yaml_lines(data, depth))


def _yaml_lines(data: object, depth: int) -> Iterable[str]:
    space = "  " * depth
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, dict | list) and value:
                yield f"{space}{key}:"
                yield from _yaml_lines(value, depth + 1)
            else:
                yield f"{space}{key}: {_scalar(value)}"
    elif isinstance(data, list):
        for value in data:
            lines = [*_yaml_lines(value, depth + 1)] if isinstance(value, dict) else [f"{space}  {_scalar(value)}"]
            yield f"{space}- {lines[0].lstrip()}"
            yield from lines[1:]


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not value and isinstance(value, dict | list):
        return "{}" if isinstance(value, dict) else "[]"
    return '"' + "".join(_quoted(char) for char in str(value)) + '"'


def _quoted(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char == "\n":
        return "\\n"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
