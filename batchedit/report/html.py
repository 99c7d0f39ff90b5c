"""
A report as one HTML file that needs nothing else: styles, script, charts and thumbnails are in it.

Whatever comes from outside (titles, prompts, names, messages) is escaped; the page's policy allows the one style sheet
and the one script that are in it and no request to anywhere. Links lead to the full pictures beside it.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from batchedit.ledger.sums import Pictured
from batchedit.lifecycle import State
from batchedit.model import LocalImage, UrlImage
from batchedit.money import format_usd
from batchedit.report.page import Page, Pair
from batchedit.report.thumbs import kept_raw, thumbnail

_PROMPT = 300
_MOODS = {State.DONE: "good", State.SUSPECT: "bad", State.LOST: "bad"}


def page_html(page: Page) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    style, script = _part("report.css"), _part("report.js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("report.html")).render(
        page=page,
        style=Markup(style),
        script=Markup(script),
        style_hash=_fingerprint(style),
        script_hash=_fingerprint(script),
    )


def pairs_of(tasks: Iterable[Pictured], *, out: Path, state: Path, beside: Path) -> list[Pair]:
    """
    Thumbnails of tasks before and after.

    Args:
        out: The output folder.
        state: The folder ``.batchedit``, where raws are and thumbnails are kept.
        beside: The folder of the report, which links start from.
    """
    return [_pair(task, out, state, beside) for task in tasks]


def with_pairs(page: Page, pairs: list[Pair], tasks: int) -> Page:
    """The page with its pictures, and how many of all tasks they show."""
    note = f"{len(pairs):,} of {tasks:,} tasks, evenly from all of them" if len(pairs) < tasks else ""
    return replace(page, pairs=pairs, pairs_note=note)


def _pair(task: Pictured, out: Path, state: Path, beside: Path) -> Pair:
    first, thumbs = task.request.images[0], state / "thumbs"
    before, note = None, "the picture before is not on this machine"
    if first.digest is not None and not isinstance(first.ref, UrlImage):
        source = first.ref.path if isinstance(first.ref, LocalImage) else kept_raw(state, first.digest)
        before = None if source is None else thumbnail(source, first.digest, thumbs)
        note = "the picture before is gone, or another one by now" if before is None else ""
    elif not isinstance(first.ref, LocalImage):
        note = f"from {first.ref}"
    after = link = None
    if task.raw is not None:
        raw = state / "raw" / task.raw.name
        after = thumbnail(raw, task.raw.sha256, thumbs)
        full = out / task.path if task.path else raw
        link = quote(os.fsencode(os.path.relpath(full, beside).replace(os.sep, "/")))
    prompt = task.request.prompt
    return Pair(
        slot=task.slot,
        state=task.verdict or str(task.state),
        mood="bad" if task.verdict == "rejected" else _MOODS.get(task.state, ""),
        cost=format_usd(task.cost),
        prompt=prompt if len(prompt) <= _PROMPT else prompt[:_PROMPT] + "…",
        before=before,
        before_note=note,
        after=after,
        after_note="no picture is kept",
        link=link or "",
    )


@cache
def _part(name: str) -> str:
    return (files("batchedit.report") / "templates" / name).read_text("utf-8")


def _fingerprint(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
