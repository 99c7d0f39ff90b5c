"""The steps that change pixels. Pictures are RGB or RGBA with 8 bits from `upright` on."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchedit.pictures import ODD_EXIF
from batchedit.postprocess.whites import reach_from_border
from batchedit.recipe import MOST_PIXELS, MOST_SIDE, POST, Finding, Post, Shape

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
_WHITE = "#ffffff"


class Unreachable(Exception):
    """The recipe cannot be followed for this picture; the message says why and what to change."""


@dataclass(slots=True)
class Told:
    """
    A decoded raw, and what its file says besides the pixels.

    Attributes:
        image: RGB or RGBA, 8 bits, upright.
        data: The file.
        format: ``png``, ``jpeg`` or ``webp``.
        icc: The colour profile that its pixels follow; empty for sRGB.
        exif, xmp: As found; empty without.
        findings: What could not be taken over.
    """

    image: Image
    data: bytes
    format: str
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    findings: list[Finding] = field(default_factory=list)


def upright(image: Image, data: bytes, picture_format: str) -> Told:
    """A picture as it is looked at: turned as its EXIF says, RGB or RGBA, with the profile that then holds."""
    from PIL import ImageOps

    try:
        turned = ImageOps.exif_transpose(image)
    except ODD_EXIF:
        image.info.pop("exif", None)
        turned = image
    info = turned.info
    icc, xmp = info.get("icc_profile") or b"", info.get("xmp") or b""
    told = Told(turned, data, picture_format, icc=icc, xmp=xmp if isinstance(xmp, bytes) else xmp.encode())
    told.exif = _exif_of(turned)
    # Pillow's pictures of 16 bits know no profile; nothing but RGB keeps the one that it came with.
    if icc and icc[16:20] != b"RGB " and turned.mode in ("L", "LA", "CMYK"):
        _to_srgb(told)
    elif icc and icc[16:20] != b"RGB ":
        told.icc = b""
    told.image = _eight_bits(told.image)
    return told


def _exif_of(image: Image) -> bytes:
    """Without the orientation, which has been followed; empty if it cannot be read."""
    try:
        exif = image.getexif()
        exif.pop(_ORIENTATION, None)
        return exif.tobytes() if len(exif) else b""
    except ODD_EXIF:
        return b""


def shaped(told: Told, post: Post) -> Image:
    """The pixels of the delivered file."""
    if post.srgb and told.icc:
        _to_srgb(told)
        told.image = _eight_bits(told.image)
    image = told.image
    if post.background:
        image = on_ground(image, post.background)
    if post.crop:
        image = _cropped(image, Shape.parse(post.crop))
    if post.fit:
        image = _fitted(image, Shape.parse(post.fit), enlarge=post.enlarge)
    if post.snap_white is not None:
        image = _snapped(image, post.snap_white)
    if post.pad:
        image = _padded(image, Shape.parse(post.pad), post.pad_background or post.background or _WHITE)
    return image


def _eight_bits(image: Image) -> Image:
    import PIL.Image

    if image.mode in ("RGB", "RGBA"):
        has_key = image.mode == "RGB" and "transparency" in image.info
        return image.convert("RGBA") if has_key else image
    if image.mode.startswith("I;16") or image.mode == "I":
        # What Pillow's own conversion does is to cut off everything above 255.
        wide = image.convert("I")
        image = wide.point(lambda value: value * (1 / 257) + 0.5).convert("L")
        return image.convert("RGB")
    if image.mode == "F":
        return image.convert("L").convert("RGB")
    clear = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    if image.mode in ("La", "PA"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    converted = image.convert("RGBA" if clear else "RGB")
    assert isinstance(converted, PIL.Image.Image)
    return converted


def _to_srgb(told: Told) -> None:
    """Convert the colours; a profile that cannot be used is left out, and that is said."""
    from PIL import ImageCms

    image = told.image
    alpha = image.getchannel("A") if "A" in image.getbands() else None
    flat = image.convert(image.mode[:-1]) if alpha is not None else image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(told.icc))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(flat, profile, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        told.findings.append(
            Finding(
                name=POST, verdict="warned", measured="the picture's colour profile cannot be used and was left out",
                wanted="a colour profile that fits the picture",
            )
        )  # fmt: skip
        converted = None
    told.icc = b""
    if converted is not None:
        if alpha is not None:
            converted.putalpha(alpha)
        told.image = converted


def on_ground(image: Image, colour: str) -> Image:
    """Without transparency: on a plain ground."""
    import PIL.Image

    if image.mode != "RGBA":
        return image
    ground = PIL.Image.new("RGBA", image.size, colour)
    return PIL.Image.alpha_composite(ground, image).convert("RGB")


def _cropped(image: Image, shape: Shape) -> Image:
    width, height = image.size
    if shape.is_ratio:
        wide, high = _within(width, height, shape)
    else:
        wide, high = min(width, shape.width), min(height, shape.height)
    left, top = (width - wide) // 2, (height - high) // 2
    return image.crop((left, top, left + wide, top + high))


def _within(width: int, height: int, shape: Shape) -> tuple[int, int]:
    """The largest size of a ratio that lies within another one."""
    if width * shape.height >= height * shape.width:
        return max(1, min(width, _round(height * shape.width, shape.height))), height
    return width, max(1, min(height, _round(width * shape.height, shape.width)))


def _around(width: int, height: int, shape: Shape) -> tuple[int, int]:
    """The smallest size of a ratio that another one lies within."""
    if width * shape.height >= height * shape.width:
        return width, max(height, _round(width * shape.height, shape.width))
    return max(width, _round(height * shape.width, shape.height)), height


def _round(above: int, below: int) -> int:
    return (2 * above + below) // (2 * below)


def _fitted(image: Image, shape: Shape, *, enlarge: bool) -> Image:
    width, height = image.size
    if not enlarge and width <= shape.width and height <= shape.height:
        return image
    wide, high = _within(shape.width, shape.height, Shape(width, height, is_ratio=True))
    return _scaled(image, (wide, high))


def _scaled(image: Image, size: tuple[int, int]) -> Image:
    import PIL.Image

    if image.size == size:
        return image
    if image.mode == "RGBA":
        # Colours of transparent pixels must not bleed into the edge.
        return image.convert("RGBa").resize(size, PIL.Image.Resampling.LANCZOS).convert("RGBA")
    return image.resize(size, PIL.Image.Resampling.LANCZOS)


def _snapped(image: Image, threshold: int) -> Image:
    import PIL.Image

    mask = reach_from_border(image, threshold)
    if mask is None:
        return image
    image = image.copy()
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    image.paste(PIL.Image.new(image.mode, image.size, _WHITE), mask=mask)
    if alpha is not None:
        image.putalpha(alpha)
    return image


def _padded(image: Image, shape: Shape, colour: str) -> Image:
    import PIL.Image

    if shape.is_ratio:
        canvas = _around(*image.size, shape)
        if max(canvas) > MOST_SIDE or canvas[0] * canvas[1] > MOST_PIXELS:
            raise Unreachable(
                f"pad: {shape} would make a canvas of {canvas[0]}x{canvas[1]} pixels; make the picture smaller with fit"
            )
    else:
        canvas = (shape.width, shape.height)
        image = _fitted(image, shape, enlarge=False)
    flat = on_ground(image, colour)
    padded = PIL.Image.new("RGB", canvas, colour)
    padded.paste(flat, ((canvas[0] - flat.width) // 2, (canvas[1] - flat.height) // 2))
    return padded
