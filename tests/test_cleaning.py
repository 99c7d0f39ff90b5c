"""What leaves this machine of a picture: its pixels and their colours, and nothing that it says besides."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from batchedit.bodies import ContentChanged, FilePart, Upload
from batchedit.cleaning import FileBytes, anatomy, assembled, says_where, upright
from batchedit.exif import Heard
from batchedit.jpeg import DamagedJpeg, segments
from batchedit.pictures import BadPicture
from tests.conftest import Result, Served, Shop, draw_picture
from tests.middle import Middle
from tests.proof import count

SECRETS = (
    b"SERIAL-4711",
    b"Anna Privat",
    b"52.5200N",
    b"GPSLatitude",
    b"hidden.txt",
    b"Exif\0\0",
    b"thumbnail-of-before",
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description exif:GPSLatitude="52.5200N" dc:creator="Anna Privat"/></rdf:RDF></x:xmpmeta>'
)
ZIP = b"PK\x03\x04hidden.txt" + bytes(20) + b"Anna Privat"


def exif(orientation: int = 1, *, gps: bool = True) -> bytes:
    """Tags as a camera writes them."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "Anna Privat"
    tags[0xA431] = "SERIAL-4711"
    if gps:
        tags[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)}
    return tags.tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def drawn(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A picture of which each turn is another one."""
    image = Image.new("RGB", size)
    image.putdata([(5 * x % 256, 7 * y % 256, (x * y) % 256) for y in range(size[1]) for x in range(size[0])])
    return image


def jpeg(orientation: int = 1, *, progressive: bool = False, **options: Any) -> bytes:
    """A photo with all that photos say: tags, XMP, a maker's own, a comment, a thumbnail, a file behind its end."""
    plain = io.BytesIO()
    drawn().save(plain, "JPEG", quality=95, exif=exif(orientation), progressive=progressive, icc_profile=PROFILE)
    data = plain.getvalue()
    assert data[:2] == b"\xff\xd8"
    said = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP) + segment(0xEC, b"Ducky SERIAL-4711")
    said += segment(0xFE, b"Anna Privat") + segment(0xE0, b"JFXX\0\x10thumbnail-of-before")
    said += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\4\1" + b"thumbnail-of"[:12])
    return data[:2] + said + data[2:] + ZIP


