"""The ledger: transitions, durability settings, the journal, refusals."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from batchedit.effects import Effects, in_thread
from batchedit.errors import LedgerError, StorageError
from batchedit.keys import make_request
from batchedit.ledger.books import Books
from batchedit.ledger.journal import Journal
from batchedit.ledger.reader import Ledger
from batchedit.ledger.records import Attempt, Bill, Note, OutputRow, Pace, RequestRow, TaskRow
from batchedit.ledger.run_records import RunStart
from batchedit.ledger.writer import LedgerWriter
from batchedit.lifecycle import Event, State
from batchedit.model import LocalImage, Params, Quote, Raw, Request, SourceImage
from batchedit.money import MicroUSD
from tests.conftest import database, drop_views

QUOTE = Quote(low=MicroUSD(100), high=MicroUSD(150))
RAW = Raw(number=1, sha256="f" * 64, format="png", width=8, height=8, size_bytes=99)


def request(prompt: str = "white") -> Request:
    image = SourceImage(identity="sha256:" + "a" * 64, ref=LocalImage(Path("/in/mug.jpg")))
    return make_request(model="m", prompt=prompt, images=(image,), mask=None, params=Params())


def task(slot: str, wanted: Request, **labels: str) -> TaskRow:
    return TaskRow(
        slot=slot, item_id=slot, edit="edit", variant="", key=wanted.key, labels=labels, paths=(f"{slot}.png",),
        place="jobs.csv:2",
    )  # fmt: skip


START = RunStart(manifest="jobs", provider="p", model="m", program="test", price_list="1", budget=None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerWriter]:
    """A fresh ledger with a run, one task and its request."""
    writer = LedgerWriter(tmp_path / "ledger.db", Effects(seed="0"), world="real")
    writer.start_run(START)
    writer.record_tasks([(task("a", request()), request(), QUOTE)], provider="p")
    yield writer
    writer.close()


def begin(ledger: LedgerWriter, key: str | None = None) -> tuple[RequestRow, Attempt]:
    row = ledger.request(key or request().key)
    return row, ledger.begin_attempt(
        row,
        scope="s",
        key_print="k",
        findable=True,
        generation=row.generation,
        body_sha256="0" * 64,
        reserved=QUOTE.high,
    )


def test_one_life_from_pending_to_done(ledger: LedgerWriter) -> None:
    """Each event moves the request one step, and the end settles cost, pictures and files together."""
    row, attempt = begin(ledger)
    ledger.accept(attempt, provider_run_id="r1", answer="{}")
    assert ledger.money() == (0, 150)
    ledger.reply(attempt)
    output = OutputRow(
        slot="a", number=1, planned="a.png", path="a.png", path_key="a.png", key=row.key, sha256="f" * 64
    )
    ledger.finish(attempt, [RAW], [output], Bill(cost=MicroUSD(120), basis="reported"))
    assert ledger.request(row.key).state is State.DONE
    assert ledger.money() == (120, 0)
    with Books(ledger.path) as reader:
        assert [cost.cost for cost in reader.cost_groups()] == [120]
        assert [(state.slot, state.delivered) for state in reader.tasks()] == [("a", 1)]


def test_a_request_is_begun_once(ledger: LedgerWriter) -> None:
    """Two parties cannot both send it: the second finds it in another state."""
    row, _ = begin(ledger)
    with pytest.raises(LedgerError, match="is sending, not pending"):
        ledger.begin_attempt(
            row, scope="s", key_print="k", findable=True, generation=1, body_sha256="0" * 64, reserved=QUOTE.high
        )


def test_the_schema_itself_refuses_a_second_open_attempt(ledger: LedgerWriter) -> None:
    """Even a bug above could not have two attempts of one request open."""
    row, _ = begin(ledger)
    with database(ledger.path) as other, pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        other.execute(
            "INSERT INTO attempts (request_key, number, run_id, scope, key_print, findable, generation, idempotency_key,"
            " body_sha256, reserved_microusd, started_at) VALUES (?, 2, 1, 's', 'p', 1, 1, 'k', 'b', 1, 'now')",
            (row.key,),
        )


@pytest.mark.parametrize("amount", ["0.5", "-1", "'much'"])
def test_the_schema_itself_refuses_money_that_is_none(ledger: LedgerWriter, amount: str) -> None:
    """Whole micro-dollars of 0 or more, whoever writes."""
    begin(ledger)
    with database(ledger.path) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute(f"UPDATE attempts SET cost_microusd = {amount}")


def test_a_failed_step_leaves_no_trace(ledger: LedgerWriter) -> None:
    """A transition and its history are one transaction."""
    row, attempt = begin(ledger)
    with pytest.raises(LedgerError):
        ledger.reply(attempt)
    with database(ledger.path) as other:
        events = other.execute("SELECT event FROM events").fetchall()
    assert events == [("begin",)]
    assert ledger.request(row.key).state is State.SENDING


def test_recovery_only_turns_sending_into_unknown(ledger: LedgerWriter) -> None:
    """What a dead process left is not sent again and not given up; its price stays at risk."""
    row, _ = begin(ledger)
    assert ledger.recover() == 1
    assert ledger.recover() == 0
    assert ledger.request(row.key).state is State.UNKNOWN
    assert ledger.money() == (0, 150)


def test_an_absent_request_may_be_sent_again_under_the_same_key(ledger: LedgerWriter) -> None:
    """Same idempotency key for the same bytes: the provider's memory is a second line of defence."""
    row, first = begin(ledger)
    ledger.lose_answer(first, Event.ANSWER_LOST, Note())
    ledger.absent(first, Note(message="not there"))
    assert ledger.refused_body(row.key, 1) is None
    _, second = begin(ledger)
    assert second.number == 2
    assert second.idempotency_key == first.idempotency_key


