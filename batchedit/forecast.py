"""
How long a plan would take and how much room its pictures need, as far as anything is known. Pure.

What nobody knows is said to be unknown, and what is known in part is a lower bound; neither is filled with a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchedit.model import Limits, explicit_size

BYTES_PER_PIXEL: Mapping[str, float] = {"png": 1.7, "jpeg": 0.4, "webp": 0.25}
"""Of photographs at the quality that the model delivers; for pictures of a kind of which the ledger holds none yet."""

USUAL_PIXELS = 1024 * 1536
"""Of a picture whose size the provider chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    What a ledger tells about the speed and the size of what was bought before.

    Attributes:
        per_minute: The provider's limit as it was found, in edits; None if it never was.
        seconds: From sending to the finished file, on average of the last ones; None before the first.
        sizes: (pictures, bytes) by format and size.
    """

    per_minute: float | None = None
    seconds: float | None = None
    sizes: Mapping[tuple[str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """
    What a plan needs.

    Attributes:
        seconds: How long it would take; None if nothing is known.
        is_least: It may take longer: only a part of what decides that is known.
        because: What is known, in words.
        bytes_needed: For everything that would be kept and delivered.
        sizes_known: Measured on pictures of the same kind; else estimated by the number of pixels.
        bytes_free: On the disk of the output folder; None if it cannot be told.
    """

    seconds: float | None
    is_least: bool
    because: tuple[str, ...]
    bytes_needed: int
    sizes_known: bool
    bytes_free: int | None

    @property
    def is_short(self) -> bool:
        """True if the disk has less room than is needed."""
        return self.bytes_free is not None and self.bytes_free < self.bytes_needed


def forecast(
    *,
    requests: int,
    pictures: int,
    copies: Mapping[tuple[str, str], int],
    limits: Limits,
    known: Known,
    bytes_free: int | None,
) -> Forecast:
    """
    What so many purchases need.

    Args:
        requests: To be bought.
        pictures: That they bring.
        copies: Files that will be written, by format and size; one that is kept and delivered counts twice.
        limits: Of the manifest.
        known: From the ledger.
        bytes_free: On the disk.
    """
    needed, measured = 0.0, True
    for kind, count in copies.items():
        size, from_ledger = mean_bytes(kind, known.sizes)
        needed += count * size
        measured &= from_ledger
    seconds, is_least, because = _time(requests, pictures, limits, known)
    return Forecast(
        seconds=seconds,
        is_least=is_least,
        because=because,
        bytes_needed=round(needed),
        sizes_known=measured,
        bytes_free=bytes_free,
    )


def mean_bytes(kind: tuple[str, str], sizes: Mapping[tuple[str, str], tuple[int, int]]) -> tuple[float, bool]:
    """The mean size of a picture of this format and size, and whether it was measured."""
    if kind in sizes:
        count, total = sizes[kind]
        return total / count, True
    pixels = explicit_size(kind[1])
    return BYTES_PER_PIXEL[kind[0]] * (pixels[0] * pixels[1] if pixels else USUAL_PIXELS), False


def _time(requests: int, pictures: int, limits: Limits, known: Known) -> tuple[float | None, bool, tuple[str, ...]]:
    if not requests:
        return 0.0, False, ()
    because: list[str] = []
    least: list[float] = []
    rates = [("the limit of", limits.requests_per_minute), ("the provider's limit as it was found,", known.per_minute)]
    rate = min((given for given in rates if given[1] is not None), key=lambda given: given[1] or 0.0, default=None)
    if rate is not None and rate[1] is not None:
        least.append(60.0 * (requests - 1) / rate[1])
        because.append(f"{rate[0]} {rate[1]:g} edits a minute")
    if limits.images_per_minute is not None:
        least.append(60.0 * (pictures - 1) / limits.images_per_minute)
        because.append(f"the limit of {limits.images_per_minute} pictures a minute")
    paced = bool(least)
    if known.seconds is not None:
        # As many at a time as may be in flight, and the last one has to end too.
        least.append(known.seconds * max(0.0, requests / limits.in_flight - 1))
        because.append(f"{known.seconds:.3g} seconds an edit, {limits.in_flight} at a time")
    if not least:
        return None, True, ()
    return max(least) + (known.seconds or 0.0), not paced or known.seconds is None, tuple(because)


def duration_text(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def bytes_text(count: int) -> str:
    """A number of bytes for people: ``640 kB``, ``1.4 GB``."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