def png(orientation: int = 1) -> bytes:
    """The same in a PNG: texts plain, deflated and international, tags, a time, and a file behind its end."""
    texts = PngInfo()
    texts.add_text("Author", "Anna Privat")
    texts.add_text("Comment", "SERIAL-4711 Anna Privat", zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    plain = io.BytesIO()
    drawn().save(plain, "PNG", pnginfo=texts, exif=exif(orientation), icc_profile=PROFILE)
    data = plain.getvalue()
    end = data.index(b"IEND") - 4
    return data[:end] + chunk(b"tIME", b"\x07\xe9\1\2\3\4\5") + chunk(b"prIv", b"SERIAL-4711") + data[end:] + ZIP


def webp(orientation: int = 1, *, lossless: bool = True) -> bytes:
    """The same in a WebP."""
    plain = io.BytesIO()
    drawn().save(plain, "WEBP", lossless=lossless, exif=exif(orientation), xmp=XMP, icc_profile=PROFILE)
    return plain.getvalue() + ZIP


PICTURES: dict[str, Callable[..., bytes]] = {
    "jpeg": jpeg,
    "progressive": lambda orientation=1: jpeg(orientation, progressive=True),
    "png": png,
    "webp": webp,
    "lossy webp": lambda orientation=1: webp(orientation, lossless=False),
}


def pixels(data: bytes) -> tuple[tuple[int, int], bytes, bytes | None]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGB").tobytes(), image.info.get("icc_profile")


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_said_is_dropped_and_the_pixels_stay(name: str) -> None:
    """Each byte that is kept is the file's own; the colour profile is among them."""
    data = PICTURES[name]()
    found = anatomy(data)
    clean = assembled(data, found)
    assert found.has_location
    assert says_where(data)
    assert [secret for secret in SECRETS if secret in clean] == []
    assert pixels(clean) == pixels(data)
    assert pixels(clean)[2] == PROFILE
    assert found.length == len(clean) < len(data)
    with Image.open(io.BytesIO(clean)) as image:
        assert not image.getexif()
        assert not {"xmp", "comment", "Author", "Comment", "exif", "XML:com.adobe.xmp"} & set(image.info)
    again = anatomy(clean)
    assert (again.is_clean, again.has_location, again.dropped) == (True, False, [])
    assert assembled(clean, again) == clean


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", PICTURES)
def test_pixels_that_lie_turned_are_put_upright(name: str, orientation: int) -> None:
    """As every viewer shows them, the same bytes each time, without the tag."""
    data = PICTURES[name](orientation)
    assert anatomy(data).orientation == orientation
    turned = upright(data)
    assert turned == upright(data)
    assert [secret for secret in SECRETS if secret in turned] == []
    assert anatomy(turned).is_clean
    assert anatomy(turned).orientation == 1
    with Image.open(io.BytesIO(data)) as image:
        meant = ImageOps.exif_transpose(image).convert("RGB")
    size, got, profile = pixels(turned)
    assert (size, profile) == (meant.size, PROFILE)
    wrong = [abs(one - other) for one, other in zip(got, meant.tobytes(), strict=True)]
    assert sum(wrong) / len(wrong) < (0.01 if name in ("png", "webp") else 4)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_that_says_nothing_is_sent_as_it_is(tmp_path: Path, kind: str) -> None:
    """Not a byte is changed, and nothing is read twice for it."""
    path = tmp_path / "plain"
    drawn().save(path, kind)
    upload, orientation = Upload.describe_clean(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert (upload.parts, upload.size_bytes, orientation) == (None, path.stat().st_size, 1)
    assert b"".join(upload.blocks()) == path.read_bytes()


@pytest.mark.parametrize("small", [2, 10, 40, 32 * 1024])
@pytest.mark.parametrize("name", PICTURES)
def test_parts_of_a_file_are_sent_in_blocks_of_three(
    name: str, small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as was said, the same as in memory, and nothing of it once the file is another one."""
    monkeypatch.setattr("batchedit.bodies._BLOCK_BYTES", 33)
    monkeypatch.setattr("batchedit.bodies._SMALL_BYTES", small)
    data = PICTURES[name]()
    path = tmp_path / "photo"
    path.write_bytes(data)
    upload, _ = Upload.describe_clean(path, hashlib.sha256(data).hexdigest())
    blocks = [*upload.blocks()]
    clean = assembled(data, anatomy(data))
    assert b"".join(blocks) == clean
    assert len(clean) == upload.size_bytes
    assert all(len(block) % 3 == 0 for block in blocks[:-1])
    base64.b64decode(b"".join(base64.b64encode(block) for block in blocks), validate=True)

    path.write_bytes(data[:-1] + b"!")
    got: list[bytes] = []
    with pytest.raises(ContentChanged):
        got.extend(map(bytes, upload.blocks()))
    assert b"".join(got) != clean


@settings(max_examples=count(60, 2000), deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([b"IDAT", b"tEXt"]), st.integers(0, 90_000)), min_size=1, max_size=12),
    st.sampled_from([3, 33, 192, 48 * 1024]),
    st.sampled_from([3, 4, 100, 32 * 1024]),
)
def test_whatever_is_left_out_the_rest_is_sent_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[tuple[bytes, int]], block: int, small: int
) -> None:
    """In the request, in base64, and by itself: what is kept, however large it is and wherever a block ends."""
    data, draw = png(), random.Random(len(chunks))
    end = data.index(b"IEND") - 4
    data = data[:end] + b"".join(chunk(kind, draw.randbytes(size)) for kind, size in chunks) + data[end:]
    path = tmp_path_factory.mktemp("sent") / "photo.png"
    path.write_bytes(data)
    clean = assembled(data, anatomy(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchedit.bodies._BLOCK_BYTES", block)
        patch.setattr("batchedit.bodies._SMALL_BYTES", small)
        upload, _ = Upload.describe_clean(path, hashlib.sha256(data).hexdigest())
        assert b"".join(upload.blocks()) == clean
        assert b"".join(FilePart(upload, in_base64=True).blocks()) == base64.b64encode(clean)


def test_the_last_block_waits_until_the_whole_file_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although what is dropped stands behind it: a change there too leaves the server with an incomplete request."""
    monkeypatch.setattr("batchedit.bodies._BLOCK_BYTES", 33)
    path = tmp_path / "photo.png"
    data = png()
    path.write_bytes(data)
    upload, _ = Upload.describe_clean(path, hashlib.sha256(data + b"another").hexdigest())
    got: list[bytes] = []
    with pytest.raises(ContentChanged):
        got.extend(map(bytes, upload.blocks()))
    assert len(b"".join(got)) < upload.size_bytes


@pytest.mark.parametrize("name", PICTURES)
def test_damaged_pictures_are_refused_and_nothing_else_happens(name: str) -> None:
    """Cut anywhere, or with bytes changed anywhere: our own error, or a picture without secrets."""
    data = PICTURES[name]()
    whole = data[: -len(ZIP)]
    draw = random.Random(name)
    for _ in range(300):
        cut = whole[: draw.randrange(len(whole))]
        with pytest.raises(BadPicture):
            anatomy(cut)
        changed = bytearray(data)
        for _ in range(3):
            changed[draw.randrange(len(changed))] = draw.randrange(256)
        try:
            found = anatomy(bytes(changed))
        except BadPicture:
            continue
        assert len(assembled(bytes(changed), found)) == found.length


@pytest.mark.parametrize(
    "data",
    [b"", b"root:x:0:0:", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + bytes(40), b"\x89PNG\r\n\x1a\n and more",
     b"\xff\xd8\xff\xe0 a secret", b"RIFF\xff\xff\0\0WEBPVP8 ", b"RIFF\x04\0\0\0WEBP", b"%PDF-1.7"],
)  # fmt: skip
def test_what_only_begins_like_a_picture_is_none(data: bytes) -> None:
    """The first bytes are not believed."""
    with pytest.raises(BadPicture):
        anatomy(data)
    assert not says_where(data)


def test_a_file_is_walked_through_without_being_read(tmp_path: Path) -> None:
    """A large picture costs a few looks; what is found is the same."""
    path = tmp_path / "large.png"
    data = png()
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:end] + chunk(b"IDAT", bytes(40_000_000)) + data[end:])
    with path.open("rb") as file:
        view = FileBytes(file.fileno(), path.stat().st_size)
        assert view[:8] == data[:8]
        assert view[len(view) - 3 : len(view) + 9] == ZIP[-3:]
        found = anatomy(view)
    assert found.has_location
    assert found.length > 40_000_000


def bare(size: tuple[int, int] = (48, 32)) -> tuple[bytes, int]:
    """A PNG that says nothing, and where its pixels begin."""
    plain = io.BytesIO()
    drawn(size).save(plain, "PNG")
    return plain.getvalue(), plain.getvalue().index(b"IDAT") - 4


def test_texts_that_unfold_are_looked_at_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of them would unfold to a gigabyte; all are dropped, and four megabytes in all are searched."""
    seen: list[int] = []
    searched = Heard.text

    def text(self: Heard, text: bytes) -> None:
        seen.append(len(text))
        searched(self, text)

    monkeypatch.setattr(Heard, "text", text)
    data, at = bare()
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    found = anatomy(data[:at] + bomb * 300 + data[at:])
    assert (found.dropped, found.heard.unread) == (["zTXt"] * 300, 0)
    assert sum(seen) < 4 * 1024 * 1024 + 300 * 10
    for damaged in (zlib.compress(bytes(3_000_000))[:-4] + b"ends", zlib.compress(b"")[:2] + b"\0\0\0\xff\xff" * 600):
        seen.clear()
        bomb = chunk(b"zTXt", b"a\0\0" + damaged)  # which unfold at the same cost, and say nothing
        found = anatomy(data[:at] + bomb * 2_000 + data[at:])
        assert (found.heard.unread, sum(seen) < 5 * 1024 * 1024) == (0, True)
    padding = segment(0xEC, b"x" * 60_000)
    assert anatomy(jpeg()[:2] + padding * 100 + jpeg()[2:]).heard.unread == 0


@pytest.mark.parametrize(
    "data",
    [
        bare()[0][: bare()[1]] + chunk(b"tEXt", b"") * 100_000 + bare()[0][bare()[1] :],
        jpeg()[:2] + segment(0xFE, b"") * 10_000 + jpeg()[2:],
        b"RIFF" + struct.pack("<I", 4 + 8 * 100_001) + b"WEBP" + b"abcd\0\0\0\0" * 100_001,
    ],
    ids=["png", "jpeg", "webp"],
)
def test_a_picture_of_endless_parts_is_none(data: bytes) -> None:
    """Each part costs a look; there are never so many of them."""
    with pytest.raises(BadPicture, match=r"more than [\d]+ parts"):
        anatomy(data)


def test_a_turned_png_keeps_how_its_colours_are_meant() -> None:
    """Numbers without that would be shown as other colours."""
    data, at = bare()
    head, tags = data.index(b"IDAT") - 4, exif(6)
    meant = chunk(b"gAMA", struct.pack(">I", 100_000)) + chunk(b"cICP", bytes((9, 16, 0, 1)))
    turned = upright(data[:head] + meant + chunk(b"eXIf", tags.removeprefix(b"Exif\0\0")) + data[at:])
    assert turned[33 : 33 + len(meant)] == meant
    with Image.open(io.BytesIO(turned)) as image:
        image.load()
        assert image.size == (32, 48)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_a_turned_png_keeps_its_pixels(mode: str) -> None:
    """Of any kind that the library has; sixteen bits of one channel among them."""
    source = Image.new("I;16", (40, 30)) if mode == "I;16" else drawn((40, 30)).convert(mode)
    if mode == "I;16":
        source.putdata([number * 37 % 65_536 for number in range(1_200)])
    plain = io.BytesIO()
    source.save(plain, "PNG", exif=exif(6), **({"transparency": 3} if mode == "P" else {}))
    with Image.open(io.BytesIO(upright(plain.getvalue()))) as image:
        image.load()
        meant = source.transpose(Image.Transpose.ROTATE_270)
        assert (image.mode, image.tobytes()) == (meant.mode, meant.tobytes())
        assert image.info.get("transparency") == (3 if mode == "P" else None)


def test_a_jpeg_keeps_no_part_that_nobody_needs() -> None:
    """Markers that are reserved may hold anything; decoders pass over them."""
    data = jpeg()
    data = data[:2] + segment(0xF7, b"Anna Privat") + segment(0xC8, b"SERIAL-4711") + data[2:]
    found = anatomy(data)
    assert {"F7", "C8"} <= set(found.dropped)
    assert [secret for secret in SECRETS if secret in assembled(data, found)] == []


def hidden_in_frame() -> bytes:
    """An animation that has a part of its own within a frame."""
    plain = io.BytesIO()
    drawn().save(plain, "WEBP", save_all=True, append_images=[drawn().rotate(180)], lossless=True)
    data = plain.getvalue()
    at = data.index(b"ANMF")
    end = at + 8 + struct.unpack("<I", data[at + 4 : at + 8])[0]
    frame = data[at + 8 : end] + b"EXIF" + struct.pack("<I", 12) + b"SERIAL-4711 "
    made = data[12:at] + b"ANMF" + struct.pack("<I", len(frame)) + frame + data[end:]
    return b"RIFF" + struct.pack("<I", 4 + len(made)) + b"WEBP" + made


HIDDEN = {
    "adobe": lambda: jpeg()[:2] + segment(0xEE, b"Adobe\0\x64\0\0\0\0\0SERIAL-4711 Anna Privat") + jpeg()[2:],
    "gamma": lambda: bare()[0][: bare()[1]] + chunk(b"gAMA", bytes(4) + b"SERIAL-4711") + bare()[0][bare()[1] :],
    "frame": hidden_in_frame,
}


@pytest.mark.parametrize("name", HIDDEN)
def test_nothing_hides_behind_a_part_that_is_kept(name: str) -> None:
    """Decoders read so many bytes of it; what has more is cut, or goes; and the pixels stay."""
    data = HIDDEN[name]()
    found = anatomy(data)
    kept = assembled(data, found)
    assert [secret for secret in SECRETS if secret in kept] == []
    assert (pixels(kept), anatomy(kept).is_clean, found.length) == (pixels(data), True, len(kept))


@pytest.mark.parametrize(
    "data",
    [
        bare()[0][:-12] + chunk(b"IEND", b"SERIAL-4711"),
        b"RIFF" + struct.pack("<I", 34) + b"WEBPVP8X" + struct.pack("<I", 22) + bytes(10) + b"SERIAL-4711 ",
    ],
    ids=["png", "webp"],
)
def test_a_part_that_is_needed_and_too_long_is_damage(data: bytes) -> None:
    """It cannot be cut without becoming another picture."""
    with pytest.raises(BadPicture, match="too long"):
        anatomy(data)


class Counted:
    """Bytes of which it is counted how often somebody looks."""

    def __init__(self, data: bytes) -> None:
        self._data, self.looks = data, 0

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, wanted: slice) -> bytes:
        self.looks += 1
        return self._data[wanted]


def test_bytes_that_fill_up_cost_nothing() -> None:
    """Before a marker there may be any number of them; they are not looked at one by one."""
    with pytest.raises(DamagedJpeg, match="cut short"):
        list(segments(filled := Counted(b"\xff\xd8" + b"\xff" * 30_000_000)))
    assert filled.looks < 100
    data = jpeg()
    found = anatomy(data[:2] + b"\xff" * 3_000_000 + data[2:])
    assert found.length == anatomy(data).length


def test_tags_are_looked_at_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be thousands of them, each of thousands."""
    looked: list[int] = []

    def tags(tags: bytes) -> tuple[int, bool]:
        looked.append(len(tags))
        return 1, False

    monkeypatch.setattr("batchedit.exif._tags", tags)
    data, at = bare()
    anatomy(data[:at] + chunk(b"eXIf", b"II*\0" + bytes(100_000)) * 300 + data[at:])
    assert 3_900_000 < sum(looked) <= 4 * 1024 * 1024


HAS_EXIFTOOL = shutil.which("exiftool") is not None
HARMLESS_GROUPS = {"SourceFile", "ExifTool", "System", "File", "PNG", "JFIF", "RIFF", "ICC_Profile", "Composite"}


def by_exiftool(data: bytes, folder: Path) -> tuple[set[str], str]:
    """What another reader finds, one that knows thousands of tags: their groups, and all of it as text."""
    (folder / "looked-at").write_bytes(data)
    command = ["exiftool", "-j", "-G", "-ee", "-u", str(folder / "looked-at")]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[0]
    return {tag.partition(":")[0] for tag in told}, json.dumps(told)


def check_by_exiftool(data: bytes, folder: Path) -> None:
    groups, text = by_exiftool(data, folder)
    assert groups <= HARMLESS_GROUPS
    assert [word for word in ("GPS", "SERIAL", "Privat", "52.5", "Thumbnail") if word in text] == []


@pytest.mark.skipif(not HAS_EXIFTOOL, reason="exiftool is not installed")
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("name", PICTURES)
def test_another_reader_finds_nothing_either(name: str, orientation: int, tmp_path: Path) -> None:
    """Of the original it tells all."""
    data = PICTURES[name](orientation)
    assert by_exiftool(data, tmp_path)[0] & {"EXIF", "XMP"}
    check_by_exiftool(upright(data), tmp_path)


# -- what a run sends ----------------------------------------------------------------------------------------


ALL = "sources:\n  - glob: in/*\n"


@pytest.fixture
def photos(shop: Shop) -> dict[str, bytes]:
    """A folder of photos, each of which says too much, and one that says nothing."""
    for path in (shop.root / "in").iterdir():
        path.unlink()
    found = {"a.jpg": jpeg(6), "b.png": png(), "c.webp": webp(3), "Anna Privat.jpg": jpeg(), "e.png": b""}
    for name, data in found.items():
        (shop.root / "in" / name).write_bytes(data)
    draw_picture(shop.root / "in/e.png", (9, 9, 9))
    return {name: (shop.root / "in" / name).read_bytes() for name in found}


def received(proxy: Middle) -> list[bytes]:
    """Every picture that has gone over the wire, and first all that was sent with it."""
    everything = [call.encode() + body for call, body in zip(proxy.seen, proxy.bodies, strict=True)]
    sent = [body for call, body in zip(proxy.seen, proxy.bodies, strict=True) if call.startswith("PUT")]
    for body in proxy.bodies:
        sent += [base64.b64decode(text) for text in re.findall(rb"data:image/\w+;base64,([\w+/=]+)", body)]
    assert [secret for secret in SECRETS if any(secret in piece for piece in (*everything, *sent))] == []
    return sent


@pytest.mark.parametrize("form", ["asset", "data-uri"])
def test_nothing_is_sent_but_pixels(
    cli: Callable[..., Result],
    shop: Shop,
    photos: dict[str, bytes],
    tampered: Callable[..., tuple[Served, Middle]],
    form: str,
) -> None:
    """Not the place, not the camera, not the file's name; what has nothing to say goes as it is; turned ones upright."""
    served, proxy = tampered()
    served.manifest(shop, provider=f", images_as: {form}", rows=ALL)
    plan = cli("plan", "night.yaml", "--out", "out")
    assert "private  4 local pictures with the place where taken, which is not sent" in plan.out
    assert cli("plan", "night.yaml", "--out", "out", "--json").json()["pictures_with_location"] == 4
    done = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert done.code == 0, done.err
    sent = received(proxy)
    assert len(sent) == 5
    assert photos["e.png"] in sent
    for data in sent if HAS_EXIFTOOL else ():
        check_by_exiftool(data, shop.root)
    sizes = sorted((anatomy(data).format, pixels(data)[0]) for data in sent)
    assert sizes == [
        ("jpeg", (32, 48)), ("jpeg", (48, 32)), ("png", (48, 32)), ("png", (320, 320)), ("webp", (48, 32)),
    ]  # fmt: skip
    # What is remembered of them says the same, and another run buys and uploads nothing.
    calls = len(proxy.seen)
    again = cli("plan", "night.yaml", "--out", "out", "--json").json()
    assert (again["pictures_with_location"], again["requests_to_buy"]) == (4, 0)
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    assert len([call for call in proxy.seen[calls:] if not call.startswith("GET")]) == 0


def test_whoever_wants_it_sends_everything(
    cli: Callable[..., Result], shop: Shop, photos: dict[str, bytes], tampered: Callable[..., tuple[Served, Middle]]
) -> None:
    """The plan says so; and what was uploaded in one way does not serve for the other."""
    served, proxy = tampered()
    served.manifest(shop, provider=", keep_metadata: true", rows=ALL)
    plan = cli("plan", "night.yaml", "--out", "out")
    assert "private  4 local pictures with the place where taken, and that is sent too" in plan.out
    assert cli("run", "night.yaml", "--out", "out", "--no-input").code == 0
    sent = [body for call, body in zip(proxy.seen, proxy.bodies, strict=True) if call.startswith("PUT")]
    assert sorted(sent) == sorted(photos.values())

    proxy.seen.clear()
    proxy.bodies.clear()
    served.manifest(shop, rows=ALL, defaults="{prompt: 'mirror it', quality: low}")
    assert cli("run", "night.yaml", "--out", "out", "--no-input", "--changed").code == 0
    assert len(received(proxy)) == 5


def test_a_picture_with_a_mask_stays_as_its_pixels_lie(
    cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]]
) -> None:
    """The mask is compared with those pixels; what the picture says is dropped all the same."""
    served, proxy = tampered()
    (shop.root / "a.jpg").write_bytes(jpeg(6))
    Image.new("RGBA", (48, 32), (0, 0, 0, 0)).save(shop.root / "mask.png")
    rows = "items:\n  - {id: masked, image: a.jpg, mask: mask.png}\n  - {id: free, image: a.jpg}\n"
    served.manifest(shop, rows=rows, defaults="{prompt: grayscale, quality: low, output: '{{ id }}'}")
    done = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert done.code == 0, done.err
    assert sorted(pixels(data)[0] for data in received(proxy)) == [(32, 48), (48, 32), (48, 32)]