def test_an_accepted_request_cannot_be_declared_absent(ledger: LedgerWriter) -> None:
    """The ledger itself refuses it, whatever a caller believes."""
    _, attempt = begin(ledger)
    ledger.accept(attempt, provider_run_id="r", answer="{}")
    ledger.lose_answer(attempt, Event.MISSING, Note())
    with pytest.raises(LedgerError, match="accepted once"):
        ledger.absent(attempt, Note())


def test_after_a_run_that_failed_the_key_is_another(ledger: LedgerWriter) -> None:
    """A new run is wanted on purpose: the old key would replay the failed one."""
    _, first = begin(ledger)
    ledger.accept(first, provider_run_id="r1", answer="{}")
    ledger.retry(first, Event.PROVIDER_FAILED, "provider failed", Note(), not_before=None, counts=True)
    row, second = begin(ledger)
    assert second.idempotency_key != first.idempotency_key
    assert ledger.closed_run_ids(row.key) == {"r1"}


def test_a_run_that_was_cut_off_is_continued(ledger: LedgerWriter, tmp_path: Path) -> None:
    """Its spending counts against the next run's budget; a run that ended by itself starts anew."""
    row, attempt = begin(ledger)
    ledger.accept(attempt, provider_run_id="r1", answer="{}")
    ledger.reply(attempt)
    ledger.finish(attempt, [RAW], [], Bill(cost=MicroUSD(120), basis="reported"))
    ledger.start_run(START)
    assert ledger.money() == (120, 0)
    ledger.end_run(6, "budget")
    ledger.start_run(START)
    assert ledger.money() == (0, 0)
    assert row.key == ledger.request(row.key).key


