"""The morning after: reconcile, the user's choices, verify, and looking after the ledger."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from batchedit import RunOptions, load_manifest, make_plan, run_plan_sync
from batchedit.calling import reconcile_sync
from batchedit.context import Progress
from batchedit.ledger import filesystem
from batchedit.ledger.reader import Ledger
from batchedit.money import MicroUSD
from batchedit.report.advice import manifest_words
from tests.conftest import KEY, Result, Served, Shop, command, database
from tests.middle import Middle
from tests.test_provider import NIGHT, one_bill_each

Cli = Callable[..., Result]
Serve = Callable[..., Served]
Tampered = Callable[..., tuple[Served, Middle]]

ONE = "items:\n  - {id: mug, image: in/mug.png}\n"
SYNC = {"provider": ", api: run", "rows": ONE, "limits": "{timeout: 1, list_lag: 0, poll: 0.1}"}
RECONCILE = ("reconcile", "night.yaml", "--out", "out", "--json")


def lose_one(cli: Cli, shop: Shop, serve: Serve) -> Served:
    """One edit in the synchronous form whose answer is lost after it was made and billed."""
    served = serve()
    served.emulator.script("answer_lost")
    served.manifest(shop, **SYNC)
    result = cli(*NIGHT)
    assert (result.code, result.json()["at_risk"]) == (7, "0.01")
    return served


# -- unknown outcomes ----------------------------------------------------------------------------------------


def test_held_is_the_default_and_names_the_task(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Nothing is bought until the user says so; each command says what is open and what can be done."""
    served = lose_one(cli, shop, serve)
    end = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert end.code == 7
    for text in (end.out, cli("status", "out").out, cli("report", "out").out):
        assert "at risk" in text
        assert "$0.01" in text
        assert "mug" in text
        assert "batchedit reconcile" in text
    assert served.audit()["billed_runs_total"] == 1


