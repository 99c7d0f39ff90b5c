"""
`budget`: what a run may spend, what one request may cost, what may be spent for one client or one edit.

    budget: {run: 25.00, per_request: 0.25, per: {client: {acme: 15.00}, edit: {scene: 10.00}}, warn_at: [50, 80]}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchedit.errors import Problem
from batchedit.manifest.fields import shortened, suggestion
from batchedit.manifest.findings import Findings
from batchedit.manifest.layers import Cap, Spending
from batchedit.manifest.reading import Reading
from batchedit.manifest.vocabulary import BUDGET_KEYS, names
from batchedit.manifest.yaml_tree import Node
from batchedit.model import Task
from batchedit.money import MicroUSD, parse_usd

EDIT = "edit"
"""The one key of `per` that is no label."""

_REMEMBERED = 1_000
"""So many values of a label are kept for suggestions."""


def read_spending(node: Node, reading: Reading) -> Spending:
    """The budget."""
    if isinstance(node.value, str):
        message = "budget must be a mapping of keys and values, not text"
        reading.wrong(node.place, "wrong-type", message, hint="Write: budget: {run: 25.00}")
        return Spending()
    pairs = reading.mapping(node, "budget", names(BUDGET_KEYS))
    amounts = {
        name: _amount(pairs[name][1], f"budget.{name}", reading) for name in ("run", "per_request") if name in pairs
    }
    return Spending(
        run=amounts.get("run"),
        per_request=amounts.get("per_request"),
        caps=_caps(pairs["per"][1], reading) if "per" in pairs else (),
        warn_at=read_percents(pairs["warn_at"][1], reading) if "warn_at" in pairs else (),
    )


def _amount(node: Node, field: str, reading: Reading) -> MicroUSD | None:
    text = reading.text(node, field) if node.value is not None else ""
    if text is None:
        return None
    try:
        return parse_usd(shortened(text))
    except ValueError as error:
        reading.wrong(node.place, "bad-budget", str(error), field=field, value=text)
    return None


def _caps(node: Node, reading: Reading) -> tuple[Cap, ...]:
    found = []
    for label, (_, values) in reading.mapping(node, "budget.per", None).items():
        for value, (place, child) in reading.mapping(values, f"budget.per.{shortened(label)}", None).items():
            amount = _amount(child, f"budget.per.{shortened(label)}.{shortened(value)}", reading)
            if amount is not None:
                found.append(Cap(label, value, amount, place))
    return tuple(found)


def read_percents(node: Node, reading: Reading) -> tuple[int, ...]:
    """Whole numbers from 1 to 100 in a list, or one; each once, the smallest first."""
    nodes = [node] if isinstance(node.value, str) else reading.list(node, "budget.warn_at")
    found = set()
    for child in nodes:
        text = reading.text(child, "budget.warn_at") if child.value is not None else ""
        if text is None:
            continue
        if text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= 100:
            found.add(int(text))
        else:
            message = f"{shortened(text)!r} is not a whole number from 1 to 100, in percent"
            reading.wrong(child.place, "bad-budget", message, field="budget.warn_at", value=text)
    return tuple(sorted(found))


def met(tasks: Iterator[Task], caps: Sequence[Cap], findings: Findings) -> Iterator[Task]:
    """
    The tasks; at their end, a problem for each cap that none of them is charged to, since it would never hold.

    If there are other problems already, tasks are missing, and nothing can be said.
    """
    missing = {(cap.label, cap.value): cap for cap in caps}
    labels: dict[str, dict[str, None]] = {}
    for task in tasks:
        for label, value in ((EDIT, task.edit), *task.labels.items()):
            if label == EDIT and value != task.edit:
                continue
            values = labels.setdefault(label, {}) if len(labels) < _REMEMBERED else labels.get(label, {})
            if value not in values and len(values) < _REMEMBERED:
                values[value] = None
            missing.pop((label, value), None)
        yield task
    if findings.problems:
        return
    for cap in missing.values():
        field = f"budget.per.{shortened(cap.label)}"
        if cap.label in labels:
            message = f"no task has the {cap.label} {shortened(cap.value)!r}"
            hint = suggestion(cap.value, labels[cap.label])
        else:
            message, hint = f"no task has a label {shortened(cap.label)!r}", suggestion(cap.label, labels)
        findings.problem(
            Problem(
                place=cap.place,
                code="budget-for-nobody",
                field=field,
                value=shortened(cap.value),
                message=message,
                hint=hint,
            )
        )
