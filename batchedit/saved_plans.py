"""
Plans that are looked at today and carried out later, by exactly what they said.

    plan --save FILE -> somebody agrees -> run FILE

A file names the manifest, the flags, and digests of everything that decides what is bought; never the tasks themselves,
so that it stays small. Whoever carries it out makes the plan again and refuses if anything is not as it was. What runs
of this same plan have done meanwhile is no change: an interrupted one is gone on with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from batchedit import disk
from batchedit.errors import StorageError, UsageError
from batchedit.json_size import values_in
from batchedit.ledger.reader import Ledger, has_begun
from batchedit.manifest import Overrides, load_manifest
from batchedit.money import decimal_text, parse_usd
from batchedit.plan import Agreement, Verdict
from batchedit.planned import Plan
from batchedit.planner import settle, survey
from batchedit.selecting import Choice, Sample
from batchedit.selection import parse_selection

VERSION = 1
_KIND = "batchedit saved plan"
_MOST_BYTES = 50_000_000
_MOST_VALUES = 5_000_000
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPlan:
    """
    A plan as it was saved.

    Attributes:
        path: Its file.
        digest: SHA-256 of what it says; runs of it are known by this.
        content: What it says.
    """

    path: Path
    digest: str
    content: Mapping[str, Any]


def is_saved_plan(path: Path | str) -> bool:
    """True for a file that ends in ``.json``, which no manifest does."""
    return Path(path).suffix.lower() == ".json" and Path(path).is_file()


def save_plan(plan: Plan, path: Path | str) -> SavedPlan:
    """
    Write down what a plan says, so that it can be carried out later.

    Args:
        plan: From `make_plan`, with ``glance=False``.
        path: Ends in ``.json``. An older saved plan of this name is replaced, nothing else.

    Raises:
        UsageError: if the name belongs to something else, or the tasks of the plan were not looked at.
        StorageError: if it cannot be written.
    """
    path = Path(path).absolute()
    if path.suffix.lower() != ".json":
        raise UsageError(f"--save: {path.name} does not end in .json", hint="such as --save night.json")
    if not plan.figures.seals:
        raise UsageError("a plan that was recognised at a glance cannot be saved", hint="make it with glance=False")
    if path.exists():
        try:
            load_plan(path)
        except UsageError:
            raise UsageError(f"--save: {path} exists and is no saved plan", hint="name another file") from None
    content = _content(plan)
    text = json.dumps({**content, "digest": _digest(content)}, indent=2, ensure_ascii=False) + "\n"
    try:
        disk.write_private(path.parent, path.name, text.encode())
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return load_plan(path)


def load_plan(path: Path | str) -> SavedPlan:
    """
    Read a saved plan.

    Raises:
        UsageError: if it is none, was altered, or comes from a newer version.
    """
    path = Path(path).absolute()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UsageError(f"{path} is too large for a saved plan")
        text = path.read_text("utf-8")
        if values_in(text) > _MOST_VALUES:
            raise UsageError(f"{path} has more than {_MOST_VALUES} values, which no saved plan has")
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()  # which half of a surrogate pair cannot be
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is no saved plan", hint=_HINT) from None
    if not isinstance(data, dict) or data.get("kind") != _KIND:
        raise UsageError(f"{path} is no saved plan", hint=_HINT)
    if data.get("version") != VERSION:
        raise UsageError(
            f"{path} has version {data.get('version')}; this program reads {VERSION}", hint="save the plan again"
        )
    digest = data.pop("digest", None)
    if digest != _digest(data):
        raise UsageError(f"{path} was altered after it was saved", hint="save the plan again")
    if not (_is_shaped(data, _SHAPE) and _is_sound(data)):
        raise UsageError(f"{path} is no saved plan", hint=_HINT)
    return SavedPlan(path=path, digest=digest, content=data)


_TEXT_OR_NONE, _NUMBER_OR_NONE = (str, type(None)), (int, type(None))
_TEXTS, _COUNTS, _FILES = [str], {str: int}, {str: str}
_SHAPE: Mapping[str, Any] = {
    "manifest": str, "folder": str, "files": _FILES, "price_list": str, "tasks": int, "counts": _COUNTS,
    "requests_to_buy": int, "pictures_to_buy": int, "quote": {"low": str, "high": str},
    "seals": {"wanted": str, "quotes": str, "standing": str},
    "ledger": (type(None), {"id": str, "last_run": int, "last_decision": int}),
    "flags": {
        "overrides": {
            **{field.name: _NUMBER_OR_NONE if field.name == "n" else _TEXT_OR_NONE for field in fields(Overrides)},
            "sibling": bool,
        },
        "out": str, "ledger": _TEXT_OR_NONE, "rehearse": bool, "changed": bool, "select": _TEXTS, "exclude": _TEXTS,
        "ids": (type(None), _TEXTS), "ids_from": _TEXT_OR_NONE, "limit": _NUMBER_OR_NONE,
        "sample": (type(None), {"size": int, "seed": (str, int), "strata": _TEXTS}),
    },
}  # fmt: skip
"""What a plan says, each value of a type, of one of several, or made of others."""


def _is_shaped(value: Any, shape: Any) -> bool:
    """True if a value is what `_content` would write; it may have come from anybody."""
    if isinstance(shape, tuple):
        return any(_is_shaped(value, each) for each in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(_is_shaped(each, shape[0]) for each in value)
    if isinstance(shape, type):
        return type(value) is shape
    if not isinstance(value, dict):
        return False
    if str in shape:
        return all(_is_shaped(each, shape[str]) for each in value.values())
    return shape.keys() <= value.keys() and all(_is_shaped(value[name], each) for name, each in shape.items())


def _is_sound(content: Mapping[str, Any]) -> bool:
    """True if the file with the ids is one of those that are compared, and the quote is an amount."""
    ids_from = content["flags"]["ids_from"]
    try:
        parse_usd(content["quote"]["high"])
    except ValueError:
        return False
    return ids_from is None or ids_from in content["files"]


_HINT = "a saved plan is made by `batchedit plan MANIFEST --save FILE.json`"


def reopen(saved: SavedPlan) -> Plan:
    """
    The plan that was saved, made again, for `run_plan`: it needs no other consent, and its high quote is its limit.

    Raises:
        UsageError: if anything that decides what is bought has changed; the message names it.
        BatchEditError: as `make_plan`.
    """
    said = saved.content
    gone = _changed_files(said["files"])
    if gone:
        raise _refusal(saved, gone)
    flags = said["flags"]
    manifest = load_manifest(said["manifest"], overrides=Overrides(**flags["overrides"]), cwd=Path(said["folder"]))
    ids = flags["ids"]
    if flags["ids_from"] is not None:
        ids = [line.strip() for line in Path(flags["ids_from"]).read_text("utf-8-sig").splitlines() if line.strip()]
    selection = parse_selection(flags["select"], flags["exclude"], ids=ids, named=manifest.selectors)
    sample = flags["sample"]
    if sample is not None:
        sample = Sample(size=sample["size"], seed=sample["seed"], strata=tuple(sample["strata"]))
    plan = survey(
        manifest,
        out=flags["out"],
        ledger=flags["ledger"],
        rehearse=flags["rehearse"],
        accept_changed=flags["changed"],
        choice=Choice(selection=selection, sample=sample, limit=flags["limit"]),
        glance=False,
    )
    settle(plan)
    changes = _changes(saved, plan)
    if changes:
        raise _refusal(saved, changes)
    plan.agreed = Agreement(digest=saved.digest, high=parse_usd(said["quote"]["high"]))
    return plan


# -- inside --------------------------------------------------------------------------------------------------------


def _content(plan: Plan) -> dict[str, Any]:
    figures, choice, manifest = plan.figures, plan.choice, plan.manifest
    files = {str(path.absolute()): disk.digest(path) for path in manifest.files}
    if choice.ids_from is not None:
        files[choice.ids_from] = disk.digest(Path(choice.ids_from))
    ids = choice.selection.ids
    return {
        "kind": _KIND,
        "version": VERSION,
        "manifest": manifest.source if manifest.path is None else str(manifest.path.absolute()),
        "folder": str(manifest.root.absolute()),
        "files": files,
        "flags": {
            "overrides": asdict(manifest.overrides),
            "out": str(plan.asked_out),
            "ledger": None if plan.asked_ledger is None else str(plan.asked_ledger),
            "rehearse": plan.asked_rehearsal,
            "changed": plan.accept_changed,
            "select": list(choice.selection.selecting),
            "exclude": list(choice.selection.excluding),
            "ids": sorted(ids) if ids is not None and choice.ids_from is None else None,
            "ids_from": choice.ids_from,
            "limit": choice.limit,
            "sample": None if choice.sample is None else asdict(choice.sample),
        },
        "price_list": plan.prices.version,
        "ledger": _standing(plan.workspace.ledger),
        "tasks": figures.tasks,
        "counts": {str(verdict): count for verdict, count in sorted(figures.counts.items())},
        "requests_to_buy": figures.purchases,
        "pictures_to_buy": figures.pictures,
        "quote": {"low": decimal_text(figures.quote.low), "high": decimal_text(figures.quote.high)},
        "seals": figures.seals,
    }


def _standing(path: Path) -> dict[str, Any] | None:
    if not has_begun(path):
        return None
    with Ledger(path) as reader:
        return {"id": reader.identity(), "last_run": reader.last_run(), "last_decision": reader.last_decision()}


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _changed_files(files: Mapping[str, str]) -> list[str]:
    changes = []
    for name, digest in files.items():
        try:
            # What is no file, such as a pipe, would be waited for.
            if not Path(name).is_file():
                changes.append(f"{name} is gone")
            elif disk.digest(Path(name)) != digest:
                changes.append(f"{name} has changed")
        except (OSError, ValueError):
            changes.append(f"{name} is gone")
    return changes


def _changes(saved: SavedPlan, plan: Plan) -> list[str]:
    said, figures, changes = saved.content, plan.figures, []
    changes += [
        f"{path.absolute()} is new" for path in plan.manifest.files if str(path.absolute()) not in said["files"]
    ]
    if plan.prices.version != said["price_list"]:
        changes.append(f"prices are those of {plan.prices.version}, and were those of {said['price_list']}")
    seals, wanted = said["seals"], figures.seals
    if seals["wanted"] != wanted["wanted"]:
        count = f"{figures.tasks} tasks, there were {said['tasks']}" if figures.tasks != said["tasks"] else ""
        changes.append(f"what is wanted: pictures, or which tasks are selected{f' ({count})' if count else ''}")
    elif seals["quotes"] != wanted["quotes"]:
        changes.append("the prices of what is wanted")
    if said["counts"].get(Verdict.UNAPPROVED) and _said_since(said["ledger"], plan.workspace.ledger):
        changes.append("what people have said about pictures that others start from")
    elif seals["standing"] != wanted["standing"] and not _only_own_runs(saved, plan.workspace.ledger):
        changes.append(f"where the tasks stand in the ledger{_count_changes(said['counts'], figures.counts)}")
    return changes


def _only_own_runs(saved: SavedPlan, path: Path) -> bool:
    """True if whatever has happened in the ledger since was done by runs of this plan."""
    before = saved.content["ledger"]
    if not has_begun(path):
        return False
    with Ledger(path) as reader:
        if before is not None and reader.identity() != before["id"]:
            return False
        runs = reader.plans_since(0 if before is None else before["last_run"])
    return bool(runs) and set(runs) == {saved.digest}


def _said_since(before: Mapping[str, Any] | None, path: Path) -> bool:
    """True if there are new verdicts on pictures: they would let the plan buy what it has not named."""
    if not has_begun(path):
        return False
    with Ledger(path) as reader:
        return reader.last_decision() != (0 if before is None else before["last_decision"])


def _count_changes(before: Mapping[str, int], now: Mapping[Any, int]) -> str:
    after = {str(verdict): count for verdict, count in now.items()}
    words = [
        f"{name} {before.get(name, 0)} -> {after.get(name, 0)}"
        for name in sorted({*before, *after})
        if before.get(name, 0) != after.get(name, 0)
    ]
    return f" ({', '.join(words)})" if words else ""


def _refusal(saved: SavedPlan, changes: Iterable[str]) -> UsageError:
    found = list(changes)
    lines = found[:_SHOWN] + ([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])
    return UsageError(
        f"{saved.path} does not hold any more; nothing was sent. Changed since it was saved:\n"
        + "\n".join(f"  {line}" for line in lines),
        hint=f"look at it again: batchedit plan {saved.content['manifest']} --save {saved.path.name}",
    )


def refuse_flags(flags: Iterable[str]) -> None:
    """
    A saved plan is consent to exactly what it says.

    Args:
        flags: Names of parameters that were given besides.

    Raises:
        UsageError: if there is one that changes what is bought.
    """
    names = [f"--{flag.rstrip('_').replace('_', '-')}" for flag in flags]
    if names:
        raise UsageError(
            f"{', '.join(names)} cannot be given with a saved plan: it says what is bought, and for how much",
            hint="save another plan with these flags",
        )
