"""From a plan and a command's flags to a run: what `run`, `pilot` and `reconcile` have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from batchedit.cli.voice import say
from batchedit.errors import UsageError
from batchedit.money import MicroUSD, parse_usd

if TYPE_CHECKING:
    from batchedit.cli.printing import ProgressLine
    from batchedit.configuration import Value
    from batchedit.ending import RunSummary
    from batchedit.events import Pump, Sink
    from batchedit.manifest import Manifest
    from batchedit.planned import Plan
    from batchedit.providers.registry import Destination
    from batchedit.run_options import RunOptions
    from batchedit.tracing import RunTrace, Tracing

T = TypeVar("T")


def limit_from(budget: str | None) -> MicroUSD | None:
    """
    The amount of `--budget`, None without one.

    Raises:
        UsageError: if it is none.
    """
    try:
        return None if budget is None else parse_usd(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from None


def until_from(text: str | None) -> float | None:
    """
    The moment of `--until`, None without one.

    Raises:
        UsageError: if it is none, or over.
    """
    from batchedit.effects import Effects
    from batchedit.stopping import stop_time

    return None if text is None else stop_time(text, Effects().wall())


def pace_from(rate: int | str | None) -> tuple[int | None, bool | None]:
    """What `--rate` stands for in `RunOptions`: edits per minute, and whether the provider's limit is learnt."""
    return rate if isinstance(rate, int) else None, {"auto": True, "none": False}.get(str(rate))


_FIELDS = {"requests_per_minute": "rate", "learn_rate": "rate", "in_flight": "concurrency", "max_failures": "max_fail"}


@dataclass(frozen=True)
class Behaviour:
    """What is in force for one command, of everything in `configuration.SETTINGS`."""

    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def run_options(
        self, budget: MicroUSD | None = None, on_unknown: str | None = None, until: float | None = None
    ) -> RunOptions:
        """How to carry out a plan; what the manifest says, or nobody, is left to it."""
        from batchedit.run_options import RunOptions

        theirs = {name for name, value in self.values.items() if value.origin in ("manifest", "default")}
        rate, concurrency, max_fail = (
            None if name in theirs else self[name] for name in ("rate", "concurrency", "max_fail")
        )
        per_minute, learns = pace_from(rate)
        return RunOptions(
            budget=budget,
            in_flight=concurrency,
            requests_per_minute=per_minute,
            learn_rate=learns,
            max_failures=max_fail,
            on_unknown=on_unknown,
            until=until,
            grace_seconds=self["grace"],
            handle_signals=True,
            keys=key_places(self),
            origins={field: self.values[name].origin for field, name in _FIELDS.items()},
        )


def key_places(behaviour: Behaviour) -> Any:
    """Where keys may be besides the environment and `.env`."""
    from batchedit.credentials import KeyPlaces

    return KeyPlaces(
        command=behaviour["key_command"],
        keyring=behaviour["keyring"],
        may_ask=not behaviour["no_input"],
        origins=tuple((behaviour["key_origin"] or "").split()),
    )


def destination_of(plan: Plan, behaviour: Behaviour) -> Destination | None:
    """
    Where the requests of a plan and the key would go, None for a rehearsal.

    Raises:
        UsageError: if the key is not for that, or settings do not allow what would be bought.
    """
    from batchedit.allowance import Allowance
    from batchedit.providers.registry import destination
    from batchedit.run_options import key_places as places_beside

    Allowance.of(behaviour.values).check(plan)
    places = places_beside(plan, behaviour.run_options())
    return None if plan.rehearsal else destination(plan.settings, os.environ, places)


def behaviour_for(plan: Plan | None, **flags: Any) -> Behaviour:
    """
    What is in force: flag, environment, manifest, project, user, built in.

    Args:
        plan: Whose manifest counts; None for none.
        flags: As given on the command line, None where they were not.

    Raises:
        UsageError: for settings that there are not, or that cannot be.
    """
    return Behaviour(values_for(None if plan is None else plan.manifest, **flags))


def values_for(said: Manifest | None, **flags: Any) -> dict[str, Value]:
    """
    Every setting, with where it comes from.

    Raises:
        UsageError: as `behaviour_for`.
    """
    from batchedit.configuration import SETTINGS, load_configuration, of_manifest

    configuration = load_configuration(os.environ, Path.cwd())
    return {
        name: configuration.get(
            name,
            flag=flags.get(name) or None if name == "verbose" else flags.get(name),
            manifest=None if said is None else of_manifest(name, said.limits, said.limits_given, said.source),
        )
        for name in SETTINGS
    }


