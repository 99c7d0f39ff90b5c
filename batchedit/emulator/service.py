"""
The emulated provider without HTTP: making runs, settling their fate, billing them.

Nothing runs in the background: what a run's state is follows from its times and the clock, so that a restart, or a
jump of a virtual clock, changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from batchedit.emulator.chance import Chance
from batchedit.emulator.records import run_record, shaped
from batchedit.emulator.run import SUCCEEDED, Run
from batchedit.emulator.settings import Faults, Switches
from batchedit.emulator.storage import Offload, Storage, shown
from batchedit.emulator.store import Store

_PRICES = {
    "listed": {"low": 9_000, "medium": 34_000, "high": 133_000},
    "raised": {"low": 9_000, "medium": 34_000, "high": 219_000},
}
"""Micro-dollars per picture: provider-api, section 14."""

_FAILURES = {
    "failed_validation": ("INPUT_VALIDATION_FAILED", "the image's dimensions are too large", "preprocess"),
    "failed_moderation": ("CONTENT_POLICY_VIOLATION", "refused by the safety system", "inference"),
    "failed_transient": ("PROVIDER_TIMEOUT", "the model provider was unavailable", "dispatch"),
    "failed_unknown": ("E1234", "something went wrong", "inference"),
    "failed_first": ("PROVIDER_UNAVAILABLE", "the model provider was unavailable", "dispatch"),
}
_CANCELLED = ("CANCELLED", "cancelled by an administrator", "dispatch")
_QUIRKS = ("output_gone", "wrong_type", "wrong_size", "fewer_outputs")
_DISPATCHING_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What a creation asks for, checked.

    Attributes:
        fields: The eight input fields, with defaults.
        sources: Where the pictures come from, the mask last if there is one.
        content: Digest of the fields with every picture replaced by the digest of its bytes.
        unreadable: Why the pictures cannot be edited, None if they can.
    """

    fields: dict[str, Any]
    sources: list[str]
    content: str
    unreadable: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """
    Who asks for it and how.

    Attributes:
        form: ``runs`` or ``run`` (synchronous).
        occasion: What scripted faults are matched against.
        delay_seconds: The run is there only after so long.
    """

    form: str
    occasion: Mapping[str, str]
    client_ref: str | None = None
    metadata: Any = None
    callback_url: str | None = None
    batch_id: str | None = None
    idempotency_key: str | None = None
    delay_seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Service:
    """
    One provider.

    Attributes:
        granted: Unix times of the calls that the rate limit let pass in the last minute.
        throttled_next: How many further calls get a 429 because of a burst.
    """

    switches: Switches
    faults: Faults
    seed: str
    store: Store
    clock: Callable[[], float]
    offload: Offload
    chance: Chance = field(init=False)
    storage: Storage = field(init=False)
    granted: deque[float] = field(default_factory=deque)
    throttled_next: int = 0

    def __post_init__(self) -> None:
        self.chance = Chance(self.seed, self.faults, self.store)
        self.storage = Storage(
            switches=self.switches, seed=self.seed, store=self.store, clock=self.clock, offload=self.offload
        )

    def reset(self) -> None:
        """Forget every run, picture, counter and ordered fault."""
        self.store.clear()
        self.chance.scripts.clear()
        self.granted.clear()
        self.throttled_next = 0

    async def order(self, fields: dict[str, Any], origin: str) -> Order:
        """
        Read the pictures of a checked input.

        Args:
            origin: Scheme and host of the call, by which own URLs are recognised.

        Raises:
            BadImage: if a picture cannot be had.
        """
        mask = fields.get("mask_url")
        names = [*fields["image_urls"], *([] if mask is None else [mask])]
        sources = [self.storage.take_in(name, origin) for name in names]
        digests = [await self.storage.digest(source) for source in sources]
        count = len(fields["image_urls"])
        canonical = {**fields, "image_urls": digests[:count]}
        display = [shown(source, name) for source, name in zip(sources, names, strict=True)]
        kept = {**fields, "image_urls": display[:count]}
        if mask is not None:
            canonical["mask_url"], kept["mask_url"] = digests[-1], display[-1]
        return Order(
            fields=kept,
            sources=sources,
            content=hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest(),
            unreadable=await self.storage.why_unreadable(sources, digests, has_mask=mask is not None),
        )

    def make_run(self, order: Order, creation: Creation) -> Run:
        """Accept an order and settle its fate."""
        identity, seq = creation.client_ref or order.content, self.store.next_run()
        created = self.clock() + creation.delay_seconds
        stuck, verdict, failure = self._fate(order, creation, identity)
        quirks = [name for name in _QUIRKS if self.chance.strikes(name, identity, creation.occasion) is not None]
        if verdict == "succeeded" and "fewer_outputs" in quirks:
            verdict = self.switches.partial_state
        missing = self.chance.strikes("poll_missing", identity, creation.occasion)
        hidden = 0.0 if missing is None else float(missing.get("seconds", self.faults.missing_seconds))
        latency = self.chance.draw_next("latency", identity).uniform(*self.switches.latency)
        dispatch = self._dispatch_time(created) + self.switches.queue_seconds
        run = Run(
            id=self.chance.uuid7("run", seq, created),
            seq=seq,
            form=creation.form,
            client_ref=creation.client_ref,
            idempotency_key=creation.idempotency_key,
            metadata=creation.metadata,
            callback_url=creation.callback_url,
            batch_id=creation.batch_id,
            input=order.fields,
            content=order.content,
            sources=order.sources,
            has_mask="mask_url" in order.fields,
            created_at=created,
            visible_at=created + hidden,
            dispatch_at=dispatch,
            start_at=dispatch + latency * _DISPATCHING_SHARE,
            finish_at=dispatch + latency,
            stuck=stuck,
            verdict=verdict,
            failure=failure,
            cost_microusd=_PRICES[self.switches.prices][order.fields["quality"]] * order.fields["num_images"],
            count=order.fields["num_images"],
            quirks=quirks,
        )
        self._keep(run, identity, creation.occasion)
        return run

    def record(self, run: Run, origin: str, *, state: str | None = None, signed: bool = True) -> dict[str, Any]:
        """The run's record, as of now unless a state is given. `sync_mode` runs keep no pictures in history."""
        state = state or run.state(self.clock())
        output = None
        if state in SUCCEEDED and not run.input["sync_mode"]:
            numbers = range(1, run.outputs() + 1)
            urls = [self.storage.output_url(run, number, origin, signed=signed) for number in numbers]
            output = shaped(urls, self.switches.output_shape)
        return run_record(run, state=state, output=output, switches=self.switches, skew_seconds=self.faults.clock_skew)

    def balance_microusd(self) -> int:
        """Credit left; below zero when parallel runs overshot it (provider-api, section 14)."""
        return int(Decimal(self.switches.balance) * 1_000_000) - self.store.billed_microusd(self.clock())

    def occasion(self, method: str, path: str, run: Run) -> dict[str, str]:
        """What scripted faults are matched against when a known run is concerned."""
        return {"method": method, "path": path, "client_ref": run.client_ref or "", "prompt": run.input["prompt"]}

    def _keep(self, run: Run, identity: str, occasion: Mapping[str, str]) -> None:
        runs = [run]
        if self.chance.strikes("duplicate_runs", identity, occasion) is not None:
            runs.append(replace(run, id=self.chance.uuid7("run", run.seq + 1, run.created_at), seq=run.seq + 1))
        self.store.add_runs(runs)

    def _fate(self, order: Order, creation: Creation, identity: str) -> tuple[str, str, tuple[str, str, str] | None]:
        """(state in which the run is stuck, verdict, failure)."""
        occasion = creation.occasion
        for fault in ("stuck_queued", "stuck_running"):
            if self.chance.strikes(fault, identity, occasion) is not None:
                return fault.removeprefix("stuck_"), "succeeded", None
        if self.chance.strikes("cancelled", identity, occasion) is not None:
            return "", self.switches.cancelled_spelling, _CANCELLED
        if order.unreadable is not None:
            return "", "failed", ("INPUT_VALIDATION_FAILED", order.unreadable, "preprocess")
        for fault, failure in _FAILURES.items():
            if fault == "failed_first" and self.store.has_run(client_ref=creation.client_ref, content=order.content):
                continue
            if self.chance.strikes(fault, identity, occasion) is not None:
                return "", "failed", failure
        return "", "succeeded", None

    def _dispatch_time(self, created: float) -> float:
        """When there is room for one more: as soon as all but `max_concurrent_runs` - 1 have ended."""
        limit = self.switches.max_concurrent_runs
        end = self.store.nth_last_end(limit, created) if limit else None
        return created if end is None else end
