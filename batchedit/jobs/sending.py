"""
Sending a notice: HTTP, mail, a program of the user's, or whatever Apprise knows.

URLs and passwords come from the environment and appear in no message: of an error only its kind is told. Each sending
has a time limit, whatever the other side does.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import signal
import smtplib
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.header import Header
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from batchedit.configuration import NOTICE_PREFIX
from batchedit.credentials import without_keys
from batchedit.jobs.model import Notice
from batchedit.jobs.notice_keys import is_loopback
from batchedit.providers.registry import key_variables

_MOST_ANSWER_BYTES = 65536
_MOST_TEXT_BYTES = 32768
"""Of a variable of the environment, which no system takes in any length."""
_AS_VARIABLES = (
    "job",
    "night",
    "exit_code",
    "done",
    "failed",
    "unknown",
    "left",
    "spent",
    "spent_night",
    "at_risk",
    "next",
)
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_URGENT = frozenset({"failed", "account", "unknown"})


class NotSentNotice(Exception):
    """A notice was not sent; the message says why without any secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    What somebody is told.

    Attributes:
        title: One line.
        text: Several, for people.
        facts: For programs; can be written as JSON.
        events: What it is about.
        is_well: The job ended as it should, be it with work left; for heartbeats.
    """

    title: str
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    events: frozenset[str] = frozenset()
    is_well: bool = True


def send(notice: Notice, message: Message, environment: Mapping[str, str], *, folder: Path) -> None:
    """
    Send a notice.

    Args:
        folder: Where a program is started.

    Raises:
        NotSentNotice: if that failed, or took too long.
    """
    secrets = {name: environment.get(name, "") for name in notice.variables}
    for name, value in secrets.items():
        if not value:
            raise NotSentNotice(f"the environment variable {name} is not set")
    match notice.via:
        case "webhook":
            body, headers = json.dumps(dict(message.facts)).encode(), {"content-type": "application/json"}
            _in_time(notice, lambda: _post(notice, secrets, body, headers))
        case "slack":
            text = f"*{_for_slack(message.title)}*\n{_for_slack(message.text)}"
            body, headers = json.dumps({"text": text}).encode(), {"content-type": "application/json"}
            _in_time(notice, lambda: _post(notice, secrets, body, headers))
        case "ntfy":
            headers = {
                "content-type": "text/plain; charset=utf-8",
                "title": _header(message.title),
                "priority": "high" if message.events & _URGENT else "default",
            }
            _in_time(notice, lambda: _post(notice, secrets, message.text.encode(), headers))
        case "heartbeat":
            ping(notice, environment, "" if message.is_well else "/fail")
        case "smtp":
            _in_time(notice, lambda: _mail(notice, secrets, message))
        case "exec":
            _execute(notice, message, environment, folder)
        case _:
            _in_time(notice, lambda: _apprise(secrets[notice.url_env], message))


def ping(notice: Notice, environment: Mapping[str, str], ending: str) -> None:
    """
    Tell a heartbeat's service something, by the ending of the address.

    Raises:
        NotSentNotice: as `send`.
    """
    url = environment.get(notice.url_env, "")
    if not url:
        raise NotSentNotice(f"the environment variable {notice.url_env} is not set")
    with _as_address(notice.url_env):
        parts = urlsplit(url)
        target = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + ending, parts.query, ""))
    _in_time(notice, lambda: _post(notice, {notice.url_env: target}, b"", {}))


def _in_time(notice: Notice, work: Callable[[], None]) -> None:
    """
    Do something within the notice's time, in a thread that is left behind if it takes longer: time-outs of sockets are
    for each step, and a server that answers a byte at a time would hold up the night's end.
    """
    failed: list[NotSentNotice] = []

    def run() -> None:
        try:
            work()
        except NotSentNotice as error:
            failed.append(error)
        except Exception as error:  # whatever it is: a notice must not change how a job ends
            failed.append(NotSentNotice(f"failed ({type(error).__name__})"))

    thread = threading.Thread(target=run, daemon=True, name=f"batchedit-{notice.via}")
    thread.start()
    thread.join(notice.timeout_seconds)
    if thread.is_alive():
        raise NotSentNotice(_silent(notice.timeout_seconds))
    if failed:
        raise failed[0]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A notice goes where it was sent, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


def _post(notice: Notice, secrets: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> None:
    url = secrets[notice.url_env]
    with _as_address(notice.url_env):
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        plain = parts.username is None and parts.password is None and url.isascii() and url.isprintable()
    if not host or not plain or " " in url or not (parts.scheme == "https" or _is_here(parts.scheme, host)):
        raise NotSentNotice(f"{notice.url_env} holds no https address (http is for this machine only)")
    sent = {"user-agent": "batchedit", **headers}
    if notice.token_env:
        token = secrets[notice.token_env]
        if not token.isascii() or not token.isprintable():
            raise NotSentNotice(f"{notice.token_env} holds no token")
        sent["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=body, headers=sent, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=notice.timeout_seconds) as answer:
            answer.read(_MOST_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotSentNotice(f"was answered with HTTP {error.code}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise NotSentNotice(_silent(notice.timeout_seconds)) from None
        kind = type(error.reason).__name__ if isinstance(error.reason, BaseException) else "URLError"
        raise NotSentNotice(f"could not be delivered ({kind})") from None
    except TimeoutError:
        raise NotSentNotice(_silent(notice.timeout_seconds)) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotSentNotice(f"could not be delivered ({type(error).__name__})") from None


def _silent(seconds: float) -> str:
    return f"no answer within {seconds:g} s"


def _is_here(scheme: str, host: str) -> bool:
    return scheme == "http" and is_loopback(host)


@contextlib.contextmanager
def _as_address(variable: str) -> Iterator[None]:
    try:
        yield
    except ValueError:
        raise NotSentNotice(f"{variable} holds no address") from None


def _mail(notice: Notice, secrets: Mapping[str, str], message: Message) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.title, notice.sender, ", ".join(notice.to)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=notice.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    port, seconds = notice.port or _PORTS[notice.security], notice.timeout_seconds
    try:
        if notice.security == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(notice.server, port, timeout=seconds, context=context)
        else:
            server = smtplib.SMTP(notice.server, port, timeout=seconds)
        with server:
            if notice.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if notice.user_env:
                server.login(secrets[notice.user_env], secrets[notice.password_env])
            server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise NotSentNotice(f"the mail server answered {error.smtp_code} ({type(error).__name__})") from None
    except (OSError, smtplib.SMTPException) as error:
        raise NotSentNotice(f"could not be mailed ({type(error).__name__})") from None


def _execute(notice: Notice, message: Message, environment: Mapping[str, str], folder: Path) -> None:
    try:
        process = subprocess.Popen(
            notice.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={**without_keys(environment, *key_variables()), **_variables(message)},
            start_new_session=True,
        )
    except OSError as error:
        raise NotSentNotice(f"the program could not be started: {error.strerror}") from None
    try:
        process.communicate(json.dumps(dict(message.facts)).encode(), timeout=notice.timeout_seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: whatever it has started goes too
        process.wait()
        raise NotSentNotice(f"the program took longer than {notice.timeout_seconds:g} s and was ended") from None
    except BrokenPipeError:
        process.wait()
    if process.returncode:
        raise NotSentNotice(f"the program ended with {process.returncode}")


def _variables(message: Message) -> dict[str, str]:
    """The same as variables, for programs that read no JSON."""
    facts = {name: message.facts.get(name) for name in _AS_VARIABLES}
    found = {name: "" if value is None else str(value) for name, value in facts.items()}
    found["events"] = ",".join(sorted(message.events))
    text = message.text.encode()[:_MOST_TEXT_BYTES].decode("utf-8", "ignore")
    return {
        f"{NOTICE_PREFIX}{name.upper()}": value
        for name, value in {**found, "title": message.title, "text": text}.items()
    }


def _apprise(url: str, message: Message) -> None:
    try:
        import apprise
    except ImportError:
        raise NotSentNotice("needs the extra: pip install 'batchedit[apprise]'") from None
    logger = logging.getLogger("apprise")
    before, logger.disabled = logger.disabled, True  # what it logs may hold parts of the URL
    try:
        service = apprise.Apprise()
        if not service.add(url):
            raise NotSentNotice("its URL is none that Apprise knows")
        if not service.notify(body=message.text, title=message.title):
            raise NotSentNotice("was not taken by the service")
    finally:
        logger.disabled = before


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _header(text: str) -> str:
    """A header's value; what is not ASCII as RFC 2047 has it, in one line."""
    return text if text.isascii() else re.sub(r"\s+", " ", Header(text, "utf-8", maxlinelen=10_000).encode())
