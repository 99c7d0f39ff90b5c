"""
Every error of this package, drawn as a tree, and the exit code that each one ends in.

    BatchEditError                 1
      UsageError                   2   wrong flags, or two settings that contradict each other
        ConsentMissing             2   money would be spent and nobody agreed to it
        ManifestError              2   the manifest has problems; carries all of them
      NothingSelected              5
      LedgerError                  8   in use, damaged, newer than this program, or of another world
      StorageError                 9   disk full, read-only, failed fsync
      RunError                     -   a run's end, raised only on request: PartialFailure 3, AccountRefused 4,
                                       LimitReached 6, UnknownOutcome 7, Interrupted 130 and 143
      ProviderError                -   what the provider (or the way to it) answered; the pool decides
        NotSent                        surely not sent: DNS, refused, TLS, no connection to be had
        Throttled                      429: surely refused, come back later
        Unavailable                    surely refused although nothing is wrong with the request
        Rejected                       surely refused for good: this request as it stands
        InputFormRefused               surely refused: images must be handed over in another way
        Halted                     4   key, credit, permission: the whole run stops sending
        Unseen                         everything else: nobody here knows what happened
        RunFailed                      the provider's run ended without pictures and without a bill
        RunMissing                     the provider does not know the run id
        Unreadable                     an answer that is stored but not understood
        OutputGone                     the picture was sold but can no longer be fetched
        Stumbled                       an error of ours that nobody expected, while handling one request

When unsure whether a purchase was made, the answer is :class:`Unseen`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple


class ExitCode(enum.IntEnum):
    """What a finished command tells the shell. Frozen: a code never changes its meaning."""

    DONE = 0
    BUG = 1
    USAGE = 2
    SOME_FAILED = 3
    ACCOUNT = 4
    NOTHING_SELECTED = 5
    LIMIT = 6
    UNKNOWN = 7
    LEDGER = 8
    STORAGE = 9
    WORK_TO_BUY = 10
    SIGINT = 130
    SIGTERM = 143


class Place(NamedTuple):
    """
    Where something was written, for a person to jump to. A tuple, since a large manifest has millions of them.

    Attributes:
        file: Path as the user would type it.
        line: Physical line, starting at 1. None when the file has no lines (a folder, a picture).
        column: Character in the line, starting at 1. None when only the line is known.
    """

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [self.file]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """
    One thing that is wrong with the input.

    Attributes:
        place: Where it stands.
        code: Short stable name of the rule, such as ``unknown-key``.
        message: What is wrong, with the offending value; a sentence without a full stop at the end.
        field: The field or column, empty when the problem is not about one.
        value: The offending text, shortened; empty when there is none to show.
        hint: What to do about it, empty when the message says it all.
        warning: True when the run may go on.
        count: How many rows have this same problem; `place` is the first of them.
    """

    place: Place
    code: str
    message: str
    field: str = ""
    value: str = ""
    hint: str = ""
    warning: bool = False
    count: int = 1

    def __str__(self) -> str:
        field = f'"{self.field}": ' if self.field else ""
        text = f"{self.place}: {field}{self.message}"
        if self.hint:
            text += f". {self.hint}"
        if self.count > 1:
            text += f" ({self.count} rows, first shown)"
        return text


class BatchEditError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code: ExitCode = ExitCode.BUG
    money_spent: Decimal | None = None
    """Dollars that this very call has spent, None if that is not known."""
    retryable: bool = False
    """True if the same call may succeed later with nobody doing anything."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(BatchEditError):
    """The command line or the settings do not make sense together."""

    exit_code = ExitCode.USAGE
    money_spent = Decimal(0)


class ConsentMissing(UsageError):
    """Money would be spent, or pictures would leave the house, and nobody has agreed to it."""


class ManifestError(UsageError):
    """The manifest has problems; `problems` holds all of them, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [str(problem) for problem in self.problems]
        lines.append(f"{count} problem{'s' if count != 1 else ''}, nothing was sent, nothing was spent.")
        super().__init__("\n".join(lines))


class NothingSelected(BatchEditError):
    """The manifest or the selection holds no task."""

    exit_code = ExitCode.NOTHING_SELECTED
    money_spent = Decimal(0)


class LedgerError(BatchEditError):
    """The ledger cannot be used: in use by another process, damaged, newer, or of another world."""

    exit_code = ExitCode.LEDGER


class StorageError(BatchEditError):
    """The disk did not take what must be kept; nothing more may be bought."""

    exit_code = ExitCode.STORAGE


class RunError(BatchEditError):
    """
    A run has ended, and not everything is done. Raised only on request (`check=`, `RunSummary.raise_for_status`).

    Attributes:
        code: The run's exit code, which says why.
    """

    def __init__(self, message: str, *, code: ExitCode, money_spent: Decimal, retryable: bool, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = self.code = code
        self.money_spent = money_spent
        self.retryable = retryable


class PartialFailure(RunError):
    """It finished; some tasks failed, are suspect or lost (exit code 3)."""


class AccountRefused(RunError):
    """The provider refuses the account: key, credit, permission (4)."""


class LimitReached(RunError):
    """It stopped at a limit, and work is left (6)."""


class UnknownOutcome(RunError):
    """Outcomes are unknown, and money may be out (7)."""


class Interrupted(RunError):
    """Somebody stopped it (130, 143)."""


class ProviderError(BatchEditError):
    """
    What came back instead of pictures, already sorted by what may follow from it.

    Attributes:
        code: The provider's own error code, or a short name of ours, for grouping.
        http_status: Status of the answer, None when there was none.
        phase: How far a call got that was not answered, such as ``sending the body``; empty if it was.
    """

    def __init__(self, message: str, *, code: str = "", http_status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.http_status = http_status
        self.phase = ""


class NotSent(ProviderError):
    """Surely not sent: no byte of the request left this machine."""


class Throttled(ProviderError):
    """Surely refused for now (429). `retry_after` is the provider's wish in seconds, None without one."""

    def __init__(self, message: str, *, retry_after: float | None = None, code: str = "") -> None:
        super().__init__(message, code=code or "RATE_LIMITED", http_status=429)
        self.retry_after = retry_after


class Unavailable(ProviderError):
    """Surely refused although nothing is wrong with the request: the model is not available now."""


class Rejected(ProviderError):
    """Surely refused for good: the same request will be refused again."""


class InputFormRefused(ProviderError):
    """Surely refused because of the way the images were handed over; another way is worth a try."""


class Halted(ProviderError):
    """The account may not buy: key, credit or permission. Nothing more is sent in this run."""

    exit_code = ExitCode.ACCOUNT


class Unseen(ProviderError):
    """The outcome was not seen: the provider may or may not have acted."""


class RunFailed(ProviderError):
    """
    The provider's run ended without pictures and, by its rules, without a bill.

    Attributes:
        permanent: True if a new run of the same request would fail in the same way.
        cost_microusd: What the run's record says it cost all the same; 0 as a rule.
    """

    def __init__(self, message: str, *, code: str, permanent: bool, cost_microusd: int = 0) -> None:
        super().__init__(message, code=code)
        self.permanent = permanent
        self.cost_microusd = cost_microusd


class RunMissing(ProviderError):
    """The provider does not know the run id (any more)."""


class Unreadable(ProviderError):
    """The answer that ends a run was kept but cannot be understood; nothing is bought again because of it."""


class OutputGone(ProviderError):
    """A picture that was sold cannot be fetched any more."""


class Stumbled(ProviderError):
    """A bug of this package, met while handling one request: it says nothing about what the provider did."""
