"""The review's server: who may ask it, what becomes of decisions, and that it listens to this machine only."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image

from batchedit import Ledger
from batchedit.effects import Effects
from batchedit.errors import LedgerError
from batchedit.ledger.decisions import DecisionBook, Ruling
from batchedit.ledger.records import Decision
from batchedit.ledger.writer import LedgerWriter
from batchedit.model import ReviewSettings
from batchedit.review.handout import report_id, secret_of
from batchedit.review.serving import ReviewServer, ServeOptions, serve_in_thread
from batchedit.review.sheet import Sheet
from batchedit.review.thumbnailer import Picture, Thumbnailer
from tests.conftest import Result, Served, Shop, command, database, draw_picture

Cli = Callable[..., Result]
KEY = "rf_live_" + "k3y" * 8
LEDGER = Path("out/.batchedit/ledger.db")


def sheet(*, blind: bool = False, select: tuple[str, ...] = ()) -> Sheet:
    return Sheet(
        ledger=LEDGER.absolute(),
        root=Path("out").absolute(),
        settings=ReviewSettings(blind=blind),
        secret=secret_of(report_id(LEDGER)),
        select=select,
    )


_CLIENTS: list[httpx.Client] = []


def fresh(**more: Any) -> httpx.Client:
    """A client without any cookie, closed after the test."""
    _CLIENTS.append(httpx.Client(**more))
    return _CLIENTS[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _CLIENTS:
        _CLIENTS.pop().close()


@dataclass
class Browser:
    """What the page does, without a page."""

    server: ReviewServer
    client: httpx.Client = field(default_factory=lambda: fresh())

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def base(self) -> str:
        return f"{self.origin}/{self.server.guard.room}"

    def enter(self) -> Browser:
        answer = self.client.get(self.server.url)
        assert answer.status_code == 200
        return self

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(f"{self.base}/{path}", headers=headers)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        given = {"origin": self.origin, "x-batchedit": "review", "content-type": "application/json", **headers}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            f"{self.base}/{path}",
            content=content,
            headers={name.replace("_", "-"): value for name, value in given.items() if value},
        )

    def cards(self) -> dict[str, dict[str, Any]]:
        return {card["slot"]: card for card in self.get("cards").json()["cards"]}

    def decide(self, card: dict[str, Any], verdict: str, **more: Any) -> Any:
        wanted = {"id": card["id"], "key": card["key"], "verdict": verdict, **more}
        answer = self.post("decide", {"decisions": [wanted]})
        assert answer.status_code == 200, answer.text
        return answer.json()["taken"][0]


@contextmanager
def reviewed(options: ServeOptions | None = None, **more: Any) -> Iterator[Browser]:
    with serve_in_thread(sheet(**more), options or ServeOptions(who="ada")) as server:
        yield Browser(server).enter()


@pytest.fixture
def night(shop: Shop, cli: Cli) -> Shop:
    """Three edits in rehearsal."""
    shop.write(
        "night.yaml",
        "version: 1\ndefaults: {prompt: grayscale, quality: low, labels: {client: acme}}\nsources: [{glob: in/*.png}]\n",
    )
    assert cli("run", "night.yaml", "-q").code == 0
    return shop


def test_decisions_are_rows_with_who_and_when_and_why(night: Shop, cli: Cli) -> None:
    """Nothing that was said is removed; taking back is a row too; the selection and the table know."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        assert card["verdict"] == "undecided"
        browser.decide(card, "rejected", reason="halo", note="left")
        browser.decide(card, "undecided")
        last = browser.decide(card, "approved")
        again = browser.cards()["mug/edit"]
        assert (again["verdict"], again["by"], again["seen"]) == ("approved", "ada", last["seen"])
        history = browser.get(f"card/{card['id']}").json()["history"]
        assert [(each["verdict"], each["reason"], each["note"], each["by"]) for each in history] == [
            ("rejected", "halo", "left", "ada"), ("undecided", "", "", "ada"), ("approved", "", "", "ada"),
        ]  # fmt: skip
        browser.decide(browser.cards()["shoe/edit"], "rejected", reason="halo")
        browser.decide(browser.cards()["shoe/edit"], "undecided")
    with database(LEDGER) as db:
        rows = db.execute("SELECT verdict, holds FROM v_decisions ORDER BY id").fetchall()
        assert rows == [("rejected", 0), ("undecided", 0), ("approved", 1), ("rejected", 0), ("undecided", 1)]
        assert db.execute("SELECT count(*) FROM v_tasks WHERE verdict IS NULL").fetchone() == (2,)
    listed = cli("ls", "out", "--json", "slot,verdict", "--select", "verdict:approved").json()
    assert listed == [{"slot": "mug/edit", "verdict": "approved"}]
    assert "reviewed   1: 1 approved" in cli("report", "out").out
    exported = cli("verdicts", "export", "-", "out").out
    assert re.search(r"shoe/edit,shoe,edit,,\w+,shoe.png,,,", exported)


def test_two_tabs_and_an_undo(night: Shop) -> None:
    """The last word counts, everybody hears of it, and nobody undoes what somebody else has said meanwhile."""
    with reviewed() as one:
        card = one.cards()["mug/edit"]
        mine = one.decide(card, "approved")
        theirs = one.decide(card, "rejected", reason="colour")
        assert theirs["seen"] > mine["seen"]
        undo = one.decide(card, "undecided", seen=mine["seen"])
        assert undo["seen"] is None
        assert undo["card"]["verdict"] == "rejected"
        news = one.get(f"news?after={mine['seen']}").json()
        assert [(each["id"], each["verdict"], each["reason"]) for each in news["said"]] == [
            (card["id"], "rejected", "colour")
        ]
        assert news["last"] == theirs["seen"]
        assert one.decide(card, "undecided", seen=theirs["seen"])["seen"]
        assert one.cards()["mug/edit"]["verdict"] == "undecided"


def test_a_decision_is_about_the_picture_that_was_seen(night: Shop, cli: Cli) -> None:
    """After a re-edit the page's old card decides nothing, and gets the new picture."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        browser.decide(card, "rejected", reason="halo")
        assert cli("reedit", "night.yaml", "--prompt", "sepia", "-q").code == 0
        late = browser.decide(card, "approved")
        assert late["seen"] is None
        assert late["card"]["revision"] == 2
        assert late["card"]["prompt"] == "sepia"
        old = browser.get(f"picture/{card['id']}/r1/full")
        new = browser.get(f"picture/{card['id']}/1/full")
        assert new.content == (night.root / "out/mug.png").read_bytes()
        assert old.status_code == 200
        assert old.content != new.content
        told = browser.get(f"card/{card['id']}").json()
        assert [(each["revision"], each["verdict"]) for each in told["revisions"]] == [(1, "rejected"), (2, "")]


def test_a_review_writes_beside_a_run(night: Shop, cli: Cli) -> None:
    """A run holds the ledger's lock and writes; decisions are taken all the same, and neither loses anything."""
    writer = LedgerWriter(LEDGER, Effects(), world="rehearsal")
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.is_set():
                writer.forget_upload("nobody", "0" * 64)
        except BaseException as error:
            errors.append(error)

    try:
        assert cli("run", "night.yaml", "-q").code == 8
        with reviewed() as browser:
            thread = threading.Thread(target=run)
            thread.start()
            try:
                card = browser.cards()["mug/edit"]
                for number in range(60):
                    assert browser.decide(card, ("approved", "rejected")[number % 2])["seen"]
            finally:
                stop.set()
                thread.join()
        assert not errors
    finally:
        writer.close()
    with database(LEDGER) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone() == (60,)
    assert cli("ledger", "check", "out").code == 0


