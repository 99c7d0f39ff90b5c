"""
The fault matrix: one line for each way in which the world can be unkind.

    python -m tests.proof.faults           prints the list for the README
"""

from __future__ import annotations

import errno
import io
import json
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from batchedit import disk, effects
from batchedit.credentials import ORIGIN_VARIABLE
from tests.middle import Change, Reply
from tests.proof.damage import DAMAGES, LOCKS
from tests.proof.scene import (
    ASSET,
    CONFIRM,
    CREATE,
    LIST,
    PICTURE,
    POLL,
    STORE,
    TICKET,
    Case,
    Scene,
    answer,
    body,
    cut,
    drip,
    edited,
    first_byte,
    hang,
    reset,
)

Cause = Callable[[Scene], None]

_BODIES: tuple[tuple[str, str, Change], ...] = (
    ("empty", "an empty body", body(b"")),
    (
        "html",
        "a web page instead of JSON",
        lambda reply: reply.but(headers={"content-type": "text/html"}, body=b"<html>"),
    ),
    ("text", "a plain word", body(b"ok")),
    ("null", "null", body(b"null")),
    ("list", "a list", body(b"[]")),
    ("number", "a number", body(b"42")),
    ("string", "a string", body(b'"done"')),
    (
        "half-json",
        "half of the JSON under the right length",
        lambda reply: reply.but(body=reply.body[: len(reply.body) // 2]),
    ),
    ("deep", "JSON nested too deep", body(b"[" * 100_000)),
    ("not-utf8", "bytes that are no text", body(b"\xff\xfe\x00{")),
    ("large", "ten megabytes of spaces", body(b" " * 10_000_000)),
    ("other-object", "another object", body(b'{"hello": {"id": null, "status": []}}')),
)
_BREAKS: tuple[tuple[str, str, Change], ...] = (
    ("cut-0", "cut before the first byte", cut(0.0)),
    ("cut-1", "cut after the first byte", first_byte),
    ("cut-half", "cut in the middle", cut(0.5)),
    ("cut-last", "cut before the last byte", cut(1.0)),
    ("reset", "a connection that ends without a word", reset),
    ("hang", "silence beyond the time-out", hang),
    ("drip", "a byte now and then, beyond the time-out", drip),
)


def codes(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


def altered(method: str, path: str, change: Change, *, times: int = 1, forward: bool = True) -> Cause:
    """The cause that alters calls."""

    def cause(scene: Scene) -> None:
        scene.alter(method, path, change, times=times, forward=forward)

    return cause


def both(*causes: Cause) -> Cause:
    """Several causes at once."""

    def cause(scene: Scene) -> None:
        for each in causes:
            each(scene)

    return cause


def wanting(**keys: str) -> Cause:
    """Another manifest."""
    return lambda scene: scene.keys.update(keys)


def field_of(name: str, value: object) -> Change:
    """One field of the JSON body changed; None removes it."""

    def change(data: Any) -> Any:
        return {k: v for k, v in {**data, name: value}.items() if v is not None}

    return edited(change)


_COUNT = 1_000


def creations() -> Iterable[Case]:
    group = "answers to a purchase"
    for name, words, change in (*_BODIES, *_BREAKS):
        yield Case(f"create-{name}", group, words, altered("POST", CREATE, change), codes(0))
    for name, words, change in (
        ("no-id", "no run id", field_of("id", None)),
        ("id-number", "a number as run id", field_of("id", 5)),
        ("id-list", "a list as run id", field_of("id", [1])),
        ("id-other", "the id of a run that does not exist", field_of("id", "01a00000-0000-7000-8000-000000000000")),
        ("no-status", "no state", field_of("status_code", None)),
        ("odd-status", "a state that nobody knows", field_of("status_code", "warming")),
    ):
        yield Case(f"create-{name}", group, words, altered("POST", CREATE, change), codes(0, 3))
    for status in (300, 302, 307, 408, 409, 425, 500, 502, 503, 504, 520):
        words = f"HTTP {status}, and the purchase was made"
        yield Case(f"create-{status}-made", group, words, altered("POST", CREATE, answer(status)), codes(0))
    for status in (302, 408, 409, 425, 500, 502, 503, 504):
        cause = altered("POST", CREATE, answer(status), forward=False)
        yield Case(f"create-{status}-not-made", group, f"HTTP {status}, and it was not", cause, codes(0))
    cause = altered("POST", CREATE, reset, forward=False)
    yield Case("create-reset-not-made", group, "a reset before anything was done", cause, codes(0))
    for status in (400, 405, 410, 413, 415, 418, 422):
        cause = altered("POST", CREATE, answer(status, "NO"), forward=False)
        yield Case(f"create-{status}", group, f"HTTP {status}: refused for good", cause, codes(3), codes(0, 3))
    for status in (401, 402, 403, 404):
        cause = altered("POST", CREATE, answer(status), forward=False, times=_COUNT)
        yield Case(f"create-{status}", group, f"HTTP {status}: the account may not buy", cause, codes(4))
    cause = altered("POST", CREATE, answer(503, "MODEL_UNAVAILABLE"), forward=False)
    yield Case("create-unavailable", group, "the model is not available for a while", cause, codes(0))


def throttling() -> Iterable[Case]:
    group = "rate limits"
    for name, words, value in (
        ("seconds", "Retry-After in seconds", "1"),
        ("fraction", "Retry-After with a fraction", "0.5"),
        ("zero", "Retry-After of zero", "0"),
        ("negative", "Retry-After below zero", "-5"),
        ("past", "Retry-After with a date in the past", "Wed, 21 Oct 2015 07:28:00 GMT"),
    ):
        headers = {"retry_after": value, "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
        cause = altered("POST", CREATE, answer(429, **headers), forward=False, times=2)
        yield Case(f"429-{name}", group, words, cause, codes(0))
    cause = altered("GET", POLL, answer(429, retry_after="0"), forward=False, times=3)
    yield Case("429-poll", group, "429 to polls", cause, codes(0))


def polls() -> Iterable[Case]:
    group = "polls"
    for name, words, change in (*_BODIES, *_BREAKS):
        yield Case(f"poll-{name}", group, words, altered("GET", POLL, change, times=2), codes(0))
    for status in (302, 404, 408, 409, 500, 502, 503, 504):
        yield Case(f"poll-{status}", group, f"HTTP {status}", altered("GET", POLL, answer(status), times=2), codes(0))
    for status in (401, 403):
        cause = altered("GET", POLL, answer(status), times=_COUNT)
        yield Case(f"poll-{status}", group, f"HTTP {status} to every poll", cause, codes(4))
    cause = both(
        altered("GET", POLL, answer(404), times=_COUNT),
        altered("GET", LIST, lambda reply: reply.but(body=b'{"items": []}'), times=_COUNT),
    )
    yield Case("poll-forgotten", group, "a run that was accepted and then forgotten", cause, codes(7))
    for name, words, change, first in (
        ("upper", "states in capitals", edited(lambda d: {**d, "status_code": str(d.get("status_code")).upper()}), {0}),
        ("unknown", "a state that nobody knows, for ever", field_of("status_code", "warming"), {6}),
        ("no-output", "success without pictures", field_of("output", None), {6}),
        ("odd-output", "success with pictures in an unknown shape", field_of("output", {"files": [7]}), {6}),
        ("no-cost", "no cost", field_of("cost", None), {0}),
        ("cost-text", "a cost that is no number", field_of("cost", "much"), {0}),
        ("cost-negative", "a negative cost", field_of("cost", "-1"), {0}),
        ("cost-nan", "a cost that is not a number", field_of("cost", "NaN"), {0}),
        ("cost-absurd", "a cost with an absurd exponent", field_of("cost", "1e1000000"), {0}),
        ("cost-list", "a cost that is a list", field_of("cost", [1]), {0}),
    ):
        cause = altered("GET", POLL, change, times=_COUNT)
        yield Case(f"poll-{name}", group, words, cause, codes(*first))


def listings() -> Iterable[Case]:
    group = "the list of runs, when an answer was lost"
    lost = altered("POST", CREATE, reset)
    for name, words, change in (*_BODIES, *_BREAKS):
        cause = both(lost, altered("GET", LIST, change, times=2))
        yield Case(f"list-{name}", group, words, cause, codes(0))
    for status in (404, 429, 500, 502, 503, 504):
        cause = both(lost, altered("GET", LIST, answer(status, retry_after="0"), times=2))
        yield Case(f"list-{status}", group, f"HTTP {status}", cause, codes(0))
    for status in (400, 422):
        cause = both(lost, altered("GET", LIST, answer(status), times=2))
        yield Case(
            f"list-{status}", group, f"HTTP {status}: no filter is understood, so it is read through", cause, codes(0)
        )
    for name, words, cursor in (("number", "a number as cursor", 5), ("list", "a list as cursor", ["x"])):
        page = json.dumps({"items": [], "next": cursor, "next_pq": cursor}).encode()
        cause = both(lost, altered("GET", LIST, answer(422), times=2), _second(LIST, page))
        yield Case(f"list-cursor-{name}", group, f"{words} on a page without our run", cause, codes(0))
    for name, words, items in (
        ("numbers", "numbers among the entries", [1, 2]),
        (
            "strangers",
            "runs of others: the filter was not obeyed",
            [{"id": "x", "status_code": "running", "client_ref": "y"}],
        ),
        ("nameless", "entries without id", [{"status_code": "running"}]),
    ):
        cause = both(lost, altered("GET", LIST, edited(lambda d, items=items: {**d, "items": items}), times=3))  # type: ignore[misc]
        yield Case(f"list-{name}", group, words, cause, codes(0))


def _second(path: str, page: bytes) -> Cause:
    """The call after two others gets this page."""
    return altered("GET", path, lambda reply: reply.but(status=200, body=page), times=1)


def uploads() -> Iterable[Case]:
    group = "uploads"
    for place, path, method in (("ticket", TICKET, "POST"), ("store", STORE, "PUT"), ("confirm", CONFIRM, "POST")):
        for status in (500, 503):
            cause = altered(method, path, answer(status), forward=False)
            yield Case(f"{place}-{status}", group, f"HTTP {status} at the {place}", cause, codes(0))
        cause = altered(method, path, reset)
        yield Case(f"{place}-reset", group, f"a reset at the {place}", cause, codes(0))
    for name, words, change in _BODIES[:7]:
        yield Case(f"ticket-{name}", group, f"{words} as ticket", altered("POST", TICKET, change), codes(0))
    cause = altered("POST", TICKET, answer(413), forward=False)
    yield Case("ticket-413", group, "HTTP 413: the picture is too large", cause, codes(3), codes(0, 3))
    cause = altered("POST", TICKET, answer(403), forward=False)
    yield Case("ticket-403", group, "the key may not upload", cause, codes(4))
    for url in ("http://example.invalid/x", "ftp://example.invalid/x", "https://[x", "nonsense"):
        cause = altered("POST", TICKET, edited(lambda d, url=url: {**d, "upload_url": url}))  # type: ignore[misc]
        yield Case(f"ticket-to-{url}", group, f"a ticket for {url}", cause, codes(3), codes(0, 3))
    cause = both(wanting(provider=", images_as: signed-url"), altered("GET", ASSET, answer(404), forward=False))
    yield Case("asset-404", group, "an uploaded picture that the provider has lost", cause, codes(0))


def encoded(side: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (9, 9, 9)).save(buffer, kind)
    return buffer.getvalue()


def downloads() -> Iterable[Case]:
    group = "downloads"
    for name, words, change in _BREAKS:
        yield Case(f"picture-{name}", group, words, altered("GET", PICTURE, change, times=2), codes(0))
    for status in (403, 404, 410, 429, 500, 503):
        cause = altered("GET", PICTURE, answer(status), times=2)
        yield Case(f"picture-{status}", group, f"HTTP {status} for a while", cause, codes(0))
    cause = altered("GET", PICTURE, answer(410), times=_COUNT)
    yield Case("picture-gone", group, "HTTP 410 for ever: lost, with its price", cause, codes(3), codes(3))
    huge = bytearray(encoded(4, "png"))
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    for name, words, content in (
        ("empty", "no bytes", b""),
        ("html", "a web page under an image's name", b"<html><body>sign in</body></html>"),
        ("svg", "an SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ("gif", "a GIF", encoded(16, "gif")),
        ("bomb", "a picture that claims ten gigapixels", bytes(huge)),
        ("noise", "noise", bytes(range(256)) * 20),
    ):
        cause = altered("GET", PICTURE, body(content), times=2)
        yield Case(f"picture-{name}", group, words, cause, codes(0))
    for name, words, content in (
        ("small", "one pixel where a size was asked for", encoded(1, "png")),
        ("other-size", "another size than was asked for", encoded(64, "png")),
    ):
        rows = "items:\n  - {id: mug, image: in/mug.png, size: 1024x768}\n  - {id: shoe, image: in/shoe.png}\n"
        cause = both(wanting(rows=rows), altered("GET", PICTURE, body(content), times=_COUNT))
        yield Case(f"picture-{name}", group, f"{words}: suspect, not delivered", cause, codes(3), codes(3))
    for name, words, target in (
        ("loop", "a redirect to itself", ""),
        ("http", "a redirect to a host that does not exist", "https://example.invalid/x.png"),
        ("ftp", "a redirect to another protocol", "ftp://example.invalid/x.png"),
    ):
        cause = altered("GET", PICTURE, _redirect(target), times=3)
        yield Case(f"picture-redirect-{name}", group, words, cause, codes(0, 6))


def _redirect(target: str) -> Change:
    return lambda _: Reply(302, {"location": target}, b"")


def synchronous() -> Iterable[Case]:
    group = "the synchronous form"
    path = "/v1/run/.*"
    form = wanting(provider=", api: run")
    for name, words, change in (_BREAKS[2], _BREAKS[4]):
        cause = both(form, altered("POST", path, change))
        yield Case(f"sync-{name}", group, f"{words}: unknown, held", cause, codes(7), codes(7))
    for status in (500, 502, 504):
        cause = both(form, altered("POST", path, answer(status)))
        yield Case(
            f"sync-{status}", group, f"HTTP {status} after it was made: unknown, held", cause, codes(7), codes(7)
        )
    cause = both(form, altered("POST", path, body(b"<html>")))
    yield Case(
        "sync-html", group, "an answer that nobody understands: kept, and never bought again", cause, codes(6), codes(6)
    )


def disks() -> Iterable[Case]:
    group = "the disk"
    for name in ("append", "sync_file", "sync_folder", "replace", "publish", "copy"):
        for number in (errno.EIO, errno.ENOSPC, errno.EROFS):
            for lasting in (False, True):
                label = errno.errorcode[number]
                words = f"{label} at {name.replace('_', ' ')}" + (", for good" if lasting else ", once")
                cause = _failing(name, number, lasting=lasting)
                yield Case(f"disk-{name}-{label}-{'for-good' if lasting else 'once'}", group, words, cause, codes(9))


def _failing(name: str, number: int, *, lasting: bool) -> Cause:
    def cause(scene: Scene) -> None:
        original, calls = getattr(disk, name), [0]

        def fail(*args: Any) -> Any:
            calls[0] += 1
            if calls[0] == 1 or lasting:
                raise OSError(number, os.strerror(number))
            return original(*args)

        scene.set(disk, name, fail)

    return cause


def networks() -> Iterable[Case]:
    group = "the network"

    def refused(scene: Scene) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            _elsewhere(scene, f"http://127.0.0.1:{closed.getsockname()[1]}")

    def nameless(scene: Scene) -> None:
        scene.patch.setenv(ORIGIN_VARIABLE, "https://no-such-host.invalid loopback")  # else the key would not go there
        _elsewhere(scene, "https://no-such-host.invalid")

    def silent(scene: Scene) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        scene.lifters.append(listener.close)
        _elsewhere(scene, f"http://127.0.0.1:{listener.getsockname()[1]}")

    for name, words, cause in (
        ("refused", "a port where nobody listens", refused),
        ("nameless", "a name that cannot be resolved", nameless),
        ("silent", "a server that accepts and says nothing", silent),
    ):
        yield Case(f"network-{name}", group, words, cause, codes(3, 6))


def _elsewhere(scene: Scene, url: str) -> None:
    limits = "{timeout: 0.6, list_lag: 0, deadline: 6, poll: 0.05, attempts: 2, concurrency: 2}"
    scene.keys["limits"] = limits
    right, scene.served.through = scene.served.through, url

    def lift() -> None:
        scene.served.through = right
        scene.write()

    scene.lifters.append(lift)


def clocks() -> Iterable[Case]:
    group = "clocks"
    for name, words, shift, later in (
        ("ahead", "a wall clock ten years ahead", 3.2e8, 3.2e8),
        ("behind", "a wall clock ten years behind", -3.2e8, -3.2e8),
        ("set-back", "a wall clock set back by a day during the run", 0.0, -86_400.0),
        ("set-forward", "a wall clock set forward by a year during the run", 0.0, 3.2e7),
    ):
        yield Case(f"clock-{name}", group, words, _clock(shift, later), codes(0))


def _clock(shift: float, later: float) -> Cause:
    def cause(scene: Scene) -> None:
        real, asked = effects._wall_time, [0]

        def shifted() -> float:
            asked[0] += 1
            return real() + (shift if asked[0] < 15 else later)

        # The default of a dataclass field is taken when the class is made, so the field's own function is replaced.
        scene.set(
            effects.Effects.__init__,
            "__kwdefaults__",
            {**(effects.Effects.__init__.__kwdefaults__ or {}), "wall": shifted},
        )

    return cause


def inputs() -> Iterable[Case]:
    group = "input pictures"

    def vanished(scene: Scene) -> None:
        _when_uploading(scene, lambda path: path.unlink())

    def changed(scene: Scene) -> None:
        _when_uploading(scene, lambda path: path.write_bytes(encoded(8, "png")))

    yield Case("input-vanished", group, "a picture that vanishes between plan and send", vanished, codes(0, 3))
    yield Case("input-changed", group, "a picture that changes between plan and send", changed, codes(0, 3))


def disk_write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _when_uploading(scene: Scene, do: Callable[[Any], object]) -> None:
    path = scene.shop.root / "in/shoe.png"
    before = path.read_bytes()
    scene.keys["limits"] = "{timeout: 0.6, list_lag: 0, deadline: 6, poll: 0.05, attempts: 3, concurrency: 1}"

    def change(reply: Reply) -> Reply:
        do(path)
        return reply

    scene.alter("POST", TICKET, change)
    scene.lifters.append(lambda: disk_write(path, before))


GROUPS = (
    creations, throttling, polls, listings, uploads, downloads, synchronous, disks, networks, clocks, inputs,
)  # fmt: skip
CASES: tuple[Case, ...] = (*(case for group in GROUPS for case in group()), *DAMAGES, *LOCKS)


def readme() -> str:
    """The survived faults, by group, as the README lists them."""
    lines = [f"{len(CASES)} cases, each caused in a real run and then run again to its end:", ""]
    for group in dict.fromkeys(case.group for case in CASES):
        words = list(dict.fromkeys(case.words for case in CASES if case.group == group))
        shown = "; ".join(words[:14]) + ("; ..." if len(words) > 14 else "")
        lines.append(f"- **{group}** ({sum(case.group == group for case in CASES)}): {shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(readme())
