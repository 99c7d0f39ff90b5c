"""`ls` and `show`: what stands where, task by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batchedit.cli.commands import cli
from batchedit.cli.options import DEBUG, JSON, SELECTING
from batchedit.cli.voice import say
from batchedit.errors import ExitCode

if TYPE_CHECKING:
    from batchedit.ledger.listing import ListedTask

_COLUMNS = "{:<9} {:>9}  {:<44} {}"


@cli.command()
@click.argument("ledger", default="out")
@SELECTING[0]
@SELECTING[1]
@click.option("--json", "fields", is_flag=False, flag_value="", default=None, metavar="FIELD,...",
              help="These fields as JSON; without a value, say which there are.")  # fmt: skip
@DEBUG
def ls(ledger: str, select: tuple[str, ...], exclude: tuple[str, ...], fields: str | None, debug: bool) -> int:
    """
    List the tasks of LEDGER (a file or an output folder): state, cost in dollars, task, first path.

    \b
      batchedit ls out --select status:failed
      batchedit ls out --json id,status,cost_usd --select client:acme
    """
    import json

    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.ledger.tasks import FIELDS, selected_tasks
    from batchedit.listing import choose_fields

    if fields is not None and not fields.strip():
        say("\n".join(FIELDS))
        return ExitCode.DONE
    chosen = None
    if fields is not None:
        chosen = choose_fields(name.strip() for name in fields.split(",") if name.strip())
    first = True
    with Ledger(ledger_at(ledger)) as reader:
        for task in selected_tasks(reader, select, exclude):
            if chosen is None:
                if first:
                    say(_COLUMNS.format("state", "cost $", "task", "path"))
                say(_line(task))
            else:
                values = {name: value(task) for name, value in chosen.items()}
                say(("[" if first else ",") + json.dumps(values, ensure_ascii=False))
            first = False
    if chosen is not None:
        say("]")
    return ExitCode.DONE


@cli.command()
@click.argument("task", metavar="ID")
@click.argument("ledger", default="out")
@JSON
@DEBUG
def show(task: str, ledger: str, as_json: bool, debug: bool) -> int:
    """
    Show one task of LEDGER (a file or an output folder) in full.

    ID is an item's id, or item/edit/variant where an item has several tasks.
    """
    import json

    from batchedit.ledger.reader import Ledger, ledger_at
    from batchedit.listing import find_task, task_json

    path = ledger_at(ledger)
    root = path.parent.parent if path.parent.name == ".batchedit" else path.parent
    with Ledger(path) as reader:
        facts = task_json(find_task(reader, task), reader, root)
    say(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else _text(facts))
    return ExitCode.DONE


def _line(task: ListedTask) -> str:
    from batchedit.money import decimal_text

    cost = "shared" if task.shared else decimal_text(task.cost)
    path = task.paths[0] if task.paths else ""
    more = f" and {len(task.paths) - 1} more" if len(task.paths) > 1 else ""
    return _COLUMNS.format(task.status, cost, task.slot, path + more)


def _text(facts: dict[str, Any]) -> str:
    labels = "  ".join(f"{name}={value}" for name, value in facts["labels"].items())
    lines = [
        facts["slot"],
        f"  state     {facts['status']}" + (f": {facts['reason']}" if facts["reason"] else ""),
        f"  cost      ${facts['cost_usd']}, at risk ${facts['at_risk_usd']}"
        + (" (another task bears it)" if facts["shared"] else ""),
        f"  wanted    {facts['model']}, {facts['quality']}, {facts['size']}, {facts['format']},"
        f" revision {facts['revision']}",
        f"  row       {facts['place']}",
        *([f"  labels    {labels}"] if labels else []),
        *([f"  tags      {' | '.join(facts['tags'])}"] if facts["tags"] else []),
        *([f"  review    {_review(facts)}"] if facts["verdict"] != "none" else []),
        *([f"  request   {facts['key']}"] if facts["key"] else []),
        *_indented("prompt", facts["prompt"].splitlines()),
        *_indented("input", [f"{image['at']}  ({image['id'][:19]}...)" for image in facts["inputs"]]),
        *([f"  mask      {facts['mask']['at']}"] if facts["mask"] else []),
    ]
    lines += _indented("file", [f"{f['path']}" + ("" if f["exists"] else "  (is gone)") for f in facts["files"]])
    lines += _indented("raw", [f"{r['name']}  {r['width']}x{r['height']}, {r['bytes']} bytes" for r in facts["raws"]])
    lines += _indented("check", [_check(each) for each in facts["check_list"]])
    lines += _indented("before", [_former(each) for each in facts["revisions"] if not each["current"]])
    for attempt in facts["attempt_list"]:
        why = f": {attempt['class']} {attempt['message']}".rstrip() if attempt["message"] or attempt["class"] else ""
        ended = attempt["ended_at"] or "open"
        lines.append(
            f"  attempt   {attempt['number']} in run {attempt['run']}, {attempt['started_at']} to {ended},"
            f" {attempt['outcome'] or 'not ended'}{why}"
        )
        lines.append(
            f"            ${attempt['cost_usd']} ({attempt['basis']}), revision {attempt['revision']},"
            f" provider's run {attempt['provider_run_id'] or 'not known'}"
        )
    return "\n".join(lines)


def _check(found: dict[str, str]) -> str:
    more = "" if found["verdict"] == "passed" else f"; wanted: {found['wanted']}"
    return f"{found['verdict']:<6}  {found['name']}: {found['measured']}{more}"


def _former(revision: dict[str, Any]) -> str:
    said = f", {revision['verdict']}" if revision["verdict"] != "none" else ""
    why = f" ({revision['reason']})" if revision["reason"] else ""
    return f"revision {revision['revision']}{said}{why}, ${revision['cost_usd']}: {', '.join(revision['raws'])}"


def _review(facts: dict[str, Any]) -> str:
    return ": ".join(text for text in (facts["verdict"], facts["verdict_reason"]) if text)


def _indented(name: str, texts: list[str]) -> list[str]:
    return [f"  {name if n == 0 else '':<9} {text}" for n, text in enumerate(texts)]