def test_news_tell_what_a_run_has_brought(night: Shop, cli: Cli) -> None:
    """New pictures and those that are others now, of what is looked at only; and nothing when nothing has come."""
    draw_picture(night.root / "in" / "bowl.png", (20, 120, 60))
    with reviewed(select=("client:acme",)) as browser:
        data = browser.get("cards").json()
        assert len(data["cards"]) == 3
        news = browser.get(f"news?after=0&since={data['arrived']}").json()
        assert {card["slot"] for card in news["cards"]} <= set(browser.cards())
        night.write("night.yaml", (night.root / "night.yaml").read_text() + "  # more\n")
        assert cli("run", "night.yaml", "-q").code == 0
        late = browser.get(f"news?after=0&since={data['arrived']}").json()
        (card,) = [each for each in late["cards"] if each["slot"] == "bowl/edit"]
        assert late["arrived"] > data["arrived"]
        assert browser.get(f"picture/{card['id']}/1/small").status_code == 200
        assert browser.decide(card, "approved", files=card["files"])["seen"]
        night.write("night.yaml", (night.root / "night.yaml").read_text().replace("client: acme", "client: other"))
        draw_picture(night.root / "in" / "vase.png", (90, 20, 60))
        assert cli("run", "night.yaml", "-q").code == 0
        after = browser.get(f"news?after=0&since={late['arrived']}").json()
        assert "vase/edit" not in {card["slot"] for card in after["cards"]}
        for wrong in ("yesterday", "2026", "'", "x" * 200):
            assert browser.get(f"news?after=0&since={wrong}").status_code == 400


def test_a_decision_is_about_the_file_that_was_seen(night: Shop, cli: Cli) -> None:
    """Made anew meanwhile, the picture is shown again before anything is said of it; the verdict before holds."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        browser.decide(card, "approved", files=card["files"])
        night.write(
            "night.yaml",
            (night.root / "night.yaml").read_text().replace("quality: low", "quality: low, post: {fit: 40x40}"),
        )
        assert cli("render", "night.yaml").code == 0
        late = browser.decide(card, "rejected", files=card["files"])
        assert late["seen"] is None
        assert (late["card"]["verdict"], late["card"]["anew"]) == ("approved", True)
        assert browser.decide(late["card"], "approved", files=late["card"]["files"])["seen"]
        assert browser.cards()["mug/edit"]["anew"] is False


def test_several_pictures_of_sides_and_revisions(shop: Shop, cli: Cli) -> None:
    """Each has an address of its own; others lead nowhere."""
    shop.write(
        "night.yaml",
        "version: 1\nprovider: rehearsal\ndefaults: {quality: low, n: 2}\n"
        "edits: {a: {prompt: grayscale, variants: {one: {}, two: {prompt: sepia}}}}\nsources: [{glob: in/mug.png}]\n",
    )
    assert cli("run", "night.yaml", "-q").code == 0
    with reviewed(blind=True) as browser:
        (pair,) = browser.get("cards").json()["pairs"]
        assert pair["counts"] == [2, 2]
        found = [browser.get(f"picture/{pair['id']}/{which}/full") for which in ("1", "1-2", "2", "2-2")]
        assert [each.status_code for each in found] == [200] * 4
        assert len({each.content for each in found}) >= 2
        for which in ("1-3", "3", "0", "1-0", "r1", "1-", "-1", "1-2-3", "before-2"):
            assert browser.get(f"picture/{pair['id']}/{which}/full").status_code == 404, which
    with reviewed() as browser:
        card = browser.cards()["mug/a/one"]
        browser.decide(card, "rejected")
    assert cli("reedit", "night.yaml", "--prompt", "brighter", "-q").code == 0
    with reviewed() as browser:
        card = browser.cards()["mug/a/one"]
        assert browser.get(f"card/{card['id']}").json()["revisions"][0]["count"] == 2
        for which, status in (("r1", 200), ("r1-2", 200), ("r1-3", 404), ("r9", 404), ("1-2", 404)):
            assert browser.get(f"picture/{card['id']}/{which}/full").status_code == status, which


def test_wishes_are_noted_and_buy_nothing(night: Shop, cli: Cli) -> None:
    """With a prompt or without; empty takes back; what is no prompt is refused."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        base = {"id": card["id"], "key": card["key"]}
        assert browser.post("wish", {**base, "prompt": "on an oak table", "note": "too plain"}).status_code == 200
        assert browser.cards()["mug/edit"]["wish"] == ["on an oak table", "too plain"]
        for wrong in ("x", "{{ prompt }} more", "use rf_live_abcdefghijklmnop0123456789"):
            assert browser.post("wish", {**base, "prompt": wrong}).status_code == 400
        assert browser.post("wish", {**base, "prompt": "", "note": ""}).status_code == 200
        assert browser.cards()["mug/edit"]["wish"] is None
        browser.post("wish", {**base, "prompt": "on an oak table"})
    spent = cli("report", "out", "--json").json()["total"]["spent"]
    assert cli("report", "out", "--json").json()["total"]["spent"] == spent
    assert "1  to buy" in cli("reedit", "night.yaml", "--from-notes", "--dry-run").out


# -- who may ask -----------------------------------------------------------------------------------------------------


