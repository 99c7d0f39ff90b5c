"""What becomes of a picture after it is bought: for any picture and recipe the promised size, and the same bytes twice."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

from batchedit.manifest.finishing import profiles
from batchedit.pictures import decode
from batchedit.postprocess import Unreachable, look_at, made_from
from batchedit.postprocess.looking import phash
from batchedit.postprocess.xmp import BadXmp, source_type, with_source_type
from batchedit.recipe import CHECK_NAMES, SOURCE_TYPES, Check, Post, Recipe, Shape

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "P+clear", "RGB+key")
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:odd="urn:odd" odd:tag="Über &lt;b&gt;">'
    "<dc:creator><rdf:Seq><rdf:li>Ana</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
).encode()
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b']><x:xmpmeta xmlns:x="adobe:ns:meta/">&j;</x:xmpmeta>'
)


def noise(size: tuple[int, int], seed: int) -> Image.Image:
    """A picture with edges, flat parts and odd pixels."""
    image = Image.new("RGB", size, (250 + seed % 6, 252, 255))
    draw = ImageDraw.Draw(image)
    draw.ellipse((size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4), fill=(seed % 256, 90, 160))
    for n in range(seed % 40):
        spot = ((n * 7919 + seed) % size[0], (n * 104729 + seed) % size[1])
        image.putpixel(spot, ((n * 31) % 256, (seed + n) % 256, (n * n) % 256))
    return image


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    alpha = Image.linear_gradient("L").resize(image.size)
    if mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(alpha)
        return image
    if mode == "I;16":
        return image.convert("L").convert("I").point(lambda value: value * 257).convert("I;16")
    if mode == "P+clear":
        image = image.convert("P")
        image.info["transparency"] = image.getpixel((0, 0))
        return image
    if mode == "RGB+key":
        image.info["transparency"] = image.getpixel((0, 0))
        return image
    return image.convert(mode)


def file_of(image: Image.Image, kind: str, **more: Any) -> bytes:
    target = io.BytesIO()
    if "transparency" in image.info:
        more["transparency"] = image.info["transparency"]
    image.save(target, kind, **more)
    return target.getvalue()


@st.composite
def raws(draw: st.DrawFn) -> bytes:
    size = (draw(st.integers(1, 90)), draw(st.integers(1, 90)))
    mode = draw(st.sampled_from(MODES))
    image = in_mode(noise(size, draw(st.integers(0, 10_000))), mode)
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(1, 8))
        more["exif"] = exif.tobytes()
    kinds = {"CMYK": ("JPEG",), "RGB": ("PNG", "JPEG", "WEBP"), "L": ("PNG", "JPEG"), "RGBA": ("PNG", "WEBP")}
    return file_of(image, draw(st.sampled_from(kinds.get(mode, ("PNG",)))), **more)


shapes = st.builds(lambda w, h, sign: f"{w}{sign}{h}", st.integers(1, 120), st.integers(1, 120), st.just("x"))
ratios = st.builds(lambda w, h: f"{w}:{h}", st.integers(1, 9), st.integers(1, 9))
colours = st.sampled_from(("#ffffff", "#000000", "#f4e3d2"))
posts = st.builds(
    Post,
    srgb=st.booleans(),
    background=st.just("") | colours,
    crop=st.just("") | shapes | ratios,
    fit=st.just("") | shapes,
    enlarge=st.booleans(),
    snap_white=st.none() | st.integers(1, 254),
    pad=st.just("") | shapes | ratios,
    pad_background=st.just("") | colours,
    keep_metadata=st.booleans(),
    digital_source_type=st.just("") | st.sampled_from(SOURCE_TYPES),
    format=st.sampled_from(("", "png", "jpeg", "webp")),
    quality=st.none() | st.integers(1, 100),
)
checks = st.lists(
    st.sampled_from(CHECK_NAMES).map(
        lambda name: Check(
            name=name,
            severity="fail",
            least=None if name == "max_bytes" else 5,
            most=60,
            ratio="4:5" if name == "aspect" else "",
        )
    ),
    unique_by=lambda check: check.name,
)


def upright_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else image.size


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=raws(), post=posts, looks=checks)
def test_any_picture_and_any_recipe(data: bytes, post: Post, looks: list[Check]) -> None:
    """What comes out decodes, has the size and format that were promised, and is the same twice; checks say something."""
    recipe = Recipe(post=post, checks=tuple(looks))
    assert Recipe.parse(recipe.text) == replace(recipe, checks=tuple(sorted(looks, key=lambda each: each.name)))
    made, _ = made_from(data, post)
    assert made_from(data, post)[0] == made
    facts = decode(made)
    with Image.open(io.BytesIO(data)) as raw:
        raw_format = (raw.format or "").lower()
    assert facts.format == (post.format or raw_format)
    size = (facts.width, facts.height)
    if made is data:
        return
    whole = upright_size(data)
    if post.pad and ":" not in post.pad:
        assert f"{size[0]}x{size[1]}" == post.pad
    elif post.fit and not post.pad:
        box = Shape.parse(post.fit)
        assert size[0] <= box.width
        assert size[1] <= box.height
        if post.enlarge:
            assert size[0] == box.width or size[1] == box.height
        elif not post.crop:
            assert size[0] <= whole[0]
            assert size[1] <= whole[1]
    elif not (post.crop or post.pad or post.fit):
        assert size == whole
    if post.pad or post.background or facts.format == "jpeg":
        assert not facts.has_alpha
    found = look_at(made, looks, lambda: data)
    assert [each.name for each in found] == [each.name for each in looks]
    assert all(each.verdict in ("passed", "warned", "failed") and each.measured and each.wanted for each in found)


@settings(max_examples=150, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400), wide=st.integers(1, 9), high=st.integers(1, 9))
def test_ratios_are_met_as_nearly_as_whole_pixels_can(width: int, height: int, wide: int, high: int) -> None:
    """A crop lies within, a canvas around, and neither is further off than half a pixel."""
    data, text, wanted = file_of(Image.new("RGB", (width, height)), "PNG"), f"{wide}:{high}", Fraction(wide, high)
    cropped, padded = (decode(made_from(data, post)[0]) for post in (Post(crop=text), Post(pad=text)))
    assert cropped.width <= width <= padded.width
    assert cropped.height <= height <= padded.height
    assert cropped.width == width or cropped.height == height
    assert padded.width == width or padded.height == height
    for facts in (cropped, padded):
        if min(facts.width, facts.height) > 1:
            off = min(abs(facts.width - facts.height * wanted), abs(facts.height - facts.width / wanted))
            assert off <= Fraction(1, 2)


def packet(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        xmp = image.info.get("xmp") or b""
        return xmp if isinstance(xmp, bytes) else xmp.encode()


def with_xmp(image: Image.Image, kind: str, xmp: bytes) -> bytes:
    if kind == "PNG":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        return file_of(image, "PNG", pnginfo=info)
    return file_of(image, kind, xmp=xmp)


def test_metadata_survives_from_format_to_format() -> None:
    """PNG to JPEG to WebP to PNG: what the XMP said, in any prefix, is still said, and the profile is still there."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    data = file_of(noise((64, 48), 7), "PNG", pnginfo=info, icc_profile=icc)
    for kind in ("jpeg", "webp", "png"):
        data, findings = made_from(data, Post(format=kind, quality=80, fit="60x60"))
        assert findings == []
        assert packet(data) == XMP, kind
        with Image.open(io.BytesIO(data)) as image:
            assert image.info["icc_profile"] == icc
    term = "compositeWithTrainedAlgorithmicMedia"
    for kind in ("jpeg", "webp", "png"):
        data, _ = made_from(data, Post(format=kind, digital_source_type=term))
        assert source_type(packet(data)) == f"http://cv.iptc.org/newscodes/digitalsourcetype/{term}"
        assert "Ana" in packet(data).decode()
        assert "Über &lt;b&gt;" in packet(data).decode()
        assert packet(data).count(b"DigitalSourceType>") == 2  # one element, however often it is said
    bare, _ = made_from(data, Post(format="jpeg", keep_metadata=False))
    assert packet(bare) == b""


