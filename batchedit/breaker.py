"""
Whether to go on at all: many failures of one kind in a row mean that the next one will fail too.

Consecutive failures of one class count, not a lifetime ratio: after 10,000 good edits a dead network must stop the
run as fast as it does at the start.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchedit.errors import NotSent, ProviderError, Rejected, RunFailed, Stumbled, Unavailable, Unseen

_ADVICE: tuple[tuple[type[ProviderError], str, str], ...] = (
    (
        NotSent,
        "the provider cannot be reached",
        "check the network and the base URL, then run the same command again",
    ),
    (Unavailable, "the provider says that the model is not available", "run the same command again later"),
    (
        Unseen,
        "answers keep getting lost",
        "check the provider's status; running again first asks what was bought",
    ),
    (
        Rejected,
        "the provider refuses one request after another",
        "look at the message above and fix the manifest",
    ),
    (RunFailed, "the provider fails one run after another", "nothing was billed for them; run again later"),
    (
        Stumbled,
        "batchedit meets an error that it does not know",
        "nothing is lost; please report it",
    ),
)


@dataclass(slots=True)
class Breaker:
    """
    Counts failures of one class in a row.

    Attributes:
        threshold: So many in a row open it.
        max_failures: So many failed requests in the whole run open it; None means never.
        reason: Why it is open, with what to do; None while it is closed.
    """

    threshold: int = 10
    max_failures: int | None = None
    reason: str | None = None
    _kind: type[ProviderError] | None = None
    _in_a_row: int = 0
    _failed: int = 0

    def success(self) -> None:
        """Something was accepted: the way is open."""
        self._kind, self._in_a_row = None, 0

    def failure(self, outcome: ProviderError) -> None:
        """An attempt ended in `outcome`. Throttling and account problems have their own handling."""
        kind = next((entry for entry in _ADVICE if isinstance(outcome, entry[0])), None)
        if kind is None:
            return
        self._in_a_row = self._in_a_row + 1 if self._kind is kind[0] else 1
        self._kind = kind[0]
        if self._in_a_row >= self.threshold and self.reason is None:
            self.reason = f"{kind[1]} ({self._in_a_row} times in a row; last: {outcome.message}); {kind[2]}"

    def request_failed(self) -> None:
        """A request has failed for good."""
        self._failed += 1
        if self.max_failures is not None and self._failed >= self.max_failures and self.reason is None:
            self.reason = f"{self._failed} requests have failed, which is the limit that was set; see the report"