def raw(port: int, text: str) -> str:
    """Exactly these bytes over a socket, and the first line of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text.encode())
        data = b""
        while part := connection.recv(65536):
            data += part
    return data.decode("latin-1")


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def test_only_the_exact_host_is_served(night: Shop) -> None:
    """Names that somebody else points to this machine, none, two, or another port get nothing."""
    with reviewed() as browser:
        port, room = browser.server.port, f"/{browser.server.guard.room}"
        cookie = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
        good = raw(
            port,
            f"GET {room}/cards HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n",
        )
        assert status(good) == 200
        assert "mug" in good
        for host in (
            "Host: evil.example", f"Host: evil.example:{port}", "Host: 127.0.0.1", "Host: 127.0.0.1:1", "Host:",
            f"Host: 127.0.0.1:{port}.evil.example", f"Host: localhost:{port}\r\nHost: evil.example", "X-No-Host: 1",
            f"Host: [::1]:{port}", f"Host: LOCALHOST:{port}x",
        ):  # fmt: skip
            for version in ("1.1", "1.0"):
                answer = raw(
                    port, f"GET {room}/cards HTTP/{version}\r\n{host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
                )
                assert status(answer) in (400, 421), host
                assert "mug" not in answer


def test_only_the_browser_with_the_cookie_is_served(night: Shop) -> None:
    """The key is good once; no key, an old one, a wrong one, a cookie of another review lead nowhere."""
    with serve_in_thread(sheet()) as server:
        stranger, wrong = fresh(), server.url[:-1] + ("A" if server.url[-1] != "A" else "B")
        for url in (
            f"http://127.0.0.1:{server.port}/",
            f"http://127.0.0.1:{server.port}/cards",
            f"http://127.0.0.1:{server.port}/?key={server.guard.key}",
            f"http://127.0.0.1:{server.port}/{'A' * 43}/?key={server.guard.key}",
            f"http://127.0.0.1:{server.port}/\u00e9/",
            wrong,
            f"{server.url}&key=x",
        ):
            assert stranger.get(url).status_code == 403
        browser = Browser(server).enter()
        assert browser.get("").status_code == 200
        assert browser.client.get(server.url).status_code == 200
        again = stranger.get(server.url)
        assert again.status_code == 403
        assert "set-cookie" not in again.headers
        (name,) = browser.client.cookies
        assert stranger.get(f"{browser.base}/cards", headers={"cookie": f"{name}=guess"}).status_code == 403
        for path in ("", "review.js", "cards", "news?after=0", "picture/0/1/small", "nothing"):
            assert stranger.get(f"{browser.base}/{path}").status_code == 403
        key = parse_qs(urlsplit(server.url).query)["key"][0]
        assert len(key) >= 43
        assert key not in str(browser.client.cookies)
    with serve_in_thread(sheet()) as other:
        for room in ("", f"/{server.guard.room}", f"/{other.guard.room}"):
            assert browser.client.get(f"http://127.0.0.1:{other.port}{room}/cards").status_code == 403


def test_a_cookie_of_another_server_does_not_shut_anybody_out(night: Shop) -> None:
    """Every server of this host can set cookies for all of its ports, of any name."""
    with reviewed() as browser:
        ((name, value),) = browser.client.cookies.items()
        for header in (f"{name}=evil; {name}={value}", f"{name}={value}; {name}=evil", f'a="b; {name}={value}; []=;;='):
            assert fresh().get(f"{browser.base}/cards", headers={"cookie": header}).status_code == 200
        assert fresh().get(f"{browser.base}/cards", headers={"cookie": f"{name}=evil"}).status_code == 403


def test_a_browser_is_started_without_the_key_among_its_arguments(
    night: Shop, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given a private file that leads there, which goes again; `ps` shows the name of the file."""
    given: list[tuple[str, int, str]] = []

    def started(address: str) -> bool:
        path = Path(urlsplit(address).path)
        given.append((address, path.stat().st_mode & 0o777, path.read_text()))
        return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("webbrowser.open", started)
    monkeypatch.setattr(ReviewServer, "serve", lambda self: None)
    result = cli("review", "out")
    assert result.code == 0, result.err
    ((address, mode, page),) = given
    url = next(line.strip() for line in result.out.splitlines() if "http://" in line)
    assert url in page
    assert "key=" not in address
    assert mode == 0o600
    assert address.startswith("file://")
    assert not Path(urlsplit(address).path).exists()


def test_the_cookie_is_for_this_page_only(night: Shop) -> None:
    """HttpOnly, SameSite=Strict; every answer, refusals too, says what the page may do."""
    with serve_in_thread(sheet()) as server:
        first = httpx.get(server.url)
        assert re.search(r"; HttpOnly; SameSite=Strict; Path=/[\w-]{43}/$", first.headers["set-cookie"])
        browser = Browser(server, fresh(cookies=first.cookies))
        answers = [first, browser.get(""), browser.get("cards"), browser.get("nothing"), httpx.get(browser.base)]
        for answer in answers:
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "access-control-allow-origin" not in answer.headers
        assert "<script>" not in browser.get("").text
        assert "style=" not in browser.get("").text


def test_only_the_own_page_may_decide(night: Shop) -> None:
    """Another origin, none, a form, another method, no header of ours: nothing is decided."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        body = {"decisions": [{"id": card["id"], "key": card["key"], "verdict": "approved"}]}
        port = browser.server.port
        refused: list[dict[str, str]] = [
            {"origin": "null"}, {"origin": "https://evil.example"}, {"origin": ""}, {"origin": f"http://localhost:{port}"},
            {"origin": f"https://127.0.0.1:{port}"}, {"x-batchedit": ""}, {"x-batchedit": "1"},
            {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
            {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}, {"content-type": ""},
        ]  # fmt: skip
        for headers in refused:
            answer = browser.post("decide", body, **headers)
            assert answer.status_code in (403, 415), headers
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "GET"):
            answer = browser.client.request(method, f"{browser.base}/decide", content=json.dumps(body))
            assert answer.status_code in (404, 405), method
        for method in ("GET",):
            for origin in ("null", "https://evil.example"):
                assert (
                    browser.client.request(method, f"{browser.base}/cards", headers={"origin": origin}).status_code
                    == 403
                )
        stranger = Browser(browser.server, fresh())
        assert stranger.post("decide", body).status_code == 403
        assert browser.post("decide", body, sec_fetch_site="same-origin").status_code == 200
    with database(LEDGER) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone() == (1,)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"decisions": 1}', b'{"decisions": []}', b'{"decisions": [1]}', b"[" * 100_000,
        b'{"decisions": [{"id": "x", "verdict": "approved", "key": "000000000000"}]}', b"\xff\xfe", b'{"decisions": {}}',
        *(
            json.dumps({"decisions": [{"id": "@", "key": "@", "verdict": "approved", **wrong}]}).encode()
            for wrong in (
                {"verdict": "perfect"}, {"verdict": None}, {"verdict": ["approved"]}, {"seen": "1"}, {"seen": True},
                {"reason": 7}, {"reason": "r" * 2_001}, {"note": ["x"]}, {"key": ""}, {"key": 5}, {"id": 5}, {"id": "../x"},
                {"note": "\ud800"}, {"note": "rf_live_abcdefghijklmnop0123456789"},
            )
        ),
        json.dumps({"decisions": [{}] * 1_001}).encode(),
    ],
)  # fmt: skip
def test_nonsense_is_refused(night: Shop, body: bytes) -> None:
    """With 400, in words, and nothing is written."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        given = body.replace(b'"id": "@"', f'"id": "{card["id"]}"'.encode())
        answer = browser.post("decide", given.replace(b'"key": "@"', f'"key": "{card["key"]}"'.encode()))
        assert answer.status_code == 400
        assert answer.json()["error"]
        assert "rf_live_abc" not in answer.text
    with database(LEDGER) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone() == (0,)


