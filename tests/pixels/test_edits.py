"""Each word does what it says, measured on pixels."""

from __future__ import annotations

import pytest
from PIL import Image, ImageFilter, ImageOps, ImageStat

from batchedit.emulator.palette import colour
from tests.pixels.drawing import (
    GROUND,
    OBJECT,
    SIDE,
    at,
    border,
    channels,
    difference,
    edited,
    encoded,
    mean,
    near,
    product,
    unmarked,
)

ORIGINAL = product()


@pytest.mark.parametrize("ground", [GROUND, (190, 205, 218), (226, 214, 196), (120, 126, 120)], ids=str)
def test_white_background(ground: tuple[int, int, int]) -> None:
    """The border is pure white, the object is as it was, the handle's hole is open, the shadow is gone."""
    result = edited("pure white background", images=[encoded(product(ground))])
    assert set(border(result)) == {255}
    assert near(at(result, 75, 80), OBJECT, 6)
    assert near(at(result, 104, 79), (255, 255, 255), 8)
    assert near(at(result, 40, 124), (255, 255, 255), 8)
    # The object keeps its area: neither eaten nor with a halo of the old ground.
    covered = result.convert("L").point(lambda value: 255 if value < 200 else 0)
    expected = Image.new("L", result.size, 0)
    expected.paste(255, mask=_object_of(product(ground), ground))
    assert abs(ImageStat.Stat(covered).mean[0] - ImageStat.Stat(expected).mean[0]) < 5


def _object_of(image: Image.Image, ground: tuple[int, int, int]) -> Image.Image:
    red, green, _ = image.split()
    return Image.merge("RGB", (red, green, green)).convert("HSV").getchannel("S").point(
        lambda value: 255 if value > 90 else 0
    )  # fmt: skip


@pytest.mark.parametrize("name", ["navy", "beige", "mint"])
def test_other_backgrounds(name: str) -> None:
    """A named colour fills everything behind the object."""
    result = edited(f"on a plain {name} background")
    assert at(result, 2, 2) == at(result, SIDE - 3, 2) == colour(name)
    assert near(at(result, 75, 80), OBJECT, 6)


@pytest.mark.parametrize(("output_format", "mode"), [("png", "RGBA"), ("webp", "RGBA"), ("jpeg", "RGB")])
def test_transparent_background(output_format: str, mode: str) -> None:
    """Nothing behind the object where the format can say so, white where it cannot."""
    result = edited("transparent background", output_format=output_format)
    assert result.mode == mode
    if mode == "RGBA":
        alpha = result.getchannel("A")
        assert alpha.getpixel((3, 3)) == 0
        assert alpha.getpixel((75, 80)) == 255
    else:
        assert near(at(result, 3, 3), (255, 255, 255), 3)


def test_an_input_that_is_cut_out_already() -> None:
    """The alpha channel it came with is used."""
    cut = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    cut.paste((20, 120, 60, 255), (50, 50, 110, 120))
    result = edited("on a navy background", images=[encoded(cut)])
    assert at(result, 5, 5) == colour("navy")
    assert near(at(result, 80, 80), (20, 120, 60), 3)


@pytest.mark.parametrize("prompt", ["grayscale", "black and white", "white background, grayscale, warmer"])
def test_grayscale(prompt: str) -> None:
    """All channels are equal."""
    red, green, blue = edited(prompt).split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_sepia() -> None:
    """Red above green above blue everywhere but at the ends."""
    red, green, blue = channels(edited("sepia"))
    assert red > green + 5 > blue + 10


@pytest.mark.parametrize(("more", "less"), [("brighter", "darker")])
def test_brightness(more: str, less: str) -> None:
    """The mean goes up or down."""
    assert mean(edited(more)) > mean(ORIGINAL) + 10
    assert mean(edited(less)) < mean(ORIGINAL) - 10


def test_strength() -> None:
    """To a lesser or a greater degree."""
    plain = difference(edited("brighter"), ORIGINAL)
    assert difference(edited("slightly brighter"), ORIGINAL) < plain < difference(edited("much brighter"), ORIGINAL)


def test_warmth() -> None:
    """Red against blue."""
    red, _, blue = channels(ORIGINAL)
    for prompt, side in (("warmer", 1), ("cooler", -1)):
        new_red, _, new_blue = channels(edited(prompt))
        assert side * ((new_red - new_blue) - (red - blue)) > 8


def test_contrast() -> None:
    """The spread of lightness grows or shrinks."""
    spread = ImageStat.Stat(ORIGINAL.convert("L")).stddev[0]
    assert ImageStat.Stat(edited("more contrast").convert("L")).stddev[0] > spread * 1.1
    assert ImageStat.Stat(edited("less contrast").convert("L")).stddev[0] < spread * 0.9


def test_saturation() -> None:
    """The object gets more or less colourful."""

    def saturation(image: Image.Image) -> float:
        return ImageStat.Stat(image.convert("HSV").crop((62, 60, 90, 110))).mean[1]

    assert saturation(edited("saturated")) > saturation(ORIGINAL) + 8
    assert saturation(edited("muted")) < saturation(ORIGINAL) - 8


