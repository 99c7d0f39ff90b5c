"""How a run ended, as a value and as an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from batchedit.context import StopReason
from batchedit.errors import ExitCode
from batchedit.ledger.waiting import APPROVAL, FAILED
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD
from batchedit.settled import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """
    How a run ended.

    Attributes:
        exit_code: As the command line returns it.
        states: Requests of this run by state, at its end.
        spent: By this run, in micro-dollars.
        spent_before: By interrupted runs that it continues; counts against the same budget.
        at_risk: What may still be billed, in the whole ledger.
        budget: The limit that was in force.
        unknown: Some of the tasks whose outcome is unknown.
        held_back: Tasks that were not bought because their content has changed since they were bought.
        undelivered: Tasks that are paid and done, but whose files could not be put in place.
        waiting: Tasks that start from another one's picture and still wait, by what for: ``approval``, ``failed``,
            ``absent``, or the state of what they start from.
        reason: Why it stopped early, with what to do; empty if it did not.
        notes: Things to know, each said once.
    """

    run_id: int
    exit_code: ExitCode
    states: Mapping[State, int]
    spent: MicroUSD
    spent_before: MicroUSD
    at_risk: MicroUSD
    budget: MicroUSD
    unknown: tuple[str, ...]
    held_back: int
    undelivered: int
    waiting: Mapping[str, int]
    reason: str
    notes: tuple[str, ...]


def nothing_to_do(mark: Mark, limit: MicroUSD | None) -> RunSummary:
    """
    The end of a run that had nothing to do.

    Args:
        mark: What an earlier run has settled.
        limit: The budget, None if none was named.
    """
    return RunSummary(
        run_id=mark.run_id,
        exit_code=ExitCode.DONE,
        states=Counter({**dict.fromkeys(State, 0), State.DONE: mark.requests}),
        spent=ZERO,
        spent_before=ZERO,
        at_risk=mark.at_risk,
        budget=mark.at_risk if limit is None else limit,
        unknown=(),
        held_back=0,
        undelivered=0,
        waiting={},
        reason="",
        notes=(),
    )


def exit_code(
    stop: StopReason | None,
    states: Mapping[State, int],
    *,
    held_back: int = 0,
    undelivered: int = 0,
    bugs: int = 0,
    waiting: Mapping[str, int] | None = None,
) -> ExitCode:
    """
    What a run's end means for the shell.

    If several apply: storage, ledger, account, signal, bug, unknown, limit, failed.
    """
    match stop:
        case StopReason.STORAGE:
            return ExitCode.STORAGE
        case StopReason.LEDGER:
            return ExitCode.LEDGER
        case StopReason.ACCOUNT:
            return ExitCode.ACCOUNT
        case StopReason.SIGINT:
            return ExitCode.SIGINT
        case StopReason.SIGTERM:
            return ExitCode.SIGTERM
        case StopReason.BUDGET | StopReason.BREAKER | StopReason.WINDOW | None:
            pass
    if bugs:
        return ExitCode.BUG
    if states[State.UNKNOWN] or states[State.SENDING]:
        return ExitCode.UNKNOWN
    # What was in flight at the window's end may have been the last of it.
    stopped = stop not in (None, StopReason.WINDOW)
    if stopped or held_back or any(states[s] for s in (State.PENDING, State.ACCEPTED, State.FETCHING)):
        return ExitCode.LIMIT
    # Waiting for a person's approval alone is how it should be.
    others = {reason for reason, count in (waiting or {}).items() if count and reason != APPROVAL}
    if others - {FAILED}:
        return ExitCode.LIMIT
    if others or undelivered or any(states[state] for state in (State.FAILED, State.SUSPECT, State.LOST)):
        return ExitCode.SOME_FAILED
    return ExitCode.DONE