def test_too_much_is_refused(night: Shop) -> None:
    """More than a megabyte is not even read to its end."""
    with reviewed() as browser:
        assert browser.post("decide", b" " * (1024 * 1024 + 1)).status_code == 413


@pytest.mark.parametrize("path", [
    "picture/{id}/../small", "picture/{id}/..%2f..%2fetc%2fpasswd/full", "picture/..%2f..%2fnight.yaml/1/full",
    "picture/{id}/1/..%2fledger.db", "picture/{id}/1/big", "picture/{id}/0/small", "picture/{id}/2/small",
    "picture/{id}/-1/small", "picture/{id}/r9/small", "picture/{id}/r/small", "picture/{id}/rr1/small", "picture/{id}/%00/small",
    "picture/mug%2Fedit/1/full", "out/mug.png", "..%2fledger.db", "%2e%2e/%2e%2e/etc/passwd", "review.html", "app.py",
    "picture/{id}/\u0661/small", "picture//1/small", "card/mug%2Fedit", "card/..", "//evil.example/x",
])  # fmt: skip
def test_no_path_leads_anywhere(night: Shop, path: str) -> None:
    """Pictures are known by ids of the ledger; nothing else is a way to a file."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        answer = raw(
            browser.server.port,
            f"GET /{browser.server.guard.room}/{path.format(id=card['id'])} HTTP/1.1\r\nHost: 127.0.0.1:{browser.server.port}\r\nConnection: close\r\n"
            f"Cookie: {'; '.join(f'{name}={value}' for name, value in browser.client.cookies.items())}\r\n\r\n",
        )
        assert status(answer) in (400, 404), answer[:200]
        assert "root:" not in answer


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_of_the_machine_gets_nothing(night: Shop) -> None:
    """Neither the page, nor the file that leads there, nor a decision out of the ledger."""
    with reviewed() as browser:
        state = night.root / "out/.batchedit"
        program = f"""if True:
            import encodings.idna, http.client, os  # what is loaded later may lie where only root reads
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            for path in ("/", "/{browser.server.guard.room}/", "/{browser.server.guard.room}/cards"):
                call = http.client.HTTPConnection("127.0.0.1", {browser.server.port}, timeout=10)
                call.request("GET", path)
                print(call.getresponse().status)
            try:
                print(os.listdir({str(state)!r}))
            except PermissionError:
                print("refused")
        """
        said = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == "refused"
    assert set(said.split()[:-1]) <= {"403", "404"}


def test_it_listens_to_this_machine_only(night: Shop) -> None:
    """As the kernel sees it; ::1 only if it is asked for."""

    def sockets() -> set[str]:
        """This process's own: others may listen on that port at another address."""
        found = set()
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                found.add(os.readlink(descriptor))
        return found

    def listening(port: int) -> set[str]:
        found, own = set(), sockets()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, number = fields[1].rpartition(":")
                if fields[3] == "0A" and int(number, 16) == port and f"socket:[{fields[9]}]" in own:
                    found.add(address)
        return found

    with reviewed() as browser:
        assert listening(browser.server.port) == {"0100007F"}
    with reviewed(ServeOptions(who="ada", ipv6=True)) as browser:
        assert listening(browser.server.port) == {"0100007F", "00000000000000000000000001000000"}
        assert httpx.get(f"http://[::1]:{browser.server.port}/cards").status_code == 403


def test_a_review_to_look_at_decides_nothing(night: Shop) -> None:
    """`--read-only` refuses decisions, and does not even open the ledger for writing."""
    with reviewed(ServeOptions(read_only=True)) as browser:
        card = browser.cards()["mug/edit"]
        answer = browser.post("decide", {"decisions": [{"id": card["id"], "key": card["key"], "verdict": "approved"}]})
        assert answer.status_code == 403
        assert browser.get("cards").json()["read_only"] is True


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_as_large_as_needed(night: Shop) -> None:
    """Small for the grid, the file itself for 100 %; thumbnails are made once and kept."""
    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        small = browser.get(f"picture/{card['id']}/1/small")
        assert small.headers["content-type"] == "image/webp"
        assert browser.get(f"picture/{card['id']}/before/full").content == (night.root / "in/mug.png").read_bytes()
        full = browser.get(f"picture/{card['id']}/1/full")
        assert full.headers["content-type"] == "image/png"
        kept = list((LEDGER.parent / "thumbs").rglob("*-320.webp"))
        assert len(kept) >= 1
        for file in kept:
            with Image.open(file) as image:
                assert max(image.size) <= 320


def test_another_picture_in_its_place_is_not_shown(night: Shop) -> None:
    """Nor one that is gone, nor a pipe that nobody writes to."""
    import os

    with reviewed() as browser:
        card = browser.cards()["mug/edit"]
        draw_picture(night.root / "out/mug.png", (1, 2, 3))
        assert browser.get(f"picture/{card['id']}/1/full").status_code == 404
        (night.root / "out/mug.png").unlink()
        assert browser.get(f"picture/{card['id']}/1/full").status_code == 404
        os.mkfifo(night.root / "out/mug.png")
        assert browser.get(f"picture/{card['id']}/1/full").status_code == 404


