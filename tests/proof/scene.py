"""What a case of the fault matrix has to play with: a shop, a provider behind a man in the middle, and levers."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from batchedit.emulator.storage import Storage
from tests.conftest import KEY, Result, Served, Shop
from tests.middle import Change, Middle, Reply, Rule

CREATE, POLL, LIST = "/v1/models/.*/runs", "/v1/runs/[^/]+", "/v1/runs"
TICKET, STORE, CONFIRM, ASSET = "/v1/asset-uploads", "/storage/uploads/.*", "/v1/asset-uploads/.+", "/v1/assets/[^/]+"
PICTURE = "/storage/outputs/.*"
JSON = {"content-type": "application/json"}
NIGHT = (
    "run", "night.yaml", "--out", "out", "--json", "--no-input", "--debug", "-vv", "--events", "events.ndjson",
    "--log-file", "night.log",
)  # fmt: skip
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130, 143}


@dataclass
class Scene:
    """
    One case being played.

    Attributes:
        keys: Parts of the manifest that the case wants otherwise.
        lifters: What ends the fault.
    """

    shop: Shop
    served: Served
    proxy: Middle
    cli: Callable[..., Result]
    patch: pytest.MonkeyPatch
    keys: dict[str, str] = field(default_factory=dict)
    lifters: list[Callable[[], None]] = field(default_factory=list)

    def alter(self, method: str, path: str, change: Change, *, times: int = 1, forward: bool = True) -> Rule:
        """Alter calls until the fault is lifted."""
        rule = self.proxy.alter(method, path, change, times=times, forward=forward)
        self.lifters.append(lambda: setattr(rule, "times", 0))
        return rule

    def set(self, target: Any, name: str, value: Any) -> None:
        """Replace something until the fault is lifted."""
        before = getattr(target, name)
        self.patch.setattr(target, name, value)
        self.lifters.append(lambda: self.patch.setattr(target, name, before))

    def finished(self) -> None:
        """Run to the end first, so that there is something to break."""
        self.write()
        assert self.cli(*NIGHT).code == 0

    def write(self) -> None:
        """Write the manifest."""
        keys = {
            "limits": "{timeout: 0.6, list_lag: 0, deadline: 6, poll: 0.05, attempts: 3, concurrency: 2}",
            "rows": "items:\n  - {id: mug, image: in/mug.png}\n  - {id: shoe, image: in/shoe.png}\n",
            "budget": "{run: 1}",
            **self.keys,
        }
        self.served.manifest(self.shop, **keys)

    def lift(self) -> None:
        """End the fault."""
        for lifter in self.lifters:
            lifter()

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.shop.root / "out/.batchedit/ledger.db"


@dataclass(frozen=True)
class Case:
    """
    One line of the matrix.

    Attributes:
        words: What goes wrong, for a reader.
        cause: Makes it go wrong.
        first: Exit codes that the first run may end with.
        then: Exit codes of the same command after the fault is over.
        billed: How many runs the provider may have billed in the end.
    """

    name: str
    group: str
    words: str
    cause: Callable[[Scene], None]
    first: frozenset[int]
    then: frozenset[int] = frozenset({0})
    billed: int = 2


def play(case: Case, scene: Scene) -> None:
    """Cause it, run, check; lift it, run again, check."""
    case.cause(scene)
    scene.write()
    result = scene.cli(*NIGHT)
    assert result.code in case.first, (result.code, result.out, result.err)
    check(scene, result)
    scene.lift()
    result = scene.cli(*NIGHT)
    assert result.code in case.then, (result.code, result.out, result.err)
    check(scene, result)
    if result.code == 0:
        assert scene.shop.outputs() == ["mug.png", "shoe.png"]
    assert bills(scene) <= case.billed


SIGNATURE = "CANARY0signature1of2addresses3"
"""Stands in every address that the emulator's storage signs, see `signed`."""


