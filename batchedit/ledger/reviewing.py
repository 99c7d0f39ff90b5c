"""What a review asks of a ledger: tasks with their pictures, what was said of them, what they were before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from batchedit.ledger.adding import MADE_ANEW, look_of
from batchedit.ledger.lineage import LedgerLineage, Start
from batchedit.ledger.records import Comparison, Decision, Override, PastDecision, Wish, read_raw
from batchedit.ledger.views import IS_NOW
from batchedit.ledger.waiting import has_table
from batchedit.money import MicroUSD


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """
    A task that is done, as a review shows it; amounts in micro-dollars.

    Attributes:
        spec: What was bought, as in `keys.to_spec`.
        files: (path below the output folder, SHA-256) of each delivered picture, in order.
        size: Pixels of the first one as it was sold.
        cost: Of its request; 0 if another task bears it.
        said: The latest decision about these pictures, None if there is none.
        wish: How somebody wants them made again, None if nobody does.
        checks: (name, verdict, what was measured) of each local check that did not pass.
        start: What has become of the picture that it started from; None if that still counts, or if this one was
            approved since.
        is_anew: The files were made anew, and are others, since that decision.
    """

    slot: str
    item_id: str
    edit: str
    variant: str
    labels: Mapping[str, str]
    key: str
    revision: int
    spec: Mapping[str, Any]
    files: tuple[tuple[str, str], ...]
    size: tuple[int, int]
    cost: MicroUSD
    said: PastDecision | None
    wish: Wish | None
    checks: tuple[tuple[str, str, str], ...]
    start: Start | None
    is_anew: bool

    @property
    def look(self) -> str:
        """What the page calls these files, to know whether they are still those."""
        return look_of(" ".join(digest for _, digest in self.files))


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRevision:
    """
    One of the requests that a task has had, with its kept pictures; amounts in micro-dollars.

    Attributes:
        raws: Names of the files among the raws.
        digests: SHA-256 of each of them.
        state: Of the request.
        verdict: What was last said of its pictures, empty if nothing was.
        is_current: It is the one that the task has now.
    """

    revision: int
    key: str
    prompt: str
    state: str
    raws: tuple[str, ...]
    digests: tuple[str, ...]
    cost: MicroUSD
    verdict: str
    reason: str
    is_current: bool


_LAST = "SELECT max(id) FROM {table} AS last WHERE last.slot = tasks.slot AND last.request_key = tasks.request_key"
_LINEAGE = f"""upstream, coalesce((SELECT {MADE_ANEW}
    FROM decisions WHERE id = ({_LAST.format(table="decisions")})), 0) AS is_anew"""
_SHOWN = f"""
SELECT tasks.slot, item_id, edit, variant, labels, tasks.request_key, requests.revision, spec, {{lineage}},
  (SELECT json_group_array(json_array(path, sha256)) FROM
    (SELECT path, sha256 FROM outputs WHERE outputs.slot = tasks.slot ORDER BY number)) AS files,
  coalesce((SELECT width FROM raws WHERE raws.request_key = key ORDER BY number LIMIT 1), 0) AS width,
  coalesce((SELECT height FROM raws WHERE raws.request_key = key ORDER BY number LIMIT 1), 0) AS height,
  CASE WHEN tasks.slot = buyer_slot THEN (SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) FROM attempts
    WHERE attempts.request_key = key) ELSE 0 END AS cost,
  ({_LAST.format(table="decisions")}) AS said, ({_LAST.format(table="wishes")}) AS wished,
  coalesce((SELECT json_group_array(json_array(name, verdict, measured)) FROM
    (SELECT DISTINCT checks.name, checks.verdict, measured FROM checks JOIN outputs ON outputs.slot = checks.slot
      AND outputs.number = checks.number AND outputs.sha256 = checks.sha256
      WHERE checks.slot = tasks.slot AND verdict <> 'passed' ORDER BY verdict, checks.name)), '[]') AS checks
