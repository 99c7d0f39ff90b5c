"""What one simulated night is made of: drawn from a seed, every draw under a name of its own."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from batchedit.emulator.settings import FAULT_NAMES, SWITCH_VALUES, Faults, Switches

PICTURES = 8
_STARTS = 5
# Faults that hit single creations often enough at a low rate; the rest is drawn from a wider range.
_RARE = frozenset({"credit_ended", "key_refused", "stuck_queued", "stuck_running", "cancelled"})


@dataclass(frozen=True)
class Start:
    """
    One start of the program.

    Attributes:
        kind: ``run``, or ``reconcile``, which never buys.
        die_at: The step of the program at which it is killed; 0 for never.
        freezes: Steps before which it stands still, with the seconds.
        budget: In micro-dollars; None takes the manifest's.
        rows: The manifest's rows, as numbers of pictures.
        clock: Seconds by which the wall clock is off during this start, and from half-way on.
        cap: What may be spent on the first row's half of the pictures, in micro-dollars; None for no such limit.
        choices: What the user does before it: ``retry``, ``keep`` or nothing.
    """

    kind: str
    die_at: int
    freezes: dict[int, float]
    budget: int | None
    rows: tuple[int, ...]
    clock: tuple[float, float]
    on_unknown: str
    choices: tuple[str, ...]
    pause: float
    cap: int | None = None


@dataclass(frozen=True)
class Weather:
    """
    A whole night: the provider's behaviour and faults, the manifest, and the starts.

    Attributes:
        limits: As in the manifest.
        defaults: As in the manifest.
        chain: How many edits follow the first one, each from the picture of the one before.
        provider: Keys of the manifest's provider besides name and address.
        posts: What the starts want of their files, in turn; empty for the pictures as they come.
    """

    seed: int
    switches: Switches
    faults: Faults
    provider: dict[str, str]
    limits: dict[str, float]
    defaults: dict[str, str]
    starts: tuple[Start, ...]
    chain: int = 0
    posts: tuple[str, ...] = ("",)
    flags: frozenset[str] = field(default_factory=frozenset)


def forecast(seed: int) -> Weather:
    """The night of a seed."""
    draw = random.Random(f"night/{seed}")
    timeout = draw.choice([5.0, 20.0, 60.0])
    list_lag = draw.choice([0.0, 0.0, draw.uniform(0, 60)])
    api = "run" if draw.random() < 0.2 else "runs"
    provider = {"api": api, "images_as": draw.choice(["asset", "asset", "signed-url", "data-uri"])}
    limits = {
        "timeout": timeout,
        "list_lag": round(list_lag + 1, 3),
        "deadline": draw.choice([300.0, 1800.0]),
        "concurrency": draw.randint(1, 6),
        "attempts": draw.randint(3, 5),
        "poll": draw.choice([1.0, 2.0, 5.0]),
    }
    if draw.random() < 0.4:
        limits["rpm"] = draw.choice([6, 20, 60])
    defaults = {
        "output": "'{{ id }}_{{ sample }}.{{ ext }}'",
        "prompt": "grayscale",
        "quality": draw.choice(["low", "high"]),
    }
    if draw.random() < 0.15:
        defaults["n"] = "2"
    if draw.random() < 0.15:
        defaults["sync_mode"] = "true"
    if draw.random() < 0.3:
        defaults["size"] = "1024x768"
    return Weather(
        seed=seed,
        switches=_switches(draw, list_lag, timeout, provider),
        faults=_faults(draw, timeout),
        provider=provider,
        limits=limits,
        defaults=defaults,
        starts=_starts(draw),
        # A draw of its own, so that nights without a chain are the same as ever.
        chain=random.Random(f"chain/{seed}").choice([0, 0, 0, 1, 2]),
        posts=random.Random(f"post/{seed}").choice([("",), ("",), ("{fit: 8x8}", "", "{fit: 12x12}")]),
    )


def _switches(draw: random.Random, list_lag: float, timeout: float, provider: dict[str, str]) -> Switches:
    words = {
        name: draw.choice(values)
        for name, values in SWITCH_VALUES.items()
        if draw.random() < 0.3 and name not in ("sync_endpoint", "data_uris", "size_forms", "batches")
    }
    if provider["images_as"] == "asset" and draw.random() < 0.9:
        words.pop("asset_refs", None)
    slowest = draw.choice([3.0, 30.0, 120.0])
    return Switches(
        **words,  # type: ignore[arg-type]  # words for words
        create_status=draw.choice([201, 201, 200, 202]),
        list_lag=list_lag,
        signed_on_request=draw.random() < 0.1,
        sync_listed=draw.random() < 0.2,
        sync_cut_seconds=draw.choice([0.0, 0.0, 20.0]),
        latency=(slowest / 5, slowest),
        queue_seconds=draw.choice([0.0, 2.0]),
        create_delay=draw.choice([(0.0, 0.0), (0.1, 0.9), (timeout / 4, timeout / 2)]),
        url_ttl=draw.choice([900.0, 900.0, 20.0]),
        rate_limit_per_minute=draw.choice([0, 0, 0, 30, 120]),
        max_concurrent_runs=draw.choice([0, 0, 2]),
    )


def _faults(draw: random.Random, timeout: float) -> Faults:
    chosen = draw.sample(FAULT_NAMES, draw.choice([0, 1, 2, 3, 5, 8]))
    rates = {name: draw.uniform(0.02, 0.1) if name in _RARE else draw.uniform(0.05, 0.5) for name in chosen}
    return Faults(
        **rates,
        # Later than the client waits for an answer, and no later than it allows for: twice that.
        delay_seconds=timeout * draw.uniform(1.05, 1.4),
        burst_length=draw.randint(1, 4),
        credit_ends_after=draw.choice([0] * 12 + [2]),
        key_revoked_after=draw.choice([0] * 12 + [15]),
        missing_seconds=draw.choice([3.0, 30.0]),
        clock_skew=draw.choice([0.0, 0.0, -3600.0, 86_400.0]),
    )


def _starts(draw: random.Random) -> tuple[Start, ...]:
    rows = [draw.randrange(PICTURES) for _ in range(draw.randint(2, 6))]
    starts: list[Start] = []
    # Draws of their own, so that the rest of a night stays what it was.
    caps = random.Random(f"caps/{rows}")
    for _ in range(draw.randint(1, _STARTS)):
        change = draw.random()
        if change < 0.1 and len(rows) > 1:
            rows = rows[:-1]
        elif change < 0.2:
            draw.shuffle(rows)
        elif change < 0.3:
            rows = [*rows, draw.randrange(PICTURES)]
        starts.append(
            Start(
                kind="reconcile" if starts and draw.random() < 0.12 else "run",
                die_at=draw.choice([0, draw.randint(1, 30), draw.randint(1, 120), draw.randint(1, 400)]),
                freezes={draw.randint(1, 150): draw.uniform(1, 200) for _ in range(draw.choice([0, 0, 1, 3]))},
                budget=draw.choice([None, None, draw.randint(1, 6) * 133_000, draw.randint(10_000, 500_000)]),
                rows=tuple(rows),
                clock=(draw.choice([0.0, 0.0, -3.2e8, 3.2e8]), draw.choice([0.0, 0.0, 0.0, -86_400.0, 3.2e8])),
                on_unknown=draw.choice(["hold"] * 8 + ["resend", "write-off"]),
                choices=tuple(choice for choice in ("keep", "retry", "again") if draw.random() < 0.25),
                pause=draw.choice([0.0, 1.0, 120.0]),
                cap=caps.choice([None, None, caps.randint(0, 4) * 133_000, caps.randint(5_000, 300_000)]),
            )
        )
    last = starts[-1]
    calm = Start("run", 0, {}, None, last.rows, (0.0, 0.0), "hold", (), 200.0)
    return (*starts, calm, calm)