@pytest.mark.parametrize("hostile", [LAUGHS, b"<a>" * 5000 + b"</a>" * 5000, b"<x" * 9, b"\xff\xfe<", XMP * 20_000,
                                     b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'],
                         ids=["entities", "depth", "no XML", "bytes", "length", "external"])  # fmt: skip
def test_hostile_xmp_is_left_out_and_said(hostile: bytes) -> None:
    """No entity is expanded and no memory blown; what says how the picture was made is there all the same."""
    tracemalloc.start()
    with pytest.raises(BadXmp):
        with_source_type(hostile, SOURCE_TYPES[0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
    if len(hostile) < 60_000:
        data = file_of(noise((40, 40), 3), "JPEG", xmp=hostile)
        made, findings = made_from(data, Post(quality=70, digital_source_type=SOURCE_TYPES[0]))
        assert source_type(packet(made)) is not None
        assert [(each.name, each.verdict) for each in findings] == [("post", "warned")]
        assert "XMP" in findings[0].measured


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_provenance_stays_where_the_format_does() -> None:
    """C2PA of each kind of file, byte for byte; another format does not get what it could not hold."""
    jumbf = b"\0\0\0\x20jumb" + bytes(range(200))
    png = file_of(noise((40, 30), 5), "PNG")
    png = png[:33] + chunk(b"caBX", jumbf) + png[33:]
    jpeg = file_of(noise((40, 30), 5), "JPEG")
    segment = b"\xff\xeb" + struct.pack(">H", len(jumbf) + 10) + b"JP\0\1\0\0\0\1" + jumbf
    jpeg = jpeg[:2] + segment + jpeg[2:]
    webp = file_of(noise((41, 30), 5), "WEBP")
    body = webp[12:] + b"C2PA" + struct.pack("<I", len(jumbf)) + jumbf
    webp = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    for data, other in ((png, "jpeg"), (jpeg, "webp"), (webp, "png")):
        made, _ = made_from(data, Post(fit="20x20", quality=80))
        assert jumbf in made
        assert decode(made).width <= 20
        assert jumbf not in made_from(data, Post(format=other))[0]
        assert jumbf not in made_from(data, Post(fit="20x20", keep_metadata=False))[0]


def test_only_white_that_hangs_together_with_the_border_is_snapped() -> None:
    """An island of nearly white within the product stays, and so does what is darker than the threshold."""
    image = Image.new("RGB", (60, 40), (247, 250, 248))
    draw = ImageDraw.Draw(image)
    draw.rectangle((10, 8, 49, 31), fill=(120, 60, 30))
    draw.rectangle((20, 15, 39, 24), fill=(247, 250, 248))
    draw.rectangle((0, 35, 59, 39), fill=(200, 200, 200))
    image.putpixel((9, 7), (247, 250, 248))
    made, _ = made_from(file_of(image, "PNG"), Post(snap_white=240))
    with Image.open(io.BytesIO(made)) as out:
        assert out.getpixel((0, 0)) == out.getpixel((59, 34)) == out.getpixel((5, 20)) == (255, 255, 255)
        assert out.getpixel((30, 20)) == (247, 250, 248)
        assert out.getpixel((12, 10)) == (120, 60, 30)
        assert out.getpixel((3, 37)) == (200, 200, 200)
    assert made_from(file_of(image, "PNG"), Post(snap_white=254))[0] != made


@settings(max_examples=60, deadline=None)
@given(cells=st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=6, max_size=6))
def test_what_is_reached_is_what_a_flood_reaches(cells: list[list[bool]]) -> None:
    """Compared with the plain way: pixel by pixel from the border, four neighbours."""
    image = Image.new("RGB", (7, 6), (10, 10, 10))
    for y, row in enumerate(cells):
        for x, white in enumerate(row):
            if white:
                image.putpixel((x, y), (250, 251, 252))
    edge = [(x, y) for y in range(6) for x in range(7) if (x in (0, 6) or y in (0, 5)) and cells[y][x]]
    reached, open_ = set(edge), [*edge]
    while open_:
        x, y = open_.pop()
        for spot in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if 0 <= spot[0] < 7 and 0 <= spot[1] < 6 and cells[spot[1]][spot[0]] and spot not in reached:
                reached.add(spot)
                open_.append(spot)
    made, _ = made_from(file_of(image, "PNG"), Post(snap_white=240))
    with Image.open(io.BytesIO(made)) as out:
        snapped = {(x, y) for y in range(6) for x in range(7) if out.getpixel((x, y)) == (255, 255, 255)}
    assert snapped == reached


def test_the_quality_goes_down_to_the_floor_and_no_further() -> None:
    """The best file that is small enough; else an error that names the floor."""
    data = file_of(noise((300, 300), 39).effect_spread(9), "PNG")
    whole = len(made_from(data, Post(format="jpeg"))[0])
    made, _ = made_from(data, Post(format="jpeg", max_bytes=whole // 2))
    assert len(made) <= whole // 2
    better = [q for q in range(50, 90) if len(made_from(data, Post(format="jpeg", quality=q))[0]) <= whole // 2]
    assert made == made_from(data, Post(format="jpeg", quality=max(better)))[0]
    with pytest.raises(
        Unreachable, match=r"at quality 80, the floor of max_bytes, the file still has [\d,]+ bytes and 900"
    ):
        made_from(data, Post(format="webp", max_bytes=900, floor=80))
    with pytest.raises(Unreachable, match="png has no quality to lower"):
        made_from(data, Post(fit="200x200", max_bytes=900))


@pytest.mark.parametrize(("target", "side"), [("jpeg", 65_501), ("webp", 16_384)])
def test_what_a_format_cannot_hold_is_said(target: str, side: int) -> None:
    """Before the encoder fails in its own words; a PNG takes it."""
    for size in ((side, 8), (8, side)):
        data = io.BytesIO()
        Image.new("RGB", size, "red").save(data, "PNG")
        with pytest.raises(Unreachable, match=rf"{size[0]}x{size[1]} pixels, and no side of a {target} has more"):
            made_from(data.getvalue(), Post(format=target))
        shorter = Image.new("RGB", (size[0] - (side == size[0]), size[1] - (side == size[1])), "red")
        data = io.BytesIO()
        shorter.save(data, "PNG")
        assert made_from(data.getvalue(), Post(format=target))[0]
        assert made_from(data.getvalue(), Post(format="png", snap_white=250))[0]


def test_colours_are_converted_and_the_profile_goes() -> None:
    """sRGB: another profile's red becomes another red; without `srgb` the profile stays; a broken one is said."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    broken = file_of(noise((20, 20), 4), "PNG", icc_profile=b"\0" * 16 + b"RGB " + b"junk" * 40)
    made, findings = made_from(broken, Post(srgb=True))
    assert [each.verdict for each in findings] == ["warned"]
    assert "profile" in findings[0].measured
    with Image.open(io.BytesIO(made)) as image:
        assert "icc_profile" not in image.info
    odd = file_of(noise((20, 20), 4), "PNG", icc_profile=lab)  # of colours that the picture does not have
    with Image.open(io.BytesIO(made_from(odd, Post(fit="10x10"))[0])) as image:
        assert "icc_profile" not in image.info


def test_sixteen_bits_keep_their_greys() -> None:
    """Half of 65,535 is half of 255, and not white."""
    image = Image.new("I;16", (8, 8), 32_768)
    made, _ = made_from(file_of(image, "PNG"), Post(fit="4x4"))
    with Image.open(io.BytesIO(made)) as out:
        assert out.getpixel((0, 0)) == (128, 128, 128)


def measure(data: bytes, check: Check, source: bytes | str = b"") -> str:
    (found,) = look_at(data, [check], lambda: source)
    return f"{found.verdict}: {found.measured}"


def test_what_checks_say() -> None:
    """Each measures what its name says, and its severity decides only the word."""
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    ImageDraw.Draw(image).rectangle((10, 10, 189, 89), fill=(20, 40, 60))
    data = file_of(image, "PNG")
    assert (
        measure(data, Check(name="min_side", severity="fail", least=101)) == "failed: the shortest side has 100 pixels"
    )
    assert measure(data, Check(name="min_side", severity="fail", least=200, side="longest")).startswith("passed")
    assert measure(data, Check(name="aspect", severity="warn", ratio="2:1")).startswith("passed")
    assert measure(data, Check(name="aspect", severity="warn", ratio="1:1")) == "warned: 200x100, 100.00 % off"
    assert measure(data, Check(name="white_border", severity="warn", least=100)).startswith("passed: 100 %")
    assert measure(data, Check(name="fill", severity="warn", least=91)) == "warned: 90.0 % of the frame is filled"
    image.putpixel((0, 50), (254, 255, 255))
    assert measure(file_of(image, "PNG"), Check(name="white_border", severity="fail", least=100)) == (
        "failed: 99.8 % of the border is pure white"
    )
    assert measure(data, Check(name="max_bytes", severity="fail", most=10)).startswith("failed")
    blank = file_of(Image.new("RGBA", (50, 50), (1, 2, 3, 0)), "PNG")
    assert measure(blank, Check(name="not_blank", severity="fail")).startswith("failed")
    assert measure(data, Check(name="not_blank", severity="fail")).startswith("passed")
    jpeg = file_of(image, "JPEG", quality=85)
    assert measure(jpeg, Check(name="not_identical", severity="fail"), data).startswith("failed")
    other = file_of(Image.new("RGB", (200, 100), (90, 10, 10)), "PNG")
    assert measure(other, Check(name="not_identical", severity="fail"), data).startswith("passed")
    assert measure(data, Check(name="not_identical", severity="fail"), "its original is gone") == (
        "warned: cannot be compared: its original is gone"
    )
    assert measure(jpeg, Check(name="phash_distance", severity="fail", most=4), data).startswith("passed")
    assert measure(jpeg, Check(name="phash_distance", severity="fail", least=1), data).startswith("failed")
    assert measure(data[:-200], Check(name="decodes", severity="fail")).startswith("failed: the file is damaged")


def test_a_perceptual_hash_knows_a_picture_again() -> None:
    """Scaled, brighter and encoded it is nearly the same; another picture is not."""
    one = noise((300, 240), 11)
    ImageDraw.Draw(one).rectangle((0, 0, 140, 60), fill=(10, 10, 40))
    again = one.resize((150, 120)).point(lambda value: min(255, int(value * 1.05)))
    assert (phash(one) ^ phash(again)).bit_count() <= 6
    assert (phash(one) ^ phash(one.rotate(90))).bit_count() >= 12


def test_every_profile_makes_what_it_promises() -> None:
    """Dated, with a source; the file of a plain white packshot passes its own checks but for its size."""
    image = Image.new("RGB", (2100, 2100), (252, 252, 252))
    ImageDraw.Draw(image).ellipse((100, 100, 2000, 2000), fill=(30, 90, 60))
    data = file_of(image, "PNG")
    for name, profile in profiles().items():
        assert profile.date.startswith("20"), name
        assert len(profile.source) > 10
        assert profile.notes
        recipe = profile.recipe()
        made, findings = made_from(data, recipe.post)
        assert findings == []
        found = look_at(made, recipe.checks, lambda: data)
        unmet = [each for each in found if each.verdict != "passed"]
        assert unmet == [], (name, unmet)


def test_nothing_to_do_leaves_the_bytes_alone() -> None:
    """Asked for the format that it has, a picture is not encoded again."""
    data = file_of(noise((30, 30), 2), "PNG")
    assert made_from(data, None)[0] is data
    assert made_from(data, Post(format="png"))[0] is data