def test_sharpness() -> None:
    """Edges get stronger or weaker."""

    def edges(image: Image.Image) -> float:
        return mean(unmarked(image).convert("L").filter(ImageFilter.FIND_EDGES))

    soft = product().filter(ImageFilter.GaussianBlur(1))
    assert edges(edited("sharpen", images=[encoded(soft)])) > edges(soft) * 1.1
    assert edges(edited("blur", images=[encoded(soft)])) < edges(soft) * 0.9


def test_blurred_background() -> None:
    """The ground loses its pattern, the object keeps its edges."""
    spotted = product()
    for x in range(0, SIDE, 8):
        spotted.paste((200, 192, 182), (x, 0, x + 4, 20))
    before = ImageStat.Stat(spotted.crop((0, 0, SIDE, 16)).convert("L")).stddev[0]
    result = edited("blur the background", images=[encoded(spotted)])
    assert ImageStat.Stat(result.crop((0, 0, SIDE, 16)).convert("L")).stddev[0] < before
    assert near(at(result, 75, 80), OBJECT, 8)


def test_soft_shadow() -> None:
    """Darker just below the object, nothing at the border."""
    bare, shaded = edited("white background"), edited("white background with a soft shadow")
    assert at(shaded, 73, 124)[0] < at(bare, 73, 124)[0] - 40
    assert set(border(shaded)) == {255}


def test_flip() -> None:
    """Left and right swap."""
    assert difference(unmarked(edited("flip it")), unmarked(ImageOps.mirror(ORIGINAL))) < 0.01


def test_upside_down() -> None:
    """It stands on its head."""
    assert difference(unmarked(edited("upside down")), unmarked(ORIGINAL.rotate(180))) < 0.01


@pytest.mark.parametrize(
    ("prompt", "turn"),
    [("rotate clockwise", Image.Transpose.ROTATE_270), ("rotate counterclockwise", Image.Transpose.ROTATE_90)],
)
def test_rotate(prompt: str, turn: Image.Transpose) -> None:
    """A quarter turn if nothing else is said."""
    assert difference(unmarked(edited(prompt)), unmarked(ORIGINAL.transpose(turn))) < 0.01


def test_rotate_by_degrees() -> None:
    """A small turn moves the object and leaves the ground plain."""
    result = edited("rotate 12 degrees")
    assert difference(result, ORIGINAL) > 2
    assert near(at(result, 1, 1), at(ORIGINAL, 2, 2), 12)


def test_crop() -> None:
    """The object takes more of the frame, the tighter the more."""

    def covered(image: Image.Image) -> float:
        return mean(image.convert("HSV").getchannel("S").point(lambda value: 255 if value > 120 else 0))

    assert covered(edited("crop")) > covered(ORIGINAL) * 1.1
    assert covered(edited("tighter crop")) > covered(edited("crop")) * 1.05


def test_square_crop() -> None:
    """A wide picture becomes square around its object."""
    wide = Image.new("RGB", (320, 160), GROUND)
    wide.paste(OBJECT, (220, 50, 280, 120))
    result = edited("square crop", images=[encoded(wide)], size="auto")
    assert result.width == result.height
    assert near(at(result, round(result.width * 0.55), round(result.height * 0.55)), OBJECT, 6)


@pytest.mark.parametrize("name", ["oxblood", "forest", "navy", "tan"])
def test_recolour(name: str) -> None:
    """The object takes the colour, what is behind it stays."""
    result = edited(f"Recolour the cup to {name}")
    assert near(at(result, 75, 80), colour(name), 30)
    assert near(at(result, 8, 8), at(ORIGINAL, 8, 8), 2)


def test_recolouring_leaves_other_materials() -> None:
    """A white label on the object stays white."""
    labelled = product()
    labelled.paste((248, 246, 240), (66, 70, 90, 94))
    result = edited("recolour it to forest", images=[encoded(labelled)])
    assert near(at(result, 78, 82), (248, 246, 240), 12)
    assert near(at(result, 78, 108), colour("forest"), 30)


@pytest.mark.parametrize("scene", ["an oak table", "a marble table", "draped linen", "a concrete floor"])
def test_backdrops(scene: str) -> None:
    """The surroundings are other ones, and not even; the object is as it was."""
    result = edited(f"put it on {scene}")
    assert difference(result.crop((0, 0, 40, SIDE)), ORIGINAL.crop((0, 0, 40, SIDE))) > 6
    assert near(at(result, 75, 80), OBJECT, 6)


def test_studio_is_none_of_the_tables() -> None:
    """Each backdrop differs from the others."""
    names = ("in a studio", "on an oak table", "on linen", "on marble", "on concrete")
    pictures = [edited(name) for name in names]
    for number, first in enumerate(pictures):
        for second in pictures[number + 1 :]:
            assert difference(first, second) > 3


@pytest.mark.parametrize("prompt", ["", "something else entirely", "remove text"])
def test_the_default_is_visible(prompt: str) -> None:
    """What is not understood still changes the picture, and not by much."""
    assert 1.5 < difference(unmarked(edited(prompt)), unmarked(ORIGINAL)) < 40


def test_nothing_to_cut_out() -> None:
    """An even picture, or one without a plain ground, comes back all the same."""
    noise = Image.effect_noise((SIDE, SIDE), 90).convert("RGB")
    for image in (Image.new("RGB", (SIDE, SIDE), GROUND), noise, Image.new("RGB", (1, 1), GROUND)):
        assert edited("white background, soft shadow, recolour it to navy", images=[encoded(image)]).size == (
            SIDE,
            SIDE,
        )
