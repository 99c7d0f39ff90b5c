"""Jobs in virtual time: windows, limits, pilots, several manifests; the emulator's bill is the judge."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchedit import batch
from batchedit.effects import Effects, inline
from batchedit.emulator import Emulator, Faults, Switches
from batchedit.endpoint import Endpoint, Key
from batchedit.jobs import load_job
from batchedit.jobs.ended import JobEnd
from batchedit.jobs.running import run_job
from batchedit.lifecycle import State
from batchedit.model import ProviderSettings
from batchedit.providers.registry import Connected
from batchedit.providers.rehearsal import ORIGIN
from batchedit.providers.runflow import Runflow
from tests.conftest import Result, Shop, database, draw_picture

COUNT = 16
PRICE = 9_000
"""Micro-dollars for a picture of low quality."""
QUOTE = 10_000
"""What may be reserved for one: at most this."""
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to somebody else")
HEAD = "job: 1\nmanifests: [night.yaml]\n"


@pytest.fixture
def many(shop: Shop) -> Shop:
    """Small pictures, all different, two clients."""
    rows = []
    for number in range(COUNT):
        draw_picture(shop.root / "many" / f"p{number:02}.png", (15 * number, 90, 200 - 12 * number), side=32)
        rows.append(
            {"id": f"p{number:02}", "image": f"many/p{number:02}.png", "client": "acme" if number % 2 else "bolt"}
        )
    shop.table("rows.csv", rows)
    shop.write(
        "night.yaml",
        "version: 1\nlimits: {rpm: 6, concurrency: 50}\n"
        "defaults: {prompt: grayscale, quality: low, labels: {client: '{{ client }}'}}\nsources:\n  - csv: rows.csv\n",
    )
    return shop


def write(text: str) -> None:
    Path("job.yaml").write_text(text)


class World:
    """
    A clock that jumps, and one emulator for all starts.

    Args:
        now: When it begins.
    """

    def __init__(self, now: str, faults: Faults | None = None, *, api: str = "runs", **switches: Any) -> None:
        self._begins = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
        self._api = api
        switches.setdefault("latency", (5.0, 20.0))
        self.emulator = Emulator(
            switches=Switches(**switches), faults=faults, seed="1", clock=self.wall, offload=inline
        )
        self.said: list[str] = []

    def wall(self) -> float:
        """Now."""
        return self._begins + anyio.current_time()

    def connected(self, _: object) -> Connected:
        """The provider."""
        endpoint = Endpoint(base_url=ORIGIN, key=Key("rf_live_x"), app=self.emulator.app)
        provider = Runflow(ProviderSettings(api=self._api), poll_seconds=5.0)
        return Connected(provider=provider, endpoint=endpoint, world="rehearsal")

    async def start(self, text: str, *, wait: bool = False) -> JobEnd:
        """Start a job once."""
        write(text)
        effects = Effects(wall=self.wall, offload=inline, commit=inline, seed="1")
        return await run_job(load_job("job.yaml"), wait=wait, effects=effects, environment={}, say=self.said.append)

    async def until(self, moment: str) -> None:
        """Let the time pass."""
        await anyio.sleep(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() - self.wall())

    @property
    def runs(self) -> int:
        """How many runs the emulator has made."""
        return len(self.emulator.audit()["runs"])

    @property
    def bill(self) -> int:
        """What the emulator has billed, in micro-dollars."""
        return self.emulator.audit()["billed_microusd_total"]  # type: ignore[no-any-return]


Nights = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(many: Shop, monkeypatch: pytest.MonkeyPatch) -> Callable[[World, Nights], None]:
    """Runs starts of jobs in a world."""

    def run(world: World, nights: Nights) -> None:
        monkeypatch.setattr(batch, "connect", world.connected)
        clock = trio.testing.MockClock(autojump_threshold=0)
        anyio.run(nights, world, backend="trio", backend_options={"clock": clock})
        world.emulator.close()

    return run


Play = Callable[[World, Nights], None]
WINDOW = "zone: Europe/Berlin\nwindow: {from: '19:00', until: '06:00', grace: 120}\n"


def spent(end: JobEnd) -> int:
    return sum(summary.spent for summary in end.summaries)


def in_ledger(out: str = "out") -> int:
    with database(Path(out) / ".batchedit" / "ledger.db") as db:
        return int(db.execute("SELECT sum(cost_microusd + surplus_microusd) FROM attempts").fetchone()[0])


def test_outside_the_window_nothing_is_sent(play: Play) -> None:
    """Exit code 6, when it opens, no ledger, and nobody is told."""

    async def nights(world: World) -> None:
        end = await world.start(HEAD + WINDOW)
        assert end.exit_code == 6
        assert end.reasons == ["outside the window: it opens at 2026-11-25 19:00 CET; nothing was sent"]

    play(World("2026-11-25T12:00"), nights)
    assert not Path("out").exists()


def test_with_wait_it_begins_when_the_window_opens(play: Play) -> None:
    """To the second, and it says what it waits for."""

    async def nights(world: World) -> None:
        end = await world.start(HEAD + WINDOW, wait=True)
        assert (end.exit_code, spent(end)) == (0, COUNT * PRICE)
        with database("out/.batchedit/ledger.db") as db:
            begun = db.execute("SELECT started_at FROM runs").fetchone()[0]
            first = db.execute("SELECT min(started_at) FROM attempts").fetchone()[0]
        assert begun.startswith("2026-11-25T18:00:00")
        assert first >= "2026-11-25T18:00:00"
        assert world.said[0] == "outside the window: it opens at 2026-11-25 19:00 CET; waiting"

    play(World("2026-11-25T12:00"), nights)


def test_at_the_windows_end_it_stops_sending_and_brings_home(play: Play) -> None:
    """Work is left, nothing is in flight, and the same job goes on in the next night."""

    async def nights(world: World) -> None:
        end = await world.start(HEAD + WINDOW)
        assert end.exit_code == 6
        assert end.reasons == ["night.yaml: the window is over; the same command goes on when it opens again"]
        (summary,) = end.summaries
        states = {str(state): count for state, count in summary.states.items() if count}
        assert states.keys() == {"done", "pending"}
        assert 5 <= states["done"] <= 8  # sixty seconds at six a minute
        with database("out/.batchedit/ledger.db") as db:
            assert db.execute("SELECT max(started_at) FROM attempts").fetchone()[0] < "2026-11-26T05:00:01"
        assert world.bill == in_ledger() == spent(end)
        await world.until("2026-11-26T18:00:00")
        end = await world.start(HEAD + WINDOW)
        assert (end.exit_code, str(end.night.day)) == (0, "2026-11-26")
        assert world.bill == in_ledger() == COUNT * PRICE

    play(World("2026-11-26T04:59"), nights)


def test_what_is_not_home_within_the_grace_is_taken_up_the_next_night(play: Play) -> None:
    """Runs that take ten minutes: none is paid twice."""
    short = WINDOW.replace("120", "5")

    async def nights(world: World) -> None:
        end = await world.start(HEAD + short)
        assert end.exit_code == 6
        assert end.summaries[0].at_risk
        assert world.runs >= 5
        await world.until("2026-11-26T18:00:00")
        end = await world.start(HEAD + short)
        assert end.exit_code == 0
        assert world.bill == in_ledger() == COUNT * PRICE

    play(World("2026-11-26T04:59", latency=(600.0, 700.0)), nights)


def test_the_last_ones_that_come_home_after_the_window_are_no_work_left(play: Play) -> None:
    """Exit code 0: nothing is left."""

    async def nights(world: World) -> None:
        end = await world.start(HEAD + WINDOW + "limits: {rpm: 6000}\n")
        assert (end.exit_code, spent(end)) == (0, COUNT * PRICE)
        assert world.wall() > datetime(2026, 11, 26, 5, 0, tzinfo=UTC).timestamp()

    play(World("2026-11-26T04:59:50", latency=(30.0, 60.0)), nights)


@pytest.mark.parametrize(
    ("budget", "first", "again", "tomorrow"),
    [
        ("{night: 0.05}", 5, 0, 5),
        ("{night: 0.05, month: 0.07}", 5, 0, 2),
        ("{run: 0.03, night: 0.05}", 3, 2, 3),
        ("{month: 0.07}", 7, 0, 0),
        ("{night: 1, per: {client: {acme: {night: 0.03}, bolt: {month: 0.02}}}}", 5, 0, 3),
        ("{night: 1, per: {client: {acme: 0.03}}}", 11, 3, 2),
        ("{night: 0.04, per: {edit: {edit: {month: 0.06}}}}", 4, 0, 2),
    ],
)
def test_the_smallest_limit_holds(play: Play, budget: str, first: int, again: int, tomorrow: int) -> None:
    """Starts in one night share it, the next one has its own, and the emulator agrees to the cent."""
    text = f"{HEAD}limits: {{rpm: 6000, concurrency: 2}}\nbudget: {budget}\nzone: Europe/Berlin\n"

    async def nights(world: World) -> None:
        bought = 0
        for moment, expected in (("25T20:00", first), ("25T21:00", again), ("26T20:00", tomorrow)):
            await world.until(f"2026-11-{moment}")
            end = await world.start(text)
            bought += expected
            assert (moment, spent(end)) == (moment, expected * PRICE)
            assert world.bill == in_ledger() == bought * PRICE
            assert end.exit_code == (6 if bought < COUNT else 0)
            for standing in end.limits:
                assert standing.spent + standing.at_risk <= standing.limit

    play(World("2026-11-25T19:00"), nights)


def test_the_calendar_is_that_of_the_zone(play: Play) -> None:
    """Half past eleven in the evening in UTC on the 30th is December in Berlin: both months are told apart."""
    text = HEAD + "zone: Europe/Berlin\nlimits: {rpm: 6000, concurrency: 1}\nbudget: {month: 0.05}\n"

    async def nights(world: World) -> None:
        assert spent(await world.start(text)) == 5 * PRICE
        await world.until("2026-11-30T22:55")
        assert spent(await world.start(text)) == 0
        await world.until("2026-11-30T23:05")
        end = await world.start(text)
        assert spent(end) == 5 * PRICE
        assert [standing.words for standing in end.limits] == ["the month 2026-12"]

    play(World("2026-11-30T20:00"), nights)


def test_unknown_outcomes_count_as_at_risk(play: Play) -> None:
    """Answers are lost and cannot be asked for: the night's limit holds for what is spent and unknown together."""
    text = HEAD + "limits: {rpm: 6000, concurrency: 1, attempts: 1}\nbudget: {night: 0.05}\n"
    text += "provider: {name: rehearsal, api: run}\n"

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert end.exit_code == 7
        (standing,) = end.limits
        assert standing.at_risk
        assert standing.spent + standing.at_risk <= 50_000
        assert world.bill <= standing.spent + standing.at_risk
        before = world.bill
        assert any("unknown outcomes stay so" in reason for reason in end.reasons)
        end = await world.start(text)
        assert world.bill - before <= 50_000 - standing.spent - standing.at_risk
        held = end.summaries[-1].states[State.UNKNOWN]
        # What was said to do about them does it.
        end = await world.start(text.replace("api: run", "api: run, on_unknown: write-off"))
        assert held
        assert not any("stay so" in reason for reason in end.reasons)
        assert sum(summary.states[State.UNKNOWN] for summary in end.summaries) < held

    play(World("2026-11-25T20:00", Faults(answer_lost=0.4), api="run"), nights)


