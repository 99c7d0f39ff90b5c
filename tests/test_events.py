"""Events, logs, and what terminals are shown: complete, in order, redacted, harmless."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from batchedit.endpoint import Key
from batchedit.lifecycle import Event, State
from batchedit.redaction import harmless, redact
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture

Cli = Callable[..., Result]
SCHEMA = json.loads((files("batchedit") / "exporting" / "events.schema.json").read_text("utf-8"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def of_ledger(shop: Shop) -> list[tuple[Any, ...]]:
    with database(shop.root / "out" / ".batchedit" / "ledger.db") as db:
        return db.execute("SELECT id, request_key, event, state_from, state_to FROM events ORDER BY id").fetchall()


def as_rows(lines: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(line["id"], line["request"], line["event"], line["from"], line["to"]) for line in lines]


def test_a_line_for_each_change(cli: Cli, shop: Shop, jobs: Path) -> None:
    """As the ledger has them, by the published schema, in a file that nobody else may read."""
    path = shop.root / "events.ndjson"
    assert cli("run", jobs, "--events", path).code == 0
    lines = read(path)
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    assert as_rows(lines) == of_ledger(shop)
    assert len(lines) == 12
    done = [line for line in lines if line["to"] == "done"]
    assert sorted(line["job"].split("/")[0] for line in done) == ["0123_1", "0123_2", "0124_1"]
    assert all(line["attempt"] == 1 and line["basis"] == "reported" and float(line["cost"]) > 0 for line in done)
    assert all(line["cost"] is None for line in lines if line["to"] != "done")
    assert path.stat().st_mode & 0o777 == 0o600
    assert cli("run", jobs, "--events", path).code == 0
    assert read(path) == lines, "nothing happened, so nothing is told"


def test_the_schema_knows_every_word() -> None:
    """Those of the lifecycle, and no others."""
    assert set(SCHEMA["properties"]["event"]["enum"]) == {str(event) for event in Event}
    assert set(SCHEMA["$defs"]["state"]["enum"]) == {str(state) for state in State}


def test_a_new_file_tells_of_this_run_only(cli: Cli, shop: Shop, jobs: Path) -> None:
    """What happened before has no reader."""
    assert cli("run", jobs).code == 0
    before = len(of_ledger(shop))
    path = shop.root / "events.ndjson"
    draw_picture(shop.root / "in" / "vase.png", (9, 9, 9))
    jobs.write_text(jobs.read_text() + "0125,in/vase.png,grayscale\n")
    assert cli("run", jobs, "--events", path).code == 0
    assert as_rows(read(path)) == of_ledger(shop)[before:]


def test_stdout_is_for_events_alone(cli: Cli, shop: Shop, jobs: Path) -> None:
    """What people read goes to stderr then; a program cannot want both on stdout."""
    result = cli("run", jobs, "--events", "-")
    assert result.code == 0
    assert as_rows([json.loads(line) for line in result.out.splitlines()]) == of_ledger(shop)
    assert "finished" in result.err
    refused = cli("run", jobs, "--events", "-", "--json")
    assert refused.code == 2
    assert "both want stdout" in refused.err


def test_after_a_kill_the_file_is_complete_again(shop: Shop, serve: Callable[..., Served]) -> None:
    """Nothing missing, nothing twice, and the half line is gone."""
    for number in range(12):
        draw_picture(shop.root / "in" / f"p{number}.png", (number * 20, 50, 50), side=64)
    manifest = serve(latency=(0.3, 0.6)).manifest(shop)
    path = shop.root / "events.ndjson"
    arguments = ("run", manifest, "--out", "out", "--yes", "--concurrency", "3", "--events", path)
    process = command(*arguments, cwd=shop.root, key=KEY)
    end = time.monotonic() + 30
    while (not path.exists() or path.read_bytes().count(b"\n") < 8) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with path.open("ab") as file:
        file.write(b'{"v":1,"id":')
    again = command(*arguments, cwd=shop.root, key=KEY)
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert as_rows(read(path)) == of_ledger(shop)


def test_a_file_of_something_else_is_left_alone(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Text, another ledger's events, a link: nothing is run, nothing is changed."""
    for text in ("my notes\n", '{"v":1,"id":1e999,"ledger":"x"}\n', "[" * 60_000 + "\n"):
        notes = shop.write("notes.txt", text)
        result = cli("run", jobs, "--events", notes)
        assert result.code == 2
        assert "something else than events" in result.err
        assert notes.read_text() == text
    assert not (shop.root / "out" / ".batchedit" / "ledger.db").exists()
    path = shop.root / "events.ndjson"
    assert cli("run", jobs, "--events", path).code == 0
    lines = path.read_bytes()
    assert cli("run", jobs, "--out", "other", "--events", path).code == 2
    assert cli("run", jobs, "--out", "other").code == 0
    result = cli("run", jobs, "--out", "other", "--events", path)
    assert result.code == 2
    assert "another ledger" in result.err
    assert path.read_bytes() == lines
    (shop.root / "link").symlink_to(path)
    assert cli("run", jobs, "--events", shop.root / "link").code == 9


