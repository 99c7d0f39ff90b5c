"""
The scenarios that run against the stand-in provider. Each is a function of how much of it, how often, and with whom.

A result has a table (`columns`, `rows`), the bars with the figure that they ask for, notes, and every round's raw
figures. Within a round all clients run one after the other, in an order that changes from round to round; ratios are
taken within a round, and their median over the rounds is what counts.
"""

from __future__ import annotations

import resource
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.clients import CLIENTS, Client, given, present, take
from benchmarks.provider import Behaviour
from benchmarks.running import Ground, Job, Outcome, Result, say

OURS = ("batchedit", "batchedit-structural")
HANG_DEADLINE_SECONDS = 20
LIST_LAG_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What was asked for on the command line."""

    ground: Ground
    part: float = 1.0
    rounds: int = 3
    clients: tuple[str, ...] = tuple(CLIENTS)
    beside: Path | None = None

    def count(self, full: int) -> int:
        """So many edits of the full number."""
        return max(1, round(full * self.part))


def bar(what: str, value: float | None, most: float | None = None) -> Result:
    """A bar: the figure must not be above `most`. None if there is no figure."""
    return {"what": what, "value": value, "most": most, "holds": None if value is None else value <= (most or 0)}


def order(clients: list[Client], number: int) -> list[Client]:
    """Another one begins in each round, and every other round goes backwards, so that neighbours change too."""
    turned = clients[number % len(clients) :] + clients[: number % len(clients)]
    return turned[::-1] if number % 2 else turned


def play(job: Job, names: list[str], settings: Settings) -> tuple[list[dict[str, Outcome]], dict[str, str]]:
    """All rounds, by client; and who is absent. A short round that does not count comes first: it fills the caches."""
    clients, absent = present([name for name in names if name in settings.clients])
    for name, why in absent.items():
        say(f"  {name} does not take part: {why}")
    if job.count > 200:
        for client in clients:
            take(
                client, replace(job, count=16, behaviour=replace(job.behaviour, latency=0.0, limit=0)), settings.ground
            )
    rounds = []
    for number in range(settings.rounds):
        outcomes = {}
        for client in order(clients, number):
            outcome = take(client, given(client, job), settings.ground)
            outcomes[client.name] = outcome
            say(f"  round {number + 1}: {client.name} {outcome.count} edits in {outcome.usage.seconds:.1f} s")
        rounds.append(outcomes)
    return rounds, absent


def _each(outcome: Outcome) -> float:
    return outcome.usage.seconds / outcome.count


def _ratio(rounds: list[dict[str, Outcome]], one: str, other: str) -> float | None:
    if not rounds or one not in rounds[0] or other not in rounds[0]:
        return None
    return statistics.median(_each(outcomes[one]) / _each(outcomes[other]) for outcomes in rounds)


def _beside(job: Job, settings: Settings) -> tuple[Result, list[dict[str, Outcome]]]:
    """Everybody does the same; a table with ratios to each."""
    rounds, absent = play(job, list(CLIENTS), settings)
    rows: list[list[Any]] = []
    for name in rounds[0] if rounds else ():
        mine = [outcomes[name] for outcomes in rounds]
        rows.append(
            [
                name,
                mine[0].count,
                statistics.median(one.usage.seconds for one in mine),
                1000 * statistics.median(_each(one) for one in mine),
                1000 * statistics.median(one.usage.processor / one.count for one in mine),
                statistics.median(one.usage.memory for one in mine) / 1e6,
                statistics.median(one.calls / one.usage.seconds for one in mine),
                *(_ratio(rounds, ours, name) for ours in OURS),
            ]
        )
    rows.sort(key=lambda row: row[3])
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    result = {
        "columns": [
            "client", "edits", "seconds", "ms/edit", "cpu ms/edit", "MB", "calls/s", "batchedit/it", "structural/it",
        ],
        "rows": rows,
        "notes": [
            f"MB: the largest process of a client; less than {own:.0f}, this program's own, cannot be told",
            *_notes(rounds, absent),
        ],
        "rounds": [[outcome.raw() for outcome in outcomes.values()] for outcomes in rounds],
    }  # fmt: skip
    return result, rounds


def _notes(rounds: list[dict[str, Outcome]], absent: dict[str, str]) -> list[str]:
    notes = [f"{name} did not take part: {why}" for name, why in absent.items()]
    outcomes = [outcome for each in rounds for outcome in each.values()]
    most = max((outcome.count for outcome in outcomes), default=0)
    fewer = {outcome.client: outcome.count for outcome in outcomes if outcome.count < most}
    notes += [f"{name} was given {count} of {most} edits; compare per edit" for name, count in fewer.items()]
    twice = {outcome.client: outcome.books["billed_twice"] for outcome in outcomes if outcome.books["billed_twice"]}
    notes += [f"{name} paid twice for {count} edits" for name, count in twice.items()]
    busiest = max(
        ((outcome.books["processor_seconds"] / outcome.usage.seconds, outcome.client) for outcome in outcomes),
        default=None,
    )
    if busiest:
        notes.append(f"the provider was busy for {busiest[0]:.0%} of the time at most (with {busiest[1]})")
    return notes


def overhead(settings: Settings) -> Result:
    """W1: 5,000 edits that take no time, 10 KB each, 64 in flight."""
    job = Job(behaviour=Behaviour(latency=0.0, picture_bytes=10_000), count=settings.count(5000))
    result, rounds = _beside(job, settings)
    result["bars"] = [
        bar("batchedit / aiohttp-durable", _ratio(rounds, "batchedit", "aiohttp-durable"), 1.25),
        bar("batchedit-structural / httpx", _ratio(rounds, "batchedit-structural", "httpx"), 1.0),
    ]
    return result


def transfer(settings: Settings) -> Result:
    """W2: 2,000 edits of 0.3 s, 1.5 MB each, 64 in flight."""
    behaviour = Behaviour(latency=0.3, picture_bytes=1_500_000)
    count = settings.count(2000)
    if not settings.ground.has_room(count * 2 * behaviour.picture_bytes):
        return {"columns": [], "rows": [], "notes": ["not run: too little room on the disk"], "bars": [], "rounds": []}
    result, rounds = _beside(Job(behaviour=behaviour, count=count, empty=True), settings)
    result["bars"] = [bar("batchedit / aiohttp-durable", _ratio(rounds, "batchedit", "aiohttp-durable"), 1.15)]
    return result


def paced(settings: Settings) -> Result:
    """W3: 1,200 edits of 0.5 s under a limit of 1,200 in any minute that both sides know."""
    limit = 1200
    behaviour = Behaviour(latency=0.5, limit=limit)
    job = Job(behaviour=behaviour, count=settings.count(1200), per_minute=limit)
    rounds, absent = play(job, ["batchedit", "aiohttp"], settings)
    ideal = (job.count - 1) * 60 / limit + behaviour.latency
    rows = []
    for name in rounds[0] if rounds else ():
        mine = [outcomes[name] for outcomes in rounds]
        span = statistics.median(one.books["granted"][-1] + behaviour.latency for one in mine)
        rows.append(
            [
                name,
                job.count,
                span,
                span / ideal,
                statistics.median(one.usage.seconds for one in mine),
                sum(one.books["refusals"] for one in mine),
                max(one.books["most_in_a_minute"] for one in mine),
            ]
        )
    own: dict[str, Any] = {row[0]: row for row in rows}
    mine_row = own.get("batchedit")
    return {
        "columns": ["client", "edits", "makespan s", "of the ideal", "whole command s", "refused", "most in a minute"],
        "rows": rows,
        "bars": [
            bar("makespan / ideal", mine_row and mine_row[3], 1.01),
            bar("refused", mine_row and mine_row[5], 0),
        ],
        "notes": [f"ideal: {ideal:.2f} s from the first creation to the end of the last", *_notes(rounds, absent)],
        "rounds": [[outcome.raw() for outcome in outcomes.values()] for outcomes in rounds],
    }


def unknown(settings: Settings) -> Result:
    """A limit of 600 a minute that only the provider knows; five minutes; one round."""
    limit = 600
    job = Job(behaviour=Behaviour(latency=0.5, limit=limit), count=settings.count(3000), limits="rpm: auto")
    rounds, absent = play(job, ["batchedit", "aiohttp"], replace(settings, rounds=1))
    rows, bars = [], []
    for outcome in rounds[0].values():
        granted, counted = outcome.books["granted"], outcome.books
        late = [at for at in granted if at >= 120]
        per_minute = (len(late) - 1) * 60 / (late[-1] - late[0]) if len(late) > 1 else None
        share = counted["refusals"] / counted["creations"]
        rows.append([outcome.client, job.count, outcome.usage.seconds, per_minute, counted["refusals"], share])
        if outcome.client == "batchedit":
            bars = [
                bar("short of the limit after two minutes", per_minute and abs(1 - per_minute / limit), 0.05),
                bar("share refused", share, 0.01),
            ]
    return {
        "columns": ["client", "edits", "seconds", "a minute after 2 min", "refused", "share refused"],
        "rows": rows,
        "bars": bars,
        "notes": _notes(rounds, absent),
        "rounds": [[outcome.raw() for outcome in outcomes.values()] for outcomes in rounds],
    }


def faults(settings: Settings) -> Result:
    """
    W4: 2,000 edits of 0.3 s; 5 % refused, 1 % cut off after acceptance, 0.5 % never answered; the same with some 500s
    of which nobody can know what they mean; and none of that.
    """
    calm = Behaviour(latency=0.3)
    rough = replace(calm, refused=0.05, cut=0.01, hang=0.005)
    limits = f"rpm: none, timeout: {HANG_DEADLINE_SECONDS}, list_lag: {LIST_LAG_SECONDS}"
    proof = 2 * HANG_DEADLINE_SECONDS + LIST_LAG_SECONDS
    job = Job(behaviour=calm, count=settings.count(2000), limits=limits, strict=False)
    names = ["batchedit", "aiohttp"]
    without, absent = play(job, names, settings)
    rows: list[list[Any]] = []
    notes, raw, bars = [], [], []
    weathers = {"faults": rough, "faults and 500s": replace(rough, broken=0.005)}
    for weather, behaviour in weathers.items():
        rounds, _ = play(replace(job, behaviour=behaviour), names, settings)
        for name in without[0] if without else ():
            quiet = [outcomes[name].usage.seconds for outcomes in without]
            stormy = [outcomes[name] for outcomes in rounds]
            share = statistics.median(
                one.usage.seconds / (1.3 * base + HANG_DEADLINE_SECONDS)
                for one, base in zip(stormy, quiet, strict=True)
            )
            twice = sum(one.books["billed_twice"] for one in stormy)
            rows.append(
                [
                    name,
                    weather,
                    job.count,
                    statistics.median(quiet),
                    statistics.median(one.usage.seconds for one in stormy),
                    share,
                    min(one.files for one in stormy),
                    twice,
                ]
            )
            if name == "batchedit":
                if behaviour is rough:
                    bars.append(bar("with faults / (1.3 x without + longest hang deadline)", share, 1.0))
                bars.append(bar(f"edits billed twice by batchedit, {weather}", float(twice), 0))
                notes.append(f"{weather}: states {[one.end.get('states') for one in stormy]}")
        notes += _notes(rounds, absent)
        raw += [[{"weather": weather, **outcome.raw()} for outcome in outcomes.values()] for outcomes in rounds]
    return {
        "columns": ["client", "weather", "edits", "without s", "with s", "of what is allowed", "pictures", "twice"],
        "rows": rows,
        "bars": bars,
        "notes": [
            f"longest hang deadline: {HANG_DEADLINE_SECONDS} s, the setting `timeout`",
            f"a creation answered with a 500 that says nothing may have been accepted: batchedit buys again only after"
            f" {proof} s (twice the timeout, and list_lag) in which the provider's list has not shown it; the loop pays"
            " again at once",
            *notes,
        ],
        "rounds": [
            *([{"weather": "none", **outcome.raw()} for outcome in outcomes.values()] for outcomes in without),
            *raw,
        ],
    }
