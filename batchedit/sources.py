"""
Pictures on their way in: read, digested, handed over to the provider once per content.

Blocking functions first, then :class:`Sources`, which a run uses to turn a request's pictures into what the API takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from batchedit.bodies import Upload
from batchedit.effects import Offload
from batchedit.errors import NotSent, Rejected, Unseen
from batchedit.ledger.journal import Journal
from batchedit.ledger.writer import LedgerWriter
from batchedit.model import LocalImage, Request, SourceImage, TaskImage, UrlImage
from batchedit.pictures import sniff
from batchedit.providers.base import Flow, Provider
from batchedit.wire import Hooks, Wire, drive

T = TypeVar("T")

_CHUNK = 1024 * 1024


class SourceProblem(Exception):
    """A local picture cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """SHA-256 of the bytes in hex, their number, and the format that they announce."""

    sha256: str
    size_bytes: int
    format: str


def digest_file(path: Path) -> FileFacts:
    """
    Read a local picture once and identify it.

    Raises:
        SourceProblem: if it is missing, unreadable, empty, or no PNG, JPEG or WebP file.
    """
    digest, size, head = hashlib.sha256(), 0, b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                head = head or chunk[:12]
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise SourceProblem(error.strerror or "cannot be read") from None
    found = sniff(head)
    if found is None:
        raise SourceProblem("is not a PNG, JPEG or WebP picture" if size else "is empty")
    return FileFacts(sha256=digest.hexdigest(), size_bytes=size, format=found)


class Sources:
    """
    Turns a request's pictures into what the provider takes, uploading each content once.

    Args:
        signed_urls: Full URL by identity, for pictures whose URL carries a signature; those are never stored.
    """

    def __init__(
        self,
        *,
        provider: Provider,
        wire: Wire,
        ledger: LedgerWriter,
        journal: Journal,
        offload: Offload,
        hooks: Hooks,
        signed_urls: Mapping[str, str],
    ) -> None:
        self._provider, self._wire, self._hooks = provider, wire, hooks
        self._ledger, self._journal, self._offload = ledger, journal, offload
        self._signed_urls = signed_urls
        self._locks: dict[str, anyio.Lock] = {}

    async def prepare(self, request: Request) -> tuple[tuple[str | Upload, ...], str | Upload | None]:
        """
        (images, mask) as the API takes them; pictures that go within the request itself are only described.

        Raises:
            ProviderError: as an outcome of a request that was surely not sent: nothing here buys anything.
        """
        try:
            images = tuple([await self._hand_over(image) for image in request.images])
            mask = await self._hand_over(request.mask) if request.mask else None
        except Unseen as problem:
            # An upload whose answer was lost costs nothing; it is simply done again.
            raise NotSent(problem.message, code=problem.code, http_status=problem.http_status) from problem
        return images, mask

    async def forget(self, request: Request) -> None:
        """The provider does not know an asset of this request any more: upload its pictures again."""
        for image in (*request.images, *([request.mask] if request.mask else [])):
            if image.digest is not None:
                await self._journal.do(self._ledger.forget_upload, self._provider.scope, image.digest)

    async def _hand_over(self, image: SourceImage) -> str | Upload:
        match image.ref:
            case UrlImage(url):
                return self._signed_urls.get(image.identity, url)
            case LocalImage(path):
                if self._provider.image_form == "data-uri":
                    return await self._offload(lambda: Upload.describe(path, _content(image)))
                return await self._locate(image, path)
            case TaskImage(slot):
                raise AssertionError(f"a request has no placeholder, and this one has that of {slot}")

    async def _locate(self, image: SourceImage, path: Path) -> str:
        try:
            return await self._drive(self._provider.locate(await self._asset(image, path)))
        except Rejected as problem:
            if problem.http_status != 404 or image.digest is None:
                raise
            # The provider has lost an asset that it took before: hand the picture over once more.
            await self._journal.do(self._ledger.forget_upload, self._provider.scope, image.digest)
            return await self._drive(self._provider.locate(await self._asset(image, path)))

    async def _asset(self, image: SourceImage, path: Path) -> str:
        digest = _content(image)
        # The lock keeps two tasks from uploading one content at the same time.
        lock = self._locks.setdefault(digest, anyio.Lock())
        try:
            async with lock:
                known = await self._journal.ask(self._ledger.asset, self._provider.scope, digest)
                if known is not None:
                    return known
                upload = await self._offload(lambda: Upload.describe(path, digest))
                await self._offload(upload.verify)
                asset_id = await self._drive(self._provider.upload(upload))
                await self._journal.do(self._ledger.record_upload, self._provider.scope, digest, asset_id)
                return asset_id
        finally:
            if not lock.locked() and self._locks.get(digest) is lock:
                del self._locks[digest]  # nobody waits for it; a night has thousands of pictures

    async def _drive(self, flow: Flow[T]) -> T:
        return await drive(self._wire, flow, self._hooks)


def _content(image: SourceImage) -> str:
    assert image.digest is not None, "a local picture is identified by its content"
    return image.digest
