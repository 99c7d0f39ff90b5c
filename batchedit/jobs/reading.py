"""
From a job file to a `Job`: closed like a manifest, with every problem in one list.

Relative paths start at the file's folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, time, tzinfo
from pathlib import Path
from typing import Any

from batchedit.errors import ManifestError, Place, Problem
from batchedit.jobs.model import Gate, Job, JobLog, Limit, Part
from batchedit.jobs.notice_keys import read_notices
from batchedit.jobs.values import Values
from batchedit.jobs.vocabulary import (
    BUDGET_KEYS,
    CAP_KEYS,
    DAYS,
    DOES,
    EXPORT_KEYS,
    JOB_KEYS,
    LOG_KEYS,
    MANIFEST_KEYS,
    PERIODS,
    PILOT_KEYS,
    REPORT_KEYS,
    REPORTS,
    SELLER_KEYS,
    TIME,
    WINDOW_KEYS,
)
from batchedit.jobs.window import Window
from batchedit.manifest import Findings
from batchedit.manifest.budgeting import read_percents
from batchedit.manifest.fields import looks_like_a_key, shortened, suggestion
from batchedit.manifest.reading import Pairs, Reading
from batchedit.manifest.settings import read_limits, read_provider
from batchedit.manifest.vocabulary import Key, names
from batchedit.manifest.yaml_tree import Node, read_yaml
from batchedit.model import ProviderSettings
from batchedit.money import MicroUSD, parse_usd

VERSION = 1
VARIABLES = ("name", "night", "month")
"""What may stand in the names of reports and exports."""

_MARKS = re.compile(r"\{\{([^{}]*)\}\}")


def load_job(source: str | Path, *, cwd: Path | None = None) -> Job:
    """
    Read a job file.

    Args:
        source: The file.
        cwd: Where a relative source starts; None for the working folder.

    Raises:
        ManifestError: with every problem of the file. What is wrong in its manifests is for `check_job` and `run_job`.
    """
    text, folder = str(source), cwd or Path.cwd()
    if looks_like_a_key(text) or "\0" in text:
        raise _refused(Place("JOB"), "unreadable", "this is no path")
    path = (folder / text).absolute()
    shown = os.path.relpath(path, folder) if os.path.isabs(text) and path.is_relative_to(folder) else text
    try:
        is_there, is_file = os.path.lexists(path), path.is_file()
    except (OSError, ValueError) as error:
        raise _refused(Place(shortened(shown)), "unreadable", f"cannot be read: {error}") from None
    if not is_file:
        message = "is not a regular file" if is_there else "there is no such file"
        raise _refused(Place(shortened(shown)), "unreadable", message)
    findings = Findings()
    job = JobReader(findings, path, shown).read(read_yaml(path, shown))
    findings.raise_if_problems()
    return job


def is_job(path: Path) -> bool:
    """True for a file that says it is a job: a YAML mapping with the key ``job``."""
    if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        tree = read_yaml(path, path.name, streamed="items")
    except ManifestError:
        return False
    return isinstance(tree.value, dict) and "job" in tree.value and "version" not in tree.value


class JobReader:
    """
    Reads a job from its tree.

    Args:
        findings: Where problems go.
    """

    def __init__(self, findings: Findings, path: Path, shown: str) -> None:
        self._path, self._shown, self._findings = path, shown, findings
        self._reading = Reading(findings)
        self._values = Values(self._reading, path.parent)

    def read(self, tree: Node) -> Job:
        """
        The job, as far as it can be read; problems go to the findings.

        Raises:
            ManifestError: if it is no job at all, or of another version.
        """
        if tree.value is not None and not isinstance(tree.value, dict):
            message = f"the job must be a mapping of keys and values, not {tree.kind()}"
            raise _refused(tree.place, "wrong-type", message)
        self._version(tree)
        reading = self._reading
        top = reading.mapping(tree, "the job", JOB_KEYS.names)
        found: dict[str, Any] = {"path": self._path, "shown": self._shown, "name": self._path.stem}
        if "name" in top:
            found["name"] = self._reading.name(top["name"][1]) or found["name"]
        found["does"] = self._values.choice(top, "do", DOES) or "run"
        found["rehearse"] = self._values.flag(top, "rehearse")
        if "provider" in top:
            found["provider"] = self._provider(top["provider"][1])
        if "limits" in top:
            limits, given = read_limits(top["limits"][1], reading)
            found["limits"] = {name: getattr(limits, name) for name in given}
        if "budget" in top:
            found["budget"], found["warn_at"] = self._budget(top["budget"][1])
        zone = found["zone"] = self._zone(top["zone"][1]) if "zone" in top else UTC
        if "window" in top:
            found["window"] = self._window(top["window"][1], zone)
        if "pilot" in top:
            found["gate"] = self._pilot(top["pilot"][1])
        out = self._values.path_in(top, "out", "out") or self._path.parent / "out"
        found["parts"] = self._parts(top["manifests"][1], out) if "manifests" in top else ()
        found["ledgers"] = tuple(self._path.parent / text for text in self._values.texts(top, "ledgers", "ledgers"))
        if "report" in top:
            found.update(self._report(top["report"][1]))
        if "export" in top:
            found["exports"] = self._files(top["export"][1], "export", EXPORT_KEYS, names(EXPORT_KEYS))
        if "events" in top:
            found["events"] = self._file(top["events"][1], "events")
        if "log" in top:
            found["log"] = self._log(top["log"][1])
        if "notify" in top:
            found["notices"] = read_notices(top["notify"][1], reading)
        job = Job(**found)
        self._together(job, tree, top)
        return job

    # -- the parts -------------------------------------------------------------------------------------------

    def _version(self, tree: Node) -> None:
        pairs = tree.value if isinstance(tree.value, dict) else {}
        if "job" not in pairs:
            hint = "This is a manifest: batchedit run" if "version" in pairs else "Begin with: job: 1"
            raise _refused(tree.place, "no-version", "the key job is missing", hint=hint)
        node = pairs["job"][1]
        text = self._reading.text(node, "job") if node.value is not None else ""
        if text is None:
            raise ManifestError(self._findings.problems)
        if text != str(VERSION):
            newer = text.isascii() and text.isdecimal() and text.strip("0") not in ("", "1")
            why = "needs a newer batchedit" if newer else "is not a version"
            message = f"{shortened(text)!r} {why}; this one reads version {VERSION}"
            raise _refused(node.place, "version", message, field="job", value=text)

    def _together(self, job: Job, tree: Node, top: Pairs) -> None:
        """What does not fit together."""
        wrong = self._reading.wrong
        if job.does == "report":
            for name in ("window", "pilot", "limits", "budget", "provider", "manifests", "rehearse", "events"):
                if name in top:
                    message = f"{name} means nothing with do: report"
                    wrong(top[name][0], "bad-job", message, field=name, hint="It reads ledgers, and sends nothing")
            if "ledgers" not in top:
                wrong(tree.place, "bad-job", "there are no ledgers", hint="Name them: ledgers: [../out]")
        elif "ledgers" in top:
            wrong(top["ledgers"][0], "bad-job", "ledgers belong to do: report", field="ledgers")
        elif "manifests" not in top:
            wrong(tree.place, "bad-job", "there are no manifests", hint="Name them: manifests: [night.yaml]")
        if job.does == "reconcile":
            for name in ("pilot", "budget"):
                if name in top:
                    message = f"{name} means nothing with do: reconcile"
                    wrong(top[name][0], "bad-job", message, field=name, hint="It buys nothing")
        others = [("events", job.events), ("log", job.log.file if job.log is not None else "")]
        targets = [*job.reports.items(), *job.exports.items(), *((name, file) for name, file in others if file)]
        for form, target in targets:
            if [name for _, name in targets].count(target) > 1:
                message = f"two of its files have the name {shortened(target)!r}"
                place = (top.get(form) or top.get("export") or top["report"])[0]
                wrong(place, "bad-job", message, field=form, hint="Give each a name of its own")
        places = {str(part.out) for part in job.parts} | {str(ledger) for ledger in job.ledgers}
        for key, what in (("export", "an export is"), ("events", "a file of events is")):
            if key in top and (job.exports if key == "export" else job.events) and len(places) > 1:
                message = f"there are several output folders, and {what} of one"
                wrong(top[key][0], "bad-job", message, field=key, hint="Write a job for each of them")
        if job.warn_at and not job.budget:
            message = "there is no limit to warn about"
            wrong(top["budget"][0], "bad-budget", message, field="budget.warn_at", hint="Name one: night: 40.00")

    def _provider(self, node: Node) -> dict[str, Any]:
        if isinstance(node.value, dict) and "model" in node.value:
            place = node.value["model"][0]
            hint = "The model changes what is bought: it belongs into the manifest"
            self._reading.wrong(place, "unknown-key", "provider has no key 'model' in a job", field="model", hint=hint)
            node = Node(node.place, {key: pair for key, pair in node.value.items() if key != "model"})
        settings = read_provider(node, self._reading)
        given = names(SELLER_KEYS) if isinstance(node.value, dict) else ("name",)
        written = node.value if isinstance(node.value, dict) else {"name": None}
        known = {each.name for each in fields(ProviderSettings)}
        return {name: getattr(settings, name) for name in given if name in written and name in known}

    def _parts(self, node: Node, out: Path) -> tuple[Part, ...]:
        found = []
        children = self._reading.list(node, "manifests")
        for child in children:
            pairs: Pairs = {"manifest": (child.place, child)}
            if not isinstance(child.value, str):
                pairs = self._reading.mapping(child, "the manifest", names(MANIFEST_KEYS))
            text = self._reading.text(pairs["manifest"][1], "manifest") if "manifest" in pairs else None
            if not text:
                if "manifest" not in pairs or pairs["manifest"][1].value in (None, ""):
                    self._reading.wrong(child.place, "bad-job", "must name a manifest", field="manifests")
                continue
            found.append(
                Part(
                    manifest=str(self._path.parent / text),
                    shown=text,
                    place=child.place,
                    out=self._values.path_in(pairs, "out", "manifests.out") or out,
                    select=self._values.texts(pairs, "select", "manifests.select"),
                    exclude=self._values.texts(pairs, "exclude", "manifests.exclude"),
                )
            )
        if isinstance(node.value, list) and not children:
            self._reading.wrong(node.place, "bad-job", "there are no manifests", field="manifests")
        return tuple(found)

    def _budget(self, node: Node) -> tuple[tuple[Limit, ...], tuple[int, ...]]:
        reading = self._reading
        pairs = reading.mapping(node, "budget", names(BUDGET_KEYS))
        found = self._limits(pairs, "budget")
        if "per" in pairs:
            for label, (place, values) in reading.mapping(pairs["per"][1], "budget.per", None).items():
                if not label:
                    reading.wrong(place, "bad-budget", "a label has a name", field="budget.per")
                    continue
                where = f"budget.per.{shortened(label)}"
                for value, (_, child) in reading.mapping(values, where, None).items():
                    field = f"{where}.{shortened(value)}"
                    inner: Pairs = {"run": (child.place, child)}
                    if not isinstance(child.value, str):
                        inner = reading.mapping(child, field, names(CAP_KEYS))
                    found += self._limits(inner, field, label, value)
        return tuple(found), read_percents(pairs["warn_at"][1], reading) if "warn_at" in pairs else ()

    def _limits(self, pairs: Pairs, field: str, label: str = "", value: str = "") -> list[Limit]:
        found = []
        for period in names(CAP_KEYS):
            if period in pairs:
                amount = self._amount(pairs[period][1], f"{field}.{period}")
                if amount is not None:
                    found.append(
                        Limit(period=period, amount=amount, place=pairs[period][1].place, label=label, value=value)
                    )
        return found

    def _amount(self, node: Node, field: str) -> MicroUSD | None:
        text = self._reading.text(node, field) if node.value is not None else ""
        if text is None:
            return None
        try:
            return parse_usd(shortened(text))
        except ValueError as error:
            self._reading.wrong(node.place, "bad-budget", str(error), field=field, value=text)
        return None

    def _window(self, node: Node, zone: tzinfo) -> Window | None:
        reading = self._reading
        pairs = reading.mapping(node, "window", names(WINDOW_KEYS))
        ends = []
        for key in ("from", "until"):
            if key not in pairs or pairs[key][1].value is None:
                place = pairs[key][1].place if key in pairs else node.place
                if isinstance(node.value, dict) or node.value is None:
                    reading.wrong(place, "bad-window", f"the key {key} is missing", field=f"window.{key}")
                continue
            text = reading.text(pairs[key][1], f"window.{key}")
            if text is not None and not re.fullmatch(TIME, text):
                message = f"{shortened(text)!r} is no time of day"
                hint = "Write it as 19:00 or 06:30:00"
                reading.wrong(pairs[key][1].place, "bad-window", message, field=f"window.{key}", value=text, hint=hint)
            elif text is not None:
                ends.append(time.fromisoformat(text))
        days = self._values.words(pairs, "days", DAYS, "window.days")
        grace = self._values.number(pairs, "grace", "window.grace", least=0, whole=False)
        if len(ends) != 2:
            return None
        if ends[0] == ends[1]:
            message = "from and until are the same: nothing could ever be sent"
            reading.wrong(pairs["until"][1].place, "bad-window", message, field="window.until")
            return None
        return Window(
            start=ends[0],
            stop=ends[1],
            zone=zone,
            days=frozenset(DAYS.index(day) for day in days) or frozenset(range(7)),
            grace_seconds=600.0 if grace is None else float(grace),
        )

    def _zone(self, node: Node) -> tzinfo:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

        text = self._reading.text(node, "zone")
        if not text or text.upper() == "UTC":
            return UTC
        try:
            return ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            message = f"{shortened(text)!r} is no time zone"
            hint = suggestion(text, available_timezones()) or "Write it as Europe/Berlin"
            self._reading.wrong(node.place, "bad-window", message, field="zone", value=text, hint=hint)
            return UTC

    def _pilot(self, node: Node) -> Gate | None:
        pairs = self._reading.mapping(node, "pilot", names(PILOT_KEYS))
        tasks = self._values.number(pairs, "tasks", "pilot.tasks")
        failed = self._values.number(pairs, "max_failed", "pilot.max_failed", least=0, most=100)
        cost = self._amount(pairs["max_cost"][1], "pilot.max_cost") if "max_cost" in pairs else None
        seed = self._reading.text(pairs["seed"][1], "pilot.seed") if "seed" in pairs else None
        strata = self._values.texts(pairs, "by", "pilot.by")
        if tasks is None:
            if "tasks" not in pairs and (node.value is None or isinstance(node.value, dict)):
                self._reading.wrong(node.place, "bad-job", "the key tasks is missing", field="pilot.tasks")
            return None
        return Gate(
            tasks=int(tasks),
            strata=strata,
            seed=seed or "0",
            max_failed=None if failed is None else int(failed),
            max_cost=cost,
        )

    def _report(self, node: Node) -> dict[str, Any]:
        pairs = self._reading.mapping(node, "report", names(REPORT_KEYS))
        by = self._values.texts(pairs, "by", "report.by")
        return {
            "reports": self._files(node, "report", REPORT_KEYS, REPORTS),
            "by": by or None,
            "period": self._values.choice(pairs, "period", PERIODS, "report.period") or "all",
        }

    # -- names of files -----------------------------------------------------------------------------------------

    def _files(self, node: Node, what: str, keys: Iterable[Key], forms: tuple[str, ...]) -> dict[str, str]:
        # Unknown keys are said once, by whoever reads the mapping first.
        pairs = self._reading.mapping(node, what, names(keys)) if what == "export" else node.value
        found: dict[str, str] = {}
        for form, (_, child) in pairs.items() if isinstance(pairs, dict) else ():
            if form not in forms:
                continue
            text = self._file(child, f"{what}.{form}")
            if text:
                found[form] = text
        return found

    def _file(self, node: Node, field: str) -> str:
        """The name of a file, with variables; empty if it is none."""
        text = self._reading.text(node, field)
        if not text:
            if node.value in (None, ""):
                self._reading.wrong(node.place, "bad-job", "must name a file", field=field)
            return ""
        return text if self._is_template(text, node.place, field) else ""

    def _log(self, node: Node) -> JobLog | None:
        if isinstance(node.value, str):
            file = self._file(node, "log")
            return JobLog(file=file) if file else None
        pairs = self._reading.mapping(node, "log", names(LOG_KEYS))
        if "file" not in pairs:
            if isinstance(node.value, dict) or node.value is None:
                self._reading.wrong(node.place, "bad-job", "must name a file", field="log.file")
            return None
        file, most = self._file(pairs["file"][1], "log.file"), self._values.number(pairs, "max_mb", "log.max_mb")
        kept = self._values.number(pairs, "keep", "log.keep", most=1000)
        form = self._values.choice(pairs, "format", ("text", "json"), "log.format")
        every = self._values.flag(pairs, "every_change")
        if not file:
            return None
        return JobLog(
            file=file,
            form=form or "text",
            every_change=every,
            largest_bytes=int(most or 10) * 1_000_000,
            kept=int(kept or 5),
        )

    def _is_template(self, text: str, place: Place, field: str) -> bool:
        for word in map(str.strip, _MARKS.findall(text)):
            if word not in VARIABLES:
                message = f"there is no variable {shortened(word)!r} here"
                hint = suggestion(word, VARIABLES) or f"Known are: {', '.join(VARIABLES)}"
                self._reading.wrong(place, "bad-job", message, field=field, value=text, hint=hint)
                return False
        if "\0" in text or re.search(r"\{\{|\}\}|\{%|%\}", _MARKS.sub("", text)):
            self._reading.wrong(place, "bad-job", "is no name of a file", field=field, value=text)
            return False
        return True


def file_name(template: str, **values: str) -> str:
    """A file's name with its variables filled in; what would lead into another folder becomes a hyphen."""
    return _MARKS.sub(lambda found: re.sub(r"[/\\\0]", "-", values.get(found[1].strip(), found[0])), template)


def _refused(
    place: Place, code: str, message: str, *, field: str = "", value: str = "", hint: str = ""
) -> ManifestError:
    return ManifestError(
        [Problem(place=place, code=code, message=message, field=field, value=shortened(value), hint=hint)]
    )
