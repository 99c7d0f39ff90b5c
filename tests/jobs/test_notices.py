"""Notices to real servers on this machine: what arrives, and that nothing of it can hurt a night."""

from __future__ import annotations

import email
import email.policy
import json
import os
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from batchedit.emulator import Faults
from batchedit.money import decimal_text
from tests.conftest import KEY, Result, Served, Shop

Cli = Callable[..., Result]
SECRET = "canary-4f1b9"


@dataclass
class Seen:
    """What a server has been sent."""

    url: str = ""
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    location: str = ""
    delay: float = 0.0


@pytest.fixture
def hook() -> Iterator[Seen]:
    """An HTTP server that notes what it is sent."""
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen.calls.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            time.sleep(seen.delay)
            self.send_response(seen.status)
            if seen.location:
                self.send_header("location", seen.location)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield seen
        server.shutdown()
        thread.join()


@dataclass
class Post:
    """A mail server, and what it got."""

    port: int
    mails: list[email.message.EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    over_tls: list[bool] = field(default_factory=list)


class _Handler:
    def __init__(self, post: Post) -> None:
        self._post = post

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802  the library's name
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self._post.mails.append(message)
        self._post.over_tls.append(session.ssl is not None)
        return "250 OK"


@contextmanager
def post_office(kind: str, context: ssl.SSLContext | None) -> Iterator[Post]:
    """A server that speaks `starttls`, `tls` or `none`."""
    post = Post(0)

    def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        post.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == SECRET)

    options: dict[str, Any] = {}
    if kind == "starttls":
        options = {"tls_context": context, "require_starttls": True, "authenticator": login, "auth_required": True}
    elif kind == "tls":
        options = {"ssl_context": context}
    controller = Controller(_Handler(post), hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    post.port = controller.port
    try:
        yield post
    finally:
        controller.stop()


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for this machine, and an authority that this process trusts."""
    ca = trustme.CA()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def job(shop: Shop, notify: str, *, more: str = "") -> Path:
    """A job of three pictures with a notice."""
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: grayscale, quality: low}\nsources: [{glob: 'in/*.png'}]\n")
    return shop.write(
        "job.yaml", f"job: 1\nname: night\nmanifests: [night.yaml]\nbudget: {{night: 1}}\n{more}notify:\n  - {notify}\n"
    )


def test_a_webhook_gets_the_facts(cli: Cli, shop: Shop, hook: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `job run --json` prints them, with the token; the report's path and the limits among them."""
    monkeypatch.setenv("HOOK", f"{hook.url}/h?key={SECRET}")
    monkeypatch.setenv("TOKEN", SECRET)
    job(shop, "{via: webhook, url_env: HOOK, token_env: TOKEN}", more="report: {text: 'r/{{ night }}.txt'}\n")
    result = cli("job", "run", "job.yaml", "--json")
    assert result.code == 0
    ((path, headers, body),) = hook.calls
    assert (path, headers["authorization"]) == (f"/h?key={SECRET}", f"Bearer {SECRET}")
    facts, told = json.loads(body), result.json()
    assert told.pop("troubles") == []
    assert facts == told
    assert (facts["done"], facts["failed"], facts["spent"], facts["spent_night"]) == (3, 0, "0.027", "0.027")
    assert facts["events"] == ["finished"]
    assert "$0.027" in Path(facts["files"][0]).read_text()
    assert facts["limits"][0]["limit"] == "1.00"
    assert SECRET not in result.out + result.err


def test_slack_and_ntfy_get_text(cli: Cli, shop: Shop, hook: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is markup for them stays text."""
    monkeypatch.setenv("HOOK", hook.url)
    shop.write("night.yaml", "version: 1\ndefaults: {prompt: grayscale}\nsources: [{glob: 'in/*.png'}]\n")
    shop.write("job.yaml", "job: 1\nname: 'a & <b> ü'\nmanifests: [night.yaml]\nnotify:\n"
               "  - {via: slack, url_env: HOOK}\n  - {via: ntfy, url_env: HOOK}\n")  # fmt: skip
    assert cli("job", "run", "job.yaml", "-q").code == 0
    (_, _, slack), (_, headers, ntfy) = hook.calls
    text = json.loads(slack)["text"]
    assert text.startswith("*a &amp; &lt;b&gt; ü: finished (rehearsal)*\n")
    assert "3 done, 0 failed, 0 unknown" in text
    assert "3 done, 0 failed, 0 unknown" in ntfy.decode()
    assert headers["title"].startswith("=?utf-8?")
    assert headers["priority"] == "default"


@pytest.mark.parametrize("kind", ["starttls", "tls", "none"])
def test_mail(cli: Cli, shop: Shop, authority: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Encrypted, with a login where one is wanted; in the clear to this machine only."""
    monkeypatch.setenv("MAIL_USER", "studio")
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)
    login = "user_env: MAIL_USER, password_env: MAIL_PASSWORD, " if kind == "starttls" else ""
    with post_office(kind, authority) as post:
        job(shop, f"{{via: smtp, server: localhost, port: {post.port}, security: {kind}, {login}"
                  "from: night@example.com, to: [ops@example.com, studio@example.com]}")  # fmt: skip
        result = cli("job", "run", "job.yaml")
    assert (result.code, "notice 1" in result.err) == (0, False), result.err
    (mail,) = post.mails
    assert mail["Subject"] == "night: finished (rehearsal)"
    assert mail["To"] == "ops@example.com, studio@example.com"
    assert "spent $0.027, estimate $0.027 to " in mail.get_content()
    assert post.over_tls == [kind == "starttls"]  # a server of `tls` takes nothing else
    assert post.logins == ([("studio", SECRET)] if kind == "starttls" else [])


def test_a_mail_server_that_nobody_vouches_for(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gets neither password nor mail."""
    monkeypatch.setenv("MAIL_USER", "studio")
    monkeypatch.setenv("MAIL_PASSWORD", SECRET)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with post_office("starttls", context) as post:
        job(shop, f"{{via: smtp, server: localhost, port: {post.port}, user_env: MAIL_USER,"
                  " password_env: MAIL_PASSWORD, from: a@example.com, to: b@example.com}")  # fmt: skip
        result = cli("job", "run", "job.yaml")
    assert (result.code, post.mails, post.logins) == (0, [], [])
    assert "notice 1 (smtp): could not be mailed (SSLCertVerificationError)" in result.err


def test_a_program_gets_the_facts(cli: Cli, shop: Shop) -> None:
    """As its standard input; arguments go to it as they are, without a shell."""
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    job(shop, json.dumps({"via": "exec", "command": [sys.executable, "-c", program, "a $(touch x);b.json"]}))
    assert cli("job", "run", "job.yaml").code == 0
    assert json.loads((shop.root / "a $(touch x);b.json").read_text())["done"] == 3
    assert not (shop.root / "x").exists()


def test_heartbeats(cli: Cli, shop: Shop, hook: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start and success, or start and failure; the query stays where it is."""
    monkeypatch.setenv("BEAT", f"{hook.url}/ping/7?a=1")
    job(shop, "{via: heartbeat, url_env: BEAT}")
    assert cli("job", "run", "job.yaml").code == 0
    assert [path for path, _, _ in hook.calls] == ["/ping/7/start?a=1", "/ping/7?a=1"]
    hook.calls.clear()
    shop.write("night.yaml", "version: 1\nsources: [{csv: gone.csv}]\n")
    assert cli("job", "run", "job.yaml").code == 2
    assert [path for path, _, _ in hook.calls] == ["/ping/7/start?a=1", "/ping/7/fail?a=1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in its own code
def test_apprise(cli: Cli, shop: Shop, hook: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it knows, by its URLs."""
    monkeypatch.setenv("URL", hook.url.replace("http://", f"json://{SECRET}:x@") + "/path")
    job(shop, "{via: apprise, url_env: URL}")
    result = cli("job", "run", "job.yaml")
    assert (result.code, "notice" in result.err) == (0, False), result.err
    ((path, _, body),) = hook.calls
    assert path.rstrip("/") == "/path"
    assert json.loads(body)["title"] == "night: finished (rehearsal)"


def test_without_apprise_the_extra_is_named(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the night's exit code stays."""
    monkeypatch.setenv("URL", "json://localhost/")
    monkeypatch.setitem(sys.modules, "apprise", None)
    job(shop, "{via: apprise, url_env: URL}")
    result = cli("job", "run", "job.yaml")
    assert result.code == 0
    assert "notice 1 (apprise): needs the extra: pip install 'batchedit[apprise]'" in result.err


@pytest.mark.parametrize(
    ("url", "setting", "said"),
    [
        ("", {}, "the environment variable HOOK is not set"),
        ("ftp://x/y", {}, "HOOK holds no https address (http is for this machine only)"),
        ("http://example.com/y", {}, "HOOK holds no https address (http is for this machine only)"),
        ("https://u:p@example.com/y", {}, "HOOK holds no https address (http is for this machine only)"),
        ("https://[::1", {}, "HOOK holds no address"),
        ("http://127.0.0.1:1/", {}, "could not be delivered (ConnectionRefusedError)"),
        (None, {"status": 500}, "was answered with HTTP 500"),
        (None, {"status": 302, "location": "http://127.0.0.1:1/"}, "was answered with HTTP 302"),
        (None, {"delay": 3.0}, "no answer within 0.5 s"),
    ],
)
def test_a_notice_that_fails_changes_nothing(
    cli: Cli,
    shop: Shop,
    hook: Seen,
    monkeypatch: pytest.MonkeyPatch,
    url: str | None,
    setting: dict[str, Any],
    said: str,
) -> None:
    """The exit code is the night's; it is said once, without the address."""
    for name, value in setting.items():
        setattr(hook, name, value)
    monkeypatch.setenv("HOOK", f"{hook.url}/{SECRET}" if url is None else f"{url}{SECRET if url else ''}")
    job(shop, "{via: webhook, url_env: HOOK, timeout: 0.5}")
    result = cli("job", "run", "job.yaml")
    assert result.code == 0
    lines = [line for line in result.err.splitlines() if "notice 1" in line]
    assert len(lines) == 1
    assert lines[0] in (f"notice 1 (webhook): {said}", "notice 1 (webhook): no answer within 0.5 s")
    assert said in lines[0]
    assert SECRET not in result.out + result.err


def test_a_program_that_hangs_is_ended(cli: Cli, shop: Shop) -> None:
    """With whatever it has started."""
    script = shop.write("hang.sh", "#!/bin/sh\nsleep 60 & echo $! > pid; wait\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    job(shop, f"{{via: exec, command: [{script}], timeout: 1}}")
    result = cli("job", "run", "job.yaml")
    assert result.code == 0
    assert "notice 1 (exec): the program took longer than 1 s and was ended" in result.err
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", (shop.root / "pid").read_text().strip()], capture_output=True, check=False
    )
    assert state.stdout.strip() in (b"", b"Z") or state.stdout.startswith(b"Z")


@pytest.mark.parametrize(("on", "sent"), [("[failed]", 1), ("[finished]", 1), ("[limit, account, unknown]", 0)])
def test_who_is_told_what(
    cli: Cli, shop: Shop, hook: Seen, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, on: str, sent: int
) -> None:
    """Some failed: it has finished, and it has failed; the reason is told with what to do."""
    served = serve(Faults(failed_moderation=1.0))
    monkeypatch.setenv("HOOK", hook.url)
    served.manifest(shop)
    shop.write("job.yaml", f"job: 1\nmanifests: [night.yaml]\nnotify: [{{via: webhook, url_env: HOOK, on: {on}}}]\n")
    assert cli("job", "run", "job.yaml", "-q").code == 3
    assert len(hook.calls) == sent
    for _, _, body in hook.calls:
        facts = json.loads(body)
        assert (facts["failed"], facts["events"]) == (3, ["failed", "finished"])
        (group,) = facts["failures"]
        assert (group["code"], group["tasks"]) == ("CONTENT_POLICY_VIOLATION", 3)
        assert "change prompt or picture" in group["next"]


def test_an_account_that_is_refused_is_told(
    cli: Cli, shop: Shop, hook: Seen, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4; hostile text of the provider is told as text."""
    served = serve(balance=0.0)
    monkeypatch.setenv("HOOK", hook.url)
    served.manifest(shop)
    shop.write("job.yaml", "job: 1\nmanifests: [night.yaml]\nnotify: [{via: webhook, url_env: HOOK, on: account}]\n")
    assert cli("job", "run", "job.yaml").code == 4
    ((_, _, body),) = hook.calls
    facts = json.loads(body)
    assert facts["events"] == ["account"]
    assert facts["next"] == f"batchedit job run {shop.root}/job.yaml"


def test_the_figures_are_the_ledgers_and_the_bills(
    cli: Cli, shop: Shop, hook: Seen, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spent in this night by two starts, to the cent."""
    served = serve()
    monkeypatch.setenv("HOOK", hook.url)
    served.manifest(shop)
    shop.write(
        "job.yaml", "job: 1\nmanifests: [night.yaml]\nbudget: {run: 0.02}\nnotify: [{via: webhook, url_env: HOOK}]\n"
    )
    assert cli("job", "run", "job.yaml").code == 6
    assert cli("job", "run", "job.yaml").code == 0
    first, second = (json.loads(body) for _, _, body in hook.calls)
    bill = decimal_text(served.audit()["billed_microusd_total"])
    assert (first["spent"], first["left"], first["events"]) == ("0.018", 1, ["limit"])
    assert (second["spent"], second["spent_night"], second["left"]) == ("0.009", bill, 0)
    assert os.path.isabs(first["next"].split()[-1])


def test_a_program_is_given_no_key(cli: Cli, shop: Shop, serve: Callable[..., Served]) -> None:
    """Neither in the variables of keys nor in another one of the same value; the main facts are variables."""
    served = serve()
    served.manifest(shop)
    program = "import json, os, sys; json.dump([dict(os.environ), json.load(sys.stdin)], open('given.json', 'w'))"
    notice = json.dumps({"via": "exec", "command": [sys.executable, "-c", program]})
    shop.write("job.yaml", f"job: 1\nname: night\nmanifests: [night.yaml]\nnotify: [{notice}]\n")
    places = {"BATCHEDIT_API_KEY": KEY, "RUNFLOW_API_KEY": KEY, "COPY": KEY, "OTHER_API_KEY": "mine"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in places.items():
            patch.setenv(name, value)
        assert cli("job", "run", "job.yaml").code == 0
    text = (shop.root / "given.json").read_text()
    variables, facts = json.loads(text)
    assert KEY not in text
    assert set(places) & set(variables) == {"OTHER_API_KEY"}
    assert facts["done"] == 3
    expected = {"JOB": "night", "EXIT_CODE": "0", "DONE": "3", "FAILED": "0", "EVENTS": "finished", "NEXT": "",
                "SPENT": facts["spent"], "NIGHT": facts["night"], "TITLE": "night: finished"}  # fmt: skip
    found = {name.removeprefix("BATCHEDIT_NOTICE_"): value for name, value in variables.items()}
    assert {name: found[name] for name in expected} == expected
    assert "3 done, 0 failed, 0 unknown" in found["TEXT"]


def test_what_a_program_is_given_keeps_it_from_nothing(cli: Cli, shop: Shop) -> None:
    """A program that starts batchedit itself is not refused for the variables that we have set."""
    program = f"{sys.executable} -m batchedit status out > status.txt 2>&1; echo $? > code"
    job(shop, json.dumps({"via": "exec", "timeout": 30, "command": ["sh", "-c", program]}))
    assert cli("job", "run", "job.yaml").code == 0
    assert (shop.root / "code").read_text().strip() == "0", (shop.root / "status.txt").read_text()


def test_a_warning_goes_to_all_but_heartbeats(
    cli: Cli, shop: Shop, hook: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A heartbeat's service would take it for the end of the job."""
    monkeypatch.setenv("HOOK", f"{hook.url}/hook")
    monkeypatch.setenv("BEAT", f"{hook.url}/beat")
    path = job(shop, "{via: webhook, url_env: HOOK, on: warning}\n  - {via: heartbeat, url_env: BEAT}")
    path.write_text(path.read_text().replace("{night: 1}", "{night: 0.03, warn_at: 40}"))
    assert cli("job", "run", "job.yaml").code == 0
    (warning,) = [json.loads(body) for where, _, body in hook.calls if where == "/hook"]
    assert warning["events"] == ["warning"]
    assert (warning["percent"], warning["limit"]) == (40, "0.03")
    assert [where for where, _, _ in hook.calls if where != "/hook"] == ["/beat/start", "/beat"]
