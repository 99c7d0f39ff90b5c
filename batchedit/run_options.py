"""How a run may differ from what its manifest says, and what comes of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from batchedit.caps import PeriodCap
from batchedit.credentials import KeyPlaces
from batchedit.learning import Learner
from batchedit.ledger.records import Pace
from batchedit.ledger.run_records import RunFacts, Setting, SkippedRows
from batchedit.model import Limits, ProviderSettings
from batchedit.money import MicroUSD
from batchedit.pacing import Pacer
from batchedit.planned import Plan
from batchedit.providers.registry import Connected

_LIMIT_OPTIONS = ("in_flight", "requests_per_minute", "learn_rate", "max_failures")
_SKIPS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """
    How to carry out a plan.

    Attributes:
        budget: The most that may be spent and at risk, in micro-dollars; None takes the manifest's, or else the
            plan's high estimate, so that every run has a limit.
        in_flight: Overrides the manifest's limit.
        requests_per_minute: Likewise.
        learn_rate: Likewise.
        max_failures: Likewise.
        on_unknown: Overrides the manifest's choice for outcomes that asking does not settle.
        grace_seconds: After a signal, how long what is in flight may go on.
        handle_signals: True installs handlers for Ctrl-C, SIGTERM and SIGHUP while the run goes on.
        keys: Where keys may be besides the environment; the folder is the manifest's if none is named.
        origins: Where overridden limits come from, by field: for the ledger; ``flag`` if not said.
        until: Unix time at which nothing new is sent any more; what is in flight then has the grace. None for none.
        closing: Why it stops then, in words.
        caps: Further limits, such as those of a night or a month; the smallest one holds.
        job: The job whose start this run belongs to, empty for none; `job_began` is when that start began (ISO, UTC).
    """

    budget: MicroUSD | None = None
    in_flight: int | None = None
    requests_per_minute: int | None = None
    learn_rate: bool | None = None
    max_failures: int | None = None
    on_unknown: str | None = None
    grace_seconds: float = 60.0
    handle_signals: bool = False
    keys: KeyPlaces = KeyPlaces()
    origins: Mapping[str, str] = field(default_factory=dict)
    until: float | None = None
    closing: str = "the time to stop has come; the same command goes on from here"
    caps: tuple[PeriodCap, ...] = ()
    job: str = ""
    job_began: str = ""


def key_places(plan: Plan, options: RunOptions) -> KeyPlaces:
    """Where keys may be: `.env` is beside the manifest, and without a manifest's file there is none."""
    if options.keys.folder is not None or plan.manifest.path is None:
        return options.keys
    return replace(options.keys, folder=plan.manifest.path.parent)


def pacer_for(limits: Limits, learnt: Pace | None) -> Pacer:
    """What keeps the pace; `learnt` is what an earlier run has found."""
    ceiling = limits.requests_per_minute
    known, confidence = (None, 0) if learnt is None else (learnt.per_minute, learnt.confidence)
    return Pacer(
        requests=ceiling,
        images=limits.images_per_minute,
        calls=limits.calls_per_minute,
        learner=Learner(known, confidence=confidence, ceiling=ceiling) if limits.learn_rate else None,
    )


def limits_of(plan: Plan, options: RunOptions, connected: Connected) -> Limits:
    """The manifest's limits, the provider's where the manifest says nothing, the options over both."""
    given = plan.manifest.limits_given
    limits = replace(
        plan.manifest.limits, **{name: value for name, value in connected.limits.items() if name not in given}
    )
    if options.learn_rate is not None:
        limits = replace(limits, requests_per_minute=None)
    chosen = {name: getattr(options, name) for name in _LIMIT_OPTIONS}
    return replace(limits, **{name: value for name, value in chosen.items() if value is not None})


def facts_of(plan: Plan, options: RunOptions, connected: Connected, limits: Limits) -> RunFacts:
    """The settings that are in force, each with where it came from; and what made no task."""
    given, settings, defaults = plan.manifest.limits_given, [], Limits()
    for each in fields(Limits):
        value, origin = getattr(limits, each.name), "default"
        if each.name in _LIMIT_OPTIONS and getattr(options, each.name) is not None:
            origin = options.origins.get(each.name, "flag")
        elif each.name in given:
            origin = "manifest"
        elif each.name in connected.limits:
            origin = "provider"
        elif value != getattr(defaults, each.name):
            origin = "flag"
        settings.append(Setting(each.name.replace("_", " "), "none" if value is None else str(value), origin))
    for each in fields(ProviderSettings):
        value = getattr(plan.settings, each.name)
        origin = "default" if value == each.default else "manifest"
        settings.append(
            Setting(
                f"provider {each.name}".replace("_", " "),
                "none" if value is None else str(value).lower() if isinstance(value, bool) else value,
                origin,
            )
        )
    if options.on_unknown is not None:
        settings.append(Setting("on unknown", options.on_unknown, "flag"))
    skipped = [SkippedRows(str(skip.place), skip.reason, skip.count) for skip in plan.findings.skipped[:_SKIPS]]
    typed = plan.manifest.source.encode("utf-8", "backslashreplace").decode()
    return RunFacts(settings=tuple(settings), skipped=tuple(skipped), manifest=typed)
