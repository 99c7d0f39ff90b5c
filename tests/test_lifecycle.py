"""States, transitions and decisions."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

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
from batchedit.ledger import tables
from batchedit.lifecycle import (
    TRANSITIONS,
    Event,
    GiveUp,
    Halt,
    Hold,
    RetryAfter,
    RetryPolicy,
    State,
    backoff,
    decide,
    outcome_name,
)

ENDED = {"done", "suspect", "lost", "absent", "resent", "written off"}  # not by an error
POLICY = RetryPolicy(attempts=3, first_seconds=2, longest_seconds=60, throttled_seconds=15)
DOCS = Path(__file__).parent.parent / "docs" / "states.md"


def decision(outcome: ProviderError, counted: int = 1, tries: int = 1) -> object:
    return decide(outcome, counted, POLICY, random.Random("0"), tries=tries)


def test_the_ledger_knows_exactly_the_states_of_the_code() -> None:
    """The SQL constraint and the enum use the same words."""
    constraint = re.search(
        r"state TEXT NOT NULL DEFAULT 'pending' CHECK \(state IN\s*\((.*?)\)\)", tables.INITIAL, re.S
    )
    assert constraint is not None
    assert set(re.findall(r"'([a-z ]+)'", constraint[1])) == {str(state) for state in State}


def test_the_ledger_knows_every_outcome_of_the_code() -> None:
    """Whatever the code calls the end of an attempt, the SQL constraint admits it."""
    constraint = re.search(r"outcome TEXT CHECK \(outcome IN\s*\((.*?)\)\)", tables.INITIAL, re.S)
    assert constraint is not None
    known = set(re.findall(r"'([a-z ]+)'", constraint[1]))
    outcomes: list[ProviderError] = [
        NotSent(""), Throttled(""), Unavailable(""), Rejected(""), InputFormRefused(""), Halted(""),
        RunFailed("", code="", permanent=False), Unseen(""),
    ]  # fmt: skip
    assert {outcome_name(outcome) for outcome in outcomes} | ENDED == known


def test_the_table_in_the_docs_is_the_table_in_the_code() -> None:
    """docs/states.md lists every transition, and no other."""
    rows = re.findall(r"^\| `([a-z]+)` \| ([a-z ]+) \| `([a-z]+)` \|", DOCS.read_text("utf-8"), re.M)
    assert {(a, b, c) for a, b, c in rows} == {(str(a), str(e), str(b)) for (a, e), b in TRANSITIONS.items()}


def test_every_open_state_has_a_way_out() -> None:
    """No request can get stuck in the table; what is lost can only be wanted again as a new revision."""
    assert {state for state, _ in TRANSITIONS} == set(State) - {State.DONE, State.LOST}


def test_only_begin_leads_to_sending() -> None:
    """Nothing is sent without an attempt having begun, and only from pending."""
    assert [pair for pair, to in TRANSITIONS.items() if to is State.SENDING] == [(State.PENDING, Event.BEGIN)]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.FETCHING, State.DONE])
def test_what_is_bought_never_becomes_pending_without_a_reason(state: State) -> None:
    """From accepted on, only a run that ended unbilled leads back to pending."""
    back = {event for (origin, event), to in TRANSITIONS.items() if origin is state and to is State.PENDING}
    assert back <= {Event.PROVIDER_FAILED}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (NotSent("no route"), RetryAfter),
        (Unavailable("later"), RetryAfter),
        (Throttled("slow down"), RetryAfter),
        (InputFormRefused("runflow scheme"), RetryAfter),
        (RunFailed("timeout", code="TIMEOUT", permanent=False), RetryAfter),
        (RunFailed("moderation", code="MODERATION", permanent=True), GiveUp),
        (Rejected("bad size"), GiveUp),
        (Halted("no credit"), Halt),
        (Unseen("reset by peer"), Hold),
        (ProviderError("something new"), Hold),
    ],
)
def test_decision_by_outcome(outcome: ProviderError, kind: type) -> None:
    """Each class of outcome has one consequence; what cannot be sorted is held, never sent again."""
    assert isinstance(decision(outcome), kind)


def test_the_last_attempt_gives_up() -> None:
    """After as many attempts as allowed the request fails."""
    assert isinstance(decision(NotSent("no route"), counted=2), RetryAfter)
    assert isinstance(decision(NotSent("no route"), counted=3), GiveUp)


def test_a_throttled_attempt_does_not_use_up_the_retries() -> None:
    """A 429 is tried again however often other attempts failed, up to a cap of its own."""
    assert isinstance(decision(Throttled("slow"), counted=9), RetryAfter)
    assert isinstance(decision(Throttled("slow"), tries=POLICY.tries), GiveUp)


@pytest.mark.parametrize(("wish", "low", "high"), [(30.0, 30, 38), (0.0, 0, 1), (None, 15, 19)])
def test_a_throttled_attempt_waits_at_least_as_long_as_the_server_wishes(
    wish: float | None, low: float, high: float
) -> None:
    """Retry-After is a lower bound; the jitter only adds."""
    chosen = decision(Throttled("slow", retry_after=wish))
    assert isinstance(chosen, RetryAfter)
    assert low <= chosen.seconds <= high


def test_backoff_doubles_up_to_its_ceiling() -> None:
    """2, 4, 8 ... seconds with the upper half drawn: never less than half, never more than the ceiling."""
    for attempt, ceiling in [(1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (20, 60)]:
        waits = [backoff(attempt, POLICY, random.Random(str(seed))) for seed in range(50)]
        assert all(ceiling / 2 <= wait <= ceiling for wait in waits)
        assert len(set(waits)) > 40