def test_settings_that_decide_durability_are_in_force(ledger: LedgerWriter) -> None:
    """Each one is read back at open; this is what it should say."""
    read = {
        name: ledger._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    assert read == {"journal_mode": "wal", "synchronous": 2}
    assert ledger._connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_a_second_writer_is_refused(ledger: LedgerWriter) -> None:
    """One process per ledger; the message names the owner."""
    with pytest.raises(LedgerError, match="in use by another run"):
        LedgerWriter(ledger.path, Effects(), world="real")


def test_worlds_do_not_mix(tmp_path: Path) -> None:
    """A ledger of real purchases refuses a rehearsal, and stays usable."""
    path = tmp_path / "ledger.db"
    LedgerWriter(path, Effects(), world="real").close()
    with pytest.raises(LedgerError, match="holds a real run"):
        LedgerWriter(path, Effects(), world="rehearsal")
    LedgerWriter(path, Effects(), world="real").close()


def foreign(path: Path) -> None:
    with database(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")


def newer(path: Path) -> None:
    LedgerWriter(path, Effects(), world="real").close()
    with database(path) as db:
        db.execute("PRAGMA user_version = 99")


def garbage(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 100)


def forgetful(path: Path) -> None:
    """Whatever is spent is nothing a moment later, so that no budget is ever used up."""
    LedgerWriter(path, Effects(), world="real").close()
    with database(path) as db:
        update = "UPDATE attempts SET cost_microusd = 0 WHERE id = new.id"
        db.execute(f"CREATE TRIGGER forget AFTER UPDATE ON attempts BEGIN {update}; END")


def endless(path: Path) -> None:
    """A table that has no last row."""
    LedgerWriter(path, Effects(), world="real").close()
    with database(path) as db:
        db.execute("DROP TABLE uploads")
        rows = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
        db.execute(f"CREATE VIEW Uploads AS {rows}")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (foreign, "not a ledger"),
        (newer, "schema 99"),
        (garbage, "damaged"),
        (forgetful, "has a trigger forget"),
        (endless, "has a view Uploads"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_ledger_of_ours_is_refused_untouched(tmp_path: Path, make: object, words: str) -> None:
    """Neither opened for writing nor for reading, and not a byte of it changed."""
    path = tmp_path / "ledger.db"
    assert callable(make)
    make(path)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=words):
        LedgerWriter(path, Effects(), world="real")
    with pytest.raises(LedgerError, match=words):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    """Reading makes none."""
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger(tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []


# -- journal -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_steps_that_come_together_are_one_commit(ledger: LedgerWriter, backend: str) -> None:
    """Fifty steps, far fewer transactions, each result to its own caller."""
    commits: list[str] = []
    ledger._connection.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    results: dict[int, int] = {}

    async def main() -> None:
        journal = Journal(ledger, in_thread)

        async def step(number: int) -> None:
            results[number] = await journal.do(lambda: number * number)

        async with anyio.create_task_group() as group:
            group.start_soon(journal.serve)
            async with anyio.create_task_group() as steps:
                for number in range(50):
                    steps.start_soon(step, number)
            journal.close()

    anyio.run(main, backend=backend)
    assert results == {number: number * number for number in range(50)}
    assert 1 <= len(commits) <= 5


def test_a_wrong_step_fails_alone(ledger: LedgerWriter) -> None:
    """The others of its batch are committed."""
    outcomes: list[str] = []
    second = request("second")

    async def main() -> None:
        journal = Journal(ledger, in_thread)

        async def good() -> None:
            await journal.do(ledger.record_tasks, [(task("b", second), second, QUOTE)], provider="p")
            outcomes.append("good")

        async def bad() -> None:
            try:
                await journal.do(ledger.request, "no such key")
            except LedgerError:
                outcomes.append("bad")

        async with anyio.create_task_group() as group:
            group.start_soon(journal.serve)
            async with anyio.create_task_group() as steps:
                steps.start_soon(bad)
                steps.start_soon(good)
            journal.close()

    anyio.run(main)
    assert sorted(outcomes) == ["bad", "good"]
    assert ledger.request(second.key).state is State.PENDING


def test_a_disk_that_fails_fails_every_later_step(ledger: LedgerWriter) -> None:
    """Nothing is acknowledged that is not durable, and nothing is tried again."""
    errors: list[StorageError] = []

    async def main() -> None:
        journal = Journal(ledger, in_thread)
        async with anyio.create_task_group() as group:
            group.start_soon(journal.serve)
            ledger._connection.execute("PRAGMA query_only=ON")
            for _ in range(2):
                try:
                    await journal.do(ledger.recover)
                    await journal.do(ledger.end_run, 0, "")
                except StorageError as error:
                    errors.append(error)
            journal.close()

    anyio.run(main)
    assert len(errors) == 2
    ledger._connection.execute("PRAGMA query_only=OFF")


def test_a_ledger_that_was_killed_while_it_was_made(tmp_path: Path) -> None:
    """A rollback journal of a dead writer is undone by whoever comes next, readers included."""
    path = tmp_path / "ledger.db"
    LedgerWriter(path, Effects(seed="1"), world="real").close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA cache_size=1")
        db.execute("PRAGMA cache_spill=ON")
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO meta VALUES (?, ?)", [(f"n{n}", "x" * 500) for n in range(200)])
        copy = tmp_path / "copy.db"
        copy.write_bytes(path.read_bytes())  # as a kill leaves them: pages of a commit that never came, and its journal
        (tmp_path / "copy.db-journal").write_bytes((tmp_path / "ledger.db-journal").read_bytes())
        db.execute("ROLLBACK")
    with Ledger(copy) as reader:
        assert reader.world() == "real"
    assert not (tmp_path / "copy.db-journal").exists()


def test_an_unfinished_ledger_of_a_killed_process_is_cleared_away(tmp_path: Path) -> None:
    """A ledger gets its name when it is whole; what was on the way is no ledger."""
    for name in (".ledger.db-0123.part", ".ledger.db-0123.part-wal"):
        (tmp_path / name).write_bytes(b"half")
    LedgerWriter(tmp_path / "ledger.db", Effects(seed="1"), world="real").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db", "ledger.db.lock"]


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    """One of schema 1, as the first version wrote it, opens, keeps its rows, and takes what is new."""
    path = tmp_path / "ledger.db"
    LedgerWriter(path, Effects(seed="1"), world="real").close()
    with database(path) as db:
        drop_views(db)
        db.execute("ALTER TABLE tasks DROP COLUMN tags")
        db.execute("DROP TABLE waiting")
        db.execute("DROP TABLE decisions")
        db.execute("DROP TABLE digests")
        db.execute("ALTER TABLE runs DROP COLUMN plan")
        db.execute("DROP TABLE paces")
        db.execute("ALTER TABLE attempts DROP COLUMN phase")
        db.execute("DELETE FROM _sqlite_migrations WHERE name <> 'initial'")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    with closing(LedgerWriter(path, Effects(seed="1"), world="real")) as writer:
        assert writer.pace("somewhere") is None
        writer.record_pace("somewhere", Pace(per_minute=583.5, confidence=2))
        writer.record_pace("somewhere", Pace(per_minute=590.0, confidence=3))
        assert writer.pace("somewhere") == Pace(per_minute=590.0, confidence=3)


@pytest.mark.parametrize(
    "question", ["cost_groups", "task_groups", "tasks", "raws", "outputs", "undelivered", "stored_answers"]
)
def test_no_question_looks_at_a_whole_table_for_each_row(tmp_path: Path, question: str) -> None:
    """What is asked per row goes by an index: a report of a million rows must not take a million times a million."""
    LedgerWriter(tmp_path / "ledger.db", Effects(), world="real").close()
    with Books(tmp_path / "ledger.db") as ledger:
        asked: list[str] = []
        ledger._connection.set_trace_callback(asked.append)
        list(getattr(ledger, question)())
        ledger._connection.set_trace_callback(None)
        plans = [
            {row[0]: row for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql}")}
            for sql in asked
            if sql.lstrip().startswith("SELECT")
        ]
    most = 0
    for steps in plans:
        scans = [row for row in steps.values() if row[3].startswith("SCAN") and "subquery" not in row[3]]
        assert not [row for row in scans if row[1] and steps[row[1]][3].startswith("CORRELATED")]
        assert len(scans) <= 1
        most = max(most, len(scans))
    assert most == 1