def test_several_manifests_share_the_limits(play: Play, many: Shop) -> None:
    """Each in its own folder with a ledger of its own; what one has spent the other one has not."""
    many.write("day.yaml", Path("night.yaml").read_text().replace("grayscale", "mirror it"))
    text = "job: 1\nmanifests:\n  - night.yaml\n  - {manifest: day.yaml, out: out2, select: 'client:acme'}\n"
    text += "limits: {rpm: 6000, concurrency: 2}\nbudget: {night: 0.20, per: {client: {acme: {night: 0.10}}}}\n"

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert [summary.spent for summary in end.summaries] == [COUNT * PRICE, 3 * PRICE]
        assert end.exit_code == 6
        assert world.bill == in_ledger() + in_ledger("out2")
        assert [standing.spent for standing in end.limits] == [19 * PRICE, 11 * PRICE]
        await world.until("2026-11-26T20:00")
        end = await world.start(text)
        assert [summary.spent for summary in end.summaries] == [0, 5 * PRICE]
        assert end.exit_code == 0

    play(World("2026-11-25T20:00"), nights)


def test_a_good_pilot_is_followed_by_the_rest(play: Play) -> None:
    """What the sample bought is not bought again; a later start looks at the same sample."""
    text = (
        HEAD + "limits: {rpm: 6000}\nbudget: {run: 1}\npilot: {tasks: 4, by: client, max_failed: 10, max_cost: 0.20}\n"
    )

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert (end.exit_code, world.bill) == (0, COUNT * PRICE)
        assert [summary.spent for summary in end.summaries] == [4 * PRICE, 12 * PRICE]
        assert end.pilot is not None
        assert end.pilot.tasks == 4
        end = await world.start(text)
        assert (end.exit_code, world.bill, spent(end)) == (0, COUNT * PRICE, 0)

    play(World("2026-11-25T20:00"), nights)


