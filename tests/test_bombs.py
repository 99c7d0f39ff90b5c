"""Pictures that are made to fill the memory or to break a decoder: they cost themselves, and nobody else anything."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from PIL import Image

from batchedit.filing import Filing, Kept, Source
from batchedit.pictures import MAX_PIXELS, BadPicture, decode
from batchedit.report.thumbs import kept_raw, thumbnail
from batchedit.workers import Workers

MEGABYTE = 1024 * 1024
ALLOWED = 100 * MEGABYTE


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(MEGABYTE)) for _ in range(size // MEGABYTE)]) + packer.flush()


def png(width: int, height: int, body: bytes, *, colour: int = 2, depth: int = 8, more: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def sized_jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose head says another size."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8)).save(written, "JPEG")
    data = bytearray(written.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def sized_webp(width: int, height: int) -> bytes:
    head = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(37)
    body = b"VP8L" + struct.pack("<I", len(head)) + head
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def scans(count: int) -> bytes:
    """A JPEG that goes through its pixels so many times, for sixty bytes each."""
    written = io.BytesIO()
    Image.new("RGB", (2_000, 2_000), "red").save(written, "JPEG", progressive=True)
    data = written.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + b"\xff\xd9"


def frames(count: int) -> bytes:
    written = io.BytesIO()
    pictures = [Image.new("RGB", (900, 900), (number % 256, 0, 0)) for number in range(count)]
    pictures[0].save(written, "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    return written.getvalue()[:-7]


def gif(count: int) -> bytes:
    written = io.BytesIO()
    pictures = [Image.new("P", (500, 500), number % 256) for number in range(count)]
    pictures[0].save(written, "GIF", save_all=True, append_images=pictures[1:])
    return written.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "400 megapixels in 400 KB": lambda: png(20_000, 20_000, zeros(400 * MEGABYTE)),
    "254 MB below the library's own limit": lambda: png(9_400, 9_400, zeros(254 * MEGABYTE)),
    "the largest numbers there are": lambda: png(2**31 - 1, 2**31 - 1, zeros(MEGABYTE)),
    "sixteen bits, four channels": lambda: png(9_000, 9_000, zeros(300 * MEGABYTE), colour=6, depth=16),
    "more pixels than announced": lambda: png(10, 10, zeros(300 * MEGABYTE)),
    "a text that unfolds": lambda: png(10, 10, zeros(MEGABYTE), more=chunk(b"zTXt", b"a\0\0" + zeros(300 * MEGABYTE))),
    "a colour profile that unfolds": lambda: png(10, 10, b"", more=chunk(b"iCCP", b"a\0\0" + zeros(300 * MEGABYTE))),
    "a JPEG of 65,500 squared": lambda: sized_jpeg(65_500, 65_500),
    "a JPEG of 20,000 scans": lambda: scans(20_000),
    "a WebP of 16,384 squared": lambda: sized_webp(16_384, 16_384),
    "150 frames": lambda: frames(150),
    "201 frames of a kind that is not taken": lambda: gif(201),
    "a drawing with a script": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>" * 100_000,
}


def peak(*, afresh: bool = False) -> int:
    """The most memory that this process has had, since it was last asked for `afresh`: what made the bombs had more."""
    if afresh:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory as Linux counts it")
def test_thirteen_bombs_fill_nobody_s_memory(tmp_path: Path) -> None:
    """Each is told as a picture that is none; the process that holds the run grows by less than 100 MB, and goes on."""
    assert len(BOMBS) == 13
    files = Filing(tmp_path / "out", tmp_path / "out/.batchedit")
    files.open()
    made = {name: make() for name, make in BOMBS.items()}
    good = io.BytesIO()
    Image.new("RGB", (8, 8)).save(good, "png")
    outcomes: dict[str, str] = {}

    async def main() -> Kept:
        async with Workers(files, 2) as pool:
            await pool.keep(good.getvalue(), 1)

            async def one(name: str, data: bytes) -> None:
                try:
                    await pool.keep(data, 1)
                except BadPicture as problem:
                    outcomes[name] = str(problem)

            async with anyio.create_task_group() as group:
                for name, data in made.items():
                    group.start_soon(one, name, data)
            return await pool.keep(good.getvalue(), 2)

    before = peak(afresh=True)
    kept = anyio.run(main)
    assert peak() - before < ALLOWED
    assert (kept.raw.width, kept.raw.height) == (8, 8)
    # Its first 10 x 10 pixels are whole; what stands behind them is not decoded.
    assert set(made) - set(outcomes) == {"more pixels than announced"}
    assert not list((tmp_path / "out").rglob("*.part"))


def test_the_size_is_looked_at_before_anything_is_decoded() -> None:
    """In all three formats."""
    for data in (png(9_400, 9_400, b""), sized_jpeg(9_400, 9_400), sized_webp(9_400, 9_400)):
        with pytest.raises(BadPicture, match=rf"limit is {MAX_PIXELS}|more than {MAX_PIXELS}"):
            decode(data)


def test_scans_are_counted_and_not_what_looks_like_them() -> None:
    """An ordinary progressive JPEG is taken, and one with bytes of that kind in a part that is no picture."""
    assert decode(scans(0)).width == 2_000
    assert decode(scans(150)).width == 2_000
    with pytest.raises(BadPicture, match="scans; the limit is 200"):
        decode(scans(300))
    plain = scans(0)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 2_000) + b"\xff\xda" * 1_000
    assert decode(plain[:2] + comment + plain[2:]).width == 2_000
    with pytest.raises(BadPicture):
        decode(scans(12_000))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory on Linux")
def test_a_worker_that_is_refused_memory_says_so_of_the_picture() -> None:
    """The limit holds for the process, and what comes of it is a refused picture and no crash."""
    code = (
        "from batchedit.worker_process import limit_memory; from batchedit.pictures import BadPicture, decode\n"
        "import io, resource, sys; from PIL import Image\n"
        "data = io.BytesIO(); Image.new('P', (6000, 6000)).save(data, 'png')\n"
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "decode(data.getvalue()); limit_memory(now + 8_000_000)\n"
        "try: decode(data.getvalue())\n"
        "except BadPicture as problem: sys.exit('memory' not in str(problem))\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ}).returncode == 0


def limits_of_children() -> list[str]:
    found = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        for child in (task / "children").read_text().split():
            text = Path(f"/proc/{child}/limits").read_text()
            found += [line for line in text.splitlines() if line.startswith("Max address space")]
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory on Linux")
def test_workers_are_limited(tmp_path: Path) -> None:
    """The real process has a limit of its own."""
    files = Filing(tmp_path / "out", tmp_path / "out/.batchedit")
    files.open()
    limits: list[str] = []

    async def main() -> None:
        async with Workers(files, 1) as pool:
            good = io.BytesIO()
            Image.new("RGB", (8, 8)).save(good, "png")
            await pool.keep(good.getvalue(), 1)
            limits.extend(limits_of_children())

    anyio.run(main)
    assert limits
    assert all(line.split()[3] == str(4 * 1024**3) for line in limits)


def test_no_small_picture_is_made_of_what_takes_minutes_or_never_ends(tmp_path: Path) -> None:
    """Reports and reviews show originals, of which only the bytes are known, and go where a ledger points."""
    thumbs = tmp_path / "thumbs"

    def small(data: bytes) -> str | None:
        path = tmp_path / "original.jpg"
        path.write_bytes(data)
        return thumbnail(path, hashlib.sha256(data).hexdigest(), thumbs)

    assert (small(scans(150)) is None, small(scans(300)), small(sized_jpeg(9_400, 9_400))) == (False, None, None)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, Path("a\0b")):
        assert thumbnail(path, "0" * 64, thumbs) is None
        assert isinstance(Source(path=str(path), sha256="0" * 64).read(), str)


def test_a_digest_that_is_none_is_no_pattern(tmp_path: Path) -> None:
    """A ledger of somebody else's could send us through the whole disk with it."""
    raw, good = tmp_path / "raw", "ab" * 32
    (raw / "ab").mkdir(parents=True)
    for name in (f"ab/{good}.png", "secret.png"):
        (raw / name).write_bytes(b"")
    assert kept_raw(tmp_path, good) == raw / "ab" / f"{good}.png"
    for digest in ("../secret", "../**/*", "ab*", "*", "", f"{good}\n", "ab/../../raw/secret"):
        assert kept_raw(tmp_path, digest) is None
