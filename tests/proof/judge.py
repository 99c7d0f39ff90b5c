"""
The judge of a simulated night. It reads the provider's own books and the ledger's file, and knows no code of the
product: what it believes about states and money is written here once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from batchedit.emulator import Emulator
from tests.proof.weather import Start, Weather

OPEN = ("sending", "accepted", "fetching", "unknown")
_LONGEST_START_SECONDS = 6 * 3600


class Judge:
    """
    Watches one night.

    Args:
        out: The output folder.
        problems: Where broken promises go.
    """

    def __init__(self, out: Path, emulator: Emulator, weather: Weather, problems: list[str]) -> None:
        self._out, self._emulator, self._weather = out, emulator, weather
        self._problems = problems
        self._start = -1
        self._ceiling: int | None = None
        self._chain_goes_on = False
        self._paid: set[str] = set()

    # -- while the program runs ------------------------------------------------------------------------------

    def begins(self, start: Start) -> None:
        """A start of the program is about to be made."""
        self._start += 1
        self._limit = start.budget
        self._first_total: int | None = None
        self._starts_before = len(self._audit()["starts"])
        self._begun = self._now()
        self._sent = 0
        self._last_run = 0
        if (self._out / ".batchedit/ledger.db").exists():
            with self._ledger() as db:
                self._last_run = db.execute("SELECT coalesce(max(id), 0) FROM runs").fetchone()[0]
        # Without a ledger there is nothing to reconcile, and the night has a run instead.
        self._reconciles = start.kind == "reconcile" and (self._out / ".batchedit/ledger.db").exists()

    def sees(self, method: str, path: str) -> None:
        """The program sends something."""
        self._sent += method == "POST" and (path.endswith("/runs") or "/v1/run/" in path)

    def watches(self, spent: int, held: int) -> None:
        """The program says what it has spent and holds; within the budget it may never grow past it."""
        if self._first_total is None:
            self._first_total = spent + held
        if self._limit is not None and not self._surplus() and spent + held > max(self._limit, self._first_total):
            self._say(f"spent {spent} + held {held} pass the budget {self._limit}")
            self._limit = None  # said once

    def said(self, summary: Any) -> None:
        """What the program says at its end must be what its ledger says."""
        with self._ledger() as db:
            risk = db.execute(
                "SELECT coalesce(sum(doubt_microusd + surplus_doubt_microusd"
                " + (outcome IS NULL) * reserved_microusd), 0) FROM attempts"
            ).fetchone()[0]
        if summary.at_risk != risk:
            self._say(f"it says {summary.at_risk} at risk, its ledger {risk}")
        states = {str(state): count for state, count in summary.states.items()}
        if summary.exit_code == 0 and any(states[s] for s in ("unknown", "failed", "suspect", "lost", *OPEN)):
            self._say(f"exit code 0 with {states}")
        if states["unknown"] and summary.exit_code not in (1, 4, 7, 9):
            self._say(f"unknown outcomes and exit code {summary.exit_code}")

    def ends(self, start: Start, code: int | None) -> None:
        """A start has ended, by itself or by being killed (`code` is None)."""
        if code == 1:
            self._say("exit code 1: a bug")
        if self._reconciles and self._sent:
            self._say("reconcile has bought")
        self._check_pace(start)
        if (self._out / ".batchedit/ledger.db").exists():
            self._check(start)

    def reads(self, report: Mapping[str, Any]) -> None:
        """The report says what the provider bills, and each of its groupings adds up to that."""
        audit, total = self._audit(), report["total"]
        billed = audit["billed_microusd_total"] + audit["will_bill_microusd"]
        spent, risk = _micro(total["spent"]), _micro(total["at_risk"])
        guessed = sum(_micro(amount) for basis, amount in report["basis"].items() if basis != "reported")
        if not self._surplus() and billed > spent + risk:
            self._say(f"the provider bills {billed}, the report brackets {spent} to {spent + risk}")
        if risk == 0 and not guessed and not self._surplus() and spent != billed:
            self._say(f"nothing is in doubt, but the report says {spent} and {billed} are billed")
        if _micro(total["useful"]) + _micro(total["wasted"]) != spent:
            self._say(f"useful and wasted do not make up what was spent: {total}")
        for name, groups in report["by"].items():
            for field in ("spent", "at_risk", "useful", "wasted"):
                if sum(_micro(group[field]) for group in groups.values()) != _micro(total[field]):
                    self._say(f"the report by {name} does not add up to its total: {field}")
            for field in ("requests", "attempts", "pictures"):
                if sum(group[field] for group in groups.values()) != total[field]:
                    self._say(f"the report by {name} does not add up to its total: {field}")

    def _check_pace(self, start: Start) -> None:
        """No minute has more starts than were allowed, whatever the wall clock does, and none waits for days."""
        starts = self._audit()["starts"][self._starts_before :]
        rate = self._weather.limits.get("rpm")
        if rate is not None and not start.freezes:
            for at in starts:
                if sum(at <= other < at + 59.9 for other in starts) > rate:
                    self._say(f"more than {rate} purchases in a minute")
                    break
        if self._now() - self._begun > _LONGEST_START_SECONDS:
            self._say(f"a start took {self._now() - self._begun:.0f} s")

    # -- after each start ------------------------------------------------------------------------------------

    def _check(self, start: Start) -> None:
        audit = self._audit()
        with self._ledger() as db:
            if (found := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                self._say(f"damaged ledger: {found}")
            self._check_money(db, audit)
            self._check_runs(db, audit)
            self._check_files(db)
            self._check_attempts(db)
            self._check_chains(db)
            if start.cap is not None and not self._surplus():
                self._check_cap(db, start)

    def _check_money(self, db: sqlite3.Connection, audit: dict[str, Any]) -> None:
        spent, risk = db.execute(
            "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0), coalesce(sum(doubt_microusd +"
            " surplus_doubt_microusd + (outcome IS NULL) * reserved_microusd), 0) FROM attempts"
        ).fetchone()
        billed = audit["billed_microusd_total"] + audit["will_bill_microusd"]
        if not self._surplus() and billed > spent + risk:
            self._say(f"the provider bills {billed}, the ledger knows of {spent} spent and {risk} at risk")
        assumed = db.execute("SELECT coalesce(sum(cost_microusd), 0) FROM attempts WHERE cost_basis = 'assumed'")
        if spent - assumed.fetchone()[0] > billed:
            self._say(f"the ledger says {spent} were spent, the provider bills {billed}")
        guessed = db.execute("SELECT count(*) FROM attempts WHERE cost_basis IN ('assumed', 'computed')").fetchone()[0]
        if risk == 0 and not guessed and not self._surplus() and spent != billed:
            self._say(f"nothing is in doubt, but {spent} were spent and {billed} billed")

    def _check_runs(self, db: sqlite3.Connection, audit: dict[str, Any]) -> None:
        """One billed run for each request, and no billed run whose request thinks that it was not bought."""
        resent = dict(
            db.execute(
                "SELECT client_ref, count(*) FROM attempts JOIN requests ON key = request_key"
                " WHERE outcome IN ('resent', 'written off') GROUP BY client_ref"
            ).fetchall()
        )
        states = dict(db.execute("SELECT client_ref, state FROM requests").fetchall())
        for reference, entry in audit["by_client_ref"].items():
            bills = sum(
                1
                for run in audit["runs"]
                if run["client_ref"] == reference and (run["billed_microusd"] or self._will_bill(run))
            )
            if bills > 1 + resent.get(reference, 0) and not self._surplus():
                self._say(f"{reference} was bought {bills} times: {entry}")
            if bills and states.get(reference) in ("pending", "failed") and not resent.get(reference):
                self._say(f"{reference} was bought and is {states[reference]}")
            if reference not in states:
                self._say(f"{reference} was sent and is in no ledger")

    def _will_bill(self, run: dict[str, Any]) -> bool:
        stored = self._emulator._service.store.run(run["id"], float("inf"))
        return stored is not None and bool(stored.bill_microusd)

    def _check_files(self, db: sqlite3.Connection) -> None:
        """The ledger names only complete files, nothing else lies in the tree, and what was kept stays kept."""
        raws = {(key, number): sha for key, number, sha in db.execute("SELECT request_key, number, sha256 FROM raws")}
        made = set(db.execute("SELECT sha256, raw_sha256 FROM renders"))
        listed = {}
        for path, key, number, sha in db.execute("SELECT path, request_key, number, sha256 FROM outputs"):
            listed[path] = sha
            if raws.get((key, number)) != sha and (sha, raws.get((key, number))) not in made:
                self._say(f"{path} is not a picture of its request")
            if not (self._out / path).is_file():
                self._say(f"{path} is listed and not there")
        kept = set(raws.values())
        ours = kept | {sha for sha, _ in made}
        for file in self._out.rglob("*"):
            relative = str(file.relative_to(self._out))
            if not file.is_file() or relative.startswith(".batchedit"):
                continue
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            stored = list((self._out / ".batchedit/raw").glob(f"{digest[:2]}/{digest}.*"))
            if digest not in ours and not stored:
                self._say(f"{relative} is torn or of nobody")
        for sha in kept:
            files = list((self._out / ".batchedit/raw").glob(f"{sha[:2]}/{sha}.*"))
            if not files or hashlib.sha256(files[0].read_bytes()).hexdigest() != sha:
                self._say(f"the kept picture {sha[:12]} is gone or torn")
        done = {key for (key,) in db.execute("SELECT key FROM requests WHERE state = 'done'")}
        if missing := self._paid - done:
            self._say(f"{len(missing)} requests were done and are not any more")
        self._paid = done

    def _check_attempts(self, db: sqlite3.Connection) -> None:
        """Each purchase that was accepted is the last one of its generation: nothing is sent after acceptance."""
        rows = db.execute(
            "SELECT a.request_key, a.number, a.outcome FROM attempts a WHERE a.accepted_at IS NOT NULL AND EXISTS"
            " (SELECT 1 FROM attempts b WHERE b.request_key = a.request_key AND b.number > a.number)"
            " AND coalesce(a.outcome, 'open') NOT IN ('provider failed', 'resent')"
        ).fetchall()
        for key, number, outcome in rows:
            self._say(f"attempt {number} of {key[:8]} was accepted ({outcome}), and another one was made")

    def _check_cap(self, db: sqlite3.Connection, start: Start) -> None:
        """What one run has bought for a label that has a budget of its own."""
        half = f"h{start.rows[0] % 2}"
        rows = db.execute(
            "SELECT labels, sum(cost_microusd + doubt_microusd + (outcome IS NULL) * reserved_microusd) FROM attempts"
            " JOIN requests ON key = attempts.request_key JOIN tasks ON slot = buyer_slot"
            " WHERE run_id = (SELECT max(id) FROM runs) AND run_id > ? GROUP BY labels",
            (self._last_run,),
        ).fetchall()
        bought = sum(amount for labels, amount in rows if json.loads(labels).get("half") == half)
        if bought > start.cap:
            self._say(f"{bought} were bought for {half}, whose budget is {start.cap}")

    def _check_chains(self, db: sqlite3.Connection) -> None:
        """What starts from another picture was bought for the one that is delivered, or for one that was before."""
        kept = {f"sha256:{sha}" for (sha,) in db.execute("SELECT sha256 FROM raws WHERE number = 1")}
        rows = db.execute(
            "SELECT slot, spec FROM tasks JOIN requests ON key = request_key"
            " WHERE edit IN ('e1', 'e2') AND EXISTS (SELECT 1 FROM attempts WHERE attempts.request_key = key)"
        ).fetchall()
        for slot, spec in rows:
            if json.loads(spec)["images"][0]["id"] not in kept:
                self._say(f"{slot} was bought for a picture that nobody kept")

    # -- the morning -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """With a provider that behaves, two calm starts must have settled what can be settled."""
        if not (self._out / ".batchedit/ledger.db").exists():
            self._say("there is no ledger")
            return
        if self._weather.provider["api"] == "run":
            allowed = {"done", "failed", "suspect", "lost", "unknown"}
        else:
            allowed = {"done", "failed", "suspect", "lost"}
        stuck = {run["id"] for run in self._audit()["runs"] if run["state"] in ("queued", "running", "dispatching")}
        with self._ledger() as db:
            last = db.execute("SELECT max(id) FROM runs").fetchone()[0]
            rows = db.execute(
                "SELECT key, state, reason, (SELECT provider_run_id FROM attempts WHERE request_key = key"
                " ORDER BY number DESC LIMIT 1) FROM requests WHERE wanted_by = ? OR state NOT IN ('pending')",
                (last,),
            ).fetchall()
            late = db.execute(
                "SELECT waiting.slot FROM waiting JOIN tasks ON tasks.slot = waiting.upstream JOIN requests ON key = request_key"
                " WHERE state = 'done' AND waiting.wanted_by = ?",
                (last,),
            ).fetchall()
        for (slot,) in late:
            self._say(f"{slot} waits for a picture that is there")
        for key, state, reason, run_id in rows:
            if state not in allowed and run_id not in stuck:
                self._say(f"request {key[:8]} ends as {state} ({reason})")

    def edges(self) -> Counter[str]:
        """How often each way from one state to another was taken."""
        if not (self._out / ".batchedit/ledger.db").exists():
            return Counter()
        with self._ledger() as db:
            rows = db.execute("SELECT state_from, event, state_to, count(*) FROM events GROUP BY 1, 2, 3").fetchall()
        return Counter({f"{a} --{event}--> {b}": count for a, event, b, count in rows})

    def digest(self) -> str:
        """The whole history in one number: equal seeds must give equal ones."""
        if not (self._out / ".batchedit/ledger.db").exists():
            return ""
        with self._ledger() as db:
            rows = db.execute("SELECT at, request_key, event, state_from, state_to FROM events ORDER BY id").fetchall()
            money = db.execute("SELECT number, outcome, cost_microusd, message FROM attempts ORDER BY id").fetchall()
        return hashlib.sha256(repr((rows, money)).encode()).hexdigest()

    # -- inside ----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._emulator._service.clock()

    def _audit(self) -> dict[str, Any]:
        return self._emulator.audit()

    def _surplus(self) -> bool:
        return bool(self._audit()["faults_fired"].get("duplicate_runs"))

    def _say(self, problem: str) -> None:
        self._problems.append(f"start {self._start}: {problem}")

    @contextlib.contextmanager
    def _ledger(self) -> Any:
        path = self._out / ".batchedit/ledger.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            yield db


def _micro(dollars: str) -> int:
    return int(Decimal(dollars) * 1_000_000)