def test_a_pilot_that_shows_too_high_a_price_ends_it(play: Play) -> None:
    """Exit code 6, why, and only the sample is paid."""
    text = HEAD + "limits: {rpm: 6000}\nbudget: {run: 1}\npilot: {tasks: 4, max_cost: 0.10}\n"

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert (end.exit_code, world.bill) == (6, 4 * PRICE)
        assert (end.as_dict()["done"], end.as_dict()["left"]) == (4, COUNT - 4)
        assert end.reasons == ["night.yaml: stopped after the pilot: all of it may cost $0.144, $0.10 may be spent"]

    play(World("2026-11-25T20:00"), nights)


def test_a_pilot_of_failures_ends_it(play: Play) -> None:
    """All of the sample is refused for its content."""
    text = HEAD + "limits: {rpm: 6000}\nbudget: {run: 1}\npilot: {tasks: 4, max_failed: 25}\n"

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert end.exit_code == 6
        assert end.reasons == ["night.yaml: stopped after the pilot: 4 of 4 failed (100.0 %), 25 % may"]
        assert world.runs == 4

    play(World("2026-11-25T20:00", Faults(failed_moderation=1.0)), nights)


def test_a_manifest_that_is_wrong_keeps_no_other_from_its_night(play: Play, many: Shop) -> None:
    """Exit code 2, the reason, and the other one is done."""
    many.write("wrong.yaml", "version: 1\nsources: [{csv: nothing.csv}]\n")
    text = "job: 1\nmanifests: [{manifest: wrong.yaml, out: out3}, night.yaml]\nlimits: {rpm: 6000}\n"

    async def nights(world: World) -> None:
        end = await world.start(text)
        assert (end.exit_code, world.bill) == (2, COUNT * PRICE)
        assert "nothing.csv" in end.reasons[0]

    play(World("2026-11-25T20:00"), nights)


