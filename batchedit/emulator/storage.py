"""
Pictures on the way in and out: references, signed URLs, rendering. Provider-api, sections 4, 6 and 11.

Where a picture comes from is kept as text: ``asset:ID``, ``output:RUN/NUMBER`` or ``url:URL``. Pictures that only
the network has are drawn from their URL instead of fetched.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from batchedit.emulator import pixels
from batchedit.emulator.run import SUCCEEDED, Run
from batchedit.emulator.settings import Switches
from batchedit.emulator.store import Store
from batchedit.emulator.validation import size_text

T = TypeVar("T")
LIMIT_BYTES = 52_428_800
"""Largest picture: provider-api, section 11."""

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_OTHER_FORMAT = {"png": "jpeg", "jpeg": "png", "webp": "png"}
_WRONG_SIZE = "1008x672"
_ASSET = "runflow://assets/"


class Offload(Protocol):
    """Runs a blocking function without holding up the event loop."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]:
        """The function's result."""
        ...


class BadImage(ValueError):
    """An input picture cannot be had; the message goes into a 422."""


class Storage:
    """
    Pictures of one emulator.

    Args:
        seed: Signs the URLs and varies the pictures.
        clock: Unix time in seconds.
        offload: Where pictures are decoded and rendered.
    """

    def __init__(
        self, *, switches: Switches, seed: str, store: Store, clock: Callable[[], float], offload: Offload
    ) -> None:
        self._switches, self._seed, self._store = switches, seed, store
        self._clock, self._offload = clock, offload
        self._verdicts: dict[str, str | None] = {}

    # -- inputs ----------------------------------------------------------------------------------------------

    def take_in(self, name: str, origin: str) -> str:
        """
        Where the picture of an image field comes from; the bytes of a data URI are kept as an asset.

        Args:
            origin: Scheme and host of the call, by which own URLs are recognised.

        Raises:
            BadImage: if it cannot be had.
        """
        if name.startswith("runflow:"):
            if self._switches.asset_refs == "refused":
                raise BadImage("media URL must use HTTP(S) or data, got scheme 'runflow'")
            return self._uploaded(name.removeprefix(_ASSET))
        if name.startswith("data:"):
            if self._switches.data_uris == "refused":
                raise BadImage("data URIs are not accepted; upload the image instead")
            return f"asset:{self._keep_data_uri(name)}"
        if name.startswith(f"{origin}/storage/"):
            return self._signed(name.removeprefix(origin))
        if name.startswith("https://"):
            return f"url:{name}"
        raise BadImage(f"not an image URL: {name[:40]}")

    async def digest(self, source: str) -> str:
        """What a picture is, whatever it is called: the digest of its bytes; a foreign URL stands for itself."""
        kind, _, name = source.partition(":")
        if kind == "url":
            return source
        if kind == "asset":
            return str((self._store.asset(name) or {})["sha256"])
        return hashlib.sha256(await self._content(source)).hexdigest()

    async def why_unreadable(self, sources: Sequence[str], digests: Sequence[str], *, has_mask: bool) -> str | None:
        """Why these pictures cannot be edited, None if they can. Decodes each combination once."""
        combination = f"{' '.join(digests)} {has_mask}"
        if combination not in self._verdicts:
            contents = [await self._content(source) for source in sources]
            images, mask = (contents[:-1], contents[-1]) if has_mask else (contents, None)
            self._verdicts[combination] = await self._offload(lambda: _why_unreadable(images, mask))
        return self._verdicts[combination]

    def identity(self, name: object, origin: str) -> str:
        """What an image field stands for across uploads: the digest of its bytes where they are known."""
        if not isinstance(name, str):
            return ""
        for prefix in (_ASSET, f"{origin}/storage/assets/"):
            asset = self._store.asset(name.removeprefix(prefix).partition("?")[0]) if name.startswith(prefix) else None
            if asset is not None:
                return str(asset.get("sha256", name))
        return name.partition("?")[0] if name.startswith(f"{origin}/") else name

    def _signed(self, url: str) -> str:
        path, _, query = url.partition("?")
        if not self.signature_holds(path, query):
            raise BadImage("the image could not be fetched: 403")
        parts = path.split("/")
        match parts[2]:
            case "assets":
                return self._uploaded(parts[3])
            case "outputs":
                return f"output:{parts[3]}/{parts[4].partition('.')[0]}"
            case _:
                raise BadImage("the image could not be fetched: 403")

    def _uploaded(self, asset_id: str) -> str:
        asset = self._store.asset(asset_id)
        if asset is None or not asset.get("confirmed"):
            raise BadImage(f"asset {asset_id} not found")
        return f"asset:{asset_id}"

    def _keep_data_uri(self, uri: str) -> str:
        head, _, text = uri.partition(",")
        media, _, encoding = head.removeprefix("data:").partition(";")
        try:
            content = base64.b64decode(text, validate=True)
        except binascii.Error:
            content = b""
        if encoding != "base64" or not media.startswith("image/") or not content:
            raise BadImage("not a base64 data URI of an image")
        if len(content) > LIMIT_BYTES:
            raise BadImage(f"the image has more than {LIMIT_BYTES} bytes")
        digest = hashlib.sha256(content)
        asset_id = str(uuid.UUID(bytes=digest.digest()[:16], version=5))
        record = {"id": asset_id, "name": "inline", "mime_type": media, "size_bytes": len(content)}
        record |= {"sha256": digest.hexdigest(), "confirmed": True, "created_at": self._clock()}
        self._store.put_asset(asset_id, record, content)
        return asset_id

    async def _content(self, source: str) -> bytes:
        kind, _, name = source.partition(":")
        if kind == "url":
            return await self._offload(lambda: pixels.placeholder(name))
        if kind == "asset":
            content = self._store.asset_bytes(name)
            if content is None:
                raise BadImage(f"asset {name} not found")
            return content
        run_id, _, number = name.partition("/")
        run = self._store.run(run_id, self._clock())
        if run is None or run.state(self._clock()) not in SUCCEEDED:
            raise BadImage("the image could not be fetched: 404")
        return (await self.picture(run, int(number)))[1]

    # -- outputs ---------------------------------------------------------------------------------------------

    def output_url(self, run: Run, number: int, origin: str, *, signed: bool = True) -> str:
        """The URL of one picture of a run, counted from 1."""
        suffix = output_format(run).replace("jpeg", "jpg")
        path = f"/storage/outputs/{run.id}/{number}.{suffix}"
        return self.sign(path, origin) if signed else origin + path

    async def picture(self, run: Run, number: int) -> tuple[str, bytes]:
        """(media type, bytes) of one picture, rendered when it is first wanted and the same ever after."""
        kept = self._store.picture(run.id, number)
        if kept is None:
            rendered = await self._render(run)
            for index, image in enumerate(rendered, start=1):
                self._store.keep_picture(run.id, index, image.format, image.data)
            kept = (rendered[number - 1].format, rendered[number - 1].data)
        return MEDIA_TYPES[kept[0]], kept[1]

    async def data_uris(self, run: Run) -> list[str]:
        """All pictures of a run inline, as `sync_mode` has it."""
        uris = []
        for number in range(1, run.outputs() + 1):
            media, content = await self.picture(run, number)
            uris.append(f"data:{media};base64,{base64.b64encode(content).decode()}")
        return uris

    async def _render(self, run: Run) -> list[pixels.Picture]:
        inputs = [await self._content(source) for source in run.sources]
        return await self._offload(
            lambda: pixels.render(
                images=inputs[:-1] if run.has_mask else inputs,
                mask=inputs[-1] if run.has_mask else None,
                prompt=run.input["prompt"],
                count=run.count,
                size=_WRONG_SIZE if "wrong_size" in run.quirks else size_text(run.input["image_size"]),
                output_format=output_format(run),
                quality=run.input["quality"],
                seed=f"{self._seed}/{run.content}",
            )
        )

    # -- signatures ------------------------------------------------------------------------------------------

    def sign(self, path: str, origin: str) -> str:
        """A URL of a storage path that is good for a while."""
        expires = int((self._clock() + self._switches.url_ttl) * 1000)
        return f"{origin}{path}?X-Emulated-Expires={expires}&X-Amz-Signature={self._signature(path, expires)}"

    def signature_holds(self, path: str, query: str) -> bool:
        """True if the query signs the path and has not expired."""
        pairs = dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
        expires = pairs.get("X-Emulated-Expires", "")
        if not (expires.isascii() and expires.isdigit()) or int(expires) < self._clock() * 1000:
            return False
        signature = pairs.get("X-Amz-Signature", "")
        return hmac.compare_digest(signature.encode(), self._signature(path, int(expires)).encode())

    def _signature(self, path: str, expires: int) -> str:
        return hmac.new(f"storage {self._seed}".encode(), f"{path}?{expires}".encode(), "sha256").hexdigest()


def shown(source: str, name: str) -> str:
    """An image field as the run record shows it: own uploads as references (provider-api, section 4)."""
    kind, _, asset_id = source.partition(":")
    return f"{_ASSET}{asset_id}" if kind == "asset" else name.partition("?")[0] if kind == "output" else name


def output_format(run: Run) -> str:
    """The format of the run's pictures."""
    wanted = str(run.input["output_format"])
    return _OTHER_FORMAT[wanted] if "wrong_type" in run.quirks else wanted


def _why_unreadable(images: Sequence[bytes], mask: bytes | None) -> str | None:
    # Rendering nothing decodes everything.
    try:
        pixels.render(
            images=images, mask=mask, prompt="check", count=0, size="auto", output_format="png", quality="low", seed=""
        )
    except ValueError as error:
        return str(error)
    return None