def forms(secret: str) -> set[bytes]:
    """
    How a secret may stand somewhere: plain, backwards, in a URL once and twice, escaped as in JSON, in hex, in base64 at
    any offset, in UTF-16.
    """
    raw = secret.encode()
    found = {raw, raw[::-1], raw.hex().encode(), raw.hex().upper().encode(), secret.encode("utf-16-le")}
    found |= {quote(secret, safe="").encode(), b"".join(b"%%%02X" % byte for byte in raw)}
    found |= {quote("".join(f"%{byte:02X}" for byte in raw), safe="").encode(), quote(quote(secret, safe="")).encode()}
    escaped = "".join(f"\\u{byte:04x}" for byte in raw)
    found |= {escaped.encode(), escaped.upper().replace("\\U", "\\u").encode(), escaped.replace("\\", "\\\\").encode()}
    for shift in range(3):
        middle = b64encode(b"\0" * shift + raw)[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
        found |= {middle, middle.replace(b"+", b"-").replace(b"/", b"_")}
    return found


SECRETS = forms(KEY) | forms(SIGNATURE)


def leaks(root: Path, *said: str) -> list[str]:
    """Where a secret can be found in what was said, or in any file: ledger, its WAL, events, log, pictures, answers."""
    places = {"said": "".join(said).encode("utf-8", "surrogateescape")}
    places |= {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return [f"{name}: {secret!r}" for name, data in places.items() for secret in SECRETS if secret in data]


def signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every signature of the emulator hold the canary."""
    real = Storage._signature
    monkeypatch.setattr(Storage, "_signature", lambda self, path, expires: SIGNATURE + real(self, path, expires))


def bills(scene: Scene) -> int:
    """Runs that the provider has billed."""
    found: int = scene.served.audit()["billed_runs_total"]
    return found


def check(scene: Scene, result: Result) -> None:
    """What holds whatever goes wrong."""
    audit = scene.served.audit()
    said = result.out + result.err
    assert result.code in EXIT_CODES - {1}, said
    assert result.code == 0 or "Traceback" in said or "ended with exit code" in said, "--debug says where"
    assert leaks(scene.shop.root, said) == []
    assert [name for name, entry in audit["by_client_ref"].items() if entry["billed_runs"] > 1] == []
    assert audit["key_leaks"] == 0
    if result.code == 8 or not scene.ledger.is_file():
        return
    with closing(sqlite3.connect(f"file:{scene.ledger}?mode=ro", uri=True)) as db:
        spent, risk = db.execute(
            "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0), coalesce(sum(doubt_microusd"
            " + surplus_doubt_microusd + (outcome IS NULL) * reserved_microusd), 0) FROM attempts"
        ).fetchone()
        delivered = db.execute("SELECT path, sha256 FROM outputs").fetchall()
    assert audit["billed_microusd_total"] <= spent + risk
    assert spent + risk <= 1_000_000 or spent > 1_000_000, "only what the provider itself reports may pass the budget"
    for path, sha256 in delivered:
        file = scene.shop.root / "out" / path
        assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256
        with Image.open(file) as image:
            image.load()
    listed = {path for path, _ in delivered}
    assert set(scene.shop.outputs()) <= listed | {"foreign.txt"}


# -- changes -------------------------------------------------------------------------------------------------


def data(reply: Reply) -> Any:
    """The body as JSON."""
    return json.loads(reply.body)


def body(content: bytes) -> Change:
    """Another body under the same status."""
    return lambda reply: reply.but(body=content)


def edited(change: Callable[[Any], Any]) -> Change:
    """The JSON body, changed."""

    def apply(reply: Reply) -> Reply:
        if not reply.body.startswith(b"{"):
            return reply
        return reply.but(body=json.dumps(change(data(reply)), ensure_ascii=False).encode())

    return apply


def answer(status: int, code: str = "", message: str = "no", **headers: str) -> Change:
    """Another answer altogether."""
    content = json.dumps({"code": code, "message": message}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(status, {**JSON, **named}, content)


def cut(share: float) -> Change:
    """Only a part of the body: 0 nothing, 1 all but the last byte, something between that share of it."""

    def apply(reply: Reply) -> Reply:
        size = len(reply.body)
        return reply.but(cut={0.0: 0, 1.0: size - 1}.get(share, int(size * share)))

    return apply


def first_byte(reply: Reply) -> Reply:
    """Only the first byte of the body."""
    return reply.but(cut=1)


def reset(reply: Reply) -> Reply:
    """The connection ends without a word."""
    return reply.but(reset=True)


def hang(reply: Reply) -> Reply:
    """Silence for longer than anybody waits."""
    return reply.but(hang=1.5)


def drip(reply: Reply) -> Reply:
    """A byte now and then."""
    return reply.but(drip=0.05)
