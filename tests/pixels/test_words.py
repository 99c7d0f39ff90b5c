"""What the emulator reads out of a prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchedit.emulator.palette import colour
from batchedit.emulator.words import Wishes, understand

WHITE = colour("white")


@pytest.mark.parametrize(
    "prompt",
    [
        "white background",
        "Put the boot on a pure white background; change nothing on the boot",
        "Pure white",
        "seamless white",
        "on white",
        "packshot",
        "Cut out the shirt and place it on pure white (#FFFFFF). Do not redraw the product.",
        "Make the background white",
        "The background should be a plain white",
        "Remove the background and put the lamp on white.",
        "Place it on a seamless white sweep",
        "no shadow, white studio background",
        "linen shirt on white",
        "WHITE BACKGROUND",
    ],
)
def test_white_background(prompt: str) -> None:
    """However it is said, it means only this."""
    assert understand(prompt) == Wishes(background=WHITE)


@pytest.mark.parametrize(
    ("prompt", "wishes"),
    [
        ("on a warm grey background", Wishes(background=colour("grey", "warm"))),
        ("make the background navy", Wishes(background=colour("navy"))),
        ("transparent background", Wishes(transparent=True)),
        ("remove the background", Wishes(transparent=True)),
        ("cut out the mug", Wishes(transparent=True)),
        ("grayscale", Wishes(grayscale=True)),
        ("Turn it black and white", Wishes(grayscale=True)),
        ("monochrome", Wishes(grayscale=True)),
        ("sepia", Wishes(sepia=True)),
        ("brighter", Wishes(brightness=1.0)),
        ("slightly darker", Wishes(brightness=-0.5)),
        ("much warmer", Wishes(warmth=1.6)),
        ("cooler", Wishes(warmth=-1.0)),
        ("more contrast", Wishes(contrast=1.0)),
        ("less contrast", Wishes(contrast=-1.0)),
        ("saturated", Wishes(saturation=1.0)),
        ("muted", Wishes(saturation=-1.0)),
        ("sharpen", Wishes(sharpness=1.0)),
        ("blur", Wishes(sharpness=-1.0)),
        ("blur the background", Wishes(blur_background=1.0)),
        ("blurred background", Wishes(blur_background=1.0)),
        ("soft shadow", Wishes(shadow=1.0)),
        ("add a contact shadow", Wishes(shadow=1.0)),
        ("crop", Wishes(crop=1.0)),
        ("tighter crop", Wishes(crop=1.6)),
        ("square crop", Wishes(square=True)),
        ("flip it", Wishes(mirror=True)),
        ("mirror the picture", Wishes(mirror=True)),
        ("upside down", Wishes(turn=180.0)),
        ("rotate", Wishes(turn=90.0)),
        ("rotate 15 degrees counterclockwise", Wishes(turn=345.0)),
        ("Recolour the leather to oxblood. Nothing else changes.", Wishes(recolour=colour("oxblood"))),
        ("recolor only the upper to forest", Wishes(recolour=colour("forest"))),
        ("make the mug navy blue", Wishes(recolour=colour("navy"))),
        ("on an oak table", Wishes(backdrop="oak")),
        ("in a studio", Wishes(backdrop="studio")),
        ("on draped linen", Wishes(backdrop="linen")),
    ],
)
def test_each_word(prompt: str, wishes: Wishes) -> None:
    """Each word alone."""
    assert understand(prompt) == wishes


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "something else entirely",
        "remove text",
        "Do not crop, do not flip and never blur it.",
        "Keep shape, colour, logos, contrast and background exactly as they are.",
        "without a white background",
        "no shadow",
    ],
)
def test_what_is_not_asked_for(prompt: str) -> None:
    """What is unknown, forbidden or to be kept is no wish."""
    assert not understand(prompt)


def test_words_compose_in_any_order() -> None:
    """The order of the sentences does not matter."""
    parts = ["White background.", "Soft shadow.", "Slightly warmer.", "Flip it."]
    expected = Wishes(background=WHITE, shadow=1.0, warmth=0.5, mirror=True)
    assert understand(" ".join(parts)) == understand(" ".join(reversed(parts))) == expected


def test_a_clause_that_keeps_ends_where_an_order_begins() -> None:
    """To keep one thing and to make another is one of each."""
    wishes = understand("Keep the boot exactly as it is and make the background light gray")
    assert wishes == Wishes(background=colour("gray", "light"))


@given(st.text(max_size=300))
def test_any_text_is_understood_somehow(prompt: str) -> None:
    """No prompt makes it fail, and the same one means the same."""
    assert understand(prompt) == understand(prompt)
