"""A canary for a key and one in every signature: a server that shouts them back leaves neither in any byte of ours."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import KEY, Result, Served, Shop
from tests.middle import Change, Middle, Reply
from tests.proof.scene import CREATE, LIST, PICTURE, POLL, SECRETS, SIGNATURE, Scene, answer, forms, leaks, signed

URL = f"https://storage.example/outputs/a.png?X-Amz-Signature={SIGNATURE}&x=1"
SHOUTED = {
    "plain": f"Bearer {KEY} is refused for {URL}",
    "url": f"key={quote(KEY, safe='')}%20url={quote(URL, safe='')}",
    "base64": f"{b64encode(f'key {KEY}!'.encode()).decode()} {URL}",
    "url twice": quote(quote(f"key={''.join(f'%{byte:02X}' for byte in KEY.encode())} url={URL}", safe=""), safe=""),
    "escaped": f"key {KEY} {URL}",  # the answer's JSON escapes all of it
    "escapes": "key " + "".join(f"\\u{ord(char):04x}" for char in f"{KEY} {URL}"),
    "hex": f"{KEY.encode().hex()} {URL}",
    "json": f'{{"authorization": "Bearer {KEY}", "url": "{URL}"}}',
    "terminal": f"\x1b[2J{KEY}\x07 {URL}\u202e",
}
PAIRS = [
    *((where, shouted) for where in ("create", "poll") for shouted in SHOUTED),
    *((where, shouted) for where in ("create-made", "list", "picture") for shouted in ("plain", "base64", "escaped")),
]
READERS = (
    "report out", "report out --json", "report out --by client --csv bill.csv", "report out --html report.html",
    "report out --markdown -", "ls out", "ls out --json id,status,reason", "show mug out", "show mug out --json",
    "status out", "status out --watch --json", "export results night.yaml --out results.csv", "export csv out --out finance.csv",
    "export ndjson out", "export prometheus out --out b.prom", "verify out", "ledger info out", "ledger check out",
    "ledger backup out copy.db", "doctor night.yaml --json", "auth check night.yaml", "config show --origin",
    "plan night.yaml --debug", "reconcile night.yaml --out out --debug",
)  # fmt: skip


JOB = """job: 1
manifests: [night.yaml]
log: job.log
notify:
  - {via: exec, command: [sh, -c, "cat > notice.json; env > notice.env"]}
"""


def refusal(status: int, shouted: str) -> Change:
    """An answer with it in the message and, unless a header cannot hold it, in headers that somebody may keep."""
    plain = answer(status, "NO", SHOUTED[shouted])

    def change(reply: Reply) -> Reply:
        made = plain(reply)
        if shouted == "escaped":
            text = "".join(f"\\u{ord(char):04x}" for char in SHOUTED[shouted])
            made = made.but(body=f'{{"code": "NO", "message": "{text}"}}'.encode())
        if SHOUTED[shouted].isprintable():
            told = {"x-request-id": SHOUTED[shouted], "retry-after": SHOUTED[shouted], "x-ratelimit-reset": KEY}
            made = made.but(headers={**made.headers, **told})
        return made

    return change


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_a_leak_would_be_found(tmp_path: Path, secret: bytes) -> None:
    """In each form, within something else."""
    (tmp_path / "ledger.db-wal").write_bytes(b"\0\1" + secret + b"\xff")
    assert len(leaks(tmp_path)) >= 1


def test_the_forms_are_the_real_ones() -> None:
    """Base64 at every offset, wherever the secret stands."""
    for before in ("", "a", "ab", "abc"):
        text = b64encode((before + KEY + "tail").encode())
        assert any(form in text for form in forms(KEY))


@pytest.mark.parametrize(("where", "shouted"), PAIRS)
def test_what_a_server_shouts_back_is_kept_nowhere(
    cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]],
    monkeypatch: pytest.MonkeyPatch, where: str, shouted: str,
) -> None:  # fmt: skip
    """Through refusals, lost answers and odd ones, then every command that reads, with --debug and all logs on."""
    served, proxy = tampered(latency=(0.01, 0.03), idempotency="off")
    signed(monkeypatch)
    scene = Scene(shop, served, proxy, cli, monkeypatch)
    scene.write()
    if where == "create":
        proxy.alter("POST", CREATE, refusal(422, shouted), times=1, forward=False)
        proxy.alter("POST", CREATE, refusal(500, shouted), times=1, forward=False)
    elif where == "create-made":
        proxy.alter("POST", CREATE, refusal(500, shouted), times=2)
        proxy.alter("GET", LIST, refusal(500, shouted), times=1)
    elif where == "picture":
        proxy.alter("GET", PICTURE, refusal(500, shouted), times=2)
    else:
        proxy.alter("GET", POLL if where == "poll" else LIST, refusal(403, shouted), times=1)
    night = (
        "run",
        "night.yaml",
        "--out",
        "out",
        "--no-input",
        "--debug",
        "-vv",
        "--events",
        "e.ndjson",
        "--log-file",
        "l.log",
    )
    said = []
    for arguments in (night, *(reader.split() for reader in READERS), night):
        result = cli(*arguments)
        assert result.code != 1, result.err
        assert "\x1b" not in result.out + result.err
        said += [result.out, result.err]
    shop.write("job.yaml", JOB)
    result = cli("job", "run", "job.yaml", "--json")
    said += [result.out, result.err]
    assert json.loads((shop.root / "notice.json").read_text())["exit_code"] == result.code
    assert (shop.root / "notice.env").stat().st_size > 0
    assert leaks(shop.root, *said) == []
    assert (shop.root / "l.log").stat().st_size > 0
    assert (shop.root / "e.ndjson").stat().st_size > 0