def test_what_is_no_picture_is_never_sent(
    cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]]
) -> None:
    """A file that only begins like a picture costs nothing, and the others are bought."""
    served, proxy = tampered()
    (shop.root / "in/mug.png").write_bytes(b"\x89PNG\r\n\x1a\n and a private letter")
    (shop.root / "in/lamp.png").write_bytes((shop.root / "in/lamp.png").read_bytes()[:-30])
    served.manifest(shop)
    done = cli("run", "night.yaml", "--out", "out", "--no-input", "--json")
    assert done.code == 3
    assert served.audit()["billed_runs_total"] == 1
    sent = [body for call, body in zip(proxy.seen, proxy.bodies, strict=True) if call.startswith("PUT")]
    assert sent == [(shop.root / "in/shoe.png").read_bytes()]
    assert "in/mug.png is not sent: damaged" in cli("show", "mug", "out").out


def test_a_file_of_holes_is_not_read(cli: Callable[..., Result], shop: Shop) -> None:
    """It takes no room on the disk, and reading it would take hours: a terabyte that begins as a picture does."""
    with (shop.root / "in" / "holes.png").open("wb") as file:
        file.write(png())
        file.truncate(1024**4)
    shop.write("m.yaml", f"version: 1\nprovider: rehearsal\ndefaults: {{prompt: grayscale}}\n{ALL}")
    result = cli("plan", "m.yaml")
    assert result.code == 2
    assert "holes.png has more than 268435456 bytes" in result.out + result.err


