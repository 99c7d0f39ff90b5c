"""Strict reading of a request's input: provider-api, section 4. Every mistake is named, as a real 422 would."""

from __future__ import annotations

import re
from typing import Any

QUALITIES = ("low", "medium", "high")
FORMATS = ("png", "jpeg", "webp")
PRESETS = ("auto", "square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9")

_DEFAULTS: dict[str, Any] = {
    "num_images": 1,
    "output_format": "png",
    "image_size": "auto",
    "quality": "high",
    "sync_mode": False,
}
_KNOWN = {"prompt", "image_urls", "mask_url", *_DEFAULTS}


def check_input(data: object, size_forms: str) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """
    (input with defaults filled in, list of mistakes).

    Args:
        size_forms: ``both``, ``object`` or ``text``: how an explicit size may be written.
    """
    if not isinstance(data, dict):
        return {}, [_wrong("input", "must be an object")]
    wrong = [_wrong(f"input.{name}", "unknown field") for name in data if name not in _KNOWN]
    fields = {**_DEFAULTS, **data}
    prompt, images = fields.get("prompt"), fields.get("image_urls")
    if not isinstance(prompt, str) or not 2 <= len(prompt) <= 32_000:
        wrong.append(_wrong("input.prompt", "is required, 2 to 32000 characters"))
    if not isinstance(images, list) or not 1 <= len(images) <= 16 or not all(isinstance(u, str) for u in images):
        wrong.append(_wrong("input.image_urls", "is required, a list of 1 to 16 images"))
    if "mask_url" in data and not isinstance(data["mask_url"], str):
        wrong.append(_wrong("input.mask_url", "must be an image"))
    count = fields["num_images"]
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= 4:
        wrong.append(_wrong("input.num_images", "must be a whole number from 1 to 4"))
    if fields["output_format"] not in FORMATS:
        wrong.append(_wrong("input.output_format", f"must be one of {', '.join(FORMATS)}"))
    if fields["quality"] not in QUALITIES:
        wrong.append(_wrong("input.quality", f"must be one of {', '.join(QUALITIES)}"))
    if not isinstance(fields["sync_mode"], bool):
        wrong.append(_wrong("input.sync_mode", "must be true or false"))
    problem = size_mistake(fields["image_size"], size_forms)
    if problem:
        wrong.append(_wrong("input.image_size", problem))
    return fields, wrong


def size_text(size: object) -> str:
    """A size as ``WIDTHxHEIGHT`` or the name of a preset."""
    return f"{size['width']}x{size['height']}" if isinstance(size, dict) else str(size)


def size_mistake(size: object, forms: str) -> str | None:
    """Why a size is refused, None if it is not."""
    if isinstance(size, str):
        if size in PRESETS:
            return None
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", size)
        if match is None or forms == "object":
            return f"must be one of {', '.join(PRESETS)}, or an object with width and height"
        width, height = int(match[1]), int(match[2])
    elif isinstance(size, dict) and set(size) == {"width", "height"} and forms != "text":
        width, height = size["width"], size["height"]
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in (width, height)):
            return "width and height must be whole numbers"
    else:
        return "is not a size"
    if width <= 0 or height <= 0 or width % 16 or height % 16:
        return "both sides must be multiples of 16"
    if max(width, height) > 3840 or max(width, height) > 3 * min(width, height):
        return "the longest side may have 3840 pixels and 3 times the other"
    if not 655_360 <= width * height <= 8_294_400:
        return "the picture must have 655360 to 8294400 pixels"
    return None


def _wrong(field: str, message: str) -> dict[str, str]:
    return {"field": field, "message": message}
