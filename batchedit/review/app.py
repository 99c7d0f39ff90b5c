"""What the review's page asks for, and what becomes of it. Whoever gets here has passed the guard."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from batchedit.comparing import METHOD, tally
from batchedit.errors import BatchEditError
from batchedit.ledger.decisions import DecisionBook, Ruling
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import Comparison, Decision, Wish
from batchedit.manifest.fields import looks_like_a_key
from batchedit.manifest.templates import has_leftover
from batchedit.model import MAX_PROMPT, MIN_PROMPT
from batchedit.money import decimal_text
from batchedit.pictures import MEDIA_TYPES, sniff
from batchedit.report.thumbs import SIDE
from batchedit.review.sheet import Sheet
from batchedit.review.thumbnailer import SCREEN, Picture, Thumbnailer
from batchedit.verdicts import MAX_TEXT, VERDICTS

MOST_AT_ONCE = 1_000
"""Decisions in one call."""

_KINDS = {"review.js": "text/javascript; charset=utf-8", "review.css": "text/css; charset=utf-8"}
_SIZES = {"small": SIDE, "screen": SCREEN}
_PRIVATE = {"cache-control": "private, max-age=3600"}
_NEVER = {"cache-control": "no-store"}
_MOST_BYTES = 200_000_000
_WHICH = re.compile(r"before|r?[0-9]{1,9}(-[0-9]{1,9})?")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,20}Z)?")
"""Until when a page knows everything; empty for a ledger without any file."""


class Wrong(Exception):
    """What was asked for makes no sense; the message says why."""


class Desk:
    """
    The application's answers. They are called in threads.

    Args:
        sheet: What is looked at.
        thumbnails: Where small pictures come from.
        book: Where decisions go; None for a review that only shows.
        who: The reviewer.
    """

    def __init__(self, sheet: Sheet, thumbnails: Thumbnailer, book: DecisionBook | None, who: str) -> None:
        self._sheet, self._thumbnails, self._book, self._who = sheet, thumbnails, book, who

    def app(self) -> Starlette:
        """The application."""
        picture = "/picture/{name:str}/{which:str}/{size:str}"
        return Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/review.js", self.part, methods=["GET"]),
                Route("/review.css", self.part, methods=["GET"]),
                Route("/favicon.ico", self.icon, methods=["GET"]),
                Route("/cards", self.cards, methods=["GET"]),
                Route("/news", self.news, methods=["GET"]),
                Route("/card/{name:str}", self.card, methods=["GET"]),
                Route("/results", self.results, methods=["GET"]),
                Route(picture, self.picture, methods=["GET"]),
                Route("/decide", self._checked(self.decide), methods=["POST"]),
                Route("/wish", self._checked(self.wish), methods=["POST"]),
                Route("/compare", self._checked(self.compare), methods=["POST"]),
            ]
        )

    # -- reading -------------------------------------------------------------------------------------------------

    def page(self, request: Request) -> Response:
        """The page itself."""
        return Response(page_html(), media_type="text/html; charset=utf-8", headers=_NEVER)

    def icon(self, request: Request) -> Response:
        """There is none, which browsers need not hold for a mistake."""
        return Response(status_code=204)

    def part(self, request: Request) -> Response:
        """Its script or its style."""
        name = request.url.path.removeprefix("/")
        return Response(part(name), media_type=_KINDS[name], headers=_NEVER)

    def cards(self, request: Request) -> Response:
        """Everything to look at."""
        try:
            data = self._sheet.read(self._who)
        except BatchEditError as error:
            return JSONResponse({"error": str(error)}, 409, headers=_NEVER)
        return JSONResponse({**data, "read_only": self._book is None}, headers=_NEVER)

    def news(self, request: Request) -> Response:
        """
        What was said since: by another tab, another reviewer, an import; and what a run has brought. A blind comparison
        is told nothing, since all of it names variants.
        """
        after, since = request.query_params.get("after", ""), request.query_params.get("since", "")
        if not (after.isascii() and after.isdecimal() and len(after) < 18) or not _TIME.fullmatch(since):
            return JSONResponse({"error": "after what?"}, 400, headers=_NEVER)
        if self._sheet.settings.blind:
            return JSONResponse({"last": int(after), "said": [], "cards": [], "arrived": since}, headers=_NEVER)
        with Ledger(self._sheet.ledger) as reader:
            said = reader.decisions_after(int(after))
            come, arrived = self._sheet.arrived(reader, since)
            fresh = [self._sheet.card(task) for task in come]
        known = self._sheet.slots
        told = []
        for past in said:
            name = self._sheet.id_of(past.decision.slot)
            if name in known:
                told.append({**_said(past.decision), "id": name, "key": past.decision.key[:12], "seen": past.id,
                             "at": past.at})  # fmt: skip
        last = said[-1].id if said else int(after)
        return JSONResponse({"last": last, "said": told, "cards": fresh, "arrived": arrived}, headers=_NEVER)

    def card(self, request: Request) -> Response:
        """One task in full: what was said of it, its revisions, its other variants."""
        slot = self._sheet.slots.get(request.path_params["name"])
        if slot is None:
            return JSONResponse({"error": "there is no such task"}, 404, headers=_NEVER)
        with Ledger(self._sheet.ledger) as reader:
            task = next(reader.shown(slot), None)
            if task is None:
                return JSONResponse({"error": "it has no picture any more"}, 404, headers=_NEVER)
            history = [
                {**_said(past.decision), "at": past.at, "is_current": past.decision.key == task.key}
                for past in reader.decisions_of(slot)
            ]
            revisions = [
                {"revision": each.revision, "prompt": each.prompt, "cost": each.cost, "verdict": each.verdict,
                 "reason": each.reason, "is_current": each.is_current, "count": len(each.raws)}
                for each in reader.revisions_of(slot, task.key)
            ]  # fmt: skip
            others = [
                self._sheet.id_of(other)
                for other in reader.slots_of(task.item_id)
                if self._sheet.id_of(other) in self._sheet.slots
            ]
            told = {"card": self._sheet.card(task), "history": history, "revisions": revisions, "others": others}
        return JSONResponse(told, headers=_NEVER)

    def results(self, request: Request) -> Response:
        """What blind comparisons have shown; only once all of them are made, since this names the variants."""
        sheet = self._sheet
        with Ledger(sheet.ledger) as reader:
            said = {(each.item_id, each.edit) for each in reader.comparisons() if each.who == self._who}
            open_ = sum((sides.item_id, sides.edit) not in said for sides in sheet.pairs.values())
            if sheet.settings.blind and open_:
                return JSONResponse({"error": f"{open_} are still to be compared"}, 409, headers=_NEVER)
            found = tally([reader])
        told = [
            {
                "edit": each.edit, "variant": each.variant, "shown": each.shown, "wins": each.wins, "ties": each.ties,
                "share": None if each.share is None else [each.share.low, each.share.likely, each.share.high],
                "each": None if each.each is None else decimal_text(each.each),
            }
            for each in found
        ]  # fmt: skip
        return JSONResponse({"method": METHOD, "variants": told}, headers=_NEVER)

    def picture(self, request: Request) -> Response:
        """A picture by the id that the page has, small, as large as a screen, or as it is."""
        name, which, size = (str(request.path_params[part]) for part in ("name", "which", "size"))
        if not _WHICH.fullmatch(which):
            return _gone("there is no such picture")
        found = self._sheet.picture(name, which)
        if found is None:
            return _gone("there is no such picture")
        if size == "full":
            return full_picture(found)
        if size not in _SIZES:
            return _gone("there is no such size")
        small = self._thumbnails.get(found, _SIZES[size])
        if small is None:
            return _gone("the picture is gone, or another one by now")
        return Response(small.read_bytes(), media_type="image/webp", headers=_PRIVATE)

    # -- deciding ------------------------------------------------------------------------------------------------

    def _checked(self, work: Callable[[DecisionBook, Mapping[str, Any]], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            from anyio.to_thread import run_sync

            if self._book is None:
                return JSONResponse({"error": "this review only shows"}, 403, headers=_NEVER)
            book, body = self._book, await request.body()
            try:
                given = json.loads(body)
                if not isinstance(given, dict):
                    raise Wrong("an object is expected")
                return JSONResponse(await run_sync(lambda: work(book, given)), headers=_NEVER)
            except (ValueError, RecursionError):
                return JSONResponse({"error": "that is no JSON"}, 400, headers=_NEVER)
            except Wrong as wrong:
                return JSONResponse({"error": str(wrong)}, 400, headers=_NEVER)
            except BatchEditError as error:
                return JSONResponse({"error": str(error)}, 503, headers=_NEVER)

        return answer

    def decide(self, book: DecisionBook, given: Mapping[str, Any]) -> Any:
        """Take decisions, all in one step; one about a picture that is another one by now is told with the new one."""
        wanted = given.get("decisions")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= MOST_AT_ONCE:
            raise Wrong(f"1 to {MOST_AT_ONCE} decisions are expected")
        with Ledger(self._sheet.ledger) as reader:
            rulings = [self._ruling(each, reader) for each in wanted]
        numbers = iter(book.decide(ruling for ruling in rulings if ruling is not None))
        taken = [None if ruling is None else next(numbers) for ruling in rulings]
        return {"taken": [
            {"id": each["id"], "seen": number} if number is not None else {"id": each["id"], **self._fresh(each["id"])}
            for each, number in zip(wanted, taken, strict=True)
        ]}  # fmt: skip

    def _ruling(self, each: Any, reader: Ledger) -> Ruling | None:
        """None if the task has other pictures by now."""
        if not isinstance(each, dict):
            raise Wrong("a decision is an object")
        slot = self._slot(each)
        verdict, seen = each.get("verdict"), each.get("seen")
        if verdict not in VERDICTS:
            raise Wrong(f"a verdict is one of {', '.join(VERDICTS)}")
        if seen is not None and (isinstance(seen, bool) or not isinstance(seen, int)):
            raise Wrong("seen is a number")
        key = reader.key_of(slot) or ""
        if not key.startswith(_text(each, "key", least=12)):
            return None
        said = Decision(
            slot=slot, key=key, verdict=verdict, reason=_text(each, "reason"), note=_text(each, "note"), who=self._who
        )
        return Ruling(decision=said, seen=seen, files=_text(each, "files"))

    def _fresh(self, name: str) -> dict[str, Any]:
        with Ledger(self._sheet.ledger) as reader:
            task = next(reader.shown(self._sheet.slots[name]), None)
            return {"seen": None, "card": None if task is None else self._sheet.card(task)}

    def wish(self, book: DecisionBook, given: Mapping[str, Any]) -> Any:
        """Note how a picture shall be made again. Buys nothing: that is for `batchedit reedit` on the command line."""
        slot, prompt, note = self._slot(given), _text(given, "prompt", most=MAX_PROMPT).strip(), _text(given, "note")
        if prompt:
            if len(prompt) < MIN_PROMPT:
                raise Wrong(f"a prompt has at least {MIN_PROMPT} characters")
            if has_leftover(prompt):
                raise Wrong("a prompt is no template: take {{ and {% out of it")
        with Ledger(self._sheet.ledger) as reader:
            key = reader.key_of(slot) or ""
        if not key.startswith(_text(given, "key", least=12)):
            return self._fresh(given["id"])
        number = book.wish(Wish(slot=slot, key=key, prompt=prompt, note=note.strip(), who=self._who))
        return {"wish": number} if number is not None else self._fresh(given["id"])

    def compare(self, book: DecisionBook, given: Mapping[str, Any]) -> Any:
        """Take which side is best: its number, 0 for a tie, None to take that back."""
        sides = self._sheet.pairs.get(str(given.get("id")))
        winner = given.get("winner")
        if sides is None:
            raise Wrong("there is no such pair")
        if _text(given, "request", least=12) != sides.key:
            return {"compared": None}  # the page shows other pictures, perhaps in another order
        is_number = isinstance(winner, int) and not isinstance(winner, bool) and 0 <= winner <= len(sides.shown)
        if winner is not None and not is_number:
            raise Wrong("a winner is the number of a side, 0, or nothing")
        comparison = Comparison(
            item_id=sides.item_id,
            edit=sides.edit,
            shown=sides.shown,
            outcome="undone" if winner is None else "won" if winner else "tie",
            winner=sides.shown[winner - 1][0] if winner else "",
            who=self._who,
        )
        return {"compared": book.compare(comparison)}

    def _slot(self, given: Mapping[str, Any]) -> str:
        slot = self._sheet.slots.get(str(given.get("id")))
        if slot is None:
            raise Wrong("there is no such task")
        return slot


def full_picture(picture: Picture) -> Response:
    """The file itself, if it is what it was when it was noted."""
    try:
        file = os.open(picture.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return _gone("the picture is gone")
    with os.fdopen(file, "rb") as opened:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            return _gone("this is no picture")
        data = opened.read()
    kind = sniff(data[:12])
    if kind is None or hashlib.sha256(data).hexdigest() != picture.digest:
        return _gone("the picture is another one by now")
    return Response(data, media_type=MEDIA_TYPES[kind], headers=_PRIVATE)


def part(name: str) -> str:
    """A part of the page."""
    return (files("batchedit.review") / "templates" / name).read_text("utf-8")


def page_html(data: str = "", policy: str = "") -> str:
    """
    The page.

    Args:
        data: What it shows, as JSON; empty for a page that asks for it.
        policy: What it may do, where no server says so.
    """
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    block = f'<script type="application/json" id="data">{data}</script>' if data else ""
    return part("review.html").replace("<!--policy-->", meta).replace("<!--data-->", block)


def as_block(data: Mapping[str, Any]) -> str:
    """JSON that can stand within a page: nothing in it ends the element that it is in."""
    text = json.dumps(data, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").replace("\u2028", "\\u2028")


def _said(decision: Decision) -> dict[str, Any]:
    return {"verdict": decision.verdict, "reason": decision.reason, "note": decision.note, "by": decision.who}


def _text(given: Mapping[str, Any], name: str, *, least: int = 0, most: int = MAX_TEXT) -> str:
    text = given.get(name, "")
    if not isinstance(text, str) or not least <= len(text) <= most:
        raise Wrong(f"{name} is a text of {least} to {most:,} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Wrong(f"{name} is no valid text") from None
    if looks_like_a_key(text):
        raise Wrong(f"{name} has in it what looks like an API key")
    return text.replace("\0", "")


def _gone(why: str) -> Response:
    return Response(why, 404, media_type="text/plain; charset=utf-8", headers=_NEVER)