def test_a_manifest_that_cannot_be_read_any_more_still_counts(play: Play, many: Shop) -> None:
    """What it has spent in the month is not there for the others, by the provider's own bill."""
    many.write("day.yaml", Path("night.yaml").read_text().replace("grayscale", "mirror it"))
    text = "job: 1\nmanifests: [{manifest: night.yaml, out: a}, {manifest: day.yaml, out: b}]\n"
    text += "limits: {rpm: 6000, concurrency: 1}\nbudget: {month: 0.20}\n"

    async def nights(world: World) -> None:
        assert (await world.start(text)).exit_code == 6
        before = world.bill
        assert COUNT * PRICE < before <= 200_000
        many.write("night.yaml", "version: 1\n  sources: [\n")
        end = await world.start(text)
        assert end.exit_code == 2
        assert world.bill == before
        assert [standing.spent for standing in end.limits] == [before]

    play(World("2026-11-25T20:00"), nights)


@pytest.mark.parametrize("cut", [False, True])
def test_the_manifests_own_budget_holds_for_pilot_and_rest_together(play: Play, many: Shop, cut: bool) -> None:
    """One start of a job is one run of a manifest, also where it is cut off and goes on; the next start is another."""
    many.write("night.yaml", Path("night.yaml").read_text() + "budget: {run: 0.10}\n")
    text = HEAD + "limits: {rpm: 6, concurrency: 1}\npilot: {tasks: 4}\n"

    async def nights(world: World) -> None:
        if cut:
            with anyio.move_on_after(130.0):  # as a kill, after the pilot
                await world.start(text)
            assert 4 < world.runs < 10
        end = await world.start(text)
        assert end.exit_code == 6
        assert world.bill == in_ledger() == 11 * PRICE
        if not cut:
            assert [summary.spent for summary in end.summaries] == [4 * PRICE, 7 * PRICE]
        end = await world.start(text)
        assert (end.exit_code, spent(end)) == (0, 5 * PRICE)

    play(World("2026-11-25T20:00"), nights)