FROM tasks JOIN requests ON key = tasks.request_key
WHERE state = 'done' AND EXISTS (SELECT 1 FROM outputs WHERE outputs.slot = tasks.slot AND outputs.request_key = key)
"""


class LedgerReviews(LedgerLineage):
    """The questions of a review and of re-edits; `reader.Ledger` answers them."""

    @cached_property
    def has_reviews(self) -> bool:
        """False for a ledger of an older version, which is only read here."""
        return has_table(self._connection, "comparisons")

    def shown(self, slot: str | None = None) -> Iterator[Shown]:
        """
        Tasks that are done and delivered, in the order in which they were first recorded; or this one. Without those
        that have another name now: that one is shown.
        """
        if not self.has_reviews:
            return
        more = "" if slot is None else " AND tasks.slot = ?"
        if self.has_renamed:
            more += f" AND {IS_NOW.format(task='tasks')}"
        sql = _SHOWN.format(lineage=_LINEAGE if self.has_lineage else "'' AS upstream, 0 AS is_anew")
        for row in self._connection.execute(f"{sql}{more} ORDER BY tasks.rowid", () if slot is None else (slot,)):
            yield self._shown(row)

    def _shown(self, row: sqlite3.Row) -> Shown:
        return Shown(
            slot=row["slot"],
            item_id=row["item_id"],
            edit=row["edit"],
            variant=row["variant"],
            labels=json.loads(row["labels"]),
            key=row["request_key"],
            revision=row["revision"],
            spec=json.loads(row["spec"]),
            files=tuple((path, digest) for path, digest in json.loads(row["files"])),
            size=(row["width"], row["height"]),
            cost=MicroUSD(row["cost"]),
            said=None if row["said"] is None else self._past("id = ?", row["said"])[0],
            wish=None if row["wished"] is None else self._wish(row["wished"]),
            checks=tuple((name, verdict, measured) for name, verdict, measured in json.loads(row["checks"])),
            start=self.start_of(row["slot"]) if self.has_lineage and row["upstream"] else None,
            is_anew=bool(row["is_anew"]),
        )

    def spent_by_buyer(self) -> Iterator[tuple[str, MicroUSD]]:
        """(slot, micro-dollars) of what each task has cost, all of its revisions together, by the name it had then."""
        for row in self._connection.execute(
            "SELECT buyer_slot, sum(cost_microusd + surplus_microusd) AS cost FROM attempts JOIN requests"
            " ON key = request_key GROUP BY buyer_slot HAVING cost > 0"
        ):
            yield row["buyer_slot"], MicroUSD(row["cost"])

    def last_placed(self) -> str:
        """When a file was last put at its place (ISO, UTC); empty if none ever was."""
        return str(self._connection.execute("SELECT coalesce(max(placed_at), '') FROM outputs").fetchone()[0])

    def placed_since(self, at: str, limit: int = 200) -> list[tuple[str, str]]:
        """(slot, when) of tasks whose files were put at their places at this time or later, oldest first."""
        rows = self._connection.execute(
            "SELECT slot, max(placed_at) AS at FROM outputs WHERE placed_at >= ? GROUP BY slot"
            " ORDER BY at, slot LIMIT ?",
            (at, limit),
        )
        return [(row["slot"], row["at"]) for row in rows]

    def decisions_after(self, number: int, limit: int = 1_000) -> list[PastDecision]:
        """What was said after the decision of this number, oldest first."""
        return self._past("id > ? ORDER BY id LIMIT ?", number, limit)

    def decisions_of(self, slot: str) -> list[PastDecision]:
        """Everything that was said about any pictures of a task, oldest first."""
        return self._past("slot = ? ORDER BY id", slot)

    def _past(self, condition: str, *values: object) -> list[PastDecision]:
        if not has_table(self._connection, "decisions"):
            return []
        rows = self._connection.execute(f"SELECT * FROM decisions WHERE {condition}", values)
        return [PastDecision(id=row["id"], at=row["decided_at"], decision=Decision.read(row)) for row in rows]

    def wish_of(self, slot: str, key: str) -> Wish | None:
        """How these pictures of a task shall be made again, None if nobody wishes it."""
        if not self.has_reviews:
            return None
        row = self._connection.execute(
            "SELECT max(id) AS id FROM wishes WHERE slot = ? AND request_key = ?", (slot, key)
        ).fetchone()
        return None if row["id"] is None else self._wish(row["id"])

    def _wish(self, number: int) -> Wish | None:
        row = self._connection.execute("SELECT * FROM wishes WHERE id = ?", (number,)).fetchone()
        if not row["prompt"] and not row["note"]:
            return None
        return Wish(slot=row["slot"], key=row["request_key"], prompt=row["prompt"], note=row["note"], who=row["who"])

    def comparisons(self) -> Iterator[Comparison]:
        """The latest comparison of each item and edit by each reviewer that has not been undone."""
        if not self.has_reviews:
            return
        rows = self._connection.execute(
            "SELECT * FROM comparisons WHERE id IN (SELECT max(id) FROM comparisons GROUP BY item_id, edit, who)"
            " AND outcome <> 'undone' ORDER BY id"
        )
        for row in rows:
            yield Comparison(
                item_id=row["item_id"],
                edit=row["edit"],
                shown=tuple((slot, key) for slot, key in json.loads(row["shown"])),
                outcome=row["outcome"],
                winner=row["winner"],
                who=row["who"],
            )

    def override(self, slot: str) -> Override | None:
        """The prompt that stands in place of the manifest's for a task, None if none does."""
        if not self._has_overrides:
            return None
        row = self._connection.execute(
            "SELECT * FROM overrides WHERE slot = ? ORDER BY id DESC LIMIT 1", (slot,)
        ).fetchone()
        if row is None or row["prompt"] is None:
            return None
        return Override(
            revision=row["revision"], prompt=row["prompt"], base=row["base_prompt"], replaces=row["replaces"]
        )

    def restored(self, slot: str) -> str | None:
        """The request that a task goes back to when it is planned next, since its re-edit was taken back."""
        if not self._has_overrides:
            return None
        row = self._connection.execute(
            "SELECT prompt, replaces, o.revision = t.revision AND r.revision <> t.revision AS is_due"
            " FROM overrides AS o JOIN tasks AS t ON t.slot = o.slot JOIN requests AS r ON r.key = t.request_key"
            " WHERE o.slot = ? ORDER BY o.id DESC LIMIT 1",
            (slot,),
        ).fetchone()
        return None if row is None or row["prompt"] is not None or not row["is_due"] else str(row["replaces"])

    @cached_property
    def _has_overrides(self) -> bool:
        """Most ledgers have none, and need not be asked for each task."""
        if not self.has_reviews:
            return False
        return self._connection.execute("SELECT 1 FROM overrides LIMIT 1").fetchone() is not None

    def last_revision(self, slot: str, key: str) -> int:
        """The highest revision that a task was ever wanted as, whatever became of it."""
        return int(
            self._connection.execute(
                "SELECT max(coalesce((SELECT max(revision) FROM requests WHERE buyer_slot = :slot OR key = :key), 1),"
                " coalesce((SELECT max(revision) FROM overrides WHERE slot = :slot), 1),"
                " coalesce((SELECT revision FROM tasks WHERE slot = :slot), 1))",
                {"slot": slot, "key": key},
            ).fetchone()[0]
        )

    def has_attempts(self, key: str) -> bool:
        """True if anything was ever sent for a request."""
        sql = "SELECT 1 FROM attempts WHERE request_key = ? LIMIT 1"
        return self._connection.execute(sql, (key,)).fetchone() is not None

    def revisions_of(self, slot: str, key: str) -> list[PastRevision]:
        """The requests that a task has had and whose pictures are kept, or that it has now; oldest first."""
        former = " UNION SELECT replaces FROM overrides WHERE slot = :slot" if self.has_reviews else ""
        rows = self._connection.execute(
            "SELECT * FROM requests WHERE key IN (SELECT key FROM requests WHERE buyer_slot = :slot UNION SELECT :key"
            f"{former}) ORDER BY revision, rowid",
            {"slot": slot, "key": key},
        ).fetchall()
        return [found for row in rows if (found := self._revision(row, slot, key)).raws or found.is_current]

    def _revision(self, row: sqlite3.Row, slot: str, current: str) -> PastRevision:
        raws = self._connection.execute(
            "SELECT * FROM raws WHERE request_key = ? ORDER BY number", (row["key"],)
        ).fetchall()
        cost = self._connection.execute(
            "SELECT coalesce(sum(cost_microusd + surplus_microusd), 0) FROM attempts WHERE request_key = ?",
            (row["key"],),
        ).fetchone()[0]
        said = self._past("slot = ? AND request_key = ? ORDER BY id DESC LIMIT 1", slot, row["key"])
        last = said[0].decision if said and said[0].decision.verdict != "undecided" else None
        return PastRevision(
            revision=row["revision"],
            key=row["key"],
            prompt=json.loads(row["spec"])["prompt"],
            state=row["state"],
            raws=tuple(read_raw(raw).name for raw in raws),
            digests=tuple(raw["sha256"] for raw in raws),
            cost=MicroUSD(cost),
            verdict="" if last is None else last.verdict,
            reason="" if last is None else last.reason,
            is_current=row["key"] == current,
        )
