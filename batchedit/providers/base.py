"""
What an adapter is: pure flows that say what to send and when to wait, and never do it themselves.

A flow is a generator. It yields a step, is sent back what came of it, and returns its result. The driver
(:mod:`batchedit.wire`) performs `Send` and `Wait`, and makes `Accepted` and `Answered` durable before it goes on, so
that a flow can be started again from a stored run id or a stored answer.

    answer = yield Send(...)             # an Answer, or NotSent / Unseen is raised at this point
    yield Accepted(run_id, answer.body)  # durable when the flow goes on
    yield Wait(2.0)
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from batchedit.bodies import Body, Upload
from batchedit.model import ProviderSettings, Reply, Request
from batchedit.money import ZERO, MicroUSD

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """
    One HTTP call.

    Attributes:
        url: A path below the API's base for the client ``api``, a full URL for ``put``.
        body: Described only: whoever sends it reads the files.
        client: ``api`` carries the key; ``put`` uploads to storage and never does.
        buys: True for a call that may be billed.
        timeout_seconds: For the whole call; None means the client's own.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    client: Literal["api", "put"] = "api"
    buys: bool = False
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Watch:
    """
    Let time pass until a look at this run is worthwhile.

    What is sent back is the answer of a read that was made for several runs together, or None: then the flow reads
    for itself. `inline` says that the run's pictures come in the answer to a read, once.
    """

    run_id: str
    inline: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, so many seconds after it was made; None if the provider does not say."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the request under this run id; `inline` as for `Watch`."""

    run_id: str
    answer: bytes
    inline: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer that ends the attempt. `repeatable` is True if it can be asked for again by the run id."""

    answer: bytes
    repeatable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Step = Send | Wait | Watch | Ended | Accepted | Answered
Flow = Generator[Step, Answer | None, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    A request ready for the wire.

    Attributes:
        client_ref: Our reference, kept by the provider with the run.
        generation: How often a new run was wanted on purpose.
        images: As the provider takes them: URLs, asset references, or the pictures themselves, in the request's order.
        mask: Likewise.
    """

    request: Request
    client_ref: str
    generation: int
    images: tuple[str | Upload, ...]
    mask: str | Upload | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """
    A run in the provider's list.

    Attributes:
        ended: It is over.
        answer: What a read of it would have answered; None if the list shows less.
    """

    ended: bool
    answer: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """
    What the provider's list says about a reference.

    Attributes:
        run_id: The run to adopt, None if there is none.
        surplus_runs: Further runs of the reference that are or may be billed.
        surplus: What they cost as far as reported, in micro-dollars.
        has_failed: The run ended without pictures; another one may not be listed yet.
        surplus_unpriced: How many of them have no reported cost, or go on.
    """

    run_id: str | None
    surplus_runs: int = 0
    surplus: MicroUSD = ZERO
    surplus_unpriced: int = 0
    has_failed: bool = False


class Provider(Protocol):
    """
    The adapter for one API.

    Attributes:
        name: As in the manifest.
        prices: The provider's name in the price list.
        model: The provider's model id.
        scope: Where uploads stay valid: origin and organisation.
        settings: What the manifest says.
        can_reconcile: True if a lost answer can be found by our reference, in the provider's list of runs.
        image_form: How local images are handed over now; a flow may change it after an `InputFormRefused`.
    """

    name: str
    prices: str
    model: str
    scope: str
    settings: ProviderSettings
    can_reconcile: bool
    image_form: str

    def order(self, order: Order) -> Send:
        """The call that buys. Equal orders give equal bytes. The driver adds the idempotency key."""
        ...

    def buy(self, send: Send) -> Flow[Reply]:
        """Send it, and follow the run to its end. Raises the outcomes of `errors.ProviderError`."""
        ...

    def follow(self, run_id: str, *, inline: bool, sign: bool = False) -> Flow[Reply]:
        """
        Follow an accepted run to its end.

        Args:
            inline: Its pictures come in the answer itself, once.
            sign: Ask for freshly signed URLs of a run that has ended.
        """
        ...

    def newest(self, count: int) -> Flow[Mapping[str, Listing]]:
        """One page of the provider's list: the newest runs, by run id."""
        ...

    def read(self, answer: bytes, *, polled: bool) -> Reply:
        """
        Understand a stored answer: of a look at the run, or of the purchase itself.

        Raises:
            Unreadable: if no picture can be found in it.
            OutputGone: if it holds the pictures no more.
        """
        ...

    def find(self, client_ref: str, *, ignore: frozenset[str]) -> Flow[Sighting]:
        """Ask once whether the provider knows our reference, leaving out runs known to have ended."""
        ...

    def upload(self, upload: Upload) -> Flow[str]:
        """Hand over a picture and return its asset id."""
        ...

    def locate(self, asset_id: str) -> Flow[str]:
        """A URL of an asset that the model accepts now."""
        ...