def test_a_picture_that_breaks_the_decoder_breaks_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process dies or hangs; the next one makes the others, and the bad one is not tried again."""
    from hashlib import sha256

    from batchedit.review import thumbnailer

    good = draw_picture(tmp_path / "good.png", (9, 9, 9))
    picture = Picture(good, sha256(good.read_bytes()).hexdigest())
    program = (
        "import json, os, sys, time; sys.path[:] = json.loads(sys.argv[1]);"
        "from batchedit.report import thumbs; made = thumbs.make_small\n"
        "def make(source, *rest):\n"
        "    if 'crash' in source.name: os.abort()\n"
        "    if 'hang' in source.name: time.sleep(600)\n"
        "    return made(source, *rest)\n"
        "thumbs.make_small = make\n"
        "from batchedit.review.thumb_process import main; main()"
    )
    monkeypatch.setattr(thumbnailer, "_PROGRAM", program)
    monkeypatch.setattr(thumbnailer, "_PATIENCE_SECONDS", 2.0)
    with Thumbnailer(tmp_path / "thumbs", count=1) as maker:
        for name in ("crash", "hang"):
            bad = Picture(tmp_path / f"{name}.png", name[0] * 64)
            assert maker.get(bad, 320) is None
            assert maker.get(bad, 320) is None
            found = maker.get(picture, 320 if name == "crash" else 1280)
            assert found is not None
            with Image.open(found) as image:
                assert image.format == "WEBP"


# -- the command -------------------------------------------------------------------------------------------------------


def started(*arguments: str, cwd: Path) -> tuple[subprocess.Popen[str], str]:
    process = command("review", *arguments, "--no-open", cwd=cwd)
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            return process, line.strip()
    raise AssertionError(process.communicate())


def test_the_command_serves_until_ctrl_c(night: Shop) -> None:
    """It prints the address and nothing else about the key; its end is exit code 0."""
    process, url = started("out", "--who", "bob", cwd=night.root)
    with httpx.Client() as client:
        client.get(url)
        assert client.get(url.split("?")[0] + "cards").json()["who"] == "bob"
        client.get(url.split("?")[0] + "nothing")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    key = url.partition("key=")[2]
    assert key not in out + err
    assert all(key.encode() not in file.read_bytes() for file in (night.root / "out").rglob("*") if file.is_file())


def test_the_command_ends_when_nobody_looks(night: Shop) -> None:
    """News alone keeps nobody awake."""
    process, url = started("out", "--idle", "0.05", cwd=night.root)
    with httpx.Client() as client:
        client.get(url)
        while process.poll() is None:
            try:
                client.get(url.split("?")[0] + "news?after=0")
            except httpx.TransportError:
                break
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_decisions_survive_a_kill(night: Shop) -> None:
    """Each was on the disk before it was acknowledged."""
    process, url = started("out", cwd=night.root)
    base = url.split("/?")[0]
    with httpx.Client() as client:
        client.get(url)
        cards = client.get(f"{base}/cards").json()["cards"]
        for card in cards:
            body = {"decisions": [{"id": card["id"], "key": card["key"], "verdict": "approved"}]}
            headers = {"origin": base.rpartition("/")[0], "x-batchedit": "review"}
            assert client.post(f"{base}/decide", json=body, headers=headers).json()["taken"][0]["seen"]
        process.kill()
        process.communicate()
    with reviewed() as browser:
        assert {card["verdict"] for card in browser.cards().values()} == {"approved"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere",), 8, "there is no ledger"),
        (("out", "--select", "id:nobody"), 5, "mug"),
        (("out", "--select", "clinet:acme"), 2, "client"),
        (("out", "--blind"), 5, "no item has two variants that are done"),
        (("out", "--full-size"), 2, "--full-size belongs to --static"),
        (("out", "--static", "in"), 2, "in is not empty"),
        (("wrong.yaml",), 2, "there is no such file"),
    ],
)
def test_what_the_command_refuses(night: Shop, cli: Cli, arguments: tuple[str, ...], code: int, words: str) -> None:
    """In words, with the right exit code."""
    refused = cli("review", *arguments, "--no-open")
    assert refused.code == code
    assert words in refused.err


def test_a_ledger_that_lies_elsewhere(shop: Shop, cli: Cli) -> None:
    """Its pictures are in the output folder; the manifest has reasons of its own."""
    shop.write(
        "night.yaml",
        "version: 1\nreview: {reasons: {dusty: too much dust}, checklist: [Dust?]}\ndefaults: {prompt: grayscale}\n"
        "sources: [{glob: in/*.png}]\n",
    )
    assert cli("run", "night.yaml", "--out", "far", "--ledger", "books.db", "-q").code == 0
    process, url = started("night.yaml", "--out", "far", "--ledger", "books.db", cwd=shop.root)
    base = url.split("/?")[0]
    with httpx.Client() as client:
        client.get(url)
        data = client.get(f"{base}/cards").json()
        assert data["reasons"] == [["dusty", "too much dust"]]
        assert data["checklist"] == ["Dust?"]
        picture = client.get(f"{base}/picture/{data['cards'][0]['id']}/1/full")
        assert picture.content in [(shop.root / "far" / name).read_bytes() for name in shop.outputs("far")]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


# -- blind comparisons -------------------------------------------------------------------------------------------------

VARIANTS = (
    "version: 1\nedits:\n  scene:\n    prompt: grayscale\n    quality: low\n    variants:\n"
    "      goldfinch: {prompt: sepia}\n      kingfisher: {prompt: brighter, quality: medium}\n"
    "sources: [{glob: in/*.png, labels: {secret: '{{ variant }}'}}]\n"
)


@pytest.fixture
def variants(shop: Shop, cli: Cli) -> Shop:
    """Three pictures in two variants, one of which costs more."""
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        draw_picture(shop.root / "in" / f"{name}.png", (40 + ord(name), 90, 160))
    shop.write("ab.yaml", VARIANTS.replace(", labels: {secret: '{{ variant }}'}", ""))
    done = cli("run", "ab.yaml", "-q")
    assert done.code == 0, done.err
    return shop


def test_blind_comparisons_tell_no_names_until_the_end(variants: Shop, cli: Cli) -> None:
    """Neither page nor data nor answers; the sides are shuffled by the seed; the result has wins, ties, an interval."""
    names = re.compile("goldfinch|kingfisher|sepia|brighter", re.I)
    with reviewed(blind=True) as browser:
        data = browser.get("cards").json()
        told = json.dumps(data) + browser.get("").text + browser.get("review.js").text
        assert not names.search(told)
        pairs = data["pairs"]
        assert len(pairs) == 10
        sides = {name: [slot for slot, _ in each.shown] for name, each in browser.server._sheet.pairs.items()}
        firsts = [each[0].endswith("goldfinch") for each in sides.values()]
        assert 0 < sum(firsts) < 10
        assert browser.get("results").status_code == 409
        news = browser.get("news?after=0&since=2020-01-01T00:00:00.000Z")
        assert (news.status_code, news.json()["cards"]) == (200, [])
        for number, pair in enumerate(pairs):
            order = sides[pair["id"]]
            best = (
                0 if number >= 8 else 1 + next(side for side, slot in enumerate(order) if slot.endswith("kingfisher"))
            )
            answer = browser.post("compare", {"id": pair["id"], "request": pair["key"], "winner": best})
            assert answer.status_code == 200
            assert not names.search(answer.text)
        first = pairs[0]
        assert browser.post("compare", {"id": first["id"], "request": first["key"], "winner": None}).status_code == 200
        assert browser.get("results").status_code == 409
        chosen = 1 + ("goldfinch" in sides[first["id"]][1])
        browser.post("compare", {"id": first["id"], "request": first["key"], "winner": chosen})
        known = {"id": first["id"], "request": first["key"]}
        for wrong in ({**known, "id": "x", "winner": 1}, {**known, "winner": 3}, {**known, "winner": True}):
            assert browser.post("compare", wrong).status_code == 400
        assert browser.post("compare", {"id": first["id"], "winner": 1}).status_code == 400
        other = {**known, "request": pairs[1]["key"], "winner": 1}
        assert browser.post("compare", other).json() == {"compared": None}  # of a page that shows other pictures
        found = {each["variant"]: each for each in browser.get("results").json()["variants"]}
        again = browser.get("cards").json()["pairs"]
        assert [pair["outcome"] for pair in again[8:]] == [0, 0]
    assert (found["kingfisher"]["wins"], found["kingfisher"]["ties"], found["kingfisher"]["shown"]) == (7, 2, 10)
    assert (found["goldfinch"]["wins"], found["goldfinch"]["ties"], found["goldfinch"]["shown"]) == (1, 2, 10)
    low, likely, high = found["kingfisher"]["share"]
    assert likely == pytest.approx(7 / 8)
    assert (low, high) == pytest.approx((0.5291, 0.9776), abs=1e-3)
    assert float(found["kingfisher"]["each"]) > float(found["goldfinch"]["each"])
    report = cli("report", "out", "--json").json()["comparisons"]
    assert [(each["variant"], each["won"], each["ties"]) for each in report] == [
        ("kingfisher", 7, 2),
        ("goldfinch", 1, 2),
    ]
    assert "scene/kingfisher" in cli("report", "out").out
    assert "Wilson" in cli("report", "out").out
    for form in ("--markdown", "--html"):
        assert cli("report", "out", form, "told").code == 0
        assert "kingfisher" in Path("told").read_text()
        Path("told").unlink()


def test_the_same_seed_shuffles_in_the_same_way(variants: Shop) -> None:
    """And another one otherwise."""

    def order(seed: str) -> list[tuple[tuple[str, str], ...]]:
        made = sheet(blind=True)
        made.seed = seed
        made.read("")
        return [each.shown for each in made.pairs.values()]

    assert order("1") == order("1")
    assert order("1") != order("2")


# -- a folder for somebody else ------------------------------------------------------------------------------------------


def page_data(folder: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', (folder / "index.html").read_text(), re.S
    )
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def returned(data: dict[str, Any], decisions: list[dict[str, Any]], who: str = "client") -> str:
    return json.dumps(
        {
            "format": "batchedit review",
            "version": 1,
            "report": data["report"],
            "who": who,
            "seed": data["seed"],
            "decisions": decisions,
        }
    )


def static_data(folder: str) -> dict[str, Any]:
    """What the page of a folder shows."""
    page = (Path(folder) / "index.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_a_folder_of_older_pictures_does_not_judge_newer_ones(night: Shop, cli: Cli) -> None:
    """After a re-edit its decision is refused; a file that was made anew only is told as that."""
    assert cli("review", "out", "--static", "for-client").code == 0
    data = static_data("for-client")
    cards = {card["slot"]: card for card in data["cards"]}

    def back(slot: str) -> Result:
        card = cards[slot]
        said = {"id": card["id"], "request": card["key"], "files": card["files"], "seen": 0, "verdict": "approved"}
        night.write("back.json", returned(data, [said]))
        return cli("verdicts", "import", "back.json", "out")

    with reviewed() as browser:
        browser.decide(browser.cards()["mug/edit"], "rejected")
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "-q").code == 0
    refused = back("mug/edit")
    assert refused.code == 2
    assert "mug/edit has another picture now than the one in this review" in refused.err
    text = (night.root / "night.yaml").read_text()
    night.write("night.yaml", text.replace("quality: low", "quality: low, post: {fit: 40x40}"))
    assert cli("render", "night.yaml").code == 0
    assert back("shoe/edit").code == 0
    with reviewed() as browser:
        assert browser.cards()["shoe/edit"]["verdict"] == "approved"
        assert browser.cards()["shoe/edit"]["anew"] is True
    assert cli("deliver", "hand", "night.yaml", "--select", "shoe", "--strict").code == 2


def test_decisions_of_a_folder_come_back(night: Shop, cli: Cli) -> None:
    """As JSON, with who has said it; once more it is nothing new."""
    assert cli("review", "out", "--static", "for-client").code == 0
    data = page_data(night.root / "for-client")
    cards = {card["slot"]: card for card in data["cards"]}
    assert len(list((night.root / "for-client/pictures").iterdir())) == 12
    night.write("back.json", returned(data, [
        {"id": cards["mug/edit"]["id"], "seen": 0, "verdict": "approved", "reason": "", "note": "fine"},
        {"id": cards["shoe/edit"]["id"], "seen": 0, "verdict": "rejected", "reason": "halo", "note": "",
         "reedit_prompt": "sepia", "reedit_note": "cut cleanly"},
    ]))  # fmt: skip
    taken = cli("verdicts", "import", "back.json", "out")
    assert taken.out.strip() == "1 approved, 1 rejected, 1 to be edited again, said by client"
    assert cli("verdicts", "import", "back.json", "out").out.strip() == "nothing new in it"
    with database(LEDGER) as db:
        assert db.execute("SELECT slot, verdict, reason, note, who FROM decisions ORDER BY id").fetchall() == [
            ("mug/edit", "approved", "", "fine", "client"), ("shoe/edit", "rejected", "halo", "", "client"),
        ]  # fmt: skip
        assert db.execute("SELECT prompt, note, who FROM wishes").fetchall() == [("sepia", "cut cleanly", "client")]


def test_conflicts_are_told_and_not_decided_silently(night: Shop, cli: Cli) -> None:
    """What somebody else has said since the folder was made; nothing is taken until somebody says whose word counts."""
    with Ledger(LEDGER) as reader:
        keys = {task.slot: task.key for task in reader.reviewed()}

    def say(slot: str, verdict: str) -> None:
        with DecisionBook(LEDGER) as book:
            book.decide([Ruling(decision=Decision(slot=slot, key=keys[slot], verdict=verdict, who="ada"))])

    say("lamp/edit", "approved")
    cli("review", "out", "--static", "for-client")
    data = page_data(night.root / "for-client")
    say("mug/edit", "approved")
    cards = {card["slot"]: card for card in data["cards"]}
    night.write("back.json", returned(data, [
        {"id": card["id"], "seen": card["seen"], "verdict": "rejected", "reason": "halo", "note": ""} for card in cards.values()
    ]))  # fmt: skip
    refused = cli("verdicts", "import", "back.json", "out")
    assert refused.code == 2
    assert "mug/edit: the file says rejected (halo); ada has said approved at " in refused.err
    assert "1 verdict contradicts what others have said since; nothing was taken" in refused.err
    assert "lamp/edit: the file" not in refused.err
    ours = cli("verdicts", "import", "back.json", "out", "--conflicts", "ours")
    assert ours.out.startswith("0 approved, 2 rejected")
    theirs = cli("verdicts", "import", "back.json", "out", "--conflicts", "theirs")
    assert theirs.out.startswith("0 approved, 1 rejected")


def test_the_page_knows_what_earlier_revisions_have_cost(night: Shop, cli: Cli) -> None:
    """What each approved picture has cost there is what the report says, also under another name."""
    with reviewed() as browser:
        browser.decide(browser.cards()["mug/edit"], "rejected")
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "-q").code == 0
    with reviewed() as browser:
        browser.decide(browser.cards()["mug/edit"], "approved")
        data = browser.get("cards").json()
    total = cli("report", "out", "--json").json()["total"]
    spent = data["former"] + sum(card["cost"] for card in data["cards"])
    assert (data["former"], f"{spent / 1e6:g}") == (9_000, f"{float(total['spent']):g}")
    assert f"{spent / 1e6:g}" == f"{float(total['per_approved']):g}"
    (night.root / "in/mug.png").rename(night.root / "in/cup.png")
    (night.root / "in/shoe.png").rename(night.root / "in/boot.png")
    assert cli("run", "night.yaml", "-q").code == 0
    with reviewed() as browser:
        data = browser.get("cards").json()
    assert [card["slot"] for card in data["cards"]] == ["boot/edit", "cup/edit", "lamp/edit"]
    assert data["former"] + sum(card["cost"] for card in data["cards"]) == spent


def test_what_is_not_outdated_can_be_taken_without_the_rest(night: Shop, cli: Cli) -> None:
    """One re-edit meanwhile does not make a client's evening worthless; a renamed row keeps what was said of it."""
    assert cli("review", "out", "--static", "for-client").code == 0
    data = page_data(night.root / "for-client")
    with reviewed() as browser:
        browser.decide(browser.cards()["mug/edit"], "rejected")
    assert cli("reedit", "night.yaml", "--prompt", "sepia", "-q").code == 0
    (night.root / "in/shoe.png").rename(night.root / "in/boot.png")
    assert cli("run", "night.yaml", "-q").code == 0
    night.write("back.json", returned(data, [
        {"id": card["id"], "request": card["key"], "seen": card["seen"], "verdict": "approved"} for card in data["cards"]
    ]))  # fmt: skip
    refused = cli("verdicts", "import", "back.json", "out")
    assert (refused.code, refused.out) == (2, "")
    assert "1 decision is about pictures that are not there any more; nothing was taken" in refused.err
    assert "--outdated skip takes the rest" in refused.err
    taken = cli("verdicts", "import", "back.json", "out", "--outdated", "skip")
    assert taken.code == 0
    assert "mug/edit has another picture now" in taken.err
    assert taken.out.strip() == "2 approved, 0 rejected, said by client"
    with reviewed() as browser:
        cards = browser.cards()
    assert {slot: card["verdict"] for slot, card in cards.items()} == {
        "mug/edit": "undecided", "boot/edit": "approved", "lamp/edit": "approved"
    }  # fmt: skip


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_table_that_a_spreadsheet_has_saved_again_comes_back(night: Shop, cli: Cli, mark: str) -> None:
    """With the separator of another country; what is no UTF-8 is told as that."""
    cli("review", "out", "--static", "for-client")
    report = page_data(night.root / "for-client")["report"]
    rows = [
        "report,slot,seen,verdict,reason,note,who,reedit_prompt,reedit_note",
        f"{report},mug/edit,0,rejected,halo,,C,,",
    ]
    night.write("back.csv", "\r\n".join(rows).replace(",", mark) + "\r\n")
    assert cli("verdicts", "import", "back.csv", "out").out.strip() == "0 approved, 1 rejected, said by C"
    (night.root / "back.csv").write_bytes("\r\n".join(rows).replace("halo", "grün").encode("cp1252"))
    refused = cli("verdicts", "import", "back.csv", "out")
    assert refused.code == 2
    assert "back.csv is no table of decisions in UTF-8" in refused.err


