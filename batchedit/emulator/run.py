"""
A run, and its life as a function of time: nothing happens in the background.

    created_at        dispatch_at         start_at            finish_at
        |--- queued ------|--- dispatching ---|---- running ------|--- verdict ...
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SUCCEEDED = frozenset({"succeeded", "partial_succeeded"})
UNFINISHED = frozenset({"queued", "dispatching", "running"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """
    A run as it is kept. Times are unix seconds.

    Attributes:
        seq: Counts the runs from 1, in the order in which their creations arrived.
        form: ``runs`` or ``run`` (synchronous).
        input: As accepted and with defaults; own pictures as asset references.
        content: Digest of the input with every picture replaced by the digest of its bytes.
        sources: What the pictures are read from, the mask last if there is one.
        created_at: Before it the run is not there yet: a creation that is still being worked on.
        visible_at: Polls do not find the run before this.
        stuck: State in which it stays for ever; empty if it does not.
        verdict: State in which it ends.
        failure: (code, message, stage) when it ends without pictures.
        cost_microusd: Debited when it succeeds.
        count: How many pictures were asked for.
        quirks: Names of the faults that concern its pictures.
    """

    id: str
    seq: int
    form: str
    client_ref: str | None
    idempotency_key: str | None
    metadata: Any
    callback_url: str | None
    batch_id: str | None
    input: dict[str, Any]
    content: str
    sources: list[str]
    has_mask: bool
    created_at: float
    visible_at: float
    dispatch_at: float
    start_at: float
    finish_at: float
    stuck: str
    verdict: str
    failure: tuple[str, str, str] | None
    cost_microusd: int
    count: int
    quirks: list[str] = field(default_factory=list)

    def state(self, now: float) -> str:
        """The run's state at a moment."""
        if self.stuck and now >= (self.start_at if self.stuck == "running" else self.created_at):
            return self.stuck
        if now < self.dispatch_at:
            return "queued"
        if now < self.start_at:
            return "dispatching"
        if now < self.finish_at:
            return "running"
        return self.verdict

    @property
    def bill_microusd(self) -> int:
        """What it will have cost in the end: nothing if it never succeeds."""
        return self.cost_microusd if self.verdict in SUCCEEDED and not self.stuck else 0

    def billed(self, now: float) -> int:
        """Micro-dollars debited so far: all at success, nothing before (provider-api, section 14)."""
        return self.bill_microusd if now >= self.finish_at else 0

    def outputs(self) -> int:
        """How many pictures it shows."""
        return self.count - 1 if "fewer_outputs" in self.quirks else self.count

    def to_json(self) -> str:
        """For the books."""
        return json.dumps(asdict(self))


def run_from_json(text: str) -> Run:
    """The inverse of `Run.to_json`."""
    data = json.loads(text)
    if data["failure"] is not None:
        data["failure"] = tuple(data["failure"])
    return Run(**data)
