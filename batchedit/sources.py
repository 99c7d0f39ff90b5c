"""
Pictures on their way in: read, digested, handed over to the provider once per content.

Blocking functions first, then :class:`Sources`, which a run uses to turn a request's pictures into what the API takes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio

from batchedit import disk
from batchedit.bodies import Upload
from batchedit.cleaning import FileBytes, says_where
from batchedit.effects import Offload
from batchedit.errors import NotSent, Rejected, Unseen
from batchedit.ledger.journal import Journal
from batchedit.ledger.writer import LedgerWriter
from batchedit.model import LocalImage, Request, SourceImage, TaskImage, UrlImage
from batchedit.outputs import Outputs
from batchedit.pictures import INPUT_LIMIT_BYTES, BadPicture, sniff
from batchedit.providers.base import Flow, Provider
from batchedit.wire import Hooks, Wire, drive

T = TypeVar("T")

_CHUNK = 1024 * 1024
_UPRIGHT, _AS_IT_LIES = "clean", "clean-as-it-lies"


class SourceProblem(Exception):
    """A local picture cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """SHA-256 of the bytes in hex, their number, the format that they announce, and whether they say where it was."""

    sha256: str
    size_bytes: int
    format: str
    has_location: bool = False


def digest_file(path: Path) -> FileFacts:
    """
    Read a local picture once and identify it.

    Raises:
        SourceProblem: if it is missing, unreadable, empty, too large, or no PNG, JPEG or WebP file.
    """
    digest, size, found, first = hashlib.sha256(), 0, None, b""
    try:
        with disk.open_regular(path) as file:
            # A file with holes is as large as it says and takes no room: it would be read for hours.
            told = os.fstat(file.fileno()).st_size
            while chunk := file.read(_CHUNK):
                if not size:
                    found, first = sniff(chunk[:12]), chunk
                digest.update(chunk)
                size += len(chunk)
                if found is None or max(size, told) > INPUT_LIMIT_BYTES:
                    raise _unfit(found)
            located = size > 0 and says_where(first if size == len(first) else FileBytes(file.fileno(), size))
    except OSError as error:
        raise SourceProblem(error.strerror or "cannot be read") from None
    if found is None:
        raise SourceProblem("is empty")
    return FileFacts(sha256=digest.hexdigest(), size_bytes=size, format=found, has_location=located)


def _unfit(found: str | None) -> SourceProblem:
    return SourceProblem(f"has more than {INPUT_LIMIT_BYTES} bytes" if found else "is not a PNG, JPEG or WebP picture")


class Sources:
    """
    Turns a request's pictures into what the provider takes, uploading each content once.

    Args:
        signed_urls: Full URL by identity, for pictures whose URL carries a signature; those are never stored.
        outputs: Whose workers turn pictures upright. What it has kept itself is sent as it came.
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
        outputs: Outputs,
    ) -> None:
        self._provider, self._wire, self._hooks = provider, wire, hooks
        self._ledger, self._journal, self._offload = ledger, journal, offload
        self._signed_urls = signed_urls
        self._outputs, self._kept = outputs, os.path.join(outputs.state, "raw", "")
        self._locks: dict[str, anyio.Lock] = {}

    async def prepare(self, request: Request) -> tuple[tuple[str | Upload, ...], str | Upload | None]:
        """
        (images, mask) as the API takes them; pictures that go within the request itself are only described.

        Raises:
            ProviderError: as an outcome of a request that was surely not sent: nothing here buys anything.
        """
        try:
            form = _form(request)
            images = tuple([await self._hand_over(image, form) for image in request.images])
            mask = await self._hand_over(request.mask, form) if request.mask else None
        except Unseen as problem:
            # An upload whose answer was lost costs nothing; it is simply done again.
            raise NotSent(problem.message, code=problem.code, http_status=problem.http_status) from problem
        return images, mask

    async def forget(self, request: Request) -> None:
        """The provider does not know an asset of this request any more: upload its pictures again."""
        for image in (*request.images, *([request.mask] if request.mask else [])):
            if image.digest is not None and isinstance(image.ref, LocalImage):
                await self._forget(self._name(image.digest, image.ref.path, _form(request)))

    async def _forget(self, name: str) -> None:
        await self._journal.do(self._ledger.forget_upload, self._provider.scope, name)

    async def _hand_over(self, image: SourceImage, form: str) -> str | Upload:
        match image.ref:
            case UrlImage(url):
                return self._signed_urls.get(image.identity, url)
            case LocalImage(path):
                if self._provider.image_form == "data-uri":
                    return await self._described(path, _content(image), form)
                return await self._locate(image, path, form)
            case TaskImage(slot):
                raise AssertionError(f"a request has no placeholder, and this one has that of {slot}")

    def _name(self, digest: str, path: Path, form: str) -> str:
        """What an upload is remembered by: the content, and what of it was sent."""
        return digest if self._sends_all(path) else f"{digest}-{form}"

    def _sends_all(self, path: Path) -> bool:
        return self._provider.settings.keep_metadata or str(path).startswith(self._kept)

    async def _described(self, path: Path, digest: str, form: str) -> Upload:
        """What is sent of a picture: unless somebody wants it otherwise, its pixels and their colours."""
        if self._sends_all(path):
            return await self._offload(lambda: Upload.describe(path, digest))
        upload, orientation = await self._offload(lambda: Upload.describe_clean(path, digest))
        if orientation == 1 or form == _AS_IT_LIES:
            return upload
        try:
            turned = await self._outputs.upright(path, digest)
        except BadPicture as problem:
            raise Rejected(f"{path} is not sent: {problem}", code="INPUT_NO_PICTURE") from None
        return await self._offload(lambda: Upload.describe(turned, turned.stem))

    async def _locate(self, image: SourceImage, path: Path, form: str) -> str:
        try:
            return await self._drive(self._provider.locate(await self._asset(image, path, form)))
        except Rejected as problem:
            if problem.http_status != 404 or image.digest is None:
                raise
            # The provider has lost an asset that it took before: hand the picture over once more.
            await self._forget(self._name(image.digest, path, form))
            return await self._drive(self._provider.locate(await self._asset(image, path, form)))

    async def _asset(self, image: SourceImage, path: Path, form: str) -> str:
        digest = _content(image)
        name = self._name(digest, path, form)
        # The lock keeps two tasks from uploading one content at the same time.
        lock = self._locks.setdefault(name, anyio.Lock())
        try:
            async with lock:
                known = await self._journal.ask(self._ledger.asset, self._provider.scope, name)
                if known is not None:
                    return known
                upload = await self._described(path, digest, form)
                await self._offload(upload.verify)
                asset_id = await self._drive(self._provider.upload(upload))
                await self._journal.do(self._ledger.record_upload, self._provider.scope, name, asset_id)
                return asset_id
        finally:
            if not lock.locked() and self._locks.get(name) is lock:
                del self._locks[name]  # nobody waits for it; a night has thousands of pictures

    async def _drive(self, flow: Flow[T]) -> T:
        return await drive(self._wire, flow, self._hooks)


def _form(request: Request) -> str:
    """How pictures are sent: a mask is for pixels as they lie, so those of its request are not turned."""
    return _UPRIGHT if request.mask is None else _AS_IT_LIES


def _content(image: SourceImage) -> str:
    assert image.digest is not None, "a local picture is identified by its content"
    return image.digest
