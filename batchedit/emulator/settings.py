"""
How the emulated API behaves, and what goes wrong with it: provider-api, section 16, as data.

Each switch stands for something the provider's documents leave open or contradict; its first value is the default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation

SWITCH_VALUES: dict[str, tuple[str, ...]] = {
    "cancelled_spelling": ("canceled", "cancelled"),
    "partial_state": ("succeeded", "partial_succeeded"),
    "id_key": ("id", "run_id", "both"),
    "record_names": ("reference", "older"),
    "output_shape": ("outputs", "image_urls", "images", "image", "url", "output_url", "image_url", "text"),
    "error_envelope": ("flat", "nested", "text", "html"),
    "throttle_headers": ("none", "retry-after", "retry-after-date", "full"),
    "idempotency": ("on", "off"),
    "idempotency_in_flight": ("wait", "conflict"),
    "create_commits": ("late", "early"),
    "filter_dialect": ("both", "dotted", "colon"),
    "cursor_names": ("next", "next_pq"),
    "asset_refs": ("resolved", "refused"),
    "data_uris": ("accepted", "refused"),
    "balance_shape": ("decimal", "cents"),
    "sync_endpoint": ("on", "off"),
    "sync_shape": ("images", "outputs", "both", "run"),
    "sync_failure": ("422", "by-class"),
    "prices": ("listed", "raised"),
    "batches": ("refused", "on"),
    "size_forms": ("both", "object", "text"),
    "cost_reported": ("yes", "no"),
}
"""Allowed values of the switches that are words, the default first."""

CREATE_STATUSES = (201, 200, 202)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """
    Behaviours of the API.

    Attributes:
        create_status: HTTP status of a creation: 201, 200 or 202.
        cancelled_spelling: Of the state on run records.
        partial_state: State of a run that gave fewer pictures than were asked for.
        id_key: Name of the run's id in the answer to a creation.
        record_names: ``older`` writes run records with the names of older sources: `status`, `failure_stage`,
            `error`, `finished_at`.
        output_shape: Where a record's pictures are; the shapes for one picture fall back to ``outputs`` for several.
        signed_on_request: URLs on a run record are signed only with ``?add_signature=true`` (403 without).
        error_envelope: Form of error bodies; ``html`` is what a proxy in between would send.
        throttle_headers: What comes with a 429; ``full`` also puts the limit on every other answer.
        idempotency: Whether `Idempotency-Key` works on runs.
        idempotency_in_flight: A second creation under a key while the first is being answered: it waits for that
            answer, or gets a 409.
        idempotency_ttl: Seconds for which a key is remembered.
        list_lag: Seconds after which a new run shows up in the list.
        filter_dialect: Which filter syntax the list understands.
        cursor_names: Of the list's cursors; those of ``next`` are URLs, those of ``next_pq`` bare tokens.
        asset_refs: Whether ``runflow://assets/`` is taken as an input.
        data_uris: Whether data URIs are.
        balance_shape: Of the balance.
        sync_endpoint: Whether the synchronous form exists (404 if not).
        sync_shape: Of its answer; ``run`` is a run record to be polled.
        sync_failure: HTTP status of an edit that failed there; ``by-class`` is 422, 502 or 500.
        sync_cut_seconds: After so long a gateway gives up on the synchronous form with a 504; 0 for never.
        sync_listed: Whether its runs show up in the list of runs.
        prices: ``listed`` is 0.009 / 0.034 / 0.133 by quality; ``raised`` has 0.219 for high.
        batches: Whether batches work on this model.
        size_forms: How an explicit size may be written.
        cost_reported: Whether records name a cost at all.
        latency: Seconds that a run takes, lowest and highest; drawn for each run. 44 to 280 is realistic.
        queue_seconds: Seconds in `queued` before that.
        create_delay: Seconds before a creation is answered, lowest and highest.
        create_commits: Whether the run is made at the end of that delay or at its start.
        url_ttl: Seconds for which signed URLs are good.
        rate_limit_per_minute: Calls below ``/v1`` granted in any 60 seconds; None or 0 for no limit.
        max_concurrent_runs: Further ones wait in `queued`; None or 0 for no limit.
        balance: Credit in dollars.
        keys: Accepted keys; empty accepts every key that begins with ``rf_``.
        missing_scopes: Scopes that the key lacks, such as ``credit_balance:read`` (403).
        body_limit_bytes: Largest request body (413 above it).
    """

    create_status: int = 201
    cancelled_spelling: str = "canceled"
    partial_state: str = "succeeded"
    id_key: str = "id"
    record_names: str = "reference"
    output_shape: str = "outputs"
    signed_on_request: bool = False
    error_envelope: str = "flat"
    throttle_headers: str = "none"
    idempotency: str = "on"
    idempotency_in_flight: str = "wait"
    idempotency_ttl: float = 86_400.0
    list_lag: float = 0.0
    filter_dialect: str = "both"
    cursor_names: str = "next"
    asset_refs: str = "resolved"
    data_uris: str = "accepted"
    balance_shape: str = "decimal"
    sync_endpoint: str = "on"
    sync_shape: str = "images"
    sync_failure: str = "422"
    sync_cut_seconds: float = 0.0
    sync_listed: bool = False
    prices: str = "listed"
    batches: str = "refused"
    size_forms: str = "both"
    cost_reported: str = "yes"
    latency: tuple[float, float] = (0.2, 0.6)
    queue_seconds: float = 0.0
    create_delay: tuple[float, float] = (0.0, 0.0)
    create_commits: str = "late"
    url_ttl: float = 900.0
    rate_limit_per_minute: int | None = 0
    max_concurrent_runs: int | None = 0
    balance: str = "1000.00"
    keys: tuple[str, ...] = ()
    missing_scopes: tuple[str, ...] = ()
    body_limit_bytes: int = 75_000_000

    def __post_init__(self) -> None:
        for name, allowed in SWITCH_VALUES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"switch {name} is {getattr(self, name)!r}; allowed are {', '.join(allowed)}")
        if self.create_status not in CREATE_STATUSES:
            raise ValueError(f"switch create_status is {self.create_status}; allowed are 201, 200, 202")
        for name in ("latency", "create_delay"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ValueError(f"switch {name} is {(low, high)}; allowed are two seconds, 0 <= lowest <= highest")
        for name in _SECONDS_AND_COUNTS:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"switch {name} is {value!r}; allowed is 0 or more")
        try:
            finite = Decimal(self.balance).is_finite()
        except InvalidOperation:
            finite = False
        if not finite:
            raise ValueError(f"switch balance is {self.balance!r}; allowed are dollars such as '1000.00'")


_SECONDS_AND_COUNTS = (
    "idempotency_ttl",
    "list_lag",
    "sync_cut_seconds",
    "queue_seconds",
    "url_ttl",
    "rate_limit_per_minute",
    "max_concurrent_runs",
    "body_limit_bytes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    What goes wrong. A float is a probability from 0 to 1, drawn anew each time the occasion comes up.

    Attributes:
        answer_lost: The run is made, the connection ends without an answer.
        answer_cut: The run is made, the connection ends in the middle of the answer.
        answer_delayed: The run is made, the answer comes after `delay_seconds`.
        accepted_late: Nothing happens for `delay_seconds`; then the run is made and the answer given.
        delay_seconds: For `answer_delayed` and `accepted_late`; choose more than the client's time-out.
        error_before: 500, 502, 503 or 504 and no run was made.
        error_after: The same, and the run was made.
        read_error: 500, 502, 503 or 504 to a read.
        throttle: A 429, and `burst_length` of them in all to whoever calls next.
        burst_length: For `throttle`.
        credit_ended: 402 to this creation.
        credit_ends_after: 402 once so many runs were made; 0 for never.
        key_refused: 401 to this call.
        key_revoked_after: 401 once so many calls were made, storage included; 0 for never.
        stuck_queued: The run stays in `queued` for ever.
        stuck_running: The run stays in `running` for ever.
        failed_validation: The run fails because of its input.
        failed_moderation: The run is refused for its content.
        failed_transient: The run fails at the provider.
        failed_unknown: The run fails with a code nobody knows.
        failed_first: The first run of a reference fails at the provider, the next one succeeds.
        cancelled: The run is cancelled by an administrator.
        output_forbidden: This fetch of a picture is refused (403) as if its URL had expired.
        output_gone: Every fetch of the run's pictures is refused (410).
        output_truncated: This fetch ends early, with a length that fits what came.
        output_corrupt: This fetch has altered bytes.
        output_cut: This fetch breaks off in the middle.
        output_trailing: This fetch has a web page behind the picture's end.
        wrong_media_type: This fetch says that it is a web page.
        wrong_type: The pictures have another format than asked for.
        wrong_size: The pictures have another size than asked for.
        fewer_outputs: One picture less than asked for; the bill is the same.
        duplicate_runs: One creation makes two runs of one reference, both billed.
        poll_missing: Polls do not find the run for `missing_seconds` after it was made.
        missing_seconds: For `poll_missing`.
        clock_skew: Seconds by which the provider's time stamps are off.
    """

    answer_lost: float = 0.0
    answer_cut: float = 0.0
    answer_delayed: float = 0.0
    accepted_late: float = 0.0
    delay_seconds: float = 90.0
    error_before: float = 0.0
    error_after: float = 0.0
    read_error: float = 0.0
    throttle: float = 0.0
    burst_length: int = 3
    credit_ended: float = 0.0
    credit_ends_after: int = 0
    key_refused: float = 0.0
    key_revoked_after: int = 0
    stuck_queued: float = 0.0
    stuck_running: float = 0.0
    failed_validation: float = 0.0
    failed_moderation: float = 0.0
    failed_transient: float = 0.0
    failed_unknown: float = 0.0
    failed_first: float = 0.0
    cancelled: float = 0.0
    output_forbidden: float = 0.0
    output_gone: float = 0.0
    output_truncated: float = 0.0
    output_corrupt: float = 0.0
    output_cut: float = 0.0
    output_trailing: float = 0.0
    wrong_media_type: float = 0.0
    wrong_type: float = 0.0
    wrong_size: float = 0.0
    fewer_outputs: float = 0.0
    duplicate_runs: float = 0.0
    poll_missing: float = 0.0
    missing_seconds: float = 5.0
    clock_skew: float = 0.0

    def __post_init__(self) -> None:
        for name in FAULT_NAMES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"fault {name} is {getattr(self, name)!r}; allowed is a probability from 0 to 1")
        for name in sorted(PARAMETERS - {"clock_skew"}):
            if not getattr(self, name) >= 0:
                raise ValueError(f"fault {name} is {getattr(self, name)!r}; allowed is 0 or more")


PARAMETERS = frozenset(
    {"delay_seconds", "burst_length", "missing_seconds", "clock_skew", "credit_ends_after", "key_revoked_after"}
)
"""Fields of `Faults` that are not probabilities."""

FAULT_NAMES = tuple(field.name for field in fields(Faults) if field.name not in PARAMETERS)
"""Faults that are drawn, and that can be scripted."""