def test_a_table_that_cannot_come_back(night: Shop, cli: Cli) -> None:
    """A cell beyond all bounds; a key where somebody says something; a number that is none."""
    cli("review", "out", "--static", "for-client")
    report = page_data(night.root / "for-client")["report"]
    head = "report,slot,seen,verdict,reason,note,who,reedit_prompt,reedit_note\r\n"
    night.write("back.csv", f"{head}{report},mug/edit,0,rejected,{'x' * 200_000},,client,,\r\n")
    refused = cli("verdicts", "import", "back.csv", "out")
    assert (refused.code, "back.csv is no table of decisions: field larger" in refused.err) == (2, True)
    for text in (f"{head}{report},mug/edit,0,rejected,,{KEY},c,,\n", f"slot,verdict,note\nmug/edit,rejected,{KEY}\n"):
        night.write("back.csv", text)
        refused = cli("verdicts", "import", "back.csv", "out")
        assert (refused.code, "looks like an API key" in refused.err, KEY in refused.err) == (2, True, False)
    with database(LEDGER) as db:
        key = db.execute("SELECT request_key FROM tasks WHERE slot = 'mug/edit'").fetchone()[0]
    with DecisionBook(LEDGER) as book:
        book.decide([Ruling(decision=Decision(slot="mug/edit", key=key, verdict="approved", who="ada"))])
    wide = f'{head.strip()},"\n",' + ",".join(f"c{number}" for number in range(5_000))
    night.write("back.csv", f"{wide}\r\n" + "a\r\n" * 10_000)  # 70 KB that would be 50 million cells
    refused = cli("verdicts", "import", "back.csv", "out")
    assert (refused.code, "back.csv has more than 5000000 cells" in refused.err) == (2, True)
    night.write("back.csv", f"{head.strip()}{',' * 9_000_000}\r\n")
    assert "back.csv is no table of decisions: a line is longer" in cli("verdicts", "import", "back.csv", "out").err
    night.write("back.csv", f"{head}{report},mug/edit,{'9' * 5000},rejected,,,client,,\r\n")
    assert "contradicts" in cli("verdicts", "import", "back.csv", "out").err


