"""What a person can do about tasks that did not end well, and what a kind of waste means."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchedit.ledger.run_records import RunRow
from batchedit.ledger.sums import Trouble
from batchedit.ledger.waiting import ABSENT, APPROVAL, FAILED
from batchedit.lifecycle import State

_ADVICE = (
    (State.UNKNOWN, "unknown: `batchedit reconcile {words}` asks the provider again and never buys;"),
    (State.UNKNOWN, "         if it cannot tell, the same with `--on-unknown write-off` decides, or"),
    (State.UNKNOWN, "         `batchedit run {words} --on-unknown resend`"),
    (State.SUSPECT, "suspect: `batchedit keep {out}` takes them;"),
    (State.SUSPECT, "         `batchedit retry {out} --state suspect` lets the next run buy new ones"),
    (State.LOST, "lost:    `batchedit retry {out} --state lost` lets the next run buy them again"),
    (State.FAILED, "failed:  mend the row or the picture, or `batchedit retry {out}`, and run again"),
)


def advice(states: Mapping[State, int], where: Path | str, words: str) -> list[str]:
    """
    What a person can do about requests that did not end well, a line each.

    Args:
        where: The output folder or ledger, for commands.
        words: The manifest and its place, quoted, for commands that take a manifest.
    """
    out = shlex.quote(str(where))
    return [text.format(out=out, words=words) for state, text in _ADVICE if states.get(state)]


def manifest_words(runs: Sequence[RunRow], where: Path | str) -> str:
    """
    The manifest of the last run as it was typed, and where it works, quoted for commands that take a manifest.

    Args:
        where: The output folder or ledger of these runs.
    """
    typed = runs[-1].facts.manifest if runs else ""
    place = Path(where)
    if place.is_file() and place.parent.name == _STATE:
        place = place.parent.parent
    words = [shlex.quote(typed) if typed else "MANIFEST"]
    if place.is_file():
        return f"{words[0]} --out OUT --ledger {shlex.quote(str(place))}"
    is_tree = (place.name, place.parent.name) == ("rehearsal", _STATE)
    words.append(f"--out {shlex.quote(str(place.parent.parent if is_tree else place))}")
    return " ".join([*words, "--rehearse"] if is_tree else words)


_STATE = ".batchedit"


def waiting_lines(waiting: Mapping[str, int], where: Path | str, *, wrapped: bool = True) -> list[str]:
    """
    How many tasks wait for another one's picture, and what a person can do about it; nothing if none does.

    Args:
        waiting: By what for, as in `ledger.waiting`.
        where: The output folder or ledger, for commands.
        wrapped: Break what is long into lines; else each is one step.
    """
    lines, approval = [], waiting.get(APPROVAL, 0)
    if approval:
        quoted = shlex.quote(str(where))
        lines.append(
            f"{approval} {_wait(approval)} for approval: `batchedit verdicts export verdicts.csv {quoted}`, write"
        )
        rest_of_it = "approved or rejected into it, `batchedit verdicts import` it likewise, and run again"
        if wrapped:
            lines.append(f"  {rest_of_it}")
        else:
            lines[-1] += f" {rest_of_it}"
    failed = waiting.get(FAILED, 0)
    if failed:
        lines.append(f"{failed} {_wait(failed)} for an edit that has not succeeded")
    absent = waiting.get(ABSENT, 0)
    if absent:
        lines.append(f"{absent} {_wait(absent)} for an edit that this run did not have")
    rest = sum(waiting.values()) - approval - failed - absent
    if rest:
        lines.append(f"{rest} {_wait(rest)} for an edit that is not done yet; the next run goes on")
    return lines


def _wait(count: int) -> str:
    return "task waits" if count == 1 else "tasks wait"


_WASTE = {
    "rejected": "bought, and a person said no",
    "superseded": "bought, and bought again with other content since",
    "suspect": "what came is not what was asked for; `batchedit keep` takes it all the same",
    "lost": "bought, and the pictures are gone",
    "written off": "the outcome could not be learnt; counted at the worst price",
    "failed but billed": "the provider billed a run that failed",
    "double": "the provider ran one request more than once",
}


def waste_means(kind: str) -> str:
    """A kind of waste in a sentence."""
    return _WASTE.get(kind, "")


def next_step(trouble: Trouble, where: Path | str, words: str) -> str:
    """
    What to do about tasks in trouble: one sentence with one command, which says whether it costs something.

    Args:
        where: The output folder or ledger, for the command.
        words: The manifest and its place, quoted, for a command that takes a manifest.
    """
    out = shlex.quote(str(where))
    match trouble.state:
        case State.UNKNOWN:
            return f"Do not buy them by hand. To ask the provider, which buys nothing: batchedit reconcile {words}"
        case State.SUSPECT:
            return (
                f"To take them as they are: batchedit keep {out}; to buy others: batchedit retry {out} --state suspect"
            )
        case State.LOST:
            return f"Paid and gone. To buy them again: batchedit retry {out} --state lost, then run again"
        case State.FAILED if trouble.cost:
            return "Billed although it failed, which is the provider's to refund: batchedit ls --select status:failed"
        case State.FAILED if trouble.code in _MODERATED:
            return "Nothing was bought. Refused for what they show or say: change prompt or picture, then run again"
        case State.FAILED if not trouble.retryable:
            return "Nothing was bought. The same would be refused again: mend the row or the picture, then run again"
        case State.FAILED:
            return f"Nothing was bought. It may well pass another time: batchedit retry {out}, then run again"
        case _:
            return "Just run again: what is paid is brought home at no cost, what was not bought is bought"


_MODERATED = frozenset({"CONTENT_POLICY_VIOLATION", "MODERATION", "MODERATION_BLOCKED", "moderation_blocked"})
