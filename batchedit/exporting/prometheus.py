"""Figures for Prometheus, as text for the textfile collector of node_exporter; labels are the manifest and the edit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import IO

from batchedit.ledger.exports import Exports
from batchedit.lifecycle import State
from batchedit.money import decimal_text

BUCKETS = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800)
"""Upper ends of the histogram of purchases, in seconds."""

_Labels = tuple[tuple[str, str], ...]
_LINE = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write_prometheus(reader: Exports, target: IO[str]) -> int:
    """Write the text; returns how many samples it has."""
    page = _Page(target)
    rehearsal = int(reader.world() == "rehearsal")
    page.family(
        "batchedit_is_rehearsal", "gauge", "1 if the money is that of a rehearsal, which is not real.", {(): rehearsal}
    )
    _moments(reader, page)
    states: dict[_Labels, float] = {}
    for manifest, edit, state, count in reader.states():
        # All states of an edit, so that what reaches zero is zero and not gone.
        for each in (*State, "waiting"):
            states.setdefault(_labels(manifest, edit, state=str(each)), 0)
        states[_labels(manifest, edit, state=state)] += count
    page.family("batchedit_tasks", "gauge", "Tasks by the state of their request.", states)
    _money(reader, page)
    _durations(reader, page)
    return page.count


class _Page:
    """The text on its way out."""

    def __init__(self, target: IO[str]) -> None:
        self._target = target
        self.count = 0

    def family(self, name: str, kind: str, about: str, samples: Mapping[_Labels, float | str]) -> None:
        """A metric with all of its samples; nothing without any."""
        if not samples:
            return
        self.head(name, kind, about)
        for labels, value in sorted(samples.items()):
            self.sample(name, labels, value)

    def head(self, name: str, kind: str, about: str) -> None:
        """What a metric is."""
        self._target.write(f"# HELP {name} {about}\n# TYPE {name} {kind}\n")

    def sample(self, name: str, labels: _Labels, value: float | str) -> None:
        """One line."""
        told = ",".join(f'{label}="{text.translate(_LINE)}"' for label, text in labels)
        self._target.write(f"{name}{{{told}}} {value}\n")
        self.count += 1


def _labels(manifest: str, edit: str, **more: str) -> _Labels:
    return (("manifest", manifest), ("edit", edit), *more.items())


def _moments(reader: Exports, page: _Page) -> None:
    ran = reader.ran()
    for name, what, moments in (
        ("start", "began", {run.manifest: run.started_at for run in ran}),
        ("end", "ended", {run.manifest: run.ended_at for run in ran}),
        ("success", "ended with everything done", {run.manifest: run.succeeded_at for run in ran}),
    ):
        samples: dict[_Labels, float] = {
            (("manifest", manifest),): _unix(moment) for manifest, moment in moments.items() if moment
        }
        page.family(f"batchedit_last_{name}_timestamp_seconds", "gauge", f"When a run last {what}.", samples)
    budgets: dict[_Labels, str] = {
        (("manifest", run.manifest),): decimal_text(run.budget) for run in ran if run.budget is not None
    }
    page.family("batchedit_budget_dollars", "gauge", "The most that the last run might spend.", budgets)


def _money(reader: Exports, page: _Page) -> None:
    spent: Counter[_Labels] = Counter()
    risk: Counter[_Labels] = Counter()
    waste: Counter[_Labels] = Counter()
    attempts: Counter[_Labels] = Counter()
    for row in reader.counted():
        labels = _labels(row.manifest, row.edit)
        spent[labels] += row.cost + row.surplus
        risk[labels] += row.at_risk
        attempts[_labels(row.manifest, row.edit, outcome=row.outcome)] += row.attempts
        attempts[_labels(row.manifest, row.edit, outcome="throttled")] += 0
        if row.use != "useful" and row.cost:
            waste[_labels(row.manifest, row.edit, kind=row.use)] += row.cost
        if row.surplus:
            waste[_labels(row.manifest, row.edit, kind="double")] += row.surplus
    for name, kind, about, amounts in (
        ("batchedit_spent_dollars_total", "counter", "Billed, as reported or else as listed.", spent),
        ("batchedit_at_risk_dollars", "gauge", "What may still be billed.", risk),
        ("batchedit_waste_dollars", "gauge", "The part of spent that brought nothing wanted.", waste),
    ):
        page.family(name, kind, about, {labels: decimal_text(amount) for labels, amount in amounts.items()})
    about = "Tries at requests by how they ended; those refused for their rate are throttled."
    page.family("batchedit_attempts_total", "counter", about, attempts)


def _durations(reader: Exports, page: _Page) -> None:
    counts: dict[_Labels, Counter[float]] = {}
    sums: Counter[_Labels] = Counter()
    for manifest, edit, seconds, count in reader.seconds():
        labels, seconds = _labels(manifest, edit), max(0.0, seconds)
        bucket = next((end for end in BUCKETS if seconds <= end), float("inf"))
        counts.setdefault(labels, Counter())[bucket] += count
        sums[labels] += round(seconds * 1000) * count
    if not counts:
        return
    name = "batchedit_purchase_duration_seconds"
    page.head(name, "histogram", "From sending a request to its pictures being here.")
    for labels, found in sorted(counts.items()):
        seen = 0
        for end in (*BUCKETS, float("inf")):
            seen += found[end]
            page.sample(f"{name}_bucket", (*labels, ("le", "+Inf" if end == float("inf") else str(end))), seen)
        page.sample(f"{name}_sum", labels, sums[labels] / 1000)
        page.sample(f"{name}_count", labels, seen)


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
