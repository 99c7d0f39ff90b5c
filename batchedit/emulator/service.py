"""
The emulated provider without HTTP: making runs, showing them, billing them, and its audit.

Nothing runs in the background: what a run's state is follows from its times and the clock, so that a restart, or a
jump of a virtual clock, changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from PIL import Image

from batchedit.emulator import pixels
from batchedit.emulator.chance import Chance
from batchedit.emulator.settings import Faults, Switches
from batchedit.emulator.store import Run, Store
from batchedit.emulator.validation import size_text

T = TypeVar("T")
MODEL = "openai/gpt-image-2/edit"
ORG = "0190aaaa-0000-7000-8000-000000000001"
MODEL_UUID = "0190aaaa-0000-7000-8000-000000000002"

_PRICES = {
    "listed": {"low": 9_000, "medium": 34_000, "high": 133_000},
    "raised": {"low": 9_000, "medium": 34_000, "high": 219_000},
}
_FAILURES = {
    "failed_validation": ("INPUT_VALIDATION_FAILED", "the image's dimensions are too large", "preprocess"),
    "failed_moderation": ("CONTENT_POLICY_VIOLATION", "refused by the safety system", "inference"),
    "failed_transient": ("PROVIDER_TIMEOUT", "the model provider was unavailable", "dispatch"),
    "failed_unknown": ("E1234", "something went wrong", "inference"),
    "failed_first": ("PROVIDER_UNAVAILABLE", "the model provider was unavailable", "dispatch"),
}
PICTURE_QUIRKS = ("output_gone", "wrong_type", "wrong_size", "fewer_outputs")
_OTHER_FORMAT = {"png": "jpeg", "jpeg": "png", "webp": "png"}
_MEDIA = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class Offload(Protocol):
    """Runs a blocking function without holding up the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """The function's result."""
        ...


class BadImage(ValueError):
    """An input picture cannot be used; the message goes into a 422."""