def test_a_table_of_a_folder_comes_back(night: Shop, cli: Cli) -> None:
    """The same as CSV."""
    cli("review", "out", "--static", "for-client")
    report = page_data(night.root / "for-client")["report"]
    head = "report,slot,seen,verdict,reason,note,who,reedit_prompt,reedit_note\r\n"
    night.write("back.csv", f'{head}{report},mug/edit,0,rejected,halo,"a, b",client,sepia,\r\n')
    assert cli("verdicts", "import", "back.csv", "out").out.strip() == (
        "0 approved, 1 rejected, 1 to be edited again, said by client"
    )


def test_blind_comparisons_of_a_folder_come_back(variants: Shop, cli: Cli) -> None:
    """The folder names no variant; the file that comes back knows sides, and the ledger whose they were."""
    assert cli("review", "out", "--blind", "--seed", "7", "--static", "for-client").code == 0
    text = (variants.root / "for-client/index.html").read_text()
    assert not re.search("goldfinch|kingfisher|sepia|brighter", text)
    assert all("finch" not in file.name and "king" not in file.name for file in Path("for-client").rglob("*"))
    data = page_data(variants.root / "for-client")
    said = [{"id": pair["id"], "sides": 2, "winner": number % 3} for number, pair in enumerate(data["pairs"])]
    saved = {**json.loads(returned(data, [])), "comparisons": said}
    variants.write("back.json", json.dumps(saved))
    assert cli("verdicts", "import", "back.json", "out").out.strip() == "10 compared, said by client"
    assert cli("verdicts", "import", "back.json", "out").out.strip() == "nothing new in it"
    report = cli("report", "out", "--json").json()["comparisons"]
    assert sum(each["won"] for each in report) == 6
    assert [each["ties"] for each in report] == [4, 4]
    with Ledger(LEDGER) as reader:
        for comparison in reader.comparisons():
            number = next(n for n, pair in enumerate(data["pairs"]) if pair["item"] == comparison.item_id)
            if number % 3:
                assert comparison.winner == comparison.shown[number % 3 - 1][0]
    variants.write("back.json", json.dumps({**saved, "comparisons": [{**said[0], "sides": 3}]}))
    assert cli("verdicts", "import", "back.json", "out").code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {**data, "report": "0" * 32}, "is from a review of another ledger"),
        (lambda data: {**data, "report": None}, "is from a review of another ledger"),
        (lambda data: {**data, "format": "x"}, "does not hold the decisions of a review"),
        (lambda data: {**data, "version": 2}, "has version 2; this program reads 1"),
        (
            lambda data: {**data, "decisions": [{"id": "x", "verdict": "approved"}]},
            "there is no task 'x' with pictures",
        ),
        (lambda data: {**data, "decisions": {"id": "x"}}, "decisions must be a list of objects"),
        (lambda data: {**data, "decisions": [{**data["decisions"][0], "verdict": "good"}]}, "'good' is not one of"),
        (lambda data: {**data, "decisions": [{**data["decisions"][0], "note": 7}]}, "note must be a text"),
        (lambda data: {**data, "comparisons": [{"id": "x", "sides": 2, "winner": 1}]}, "there is no pair 'x' any more"),
        (lambda data: [], "does not hold the decisions of a review"),
        (lambda data: {**data, "report": "\ud800" * 32}, "is no JSON in UTF-8"),
        (lambda data: {**data, "decisions": [{**data["decisions"][0], "note": "\ud800"}]}, "is no JSON in UTF-8"),
        (lambda data: {**data, "decisions": [{**data["decisions"][0], "note": f"use {KEY}"}]}, "looks like an API key"),
        (lambda data: {**data, "decisions": [{**data["decisions"][0], "reedit_prompt": KEY}]}, "looks like an API key"),
        (lambda data: {**data, "who": KEY}, "looks like an API key"),
        (lambda data: {**data, "version": "9" * 5000}, "99...; this program reads 1"),
        (lambda data: {**data, "more": [[]] * 6_000_000}, "has more than 5000000 values"),
    ],
)
def test_what_does_not_come_back(night: Shop, cli: Cli, change: Callable[[Any], Any], words: str) -> None:
    """Another ledger's, another program's, or nonsense: exit code 2, and nothing is taken."""
    cli("review", "out", "--static", "for-client")
    data = page_data(night.root / "for-client")
    good = json.loads(returned(data, [{"id": data["cards"][0]["id"], "seen": 0, "verdict": "approved"}]))
    night.write("back.json", json.dumps(change(good)))
    refused = cli("verdicts", "import", "back.json", "out")
    assert refused.code == 2
    assert words in refused.err
    with database(LEDGER) as db:
        assert db.execute("SELECT count(*) FROM decisions").fetchone() == (0,)