# Logs


def test_the_log_says_what_happened(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Beginning, end and money; private; each change of state with -v."""
    path = shop.root / "night.log"
    assert cli("run", jobs, "--log-file", path, "--log-format", "json").code == 0
    lines = read(path)
    assert [line["level"] for line in lines] == ["info", "info"]
    assert "3 to buy, rehearsal money" in lines[0]["message"]
    assert "ended with exit code 0" in lines[1]["message"]
    assert path.stat().st_mode & 0o777 == 0o600
    result = cli("run", jobs, "--out", "other", "--log-file", shop.root / "v.log", "-vv")
    assert result.code == 0
    assert "sending -> accepted by accepted" in result.err
    assert "sending -> accepted by accepted" in (shop.root / "v.log").read_text()
    assert "pure white background" not in (shop.root / "v.log").read_text(), "prompts are in no log"


def test_the_log_is_moved_aside(cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it grows too large; what is moved stays private."""
    monkeypatch.setattr("batchedit.logs._LARGEST", 400)
    path = shop.root / "night.log"
    assert cli("run", jobs, "--log-file", path, "-v").code == 0
    old = shop.root / "night.log.1"
    assert old.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o600


def test_the_journal_stamps_lines_itself(shop: Shop, jobs: Path) -> None:
    """No time of ours where JOURNAL_STREAM names this very stream."""
    for name in ("journal", "elsewhere"):
        with (shop.root / name).open("w") as err:
            status = os.fstat(err.fileno())
            stream = f"{status.st_dev}:{status.st_ino + (name != 'journal')}"
            subprocess.run(
                [sys.executable, "-m", "batchedit", "run", jobs, "--out", name + "-out", "-v"],
                env={**os.environ, "JOURNAL_STREAM": stream},
                stderr=err, stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
    assert "\ninfo jobs: 3 to buy" in (shop.root / "journal").read_text()
    assert "Z info jobs: 3 to buy" in (shop.root / "elsewhere").read_text()


# What must not be shown

PAYLOADS = (
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;https://evil.example\x1b\\x\x1b]8;;\x1b\\", "\x1b]52;c;ZXZpbA==\x07",
    "\x1bP+q544e\x1b\\", "\x1b[6n", "\x1bc", "\x9b31m", "\x9d0;t\x9c", "\x90x\x9c", "a\rb", "a\x08\x08b", "a\x07", "a\x7f",
    "a\x0bb\x0c", "\u202egpj.exe", "\u2066x\u2069", "\u200fx", "\u2028x", "\ufeffx", "\U000e0041x", "\x0e\x0f", "\x00x",
)  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_terminal_is_driven_by_nobody_else(cli: Cli, shop: Shop, payload: str) -> None:
    """In an id, a label and a prompt, through every command that shows them; JSON still says what it was."""
    manifest = shop.write(
        "m.json.jsonl",
        json.dumps({"id": "x", "image": "in/mug.png", "prompt": f"gray {payload}", "label:client": f"c{payload}"})
        + "\n",
    )
    results = [cli("check", manifest), cli("plan", manifest, "--by", "client"), cli("run", manifest, "-vv")]
    results += [cli("ls", "out"), cli("show", "x", "out"), cli("report", "out", "--by", "client")]
    results += [cli("run", manifest, "--select", f"client:{payload}"), cli("run", f"no{payload}.csv")]
    bad = [char for char in payload if harmless(char) != char]
    assert bad
    for result in results:
        for char in bad:
            assert char not in result.out + result.err, result


def test_json_keeps_what_it_escapes() -> None:
    """The form that people see is JSON's own."""
    for payload in PAYLOADS:
        assert json.loads(harmless(json.dumps(payload, ensure_ascii=False))) == payload


@pytest.mark.parametrize("flag", ["--api-key", "--key", "--token"])
@pytest.mark.parametrize("form", ["{0}={1}", "{0} {1}"])
def test_there_is_no_flag_for_a_key(cli: Cli, jobs: Path, flag: str, form: str) -> None:
    """Whoever tries is told why and what to do, and the key is not repeated."""
    result = cli("run", jobs, *form.format(flag, KEY).split())
    assert result.code == 2
    assert "BATCHEDIT_API_KEY_FILE" in result.err
    assert KEY not in result.err


def test_a_key_elsewhere_on_the_command_line_is_not_repeated(cli: Cli, jobs: Path) -> None:
    """As an argument too many, as a wrong value."""
    for arguments in (("run", jobs, KEY), ("run", jobs, "--rate", KEY), ("plan", KEY), (KEY,)):
        result = cli(*arguments)
        assert result.code == 2
        assert KEY not in result.out + result.err


@pytest.mark.parametrize("text", ["before {} after", "{}", "{}{}", '"{}"'])
def test_a_key_that_a_server_repeats_is_masked_in_every_form(text: str) -> None:
    """As it is, in a URL once or twice, escaped as in JSON once or twice, in hex, backwards, in base64 wherever it stands."""
    from base64 import b64encode, urlsafe_b64encode
    from urllib.parse import quote

    secret = "rf_live_canary+/=0123456789?"
    forms = [secret, quote(secret, safe=""), secret.encode().hex(), secret[::-1]]
    escaped = "".join(f"\\u{ord(char):04X}" for char in secret)
    forms += [quote(quote(secret, safe=""), safe=""), escaped, escaped.lower(), escaped.replace("\\", "\\\\")]
    forms += ["rf%5flive_canary\\u002B/%253d0123456789?", "".join(f"%{ord(char):02x}" for char in secret)]
    for before in ("", "a", "ab", "abc"):
        raw = (before + secret + "xyz").encode()
        forms += [b64encode(raw).decode(), urlsafe_b64encode(raw).decode()]
    for form in forms:
        masked = Key(secret).mask(text.replace("{}", form).encode()).decode()
        assert form not in masked
        assert "..." in masked


def test_signatures_are_masked_however_they_are_quoted() -> None:
    """Within another URL their marks are encoded once or twice."""
    for text in (
        "see https://s.example/a.png?X-Amz-Signature=CANARYCANARY&x=1",
        "u=https%3A%2F%2Fs.example%2Fa.png%3FX-Amz-Signature%3DCANARYCANARY%26x%3D1",
        "u=https%253A%252F%252Fs.example%253Fsig%253DCANARYCANARY",
        "X-Goog-Signature=CANARYCANARY expired",
    ):
        assert "CANARY" not in redact(text), text


def test_a_traceback_shows_no_secret(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """--debug says where, not what was in the variables."""

    def fail(*arguments: object, **more: object) -> None:
        raise sqlite3.OperationalError(f"Bearer {KEY} at https://x.example/?sig=CANARYCANARY \x1b[2J")

    monkeypatch.setattr("batchedit.planner.survey", fail)
    result = cli("plan", "in/*.png", "--prompt", "x", "--debug")
    assert result.code == 1
    assert "Traceback" in result.err
    assert "in fail" in result.err
    assert not any(secret in result.err for secret in (KEY, "CANARYCANARY", "\x1b"))
