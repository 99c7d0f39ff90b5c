"""
A whole night with real processes: an emulator with limits and faults, a kill in the middle, a window that ends, notices to
a web hook and a mail server whose figures are the ledger's and the emulator's bill.
"""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchedit.money import decimal_text, parse_usd
from tests.conftest import KEY, Shop, command, draw_picture
from tests.jobs.test_notices import Post, Seen, hook, post_office

__all__ = ["hook"]

COUNT = 40
SWITCHES = ("latency=0.2,0.8", "rate_limit_per_minute=1200")
FAULTS = ("error_before=0.05", "answer_lost=0.05", "read_error=0.05")


@pytest.fixture
def emulator(shop: Shop) -> Iterator[str]:
    """Its address; a process of its own, with books on the disk."""
    words = [
        sys.executable,
        "-m",
        "batchedit",
        "emulate",
        "--port",
        "0",
        "--state",
        str(shop.root / "books"),
        "--seed",
        "7",
    ]
    words += [word for switch in SWITCHES for word in ("--switch", switch)]
    words += [word for fault in FAULTS for word in ("--fault", fault)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()


def write_job(shop: Shop, url: str, port: int, *, rpm: int, from_: datetime, until: datetime) -> None:
    shop.write(
        "job.yaml",
        f"""job: 1
name: night
manifests: [night.yaml]
provider: {{name: runflow, base_url: '{url}'}}
limits: {{rpm: {rpm}, concurrency: 8, timeout: 5, list_lag: 0, poll: 0.2}}
budget: {{night: 1.00, month: 2.00}}
window: {{from: "{from_:%H:%M:%S}", until: "{until:%H:%M:%S}", grace: 60}}
report: {{html: "r/{{{{ night }}}}.html"}}
notify:
  - {{via: webhook, url_env: HOOK}}
  - {{via: smtp, server: 127.0.0.1, port: {port}, security: none, from: night@example.com, to: ops@example.com}}
""",
    )


def ledger(shop: Shop, query: str) -> int:
    path = shop.root / "out" / ".batchedit" / "ledger.db"
    if not path.exists():
        return 0
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(db.execute(query).fetchone()[0] or 0)
    except sqlite3.OperationalError:
        return 0  # it is being made
    finally:
        db.close()


def spent(shop: Shop) -> str:
    return decimal_text(ledger(shop, "SELECT sum(cost_microusd + surplus_microusd) FROM attempts"))


def by_state(shop: Shop) -> dict[str, int]:
    """How many requests have ended so, by the ledger."""
    states = {"done": "('done')", "failed": "('failed', 'suspect', 'lost')", "unknown": "('unknown')"}
    return {
        name: ledger(shop, f"SELECT count(*) FROM requests WHERE state IN {found}") for name, found in states.items()
    }


def told(seen: Seen, post: Post) -> dict[str, Any]:
    """The notice that came both ways, with the same figures."""
    ((_, _, body),) = seen.calls
    (mail,) = post.mails
    facts: dict[str, Any] = json.loads(body)
    text = mail.get_content()
    assert f"{facts['done']} done, {facts['failed']} failed, {facts['unknown']} unknown" in text
    assert f"spent ${facts['spent']}" in text
    spent = re.escape(f"${facts['spent_night']}")
    assert re.search(rf"{spent}( and \$[0-9.]+ at risk)? of \$1\.00 for the night", text)
    assert KEY not in text + body.decode()
    seen.calls.clear()
    post.mails.clear()
    return facts


def test_a_whole_night(shop: Shop, emulator: str, hook: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, resumed until the window ends, finished by the next start: paid once, and everybody says the same."""
    for number in range(COUNT):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (6 * number, 90, 250 - 6 * number), side=48)
    shop.write(
        "night.yaml", "version: 1\ndefaults: {prompt: grayscale, quality: low}\nsources: [{glob: 'many/*.png'}]\n"
    )
    monkeypatch.setenv("HOOK", hook.url)
    begins = datetime.now(UTC) - timedelta(hours=1)
    wide = begins + timedelta(hours=5)
    with post_office("none", None) as post:
        write_job(shop, emulator, post.port, rpm=60, from_=begins, until=wide)
        killed = command("job", "run", "job.yaml", cwd=shop.root, key=KEY)
        while ledger(shop, "SELECT count(*) FROM requests WHERE state = 'done'") < 3:
            assert killed.poll() is None, killed.communicate()
            time.sleep(0.05)
        killed.kill()
        killed.communicate()
        assert (hook.calls, post.mails) == ([], [])

        write_job(shop, emulator, post.port, rpm=60, from_=begins, until=datetime.now(UTC) + timedelta(seconds=12))
        second = command("job", "run", "job.yaml", cwd=shop.root, key=KEY)
        out, err = second.communicate(timeout=100)
        facts = told(hook, post)
        # An answer that was lost just before the end has not been asked for yet: that is the more urgent news.
        assert second.returncode == facts["exit_code"] == (7 if facts["unknown"] else 6), out + err
        assert "limit" in facts["events"]
        assert any("the window is over" in reason for reason in facts["reasons"])
        assert facts["done"] + facts["failed"] + facts["unknown"] + facts["left"] == COUNT
        assert facts["left"] > 0
        assert by_state(shop) == {"done": facts["done"], "failed": facts["failed"], "unknown": facts["unknown"]}
        bill = httpx.get(f"{emulator}/emulator/audit").json()["billed_microusd_total"]
        assert facts["spent_night"] == spent(shop)
        known = parse_usd(facts["spent_night"])
        assert known <= bill <= known + parse_usd(facts["at_risk"])
        assert facts["unknown"] or facts["at_risk"] == "0.00"
        assert facts["next"] == f"batchedit job run {shop.root}/job.yaml"

        outside = command("job", "run", "job.yaml", cwd=shop.root, key=KEY)
        out, _ = outside.communicate(timeout=60)
        assert outside.returncode == 6
        assert "outside the window" in out
        assert (hook.calls, post.mails) == ([], [])

        write_job(shop, emulator, post.port, rpm=1200, from_=begins, until=wide)
        last = command("job", "run", "job.yaml", "--json", cwd=shop.root, key=KEY)
        out, err = last.communicate(timeout=100)
        facts = told(hook, post)
    assert last.returncode == facts["exit_code"] == (3 if facts["failed"] else 0), out + err
    assert by_state(shop) == {"done": facts["done"], "failed": facts["failed"], "unknown": 0}
    assert {**json.loads(out), "troubles": []} == {**facts, "troubles": []}
    assert facts["done"] + facts["failed"] == COUNT
    audit = httpx.get(f"{emulator}/emulator/audit").json()
    assert facts["spent_night"] == spent(shop) == decimal_text(audit["billed_microusd_total"])
    assert all(entry["runs"] == 1 for entry in audit["by_input"].values()), "nothing is paid twice"
    assert len(shop.outputs()) == facts["done"]
    (report,) = (Path(name) for name in facts["files"])
    assert re.search(rf"\${re.escape(facts['spent_night'])}", report.read_text("utf-8"))