@dataclass(slots=True)
class Service:
    """
    One provider.

    Attributes:
        calls: Counts of (method, route, status).
        starts: Unix times of all creations that came in.
        key_leaks: How often a storage URL was called with an Authorization header.
    """

    switches: Switches
    faults: Faults
    seed: str
    store: Store
    clock: Callable[[], float]
    offload: Offload
    chance: Chance = field(init=False)
    calls: Counter[str] = field(default_factory=Counter)
    starts: list[float] = field(default_factory=list)
    key_leaks: int = 0
    call_times: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = Chance(self.seed, self.faults)

    # -- runs ------------------------------------------------------------------------------------------------

    def make_run(
        self,
        fields: dict[str, Any],
        *,
        form: str,
        origin: str,
        client_ref: str | None = None,
        metadata: Any = None,
        idempotency_key: str | None = None,
        delay: float = 0.0,
    ) -> Run:
        """
        Accept an input and settle its fate.

        Args:
            fields: The checked input.
            form: ``runs`` or ``run``.
            origin: Scheme and host of the call, by which own URLs are recognised.
            delay: Seconds that the creation itself takes before anything starts.

        Raises:
            BadImage: if a picture cannot be had.
        """
        now = self.clock()
        names = [*fields["image_urls"], *([fields["mask_url"]] if "mask_url" in fields else [])]
        sources = [self._take_in(name, origin) for name in names]
        digests = [self._digest(source) for source in sources]
        canonical = {**fields, "image_urls": digests[: len(fields["image_urls"])]}
        if "mask_url" in fields:
            canonical["mask_url"] = digests[-1]
        content = hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
        identity = client_ref or content
        occasion = {"client_ref": client_ref or "", "prompt": fields["prompt"], "method": "POST", "path": f"/{form}"}
        seq = self.store.next_run()
        run_id = self.chance.uuid7("run", seq, now)
        stuck, verdict, failure = self._fate(identity, occasion)
        mistake = self._unusable(sources, has_mask="mask_url" in fields)
        if mistake is not None:
            stuck, verdict, failure = "", "failed", ("INPUT_VALIDATION_FAILED", mistake, "preprocess")
        latency = self.chance.draw("latency", identity, len(self.store.runs(client_ref)) if client_ref else seq)
        dispatch = self._dispatch_time(now + delay) + self.switches.queue_seconds
        start = dispatch + 0.01
        run = Run(
            id=run_id,
            seq=seq,
            form=form,
            client_ref=client_ref,
            idempotency_key=idempotency_key,
            metadata=metadata,
            input={**fields, "image_urls": [_shown(s) for s in sources[: len(fields["image_urls"])]]},
            content=content,
            sources=sources,
            has_mask="mask_url" in fields,
            created_at=now,
            dispatch_at=dispatch,
            start_at=start,
            finish_at=start + latency.uniform(*self.switches.latency),
            stuck=stuck,
            verdict=verdict,
            failure=failure,
            cost_micro=_PRICES[self.switches.prices][fields["quality"]] * fields["num_images"],
            count=fields["num_images"],
            quirks=[name for name in PICTURE_QUIRKS if self.chance.strikes(name, identity, occasion) is not None],
        )
        self.store.add_run(run)
        if self.chance.strikes("duplicate_runs", identity, occasion) is not None:
            twin = self.store.next_run()
            self.store.add_run(replace(run, id=self.chance.uuid7("run", twin, now), seq=twin))
        return run

    def _unusable(self, sources: list[str], *, has_mask: bool) -> str | None:
        """Why the input pictures cannot be edited, None if they can."""
        sizes = []
        for number, source in enumerate(sources):
            if source.startswith("asset:"):
                try:
                    with Image.open(io.BytesIO(self._bytes(source)), formats=("PNG", "JPEG", "WEBP")) as image:
                        sizes.append(image.size)
                except (OSError, SyntaxError):
                    return f"image {number} cannot be decoded"
            else:
                sizes.append((0, 0))
        if has_mask and (0, 0) not in (sizes[0], sizes[-1]) and sizes[0] != sizes[-1]:
            return "the mask's dimensions differ from those of the first image"
        return None

    def _fate(self, identity: str, occasion: dict[str, str]) -> tuple[str, str, tuple[str, str, str] | None]:
        for fault in ("stuck_queued", "stuck_running"):
            if self.chance.strikes(fault, identity, occasion) is not None:
                return fault.removeprefix("stuck_"), "succeeded", None
        if self.chance.strikes("cancelled", identity, occasion) is not None:
            return "", self.switches.cancelled_spelling, ("CANCELLED", "cancelled by an administrator", "dispatch")
        for fault, failure in _FAILURES.items():
            if fault == "failed_first" and self._had_one(identity):
                continue
            if self.chance.strikes(fault, identity, occasion) is not None:
                return "", "failed", failure
        return "", "succeeded", None

    def _had_one(self, identity: str) -> bool:
        return any(run.client_ref == identity or run.content == identity for run in self.store.runs())

    def _dispatch_time(self, now: float) -> float:
        limit = self.switches.max_concurrent_runs
        if not limit:
            return now
        ends = sorted(run.finish_at for run in self.store.runs() if run.finish_at > now)
        return now if len(ends) < limit else ends[len(ends) - limit]

    def record(self, run: Run, origin: str) -> dict[str, Any]:
        """The run record with every field of provider-api, section 5."""
        now = self.clock()
        state = run.state(now)
        ended = state not in ("queued", "dispatching", "running")
        good = state == "succeeded"
        failure = run.failure if ended and not good else None
        priced = good and self.switches.cost_reported == "yes"
        cost = format(Decimal(run.cost_micro) / 1_000_000, "f") if priced else None
        return {
            "id": run.id,
            "org_id": ORG,
            "flow_id": None,
            "model_id": MODEL_UUID,
            "comfyui_workflow_id": None,
            "target_type": "model",
            "target_version": None,
            "status_code": state,
            "source_code": "api",
            "input": run.input,
            "output": self._output(run, origin) if good else None,
            "context": None,
            "duration_ms": int((run.finish_at - run.start_at) * 1000) if ended else None,
            "cost": cost,
            "cost_breakdown": {"images": run.count, "total": cost} if priced else None,
            "nodes_total": None,
            "nodes_completed": None,
            "resolved_template_id": None,
            "batch_id": None,
            "client_ref": run.client_ref,
            "jurisdiction_code": None,
            "flow_version_id": None,
            "request_id": f"req_{run.seq}",
            "created_by": None,
            "created_at": self.stamp(run.created_at),
            "started_at": self.stamp(run.start_at) if now >= run.start_at and state != "queued" else None,
            "completed_at": self.stamp(run.finish_at) if ended else None,
            "callback_url": None,
            "metadata": run.metadata,
            "has_logs": False,
            "has_node_runs": False,
            "links": {"self": f"/v1/runs/{run.id}"},
            "failure_code": failure[0] if failure else None,
            "failure_message": failure[1] if failure else None,
            "failure_stage_code": failure[2] if failure else None,
            "feedback_is_positive": None,
            "feedback_reason": None,
            "current_evaluation_summary": None,
            "source_chat_message_id": None,
            "node_runs": [],
            "logs": [],
            "flow": None,
        }

    def stamp(self, unix: float) -> str:
        """A time as the API writes it, off by the skew."""
        return datetime.fromtimestamp(unix + self.faults.clock_skew, UTC).isoformat(timespec="microseconds")

    # -- pictures --------------------------------------------------------------------------------------------

    def _output(self, run: Run, origin: str) -> Any:
        if run.input.get("sync_mode"):
            return None  # handed over once as data URIs, not kept in history
        return self.shape([self.output_url(run, number, origin) for number in range(1, self.outputs_of(run) + 1)])

    def shape(self, urls: list[str]) -> Any:
        """Pictures in the shape that is switched on."""
        match self.switches.output_shape:
            case "image_urls":
                return {"image_urls": urls}
            case "images":
                return {"images": [{"url": url} for url in urls]}
            case "image" if len(urls) == 1:
                return {"image": {"url": urls[0]}}
            case _:
                entries = [{"type": "image", "url": url} for url in urls]
                return {"outputs": entries, "seed": None, "timing": None, "nsfw_detected": None}

    def outputs_of(self, run: Run) -> int:
        """How many pictures the run shows."""
        return run.count - 1 if "fewer_outputs" in run.quirks else run.count

    def output_format(self, run: Run) -> str:
        """The format of the run's pictures."""
        wanted = str(run.input["output_format"])
        return _OTHER_FORMAT[wanted] if "wrong_type" in run.quirks else wanted

    def output_url(self, run: Run, number: int, origin: str) -> str:
        """A signed URL of one picture."""
        suffix = self.output_format(run).replace("jpeg", "jpg")
        return self.sign(f"/storage/outputs/{run.id}/{number}.{suffix}", origin)

    async def picture(self, run: Run, number: int) -> tuple[str, bytes]:
        """(media type, bytes) of one picture, rendered when it is first wanted."""
        kept = self.store.picture(run.id, number)
        if kept is None:
            inputs = [self._bytes(source) for source in run.sources]
            size = size_text(run.input["image_size"])
            rendered = await self.offload(
                lambda: pixels.render(
                    images=inputs[:-1] if run.has_mask else inputs,
                    mask=inputs[-1] if run.has_mask else None,
                    prompt=run.input["prompt"],
                    count=run.count,
                    size="1008x672" if "wrong_size" in run.quirks else size,
                    output_format=self.output_format(run),
                    quality=run.input["quality"],
                    seed=f"{self.seed}/{run.content}",
                )
            )
            for index, image in enumerate(rendered, start=1):
                self.store.keep_picture(run.id, index, image.format, image.data)
            kept = (rendered[number - 1].format, rendered[number - 1].data)
        return _MEDIA[kept[0]], kept[1]

    # -- inputs and assets -----------------------------------------------------------------------------------

    def _take_in(self, name: str, origin: str) -> str:
        """What an image input stands for: ``asset:ID`` or ``url:URL``."""
        if name.startswith("runflow://"):
            if self.switches.asset_refs == "refused":
                raise BadImage("media URL must use HTTP(S) or data, got scheme 'runflow'")
            asset_id = name.removeprefix("runflow://assets/")
            self._uploaded(asset_id)
            return f"asset:{asset_id}"
        if name.startswith("data:"):
            if self.switches.data_uris == "refused":
                raise BadImage("data URIs are not accepted; upload the image instead")
            return f"asset:{self._keep_data_uri(name)}"
        if name.startswith(f"{origin}/storage/assets/"):
            path, _, query = name.removeprefix(origin).partition("?")
            if not self.signature_holds(path, query):
                raise BadImage("the image could not be fetched: 403")
            asset_id = path.rsplit("/", 1)[1]
            self._uploaded(asset_id)
            return f"asset:{asset_id}"
        if name.startswith("https://"):
            return f"url:{name}"
        raise BadImage(f"not an image URL: {name[:40]}")

    def _uploaded(self, asset_id: str) -> bytes:
        asset = self.store.asset(asset_id)
        if asset is None or asset[1] is None:
            raise BadImage(f"asset {asset_id} not found")
        return asset[1]

    def _keep_data_uri(self, uri: str) -> str:
        import base64
        import binascii

        head, _, text = uri.partition(",")
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise BadImage("a data URI that cannot be decoded") from None
        asset_id = hashlib.sha256(content).hexdigest()[:32]
        record = {"id": asset_id, "mime_type": head[5:].split(";")[0], "size_bytes": len(content)}
        self.store.put_asset(asset_id, record, content)
        return asset_id

    def _bytes(self, source: str) -> bytes:
        kind, _, name = source.partition(":")
        return self._uploaded(name) if kind == "asset" else pixels.placeholder(name)

    def _digest(self, source: str) -> str:
        kind, _, name = source.partition(":")
        return hashlib.sha256(self._uploaded(name)).hexdigest() if kind == "asset" else source

    # -- signatures ------------------------------------------------------------------------------------------

    def sign(self, path: str, origin: str) -> str:
        """A URL of a storage path that is good for a while."""
        expires = int((self.clock() + self.switches.url_ttl) * 1000)
        return f"{origin}{path}?X-Amz-Expires={expires}&X-Amz-Signature={self._signature(path, expires)}"

    def signature_holds(self, path: str, query: str) -> bool:
        """True if the query signs the path and has not expired."""
        pairs = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        expires = pairs.get("X-Amz-Expires", "")
        if not expires.isdigit() or int(expires) < self.clock() * 1000:
            return False
        return hmac.compare_digest(pairs.get("X-Amz-Signature", ""), self._signature(path, int(expires)))

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(f"storage {self.seed}".encode(), f"{path}?{expires}".encode(), "sha256").hexdigest()

    # -- money and audit -------------------------------------------------------------------------------------

    def balance_micro(self) -> int:
        """Credit left, in micro-dollars; never below zero on the statement."""
        now = self.clock()
        start = int(Decimal(self.switches.balance) * 1_000_000)
        return start - sum(run.billed(now) for run in self.store.runs())

    def audit(self) -> dict[str, Any]:
        """Who was billed for what: the judge of every test about money."""
        now, runs = self.clock(), self.store.runs()
        by_ref: dict[str, dict[str, int]] = {}
        by_input: dict[str, dict[str, int]] = {}
        for run in runs:
            for book, name in ((by_ref, run.client_ref), (by_input, run.content)):
                if name is not None:
                    entry = book.setdefault(name, {"runs": 0, "billed_runs": 0, "billed_microusd": 0})
                    entry["runs"] += 1
                    entry["billed_runs"] += bool(run.billed(now))
                    entry["billed_microusd"] += run.billed(now)
        return {
            "runs": [
                {
                    "id": run.id,
                    "client_ref": run.client_ref,
                    "idempotency_key": run.idempotency_key,
                    "form": run.form,
                    "input_sha256": run.content,
                    "state": run.state(now),
                    "billed_microusd": run.billed(now),
                    "created_at": run.created_at,
                }
                for run in runs
            ],
            "by_client_ref": by_ref,
            "by_input": by_input,
            "billed_microusd_total": sum(run.billed(now) for run in runs),
            "billed_runs_total": sum(bool(run.billed(now)) for run in runs),
            "will_bill_microusd": sum(run.will_bill(now) for run in runs),
            "requests": dict(sorted(self.calls.items())),
            "starts": self.starts,
            "key_leaks": self.key_leaks,
            "faults_fired": dict(sorted(self.chance.fired.items())),
        }


def _shown(source: str) -> str:
    kind, _, name = source.partition(":")
    return f"runflow://assets/{name}" if kind == "asset" else name