def test_a_flag_that_is_none_is_refused(cli: Callable[..., Result], shop: Shop) -> None:
    """With its place."""
    shop.write("m.yaml", "version: 1\nprovider: {name: rehearsal, keep_metadata: maybe}\nsources: [{glob: in/*.png}]\n")
    result = cli("check", "m.yaml")
    assert result.code == 2
    assert "'maybe' is neither true nor false" in result.out + result.err


def test_what_was_bought_is_handed_over_as_it_came(
    cli: Callable[..., Result], shop: Shop, tampered: Callable[..., tuple[Served, Middle]]
) -> None:
    """An edit that starts from another one's picture: its provenance goes with it, byte by byte."""
    served, proxy = tampered()
    (shop.root / "in/lamp.png").unlink()
    (shop.root / "in/shoe.png").unlink()
    edits = "{scene: {from: white, prompt: 'warmer light'}, white: {prompt: 'pure white background'}}"
    served.manifest(shop, edits=edits, defaults="{quality: low}")
    proxy.alter(
        "GET",
        "/storage/outputs/.*",
        lambda reply: reply.but(body=reply.body[:-12] + chunk(b"caBX", b"provenance") + reply.body[-12:]),
        times=2,
    )
    done = cli("run", "night.yaml", "--out", "out", "--no-input")
    assert done.code == 0, done.err
    sent = [body for call, body in zip(proxy.seen, proxy.bodies, strict=True) if call.startswith("PUT")]
    raws = [path.read_bytes() for path in (shop.root / "out/.batchedit/raw").rglob("*.png")]
    assert len(sent) == len(raws) == 2
    assert sent[0] == (shop.root / "in/mug.png").read_bytes()
    assert sent[1] in raws
    assert not anatomy(sent[1]).is_clean, "it says who made it"