# -- the whole morning -------------------------------------------------------------------------------------------------


def test_the_morning_after(shop: Shop, serve: Callable[..., Served], cli: Cli) -> None:
    """Run, review, reject three, re-edit, review again: useful and superseded add up to what the provider has billed."""
    for number in range(5):
        draw_picture(shop.root / "in" / f"more{number}.png", (30 * number, 90, 160))
    served = serve()
    served.manifest(shop)
    assert cli("run", "night.yaml", "-q").code == 0
    once = served.audit()["billed_microusd_total"]
    with reviewed() as browser:
        for number, card in enumerate(browser.cards().values()):
            browser.decide(card, "rejected" if number < 3 else "approved", reason="halo" if number < 3 else "")
    assert cli("reedit", "night.yaml", "--prompt", "{{ prompt }}, without the {{ reason }}", "-q").code == 0
    with reviewed(select=("verdict:none",)) as browser:
        again = browser.cards()
        assert len(again) == 3
        assert {card["revision"] for card in again.values()} == {2}
        for number, card in enumerate(again.values()):
            browser.decide(card, "approved" if number else "rejected")
    billed = served.audit()["billed_microusd_total"]
    assert billed == once // 8 * 11
    total = cli("report", "out", "--json").json()["total"]
    micro = {name: round(float(total[name]) * 1e6) for name in ("spent", "useful", "wasted")}
    waste = {name: round(float(amount) * 1e6) for name, amount in total["waste"].items()}
    assert micro["spent"] == micro["useful"] + micro["wasted"] == billed
    assert waste == {"superseded": once // 8 * 3, "rejected": once // 8}
    assert micro["useful"] == once // 8 * 7
    assert (total["reviewed"], total["approved"], total["approved_at_once"]) == (8, 7, 5)


def test_a_ledger_of_an_older_version_is_brought_up_to_date(night: Shop) -> None:
    """By the first review of it."""
    from tests.conftest import drop_views

    with database(LEDGER) as db:
        drop_views(db)
    with pytest.raises(LedgerError, match="older version"), reviewed(ServeOptions(read_only=True)):
        pass
    with reviewed() as browser:
        assert browser.decide(browser.cards()["mug/edit"], "approved")["seen"]


def test_what_is_approved_in_the_page_is_bought_by_the_next_run(shop: Shop, cli: Cli) -> None:
    """Edits that wait for approval notice it when a run plans; an approval that was taken back does not count."""
    shop.write(
        "chain.yaml",
        "version: 1\ndefaults: {quality: low}\nedits:\n  white: {prompt: pure white background}\n"
        "  scene: {from: white, when: approved, prompt: on an oak table}\nsources: [{glob: in/*.png}]\n",
    )
    cli("run", "chain.yaml", "-q")
    with reviewed() as browser:
        cards = browser.cards()
        browser.decide(cards["mug/white"], "approved")
        browser.decide(cards["shoe/white"], "approved")
        browser.decide(cards["shoe/white"], "undecided")
        browser.decide(cards["lamp/white"], "rejected")
    assert cli("run", "chain.yaml", "-q").code == 0
    assert shop.outputs() == ["scene/mug.png", "white/lamp.png", "white/mug.png", "white/shoe.png"]
