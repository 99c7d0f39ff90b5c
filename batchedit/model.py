"""
The value types that travel through the program: frozen, keyword-only, every field with its unit.

    Manifest --> Item --> Task --> Request --> Attempt --> Reply --> Raw --> Output

Nothing here does I/O. `docs/architecture.md` has the vocabulary in one table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batchedit.errors import Place
from batchedit.money import MicroUSD

if TYPE_CHECKING:
    from batchedit.recipe import Recipe

DEFAULT_MODEL = "openai/gpt-image-2/edit"

QUALITIES = ("low", "medium", "high")
FORMATS = ("png", "jpeg", "webp")
SIZE_PRESETS = (
    "auto",
    "square_hd",
    "square",
    "portrait_4_3",
    "portrait_16_9",
    "landscape_4_3",
    "landscape_16_9",
)
MAX_IMAGES = 16
"""Most images in one request: the model's own ceiling; the provider publishes none (provider-api, section 4)."""
MIN_PROMPT, MAX_PROMPT = 2, 32_000
MAX_SAMPLES = 4

EXTENSIONS: Mapping[str, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}
"""File extension by image format, without the dot."""

_EXPLICIT_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


def explicit_size(size: str) -> tuple[int, int] | None:
    """(width, height) in pixels of a size such as ``1024x1536``; None for ``auto``, a preset or nonsense."""
    match = _EXPLICIT_SIZE.fullmatch(size)
    return (int(match[1]), int(match[2])) if match else None


def size_problem(size: str) -> str | None:
    """
    Why the provider would refuse this size, or None if nothing is known against it.

    The rules are published for the text-to-image sibling (provider-api, section 4, size rules).
    """
    if size in SIZE_PRESETS:
        return None
    pixels = explicit_size(size)
    if pixels is None:
        return f"{size!r} is neither WIDTHxHEIGHT nor one of {', '.join(SIZE_PRESETS)}"
    width, height = pixels
    if width % 16 or height % 16:
        return f"{size}: both sides must be multiples of 16"
    if max(width, height) > 3840:
        return f"{size}: the longest side may have 3840 pixels"
    if max(width, height) > 3 * min(width, height):
        return f"{size}: one side may be at most 3 times the other"
    if not 655_360 <= width * height <= 8_294_400:
        return f"{size}: {width * height} pixels in all; allowed are 655360 to 8294400"
    return None


@dataclass(frozen=True, slots=True)
class LocalImage:
    """A picture on this machine; identified by its content, never by its path."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class UrlImage:
    """A picture behind an https URL; the provider fetches it. `url` may carry a signature: never store it."""

    url: str

    def __str__(self) -> str:
        return self.url.split("?", 1)[0]


@dataclass(frozen=True, slots=True)
class TaskImage:
    """What another task of the same item delivers; `slot` is that task's. Its bytes are known once that is done."""

    slot: str

    def __str__(self) -> str:
        return self.slot


ImageRef = LocalImage | UrlImage | TaskImage

REASONS = {
    "label": "warped logo or label text",
    "colour": "colour shift",
    "halo": "halo or cut edge",
    "shape": "changed shape or added parts",
    "texture": "lost texture",
    "variant": "wrong variant",
    "shadow": "fake shadow",
    "background": "background not white",
    "small": "product too small",
}
"""Why pictures are rejected, where a manifest names no reasons of its own: word -> what it stands for."""