def test_advice_can_be_pasted(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Names are those of the manifest and the folder, quoted, in every form; and the command is right."""
    served = serve()
    served.emulator.script("answer_lost")
    served.manifest(shop, **SYNC, name="my night.yaml")
    ended = cli("run", "my night.yaml", "--out", "my out", "--no-input").out
    out = shlex.quote(str(shop.root / "my out"))
    assert f"`batchedit reconcile 'my night.yaml' --out {out}`" in ended
    assert f"`batchedit run 'my night.yaml' --out {out} --on-unknown resend`" in ended
    told = cli("report", "my out").out
    assert "`batchedit reconcile 'my night.yaml' --out 'my out'`" in told
    words = "batchedit reconcile 'my night.yaml' --out 'my out'"
    assert cli("report", "my out", "--json").json()["not_done"][0]["advice"].endswith(words)
    at_ledger = cli("report", "my out/.batchedit/ledger.db", "--json").json()["not_done"][0]["advice"]
    assert at_ledger.endswith(words)
    for text in (ended, told, cli("status", "my out").out, cli("report", "my out", "--markdown", "-").out):
        assert "MANIFEST" not in text
        assert "OUT" not in text
    end = cli(*shlex.split(words)[1:], "--on-unknown", "write-off").out
    assert f"lost:    `batchedit retry {out} --state lost`" in end


def test_a_rehearsal_is_named_as_one(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Its folder lies within the manifest's; the command for it takes the outer one and a flag."""
    served = serve()
    served.manifest(shop, **SYNC)
    plan = make_plan(load_manifest(shop.root / "night.yaml"), out=shop.root / "o", rehearse=True)
    assert plan.words == shlex.join([str(shop.root / "night.yaml"), "--out", str(shop.root / "o"), "--rehearse"])
    run_plan_sync(plan)
    with Ledger(plan.workspace.ledger) as reader:
        assert manifest_words(reader.runs(), plan.workspace.root) == plan.words


def test_resend_buys_once_more_and_keeps_the_first_at_risk(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The user's explicit choice: the picture comes, and the first price stays in doubt in every figure."""
    served = lose_one(cli, shop, serve)
    result = cli(*NIGHT, "--on-unknown", "resend")
    assert result.code == 0, result.out
    assert shop.outputs() == ["mug.png"]
    assert (result.json()["spent"], result.json()["at_risk"]) == ("0.009", "0.011")
    assert any("possibly bought twice" in note for note in result.json()["notes"])
    total = cli("report", "out", "--json").json()["total"]
    assert (total["spent"], total["at_risk"], total["possibly_double"]) == ("0.009", "0.011", "0.01")
    assert served.audit()["billed_microusd_total"] <= 9_000 + 10_000


def test_resend_is_done_once(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Lost again: held, even with the policy still in the manifest."""
    served = serve()
    served.emulator.script("answer_lost", times=9)
    served.manifest(shop, **{**SYNC, "provider": ", api: run, on_unknown: resend"})
    for _ in range(3):
        result = cli(*NIGHT)
        assert result.code == 7
        assert result.json()["at_risk"] == "0.02"
    assert len(served.audit()["starts"]) == 2


def test_resend_stays_within_the_budget(cli: Cli, shop: Shop, serve: Serve) -> None:
    """What may have been bought counts, so there is no money left to send it again."""
    served = lose_one(cli, shop, serve)
    result = cli(*NIGHT, "--on-unknown", "resend", "--budget", "0.015")
    assert result.code == 6
    assert served.audit()["billed_runs_total"] == 1


def test_write_off_counts_as_spent_and_lost(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Nothing is in doubt any more: the worst price is spent, assumed and wasted."""
    lose_one(cli, shop, serve)
    result = cli(*RECONCILE, "--on-unknown", "write-off")
    assert result.code == 3
    assert (result.json()["spent"], result.json()["at_risk"]) == ("0.01", "0.00")
    report = cli("report", "out", "--json").json()
    assert (report["total"]["spent"], report["total"]["wasted"]) == ("0.01", "0.01")
    assert cli(*NIGHT).code == 3
    assert cli("retry", "out", "--state", "lost").code == 0
    assert cli(*NIGHT).code == 0
    assert shop.outputs() == ["mug.png"]


def test_reconcile_never_buys(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """Accepted runs are followed, lost answers found, what never arrived goes back to pending and stays there."""
    served, proxy = tampered()
    served.manifest(shop, limits="{timeout: 1, list_lag: 0, poll: 0.1}")
    create = "/v1/models/.*/runs"
    lost = proxy.alter("POST", create, lambda reply: reply.but(hang=60, reset=True))
    never = proxy.alter("POST", create, lambda reply: reply.but(hang=60, reset=True), forward=False)
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not (lost.fired and never.fired and len(served.audit()["runs"]) == 2):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    result = cli(*RECONCILE)
    assert result.code == 0, result.out
    assert result.json()["notes"] == ["1 request is not bought: the next `batchedit run` buys what is left"]
    assert result.json()["states"]["unknown"] == 0
    assert result.json()["at_risk"] == "0.00"
    assert len(shop.outputs()) == 2
    assert len(served.audit()["starts"]) == 2
    assert cli(*NIGHT).code == 0
    assert one_bill_each(served.audit())


def test_the_live_view_counts_what_is_settled_and_what_is_meant(
    cli: Cli, shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit that failed for good in an earlier run is failed, not left; reconcile means nothing that it never buys."""
    monkeypatch.setenv("RUNFLOW_API_KEY", KEY)
    served = serve()
    served.emulator.script("failed_moderation")
    served.manifest(shop, budget="{run: 0.018}", limits="{concurrency: 1, list_lag: 0, poll: 0.1}")
    assert cli(*NIGHT).code == 6
    states = cli("report", "out", "--json").json()["tasks"]
    assert states == {"done": 1, "failed": 1, "pending": 1}
    seen: list[tuple[int, int, int]] = []

    def look(progress: Progress) -> None:
        seen.append((progress.total, progress.done, progress.failed))

    plan = make_plan(load_manifest("night.yaml"), out="out")
    summary = reconcile_sync(plan, observer=look)
    assert set(seen) == {(2, 1, 1)}
    assert summary.notes == ("1 request is not bought: the next `batchedit run` buys what is left",)
    seen.clear()
    run_plan_sync(plan, RunOptions(budget=MicroUSD(1_000_000)), observer=look)
    assert (seen[0], seen[-1]) == ((3, 1, 1), (3, 2, 1))


def test_reconciling_in_between_does_not_refill_the_budget(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The run that was cut off is still the one that goes on."""
    served = serve(latency=(0.5, 0.5))
    served.manifest(shop, limits="{concurrency: 1, poll: 0.1}", budget="{run: 0.02}")
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not served.audit()["runs"]:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert cli(*RECONCILE).code == 0
    result = cli(*NIGHT)
    assert result.code == 6
    assert result.json()["spent_before"] == "0.009"
    assert served.audit()["billed_microusd_total"] <= 20_000


def test_what_came_after_the_run_is_told(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The end of the run is not the end of the story: reports and the live view say that it was reconciled, and how."""
    lose_one(cli, shop, serve)
    forms = (("report", "out"), ("report", "out", "--html", "-"), ("report", "out", "--markdown", "-"),
             ("status", "out"), ("status", "out", "--watch"))  # fmt: skip
    assert not any("econciled" in cli(*form).out for form in forms)
    assert cli("report", "out", "--json").json()["runs"][0]["reconciled"] is None
    assert cli(*RECONCILE, "--on-unknown", "write-off").code == 3
    for form in forms:
        assert re.search(r"reconciled (since|\d{4}-\d\d-\d\dT[\d:.]+Z?), exit code 3", cli(*form).out), form
    [run] = cli("report", "out", "--json").json()["runs"]
    assert run["exit_code"] == 7, "as it was"
    assert run["ended_at"] <= run["reconciled"]["began"] <= run["reconciled"]["ended"]
    assert run["reconciled"]["exit_code"] == 3
    assert run["settings"], "nothing else is lost"
    assert cli("status", "out", "--watch", "--json").json()["reconciled"] == run["reconciled"]
    assert cli(*NIGHT).code == 3
    assert "reconciled" not in cli("report", "out").out, "the last run is told, which came later"


def test_a_reconciliation_that_has_not_ended_is_told(cli: Cli, shop: Shop, serve: Serve) -> None:
    """As it is while it goes on, or once it was killed."""
    lose_one(cli, shop, serve)
    plan = make_plan(load_manifest(shop.root / "night.yaml"), out=shop.root / "out")
    seen: list[str] = []
    reconcile_sync(plan, observer=lambda _: seen.append(cli("report", "out").out))
    assert "since then: a reconciliation began 2" in seen[0]
    assert "and has not ended, or was killed" in seen[0]


def test_reconcile_needs_a_ledger(cli: Cli, shop: Shop, serve: Serve) -> None:
    """A sentence, and no folder is made."""
    serve().manifest(shop)
    result = cli(*RECONCILE)
    assert (result.code, "there is no ledger" in result.err) == (8, True)
    assert not Path("out").exists()


# -- choices -------------------------------------------------------------------------------------------------


def test_a_suspect_picture_can_be_kept(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Two were paid, one came: kept, it is delivered, and nothing is open any more."""
    served = serve()
    served.emulator.script("fewer_outputs")
    served.manifest(shop, rows=ONE, defaults="{prompt: sepia, quality: low, n: 2}")
    assert cli(*NIGHT).code == 3
    assert cli("keep", "out", "--task", "mug*").code == 0
    for _ in range(2):
        assert cli(*NIGHT).code == 0
        assert shop.outputs() == ["mug_1.png"]
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["done"] == 1
    assert served.audit()["billed_runs_total"] == 1
    assert cli("verify", "out").code == 0


def test_a_suspect_picture_can_be_bought_again(cli: Cli, shop: Shop, serve: Serve) -> None:
    """As a new revision, shown by the plan with its price; the first one stays in the books as wasted."""
    served = serve()
    served.emulator.script("wrong_size")
    served.manifest(shop, rows="items:\n  - {id: mug, image: in/mug.png, size: 1024x768}\n")
    assert cli(*NIGHT).code == 3
    assert cli("retry", "out", "--state", "suspect").code == 0
    plan = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (plan["counts"]["new"], plan["requests_to_buy"]) == (1, 1)
    assert cli(*NIGHT).code == 0
    assert shop.outputs() == ["mug.png"]
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["counts"]["done"] == 1
    report = cli("report", "out", "--json").json()["total"]
    assert (report["spent"], report["wasted"]) == ("0.018", "0.009")
    assert served.audit()["billed_runs_total"] == 2


def test_what_was_refused_can_be_tried_again(cli: Cli, shop: Shop, serve: Serve) -> None:
    """After the reason is gone, on the user's word."""
    served = serve()
    served.emulator.script("failed_moderation")
    served.manifest(shop, rows=ONE)
    assert cli(*NIGHT).code == 3
    assert cli(*NIGHT).code == 3
    assert cli("retry", "out").code == 0
    assert cli(*NIGHT).code == 0
    assert served.audit()["billed_runs_total"] == 1


def test_nothing_to_choose(cli: Cli, shop: Shop, jobs: Path) -> None:
    """Exit code 5, with what was looked for."""
    assert cli("run", "jobs.csv").code == 0
    for arguments in (("retry", "out"), ("keep", "out"), ("retry", "out", "--state", "lost", "--task", "x*")):
        assert cli(*arguments).code == 5


# -- verify --------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(cli: Cli, shop: Shop, jobs: Path) -> Shop:
    """A run that is done."""
    assert cli("run", "jobs.csv").code == 0
    return shop


def test_a_finished_run_verifies(cli: Cli, finished: Shop) -> None:
    """Without and with reading every byte."""
    quick, full = cli("verify", "out", "--json"), cli("verify", "out", "--read-data", "--json")
    assert (quick.code, full.code) == (0, 0)
    assert (full.json()["outputs"], full.json()["raws"], full.json()["flaws"]) == (3, 3, [])
    assert full.json()["bytes_read"] > 1000 > quick.json()["bytes_read"]


def damage_nothing_visible(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("where", "do", "read_data", "words"),
    [
        ("mug.png", Path.unlink, False, "is missing"),
        ("mug.png", damage_nothing_visible, True, "is not the one that was delivered"),
        (".batchedit/raw/*/*.png", Path.unlink, False, "kept picture"),
        (".batchedit/raw/*/*.png", damage_nothing_visible, True, "has other bytes"),
        (".batchedit/raw/*/*.png", lambda path: path.write_bytes(b"x"), False, "has another length"),
    ],
)
def test_every_flaw_is_found_with_its_way_back(
    cli: Cli, finished: Shop, where: str, do: Callable[[Path], object], read_data: bool, words: str
) -> None:
    """Exit code 3, the place, and what brings it back; the same run repairs what can be repaired."""
    path = next(Path("out").glob(where))
    do(path)
    result = cli("verify", "out", *(["--read-data"] if read_data else []))
    assert result.code == 3
    assert words in result.out
    assert str(path) in result.out
    if where == "mug.png":
        path.unlink(missing_ok=True)
        assert cli("run", "jobs.csv").code == 0
        assert cli("verify", "out", "--read-data").code == 0


def test_a_picture_that_lies_about_by_itself_is_no_flaw(cli: Cli, finished: Shop) -> None:
    """A crash between fetching and noting leaves one; it is counted."""
    extra = Path("out/.batchedit/raw/ab")
    extra.mkdir(exist_ok=True)
    (extra / ("ab" + "0" * 62 + ".png")).write_bytes(b"x")
    result = cli("verify", "out", "--json")
    assert (result.code, result.json()["unlisted"]) == (0, 1)


# -- the ledger ----------------------------------------------------------------------------------------------


def test_info_check_and_backup(cli: Cli, finished: Shop) -> None:
    """The copy is a whole ledger that reports the same; nothing is ever replaced."""
    info = cli("ledger", "info", "out", "--json").json()
    assert (info["world"], info["rows"]["requests"], info["owner"]) == ("rehearsal", 3, "")
    assert info["journal_mode"] == "wal"
    assert cli("ledger", "check", "out").out == "the ledger is whole\n"
    assert cli("ledger", "backup", "out", "copy.db").code == 0
    assert cli("ledger", "check", "copy.db").code == 0
    assert cli("report", "copy.db", "--json").out == cli("report", "out", "--json").out
    again = cli("ledger", "backup", "out", "copy.db")
    assert (again.code, "never replaces" in again.err) == (9, True)
    assert [path.name for path in Path().glob("*copy.db*")] == ["copy.db"]


def test_a_backup_during_a_run(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Taken while the writer works; whole."""
    served = serve(latency=(1.0, 1.0))
    served.manifest(shop)
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not served.audit()["runs"]:
        assert process.poll() is None
        time.sleep(0.01)
    assert f"process {process.pid} " in cli("ledger", "info", "out").out
    assert cli("ledger", "backup", "out", "copy.db").code == 0
    assert process.communicate() is not None
    assert process.returncode == 0
    assert cli("ledger", "check", "copy.db").code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE requests SET state = 'pending' WHERE rowid = 1", "last event"),
        ("DELETE FROM raws WHERE request_key IN (SELECT key FROM requests WHERE rowid = 1)", "has no picture"),
        ("UPDATE outputs SET sha256 = 'x' WHERE rowid = 1", "not a picture of its request"),
        ("UPDATE attempts SET outcome = NULL, ended_at = NULL WHERE id = 1", "open"),
        ("UPDATE attempts SET outcome = 'unseen' WHERE id = 1", "not settled"),
    ],
)
def test_a_ledger_that_contradicts_itself(cli: Cli, finished: Shop, change: str, words: str) -> None:
    """Each rule is tested by breaking it."""
    with database("out/.batchedit/ledger.db") as db:
        db.execute(change)
    result = cli("ledger", "check", "out")
    assert result.code == 8
    assert words in result.out


@pytest.mark.parametrize("command_name", ["run", "plan", "report", "status", "verify", "reconcile"])
def test_a_damaged_ledger_is_named_before_anything_is_sent(
    cli: Cli, shop: Shop, serve: Serve, command_name: str
) -> None:
    """Exit code 8 (or 3 from verify, whose matter it is), a sentence, the file untouched."""
    served = serve()
    served.manifest(shop)
    assert cli(*NIGHT).code == 0
    path = Path("out/.batchedit/ledger.db")
    with database(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    before = served.audit()["starts"]
    target = "night.yaml" if command_name in ("run", "plan", "reconcile") else "out"
    more = ("--out", "out") if target == "night.yaml" else ()
    result = cli(command_name, target, *more)
    assert result.code == 8, result.out + result.err
    assert "Traceback" not in result.err
    assert "damaged" in result.err or "cannot be read" in result.err
    assert path.read_bytes() == data
    assert served.audit()["starts"] == before


def test_on_a_network_disk_the_journal_is_another(
    cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """WAL needs shared memory on one machine; DELETE with EXTRA loses nothing either."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "22 1 0:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:2 / {str(tmp_path).replace(' ', chr(92) + '040')} rw shared:1 - nfs4 server:/x rw\n"
    )
    monkeypatch.setattr(filesystem, "MOUNTS", mounts)
    assert cli("run", "jobs.csv").code == 0
    info = cli("ledger", "info", "out", "--json").json()
    assert (info["journal_mode"], info["file_system"]) == ("delete", "nfs4")


def test_a_disk_without_room_stops_before_it_is_paid(
    cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 9, nothing sent; with room again the same command finishes."""
    usage = __import__("collections").namedtuple("usage", "total used free")(10**9, 10**9 - 1000, 1000)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda _: usage)
        result = cli("run", "jobs.csv", "--json")
    assert result.code == 9
    assert "almost full" in result.json()["reason"]
    assert result.json()["spent"] == "0.00"
    assert cli("run", "jobs.csv").code == 0
