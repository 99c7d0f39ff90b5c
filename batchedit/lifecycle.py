"""
States of a request, the only ways from one to another, and the decision after each answer.

    pending --begin--> sending --accepted--> accepted --reply--> fetching --verified--> done
      ^  ^                | |                   |                   |
      |  |<-- retry ------| |                   |-- refused --> failed          fetching --odd--> suspect
      |  |<-- provider failed, not billed ------|                               fetching --gone--> lost
      |                     |-- answer lost --> unknown --found--> accepted      accepted --missing--> unknown
      |<-- proved absent, or the user says resend --|  '-- the user writes it off --> lost
      failed --redo--> pending                        suspect --keep--> done         pending --refused--> failed

A lost or suspect picture that is wanted again is another revision, which is another request with a price of its own.

`docs/states.md` has the same drawing; the SQL schema holds the same words; a test compares the three.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from batchedit.errors import (
    Halted,
    InputFormRefused,
    NotSent,
    ProviderError,
    Rejected,
    RunFailed,
    Throttled,
    Unavailable,
    Unseen,
)


class State(enum.StrEnum):
    """Where a request stands."""

    PENDING = "pending"  # to be bought, perhaps not before a certain time
    SENDING = "sending"  # durable intent; its bytes may be on the way
    ACCEPTED = "accepted"  # the provider has it and we know under which id
    FETCHING = "fetching"  # sold; the pictures are being brought home
    UNKNOWN = "unknown"  # nobody here knows whether it was bought
    DONE = "done"  # paid, complete, verified
    FAILED = "failed"  # refused or failed for good; nothing was bought
    SUSPECT = "suspect"  # paid, but what came is not what was asked for
    LOST = "lost"  # paid, and can no longer be fetched


class Event(enum.StrEnum):
    """What moves a request from one state to another."""

    BEGIN = "begin"
    ACCEPTED = "accepted"
    RETRY = "retry"
    ANSWER_LOST = "answer lost"
    REFUSED = "refused"
    REPLY = "reply"
    PROVIDER_FAILED = "provider failed"
    VERIFIED = "verified"
    ODD = "odd"
    GONE = "gone"
    MISSING = "missing"
    FOUND = "found"
    ABSENT = "absent"
    RESEND = "resend"
    REDO = "redo"
    WRITE_OFF = "write off"
    KEEP = "keep"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.PENDING, Event.BEGIN): State.SENDING,
    (State.PENDING, Event.REFUSED): State.FAILED,
    (State.SENDING, Event.ACCEPTED): State.ACCEPTED,
    (State.SENDING, Event.RETRY): State.PENDING,
    (State.SENDING, Event.ANSWER_LOST): State.UNKNOWN,
    (State.SENDING, Event.REFUSED): State.FAILED,
    (State.ACCEPTED, Event.REPLY): State.FETCHING,
    (State.ACCEPTED, Event.REFUSED): State.FAILED,
    (State.ACCEPTED, Event.PROVIDER_FAILED): State.PENDING,
    (State.ACCEPTED, Event.MISSING): State.UNKNOWN,
    (State.FETCHING, Event.VERIFIED): State.DONE,
    (State.FETCHING, Event.ODD): State.SUSPECT,
    (State.FETCHING, Event.GONE): State.LOST,
    (State.UNKNOWN, Event.FOUND): State.ACCEPTED,
    (State.UNKNOWN, Event.ABSENT): State.PENDING,
    (State.UNKNOWN, Event.RESEND): State.PENDING,
    (State.UNKNOWN, Event.WRITE_OFF): State.LOST,
    (State.FAILED, Event.REDO): State.PENDING,
    (State.SUSPECT, Event.KEEP): State.DONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """
    When to try again.

    Attributes:
        attempts: Most attempts of one request; throttled and re-formed ones do not count.
        tries: Most attempts of one request, whatever their outcome.
        first_seconds: Wait before the first retry; doubled for each further one.
        longest_seconds: The doubling stops here.
        throttled_seconds: Wait of the request itself after a 429 that names no time; the pacer makes all of them wait.
    """

    attempts: int = 5
    tries: int = 100
    first_seconds: float = 2.0
    longest_seconds: float = 120.0
    throttled_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Back to pending, not before `seconds` from now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """The outcome is unknown: keep the price at risk and ask the provider."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """This request has failed for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """This request goes back to pending and the whole run stops sending."""

    reason: str


Decision = RetryAfter | Hold | GiveUp | Halt


def decide(outcome: ProviderError, counted: int, policy: RetryPolicy, draw: random.Random, *, tries: int) -> Decision:
    """
    What follows when an attempt ended in `outcome`.

    Args:
        outcome: As sorted by the provider's adapter.
        counted: Attempts of this request that count, this one included if it does.
        policy: How often and how long.
        draw: Randomness for the jitter, keyed by request and attempt.
        tries: All attempts of this request, those included that do not count.
    """
    if tries >= policy.tries and isinstance(outcome, (Throttled, InputFormRefused)):
        return GiveUp(f"{outcome.message} ({tries} tries)")
    match outcome:
        case Throttled():
            wait = policy.throttled_seconds if outcome.retry_after is None else outcome.retry_after
            return RetryAfter(wait + draw.uniform(0.0, max(1.0, wait / 4)))
        case InputFormRefused():
            return RetryAfter(0.0)
        case Halted():
            return Halt(outcome.message)
        case Rejected():
            return GiveUp(outcome.message)
        case RunFailed() if outcome.permanent:
            return GiveUp(outcome.message)
        case NotSent() | Unavailable() | RunFailed():
            if counted >= policy.attempts:
                return GiveUp(f"{outcome.message} ({counted} attempts)")
            return RetryAfter(backoff(counted, policy, draw))
        case _:
            # Unseen, and whatever the adapter could not sort: money may be out.
            return Hold()


def counts_as_attempt(outcome: ProviderError) -> bool:
    """False for outcomes that say nothing about the request itself: throttled, or images to be sent another way."""
    return not isinstance(outcome, (Throttled, InputFormRefused, Halted))


def backoff(attempt: int, policy: RetryPolicy, draw: random.Random) -> float:
    """Seconds to wait after attempt number `attempt` (from 1): doubling, with the upper half drawn at random."""
    ceiling = min(policy.first_seconds * 2.0 ** (attempt - 1), policy.longest_seconds)
    return ceiling / 2 + draw.uniform(0.0, ceiling / 2)


ENDS = frozenset({State.DONE, State.FAILED, State.SUSPECT, State.LOST, State.UNKNOWN})
"""Where a run leaves a request alone: what follows, if anything, is for a later run or a person."""

RECONCILE_LOOKS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Seconds between looks at the provider's list for an unknown outcome; the last one repeats."""


def next_look(looks: int) -> float:
    """Seconds to wait before look number `looks` (from 0) at an unknown outcome."""
    return RECONCILE_LOOKS[min(looks, len(RECONCILE_LOOKS) - 1)]


def outcome_name(outcome: ProviderError) -> str:
    """The word under which an attempt's end is kept in the ledger."""
    for kind, name in _OUTCOME_NAMES:
        if isinstance(outcome, kind):
            return name
    return "unseen"


_OUTCOME_NAMES: tuple[tuple[type[ProviderError], str], ...] = (
    (NotSent, "not sent"),
    (Throttled, "throttled"),
    (Unavailable, "unavailable"),
    (Rejected, "refused"),
    (InputFormRefused, "form refused"),
    (Halted, "account refused"),
    (RunFailed, "provider failed"),
    (Unseen, "unseen"),
)