def test_reconcile_buys_nothing(play: Play) -> None:
    """What the night left open comes home; what was never sent stays for the next night."""
    short = WINDOW.replace("120", "5")

    async def nights(world: World) -> None:
        assert (await world.start(HEAD + short)).exit_code == 6
        billed = world.runs
        await world.until("2026-11-26T08:00")
        end = await world.start("job: 1\ndo: reconcile\nmanifests: [night.yaml]\n")
        assert world.runs == billed
        assert world.bill == in_ledger() == billed * PRICE
        assert end.summaries[0].at_risk == 0

    play(World("2026-11-26T04:59", latency=(600.0, 700.0)), nights)


def test_real_money_needs_a_limit(cli: Callable[..., Result], many: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is there to ask: exit code 2 and what to write; `check` says it before the night."""
    monkeypatch.setenv("RUNFLOW_API_KEY", "rf_live_canary0123456789")
    many.write("job.yaml", HEAD + "provider: runflow\n")
    for command in ("check", "run"):
        result = cli("job", command, "job.yaml")
        assert result.code == 2
        assert "write into job.yaml: budget: {night: 0.16}" in result.out + result.err
    assert not Path("out").exists()


def test_lists_of_jobs(cli: Callable[..., Result], many: Shop) -> None:
    """What each does and when; a job that is wrong is said, a manifest is none."""
    many.write("jobs/a.yaml", "job: 1\nmanifests: [../night.yaml]\nbudget: {night: 3}\n")
    many.write("jobs/b.yaml", "job: 1\nmanifests: [../night.yaml]\nbudgt: {night: 3}\n")
    many.write("jobs/c.yaml", "version: 1\nsources: [{glob: x}]\n")
    result = cli("job", "list")
    assert result.code == 2
    assert result.out.splitlines()[0] == "a.yaml  a: run, at any time; $3.00 a night"
    assert "Did you mean" in result.out.splitlines()[1]
    assert len(result.out.splitlines()) == 2


def test_a_pilot_counts_for_its_start_also_after_a_crash(play: Play) -> None:
    """A start that was cut off goes on with the next one: its pilot and its purchases count against `run`."""
    text = HEAD + "limits: {rpm: 6, concurrency: 1}\nbudget: {run: 0.10}\npilot: {tasks: 4}\n"

    async def nights(world: World) -> None:
        with anyio.move_on_after(130.0):  # as a kill: nobody notes an end
            await world.start(text)
        assert 4 < world.runs < 10
        await world.until("2026-11-26T20:00")
        end = await world.start(text)
        assert end.exit_code == 6
        assert world.bill == in_ledger() == 11 * PRICE
        assert [(standing.words, standing.spent) for standing in end.limits] == [("this start of the job", 11 * PRICE)]
        await world.until("2026-11-26T21:00")
        end = await world.start(text)  # that one had ended: this one has a limit of its own
        assert (end.exit_code, spent(end)) == (0, 5 * PRICE)
        assert world.bill == in_ledger() == COUNT * PRICE

    play(World("2026-11-25T20:00"), nights)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.floats(0.5, 150.0), max_size=4), lost=st.sampled_from([0.0, 0.3]), pilot=st.booleans())
def test_no_limit_is_passed_wherever_it_is_cut_off(
    play: Play, tmp_path_factory: pytest.TempPathFactory, cuts: list[float], lost: float, pilot: bool
) -> None:
    """Of start, night, month and label, by the provider's own bill, wherever it dies and however often."""
    text = HEAD + "limits: {rpm: 30, concurrency: 2}\n"
    text += "budget: {run: 0.08, night: 0.10, month: 0.12, per: {client: {acme: {night: 0.04}, bolt: {month: 0.07}}}}\n"
    text += "pilot: {tasks: 3}\n" if pilot else ""
    text += f"out: '{tmp_path_factory.mktemp('out')}'\n"

    async def nights(world: World) -> None:
        for seconds in cuts:
            with anyio.move_on_after(seconds) as scope:
                await world.start(text)
            if not scope.cancelled_caught:
                break
            assert world.bill <= 80_000
        else:
            end = await world.start(text)
            assert world.bill <= 80_000
            assert all(standing.spent + standing.at_risk <= standing.limit for standing in end.limits)
        for _ in range(2):
            await world.start(text)
            assert world.bill <= 100_000
        await world.until("2026-11-26T20:00")
        await world.start(text)
        end = await world.start(text)
        assert world.bill <= 120_000
        for standing in end.limits:
            assert standing.spent + standing.at_risk <= standing.limit

    play(World("2026-11-25T20:00", Faults(answer_lost=lost)), nights)


def test_warnings_are_sent_once_for_each_threshold_and_period(play: Play, many: Shop) -> None:
    """Also over a crash and a further start of the night; the next night has its own."""
    program = "import os; open('said', 'a').write(os.environ['BATCHEDIT_NOTICE_TITLE'] + chr(10))"
    notice = json.dumps({"via": "exec", "on": ["warning"], "command": [sys.executable, "-c", program]})
    text = HEAD + "name: n\nlimits: {rpm: 6, concurrency: 1}\n"
    text += f"budget: {{night: 0.06, warn_at: [50, 80]}}\nnotify: [{notice}]\n"

    def said() -> list[str]:
        return (many.root / "said").read_text().splitlines() if (many.root / "said").exists() else []

    async def nights(world: World) -> None:
        night = "of the budget of the night of 2026-11-25 is spent or held"
        async with anyio.create_task_group() as group:
            group.start_soon(world.start, text)
            while not said():  # noqa: ASYNC110  the notice's program tells by a file
                await anyio.sleep(1)
            group.cancel_scope.cancel()
        assert said() == [f"n: 50 % {night}"]
        await world.start(text)
        assert said() == [f"n: 50 % {night}", f"n: 80 % {night}"]
        await world.start(text)
        assert len(said()) == 2
        await world.until("2026-11-26T20:00")
        await world.start(text)
        assert said()[2:] == [line.replace("25 is", "26 is") for line in said()[:2]]

    play(World("2026-11-25T20:00"), nights)


def _changed(
    path: Path, mode: int = 0o644, folder: int = 0o755, above: int = 0o755,
    uid: int = -1, gid: int = -1, folder_uid: int = -1, folder_gid: int = -1
) -> None:  # fmt: skip
    path.chmod(mode)
    path.parent.chmod(folder)
    path.parent.parent.chmod(above)
    os.chown(path, uid, gid)
    os.chown(path.parent, folder_uid, folder_gid)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": 0o666}, "can be changed by everybody (mode 0666)"),
        ({"mode": 0o646}, "can be changed by everybody"),
        ({"folder": 0o777}, "can be replaced by everybody"),
        ({"above": 0o777}, "can be replaced by everybody: "),
        pytest.param({"mode": 0o664, "gid": 12345}, "can be changed by its group", marks=ROOT),
        pytest.param({"folder": 0o775, "folder_gid": 12345}, "can be replaced by its group", marks=ROOT),
        pytest.param({"folder_uid": 12345}, "can be replaced by uid 12345, who owns ", marks=ROOT),
        pytest.param({"uid": 12345}, "belongs to another user (uid 12345)", marks=ROOT),
    ],
)
def test_a_job_that_others_can_change_is_not_run(
    cli: Callable[..., Result], many: Shop, change: dict[str, int], words: str
) -> None:
    """It says which programs are run; whoever can write it must be whoever starts it."""
    folder = many.root / "jobs"
    folder.mkdir()
    victim = many.root / "ran"
    job = folder / "job.yaml"
    text = "job: 1\nmanifests: [../night.yaml]\nout: ../out\nrehearse: true\n"
    job.write_text(f"{text}notify:\n  - {{via: exec, command: [touch, '{victim}']}}\n")
    _changed(job, **change)
    refused = cli("job", "run", job)
    assert refused.code == 2
    assert words in refused.err
    assert not victim.exists()
    assert not (many.root / "out").exists()


@pytest.mark.parametrize("change", [{}, {"mode": 0o600}, {"mode": 0o444}, {"folder": 0o1777}])
def test_a_job_that_is_ours_is_run(cli: Callable[..., Result], many: Shop, change: dict[str, int]) -> None:
    folder = many.root / "jobs"
    folder.mkdir()
    job = folder / "job.yaml"
    many.write("small.yaml", "version: 1\ndefaults: {prompt: grayscale}\nsources: [{glob: many/p00.png}]\n")
    job.write_text("job: 1\nmanifests: [../small.yaml]\nout: ../out\nrehearse: true\n")
    _changed(job, **change)
    assert cli("job", "run", job).code == 0
