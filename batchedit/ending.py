"""How a run ended, as a value and as an exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from html import escape
from typing import Any

from batchedit.context import StopReason
from batchedit.errors import (
    AccountRefused,
    ExitCode,
    Interrupted,
    LimitReached,
    PartialFailure,
    RunError,
    UnknownOutcome,
)  # fmt: skip
from batchedit.ledger.waiting import APPROVAL, FAILED
from batchedit.lifecycle import State
from batchedit.money import ZERO, MicroUSD, decimal_text, format_usd
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
        gave_up: It stopped because too much failed, and not as planned.
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
    gave_up: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON: amounts as dollars in text."""
        return {
            "run": self.run_id,
            "exit_code": int(self.exit_code),
            "states": {str(state): count for state, count in self.states.items()},
            "spent": decimal_text(self.spent),
            "spent_before": decimal_text(self.spent_before),
            "at_risk": decimal_text(self.at_risk),
            "budget": decimal_text(self.budget),
            "currency": "USD",
            "unknown": list(self.unknown),
            "held_back": self.held_back,
            "undelivered": self.undelivered,
            "waiting": dict(sorted(self.waiting.items())),
            "reason": self.reason,
            "notes": list(self.notes),
        }

    def raise_for_status(self) -> None:
        """
        Nothing if everything is done.

        Raises:
            RunError: of the kind that the exit code means, with `money_spent`, `retryable` and `hint`.
        """
        if self.exit_code is ExitCode.DONE:
            return
        kind, retryable, hint = _ENDINGS.get(self.exit_code, (RunError, False, ""))
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items() if count)
        raise kind(
            f"run {self.run_id} ended with exit code {int(self.exit_code)}: {self.reason or counts}",
            code=self.exit_code,
            money_spent=Decimal(self.spent) / 1_000_000,
            retryable=retryable,
            hint=hint,
        )

    def _repr_html_(self) -> str:
        """For notebooks."""
        rows = [(str(state), str(count)) for state, count in self.states.items() if count]
        rows += [("spent", format_usd(self.spent)), ("at risk", format_usd(self.at_risk))]
        rows += [("budget", format_usd(self.budget)), ("exit code", str(int(self.exit_code)))]
        rows += [("stopped", self.reason)] if self.reason else []
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows)
        return f"<table>{cells}</table>"


_ENDINGS: Mapping[ExitCode, tuple[type[RunError], bool, str]] = {
    ExitCode.SOME_FAILED: (PartialFailure, False, "batchedit ls --select status:failed says which, and why"),
    ExitCode.ACCOUNT: (AccountRefused, False, "check key and credit: batchedit auth check"),
    ExitCode.LIMIT: (LimitReached, False, "run the same plan again, on purpose: work is left"),
    ExitCode.UNKNOWN: (UnknownOutcome, False, "batchedit reconcile asks the provider, and buys nothing"),
    ExitCode.SIGINT: (Interrupted, True, "run the same plan again: it goes on from here"),
    ExitCode.SIGTERM: (Interrupted, True, "run the same plan again: it goes on from here"),
}


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
