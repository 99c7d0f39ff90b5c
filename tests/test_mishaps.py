"""What nobody expects: bugs of our own, odd answers, hands on our files. Nothing is lost, nothing bought twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchedit import effects, filing, pictures
from batchedit.emulator import Faults
from batchedit.providers.runflow import Runflow
from tests.conftest import KEY, Result, Served, Shop, command, database, draw_picture, insist
from tests.middle import Middle, Reply
from tests.test_provider import NIGHT, one_bill_each

Cli = Callable[..., Result]
Serve = Callable[..., Served]
Tampered = Callable[..., tuple[Served, Middle]]

CREATE = "/v1/models/.*/runs"
ONE = "items:\n  - {id: mug, image: in/mug.png}\n"
SHORT = "{timeout: 1, list_lag: 0, deadline: 20, poll: 0.1}"


def data_of(reply: Reply) -> Any:
    return json.loads(reply.body)


def as_json(data: object) -> bytes:
    return json.dumps(data).encode()


# -- bugs of our own -----------------------------------------------------------------------------------------


def test_a_bug_in_one_request_lets_the_others_finish(
    cli: Cli, shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noted with its name, exit code 1; after the fix the same command brings the paid picture home."""
    served = serve()
    served.manifest(shop)
    broken: list[bool] = []

    def decode(source: Path | bytes) -> pictures.PictureFacts:
        if not broken:
            broken.append(True)
            raise KeyError("surprise")
        return pictures.decode(source)

    with monkeypatch.context() as patch:
        patch.setattr(effects.Effects, "real", classmethod(lambda cls: cls()))  # in this process, where the bug is
        patch.setattr(filing, "decode", decode)
        result = cli(*NIGHT)
    assert result.code == 1
    assert result.json()["states"]["done"] == 2
    assert any("a bug in batchedit: KeyError: 'surprise'" in note for note in result.json()["notes"])
    assert cli(*NIGHT).code == 0
    assert one_bill_each(served.audit())