def agree_to(plan: Plan, limit: MicroUSD | None, behaviour: Behaviour, *, as_json: bool, yes: bool) -> None:
    """
    Show a plan, and have somebody agree to it before real money is spent.

    Raises:
        ConsentMissing: if nobody did.
        UsageError: if the key is not for where it would be sent.
    """
    from batchedit.cli.consent import agree
    from batchedit.cli.planning import plan_text
    from batchedit.cli.printing import say_warnings

    goes_to = destination_of(plan, behaviour)
    say_warnings(plan)
    if not (as_json or behaviour["quiet"]):
        say(plan_text(plan, limit, goes_to=goes_to), err=True)
    figures = plan.figures
    if figures.purchases and plan.agreed is None and not plan.rehearsal:
        agreed = limit if limit is not None else plan.manifest.budget
        agree(
            requests=figures.purchases,
            high=figures.quote.high,
            to=urlsplit(goes_to.origin).netloc if goes_to is not None else plan.settings.name,
            limit=agreed,
            yes=yes,
            may_ask=not behaviour["no_input"],
            ask_above_requests=behaviour["ask_above_edits"],
            ask_above=parse_usd(behaviour["ask_above"]),
        )


def watched(work: Callable[[ProgressLine], T], plan: Plan, behaviour: Behaviour, *, as_json: bool) -> T:
    """
    Do something long with its progress shown, its events written, and its log kept.

    Raises:
        UsageError: for a file of events that is something else; StorageError if one cannot be written.
    """
    from batchedit.cli.printing import ProgressLine
    from batchedit.logs import logging_to

    target, file = behaviour["events"], behaviour["log_file"]
    if target == "-" and as_json:
        raise UsageError("--events - and --json both want stdout", hint="name a file for the events")
    with ExitStack() as stack:
        stack.enter_context(
            logging_to(file, form=behaviour["log_format"], verbose=behaviour["verbose"], environment=os.environ)
        )
        progress = ProgressLine(quiet=behaviour["quiet"] or as_json)
        stack.callback(progress.close)
        trace = stack.enter_context(tracing_for(behaviour))
        if target is not None or file is not None or behaviour["verbose"] or trace is not None:
            from batchedit.events import EventFile, Pump, log_changes

            events = None if target is None else EventFile(target)
            if events is not None:
                stack.callback(events.close)
            sinks: list[Sink] = [log_changes] if file is not None or behaviour["verbose"] else []
            if trace is not None:
                traced = stack.enter_context(
                    trace.run(plan.workspace.ledger, plan.manifest.name, rehearsal=plan.rehearsal)
                )
                sinks.append(traced)
                return _ended(traced, Pump(plan.workspace.ledger, events, sinks, _note), partial(work, progress))
            stack.enter_context(Pump(plan.workspace.ledger, events, sinks, _note))
        return work(progress)


def _ended(traced: RunTrace, pump: Pump, work: Callable[[], T]) -> T:
    """What came of it, once all changes are told."""
    from batchedit.ending import RunSummary

    with pump:
        outcome = work()
    if isinstance(outcome, RunSummary):
        traced.finish(outcome)
    return outcome


def _note(words: str) -> None:
    say(f"note: {words}", err=True)


def tracing_for(behaviour: Behaviour) -> AbstractContextManager[Tracing | None]:
    """
    Where spans go, None if nobody has asked for them.

    Raises:
        UsageError: as `tracing_by`.
    """
    if not behaviour["otel"]:
        return nullcontext()
    from batchedit.tracing import tracing_by

    return tracing_by(os.environ, _note)


def say_summary(plan: Plan, summary: RunSummary, behaviour: Behaviour, *, as_json: bool) -> None:
    """
    The end of a run: on stdout, or beside it where that is for events. With `--quiet` only if somebody is needed, so
    that a scheduler has nothing to mail after a good night; JSON always, since a program waits for it.
    """
    from batchedit.cli.printing import end_json, end_text

    if as_json or summary.exit_code or not behaviour["quiet"]:
        text = end_json(plan, summary) if as_json else end_text(plan, summary)
        say(text, err=behaviour["events"] == "-")