MAX_REASONS = 9
"""One for each of the keys 1 to 9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """
    How pictures are looked at.

    Attributes:
        reasons: Why they may be rejected: word -> what it stands for, in the order of the keys 1 to 9.
        checklist: What to look for, as sentences.
        blind: Variants are compared side by side, without their names.
    """

    reasons: Mapping[str, str] = field(default_factory=lambda: dict(REASONS))
    checklist: tuple[str, ...] = ()
    blind: bool = False


GATES = ("done", "approved")
"""What must have become of the task that another one starts from."""


def escaped(part: str) -> str:
    """A part of a slot, such as an item's id: ``/`` only separates parts."""
    return part.replace("%", "%25").replace("/", "%2F")


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """
    The parameters that change pixels, and therefore the key and the price.

    Attributes:
        quality: ``low``, ``medium`` or ``high``.
        size: ``auto``, a preset, or ``WIDTHxHEIGHT`` in pixels.
        format: ``png``, ``jpeg`` or ``webp``.
        samples: How many pictures one request buys, 1 to 4.
    """

    quality: str = "high"
    size: str = "auto"
    format: str = "png"
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """
    One input row.

    Attributes:
        id: Stable name, never a row number.
        place: File and first physical line of the row.
        values: What templates may use, by name.
        labels: For grouping costs, such as ``client`` or ``season``.
    """

    id: str
    place: Place
    values: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """
    Item x edit x variant: one thing the user wants.

    Attributes:
        slot: ``item/edit/variant``, the task's stable identity; parts escaped so that ``/`` only separates.
        images: The picture to edit, then the references, in order; at least one. Only the first may be a `TaskImage`.
        mask: Marks the region to edit; None without one.
        outputs: Relative paths with ``/``, one per sample, for the format asked for.
        inline: True when the provider shall answer with data URIs (``sync_mode``); changes no pixel.
        labels: The item's and the edit's labels, merged.
        tags: Words to select it by, of all levels, each once.
        when: For a task that starts from another one: it must be ``done``, or ``approved`` besides.
        recipe: What becomes of its pictures once they are there, no part of what is bought; None to deliver them as
            they are.
    """

    slot: str
    item: Item
    edit: str
    variant: str
    prompt: str
    images: tuple[ImageRef, ...]
    mask: LocalImage | UrlImage | None = None
    params: Params = Params()
    outputs: tuple[str, ...]
    inline: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    when: str = "done"
    recipe: Recipe | None = None

    @property
    def upstream(self) -> str | None:
        """Slot of the task whose picture this one edits; None for one that edits the row's picture."""
        first = self.images[0]
        return first.slot if isinstance(first, TaskImage) else None

    @property
    def place(self) -> Place:
        """Where the item was written."""
        return self.item.place


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """
    A picture as it enters a request.

    Attributes:
        identity: ``sha256:HEX`` of a local file's bytes, or ``url:`` and the URL without its signature, or ``output:``
            and the request that will bring it, as long as that is not done.
        ref: Where to take the bytes from when sending.
    """

    identity: str
    ref: ImageRef

    @property
    def digest(self) -> str | None:
        """SHA-256 of a local file's bytes in hex, None for a URL."""
        return self.identity.removeprefix("sha256:") if self.identity.startswith("sha256:") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    The exact thing to buy; equal tasks share one. `plan.request_key` computes the key.

    Attributes:
        key: SHA-256 in hex over the canonical content.
        revision: 1, or one more for each time the user deliberately buys the same thing again.
        inline: As in :class:`Task`; not part of the key.
    """

    key: str
    model: str
    prompt: str
    images: tuple[SourceImage, ...]
    mask: SourceImage | None
    params: Params
    revision: int = 1
    inline: bool = False


VERIFY = ("full", "structure")
"""How closely a picture that arrives may be looked at."""

ON_UNKNOWN = ("hold", "resend", "write-off")
STORAGE = ("public", "any")
"""What may become of outcomes that asking the provider does not settle."""

CostBasis = Literal["reported", "computed", "assumed", "none"]
"""Where a cost comes from: the provider's record, the price list, or there was nothing to pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a request is expected to cost, in micro-dollars: `low` as listed, `high` the worst known price."""

    low: MicroUSD
    high: MicroUSD

    def __add__(self, other: Quote) -> Quote:
        return Quote(low=MicroUSD(self.low + other.low), high=MicroUSD(self.high + other.high))

    def times(self, count: int) -> Quote:
        """The quote for `count` equal requests."""
        return Quote(low=MicroUSD(self.low * count), high=MicroUSD(self.high * count))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLocation:
    """
    Where one sold picture can be had.

    Attributes:
        url: https URL or data URI, which is only a name if there are letters.
        width: Pixels as the provider says, None when it does not.
        height: Likewise.
        letters: The picture itself in base64, a view of the answer that it came with.
    """

    url: str
    width: int | None = None
    height: int | None = None
    letters: memoryview | None = None

    @property
    def is_here(self) -> bool:
        """True if it came with the answer and need not be fetched."""
        return self.url.startswith("data:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    What the provider delivered for one request.

    Attributes:
        outputs: In the provider's order.
        cost: As reported, None when the answer names no price.
        run_id: The provider's own id of the run, None where the form has none.
        shape: Which of the known answer shapes matched, for diagnosis.
    """

    outputs: tuple[OutputLocation, ...]
    cost: MicroUSD | None
    run_id: str | None
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """
    The bytes of one sold picture, kept by content.

    Attributes:
        number: Position among the request's pictures, starting at 1.
        sha256: Of the file's bytes, hex.
        format: As decoded: ``png``, ``jpeg`` or ``webp``.
        width: Pixels, as decoded.
        height: Likewise.
        size_bytes: Length of the file.
        trailing_bytes: How many of them stand behind the picture's end, where no picture needs any.
    """

    number: int
    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int
    trailing_bytes: int = 0

    @property
    def name(self) -> str:
        """Relative path in the store of raws: ``ab/SHA256.ext``."""
        return f"{self.sha256[:2]}/{self.sha256}.{EXTENSIONS[self.format]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How hard the provider may be driven, and for how long one thing may take.

    Attributes:
        in_flight: Most requests sent and not finished at any moment.
        requests_per_minute: Most edits started per minute; None means no limit of ours.
        images_per_minute: Most pictures bought per minute; None means no limit of ours.
        calls_per_minute: Most calls of any kind per minute, polls and uploads included; None means no limit of ours.
        learn_rate: Find the provider's own limit, below `requests_per_minute` if that is given.
        attempts: Most attempts for one request; throttled ones do not count.
        request_timeout_seconds: For one HTTP call of the asynchronous form.
        run_deadline_seconds: How long to poll one run before leaving it to the next start; never a failure.
        poll_seconds: Before the first look at an accepted run.
        list_lag_seconds: How long the provider's list of runs may lag behind its acceptances.
        max_failures: Stop after this many failed requests in one run; None means never.
        jobs: Most tasks that one manifest may make.
        verify: How closely a picture that arrives is looked at: ``full`` decodes it, ``structure`` does not where the
            format tells a damaged file by itself.
    """

    in_flight: int = 64
    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    calls_per_minute: int | None = None
    learn_rate: bool = True
    attempts: int = 5
    request_timeout_seconds: float = 60.0
    run_deadline_seconds: float = 1800.0
    poll_seconds: float = 2.0
    list_lag_seconds: float = 60.0
    max_failures: int | None = None
    jobs: int = 100_000
    verify: str = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """
    Which provider to use and how, as the manifest says it. Never holds a key.

    Attributes:
        name: Entry point in the group ``batchedit.providers``.
        api: ``runs`` (asynchronous, can be reconciled) or ``run`` (synchronous).
        model: The provider's model id.
        base_url: None means the provider's own.
        organization: Sent as ``X-Organization-Id``; None means the key's own.
        images_as: How local images are handed over: ``asset``, ``signed-url`` or ``data-uri``.
        size_as: How an explicit size is written on the wire: ``object`` or ``text``.
        on_unknown: What becomes of outcomes that asking does not settle: ``hold``, ``resend`` or ``write-off``.
        storage: Where pictures are uploaded to and fetched from: ``public`` or ``any``, as in `addresses.Reach`; None
            means public, and any where the API itself is on this machine.
        keep_metadata: Local pictures are sent as they are, with all that they say besides their pixels.
    """

    name: str = "rehearsal"
    api: str = "runs"
    model: str = DEFAULT_MODEL
    base_url: str | None = None
    organization: str | None = None
    images_as: str = "asset"
    size_as: str = "object"
    on_unknown: str = "hold"
    storage: str | None = None
    keep_metadata: bool = False