def test_a_bug_while_sending_leaves_the_outcome_unknown(
    cli: Cli, shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes may be out, so the provider is asked, and what it has is adopted."""
    served = serve()
    served.manifest(shop, rows=ONE, limits=SHORT)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("surprise")

    with monkeypatch.context() as patch:
        patch.setattr("batchedit.providers.runflow.read_run", broken)
        result = cli(*NIGHT)
    assert result.code == 1
    assert result.json()["states"]["unknown"] == 1
    assert result.json()["at_risk"] == "0.01"
    assert cli(*NIGHT).code == 0
    assert one_bill_each(served.audit(), 1)


def test_a_bug_before_anything_is_sent_costs_nothing(
    cli: Cli, shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reservation is given back, and the next run tries again."""
    served = serve()
    served.manifest(shop)

    def broken(*_: object) -> None:
        raise RuntimeError("surprise")

    with monkeypatch.context() as patch:
        patch.setattr(Runflow, "order", broken)
        result = cli(*NIGHT)
    assert result.code == 1
    assert result.json()["states"]["failed"] == 3
    assert result.json()["at_risk"] == "0.00"
    assert served.audit()["starts"] == []
    assert cli(*NIGHT).code == 0


def test_many_bugs_in_a_row_stop_the_run(cli: Cli, shop: Shop, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is broken for every request does not walk through 20,000 of them."""
    served = serve()
    for number in range(15):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (15 * number, 90, 90), side=16)
    served.manifest(shop, rows="sources:\n  - glob: many/*.png\n", limits="{concurrency: 1}")

    def broken(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr(Runflow, "order", broken)
    result = cli(*NIGHT)
    assert result.code == 1
    assert result.json()["states"]["failed"] == 10
    assert "does not know" in result.json()["reason"]


def test_whoever_watches_cannot_end_a_run(shop: Shop, jobs: Path) -> None:
    """An observer that fails is switched off and reported."""
    from batchedit import load_manifest, make_plan, run_plan_sync

    def observer(_: object) -> None:
        raise ValueError("no terminal")

    summary = run_plan_sync(make_plan(load_manifest("jobs.csv")), observer=observer)
    assert summary.exit_code == 0
    assert any("switched off" in note for note in summary.notes)


# -- odd answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,ä", "https://[x", "ftp://host/a.png", "http://example.invalid/a.png", "data:,"]
)
def test_an_odd_address_of_a_picture_keeps_the_run_for_later(
    cli: Cli, shop: Shop, tampered: Tampered, url: str
) -> None:
    """Paid, and the address makes no sense: it is not bought again, and a later look brings it home."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, limits="{timeout: 5, poll: 0.1}")

    def odd(reply: Reply) -> Reply:
        data = data_of(reply)
        if data.get("output"):
            data["output"] = {"outputs": [{"url": url}]}
        return reply.but(body=as_json(data))

    rule = proxy.alter("GET", "/v1/runs/[^/]+", odd, times=1000)
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end and not noted(shop):
        time.sleep(0.05)
    process.kill()
    process.communicate()
    rule.times = 0
    assert cli(*NIGHT).code in (0, 3)  # a picture that was there and is none is suspect: paid and shown as such
    assert served.audit()["billed_runs_total"] == 1


def noted(shop: Shop, what: str = "message <> ''") -> bool:
    path = shop.root / "out/.batchedit/ledger.db"
    if not path.exists():
        return False
    with database(path) as db:
        try:
            return bool(db.execute(f"SELECT count(*) FROM attempts WHERE {what}").fetchone()[0])
        except sqlite3.Error:
            return False  # not made yet


def test_a_run_that_was_accepted_and_forgotten_is_held(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """404 for its id and not in the list: it may have been billed, so it is never sent again."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, limits="{timeout: 1, list_lag: 0, deadline: 30, poll: 0.05}")
    missing = Reply(404, {"content-type": "application/json"}, b'{"code": "NOT_FOUND", "message": "no such run"}')
    proxy.alter("GET", "/v1/runs/[^/]+", lambda _: missing, times=10_000, forward=False)
    nothing = Reply(200, {"content-type": "application/json"}, b'{"items": []}')
    proxy.alter("GET", "/v1/runs", lambda _: nothing, times=10_000, forward=False)
    for _ in range(2):
        result = cli(*NIGHT)
        assert result.code == 7, result.out
        assert result.json()["at_risk"] == "0.01"
    assert served.audit()["billed_runs_total"] == 1
    proxy.rules.clear()
    assert cli(*NIGHT).code == 0
    assert served.audit()["billed_runs_total"] == 1


@pytest.mark.parametrize(("provider", "shape"), [("", "images"), (", api: run", "run")])
def test_inline_pictures_that_were_handed_over_once_are_lost_not_stuck(
    cli: Cli, shop: Shop, tampered: Tampered, provider: str, shape: str
) -> None:
    """The answer is durable before it is judged; a record without pictures anywhere is paid and lost."""
    served, proxy = tampered(sync_shape=shape)
    served.manifest(shop, rows=ONE, provider=provider, defaults="{prompt: sepia, quality: low, sync_mode: true}")

    def emptied(reply: Reply) -> Reply:
        data = data_of(reply)
        data["output"] = None
        return reply.but(body=as_json(data))

    proxy.alter("GET", "/v1/runs/[^/]+", emptied, times=1000)
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["states"]["lost"] == 1
    assert result.json()["spent"] == "0.009"


def test_inline_pictures_may_be_at_the_top_of_the_record(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """`output` empty is not "gone" as long as there is a picture elsewhere."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, defaults="{prompt: sepia, quality: low, sync_mode: true}")

    def moved(reply: Reply) -> Reply:
        data = data_of(reply)
        if data.get("output"):
            data.update(data.pop("output"))
        return reply.but(body=as_json(data))

    proxy.alter("GET", "/v1/runs/[^/]+", moved, times=1000)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert shop.outputs() == ["mug.png"]


def test_an_empty_entry_among_the_pictures_is_a_picture_that_did_not_come(
    cli: Cli, shop: Shop, tampered: Tampered
) -> None:
    """Two were paid, one came: suspect, the one is kept, nothing is bought again."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, defaults="{prompt: sepia, quality: low, n: 2}")

    def emptied(reply: Reply) -> Reply:
        data = data_of(reply)
        if data.get("output"):
            data["output"]["outputs"][1] = None
        return reply.but(body=as_json(data))

    proxy.alter("GET", "/v1/runs/[^/]+", emptied, times=1000)
    result = cli(*NIGHT)
    assert result.json()["states"]["suspect"] == 1
    with database("out/.batchedit/ledger.db") as db:
        assert db.execute("SELECT count(*) FROM raws").fetchone() == (1,)
    assert served.audit()["billed_runs_total"] == 1


def test_an_answer_that_is_nested_too_deep_is_not_understood(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """The parser gives up, the outcome is unknown, the list clears it up."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, limits=SHORT)
    proxy.alter("POST", CREATE, lambda reply: reply.but(body=b"[" * 100_000))
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert one_bill_each(served.audit(), 1)


def test_a_key_that_is_repeated_in_an_answer_is_kept_nowhere(
    cli: Cli, shop: Shop, tampered: Tampered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the key looks like: the emulator takes every `rf_` key, patterns know only two kinds."""
    key = "rf_verysecretcanary42"
    monkeypatch.setenv("RUNFLOW_API_KEY", key)
    served, proxy = tampered()
    served.manifest(shop)

    def telling(reply: Reply) -> Reply:
        return reply.but(body=as_json({**data_of(reply), "note": f"hello {key}"}))

    proxy.alter("POST", CREATE, telling, times=2)
    refusal = Reply(400, {"content-type": "application/json"}, as_json({"code": "X", "message": f"your key {key}"}))
    proxy.alter("POST", CREATE, lambda _: refusal, forward=False)
    result = cli(*NIGHT)
    assert result.code == 3
    everything = (
        result.out
        + result.err
        + "".join(path.read_bytes().decode("latin-1") for path in Path("out").rglob("*") if path.is_file())
    )
    assert key not in everything


def test_a_surplus_run_without_a_price_is_at_risk(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Nobody said what the second run cost: it is never counted as $0."""
    served = serve(cost_reported="no")
    served.emulator.script("duplicate_runs")
    served.emulator.script("answer_lost")
    served.manifest(shop, rows=ONE)
    data = cli(*NIGHT).json()
    assert (data["spent"], data["at_risk"]) == ("0.009", "0.011")  # 0.001 of the range, and all of a second run
    total = cli("report", "out", "--json").json()["total"]
    assert (total["spent"], total["at_risk"]) == ("0.009", "0.011")


def test_what_never_arrives_is_given_up_in_the_end(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Each try ends in 500 before anything was made: `attempts` tries, then failed; a later run tries again."""
    served = serve()
    served.emulator.script("error_before", status=500, times=3)
    served.manifest(shop, rows=ONE, limits="{timeout: 0.3, list_lag: 0, poll: 0.05, attempts: 3}")
    result = cli(*NIGHT)
    assert result.code == 3
    assert result.json()["states"]["failed"] == 1
    assert served.audit()["faults_fired"]["error_before"] == 3
    assert cli(*NIGHT).code == 0
    assert one_bill_each(served.audit(), 1)


def test_another_key_proves_nothing(cli: Cli, shop: Shop, tampered: Tampered, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of another account does not see the run: unknown stays unknown until the first key looks."""
    served, proxy = tampered()
    served.manifest(shop, rows=ONE, limits=SHORT)
    proxy.alter("POST", CREATE, lambda reply: reply.but(reset=True))
    nothing = Reply(200, {"content-type": "application/json"}, b'{"items": []}')
    rule = proxy.alter("GET", "/v1/runs", lambda _: nothing, times=10_000, forward=False)
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not rule.fired:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    monkeypatch.setenv("RUNFLOW_API_KEY", KEY + "other")
    result = cli(*NIGHT)
    assert result.code == 7
    assert any("another key" in note for note in result.json()["notes"])
    rule.times = 0
    monkeypatch.setenv("RUNFLOW_API_KEY", KEY)
    assert cli(*NIGHT).code == 0
    assert one_bill_each(served.audit(), 1)


def test_a_signed_url_that_is_not_found_means_another_upload(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """The provider forgot an asset: the picture goes up again instead of failing for good."""
    served, proxy = tampered()
    served.manifest(shop, provider=", images_as: signed-url")
    missing = Reply(404, {"content-type": "application/json"}, b'{"code": "NOT_FOUND", "message": "gone"}')
    proxy.alter("GET", "/v1/assets/[^/]+", lambda _: missing, forward=False)
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert proxy.seen.count("POST /v1/asset-uploads") == 4


# -- hands on our files --------------------------------------------------------------------------------------


def only_raw(shop: Shop) -> Path:
    (path,) = (path for path in (shop.root / "out/.batchedit/raw").rglob("*") if path.is_file())
    return path


def test_an_edited_output_does_not_touch_what_was_bought(cli: Cli, shop: Shop, serve: Serve) -> None:
    """Somebody paints over the delivered file in place; deleted, it comes back as it was sold, for nothing."""
    served = serve()
    served.manifest(shop, rows=ONE)
    assert cli(*NIGHT).code == 0
    delivered = Path("out/mug.png")
    sold = delivered.read_bytes()
    with delivered.open("r+b") as file:
        file.write(b"painted over")
    assert only_raw(shop).read_bytes() == sold
    delivered.unlink()
    assert cli(*NIGHT).code == 0
    assert delivered.read_bytes() == sold


@pytest.mark.parametrize("damage", ["altered", "gone"])
def test_a_damaged_raw_is_fetched_again_from_the_provider(cli: Cli, shop: Shop, serve: Serve, damage: str) -> None:
    """By its run id, at no cost; never delivered as it is."""
    served = serve()
    served.manifest(shop, rows=ONE)
    assert cli(*NIGHT).code == 0
    sold = Path("out/mug.png").read_bytes()
    Path("out/mug.png").unlink()
    raw = only_raw(shop)
    if damage == "gone":
        raw.unlink()
    else:
        raw.write_bytes(sold[:-100] + bytes(100))
    result = cli(*NIGHT)
    assert result.code == 0, result.out
    assert Path("out/mug.png").read_bytes() == sold
    assert served.audit()["billed_runs_total"] == 1


def test_a_raw_that_nobody_has_any_more_is_said(cli: Cli, shop: Shop, tampered: Tampered) -> None:
    """Exit code 3 with the task's name, not a storage error, and nothing is bought."""
    served, proxy = tampered()
    served.manifest(shop)
    assert cli(*NIGHT).code == 0
    Path("out/mug.png").unlink()
    for path in Path("out/.batchedit/raw").rglob("*.png"):
        path.unlink()
    proxy.alter("GET", "/storage/outputs/.*", lambda reply: reply.but(status=410), times=100)
    result = cli(*NIGHT)
    assert result.code == 3, result.out
    assert result.json()["undelivered"] == 1
    assert any("in/mug" in note or "mug" in note for note in result.json()["notes"])
    assert served.audit()["billed_runs_total"] == 3


def test_a_file_in_the_way_of_a_new_name_keeps_the_old_one(
    cli: Cli, shop: Shop, jobs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tree never has less than before; the exit code says that something is not delivered."""
    assert cli("run", "jobs.csv", "--out", "out").code == 0
    shop.write("jobs.defaults.yaml", "defaults: {output: 'new/{{ id }}.{{ ext }}'}\n")
    plan = cli("plan", "jobs.csv", "--out", "out")
    assert plan.code == 0
    folder = shop.root / "out" / "new"
    folder.mkdir()
    (folder / "0123_1.png").write_bytes(b"mine")
    # Between plan and run somebody makes a file: as `run` sees it when it comes later.
    with monkeypatch.context() as patch:
        patch.setattr(filing.Filing, "blocked", lambda *_: False)
        result = cli("run", "jobs.csv", "--out", "out", "--json")
    assert result.code == 3
    assert result.json()["undelivered"] == 1
    assert (folder / "0123_1.png").read_bytes() == b"mine"
    assert shop.outputs() == ["mug.png", "new/0123_1.png", "new/0123_2.png", "new/0124_1.png"]
    (folder / "0123_1.png").unlink()
    assert cli("run", "jobs.csv", "--out", "out").code == 0
    assert shop.outputs() == ["new/0123_1.png", "new/0123_2.png", "new/0124_1.png"]


def test_two_ledgers_cannot_work_in_one_folder(cli: Cli, shop: Shop, serve: Serve) -> None:
    """They would clear away each other's unfinished files."""
    served = serve(latency=(2.0, 2.0))
    served.manifest(shop)
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not served.audit()["runs"]:
        assert process.poll() is None
        time.sleep(0.01)
    result = cli(*NIGHT, "--ledger", "other.db")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert result.code == 8
    assert "is in use by another run (process" in result.err


# -- signals and pipes ---------------------------------------------------------------------------------------


def test_signals_count_after_another_stop(cli: Cli, shop: Shop, serve: Serve) -> None:
    """The account has stopped the run, slow ones are still in flight: Ctrl-C twice leaves at once all the same."""
    served = serve(faults=Faults(credit_ends_after=2), latency=(600.0, 600.0))
    served.manifest(shop, limits="{timeout: 5, deadline: 900, poll: 0.1, concurrency: 3, rpm: 120}")
    process = command(*NIGHT, cwd=shop.root, key=KEY)
    while not noted(shop, "code <> ''"):
        assert process.poll() is None
        time.sleep(0.01)
    insist(process)
    # The refusal is written down a moment before it stops the run: whichever of the two came first, it has ended. One
    # more Ctrl-C may meet the interpreter on its way out.
    assert process.returncode in (4, 130, -signal.SIGINT)
    assert served.audit()["billed_runs_total"] == 0


def test_a_reader_that_has_gone_changes_nothing(shop: Shop, jobs: Path) -> None:
    """`batchedit run ... | true`: the run goes on, and its exit code is its own."""
    read, write = os.pipe()
    os.close(read)
    arguments = [sys.executable, "-m", "batchedit", "run", "jobs.csv", "--out", "out", "--budget", "0.30"]
    done = subprocess.run(arguments, stdout=write, stderr=write, cwd=shop.root, check=False)
    os.close(write)
    assert done.returncode == 6
    assert len(shop.outputs()) == 1


def test_a_name_and_password_in_an_image_url_are_used_and_not_kept(cli: Cli, shop: Shop, serve: Serve) -> None:
    """They grant access and are no part of the picture's identity."""
    served = serve()
    served.manifest(shop, rows="items:\n  - {id: a, image: 'https://user:hunter2@cdn.example/a.png'}\n")
    result = cli(*NIGHT)
    everything = (
        result.out
        + result.err
        + "".join(path.read_bytes().decode("latin-1") for path in Path("out").rglob("*") if path.is_file())
    )
    assert "hunter2" not in everything
