"""The label of a picture holds after an edit that leaves it the same picture, and for no other expression."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from indexer.domain.edits import Edit, Look, how_edited, label_holds
from indexer.domain.fingerprints import FINGERPRINT_BYTES, SIDE, show_the_same
from tests.support.drawn_faces import EYES, MOUTHS, draw_face, fingerprint_of

if TYPE_CHECKING:
    from indexer.domain.types import Halves

EXAMPLES = Path(__file__).parents[2] / "examples/images"
TURNS = tuple(Image.Transpose)


def crop(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Cut off shares of the width and height."""
    width, height = image.size
    return image.crop((round(left * width), round(top * height), width - round(right * width), height - round(bottom * height)))


def drawings() -> list[Image.Image]:
    """One drawing of each style in the examples, and one expression of the drawn character."""
    styles = sorted(folder for folder in EXAMPLES.iterdir() if folder.is_dir())
    images = [Image.open(min(folder.glob("*.png"))).convert("RGBA") for folder in styles]
    return [*(Image.alpha_composite(Image.new("RGBA", one.size, "white"), one).convert("RGB") for one in images)]


def edited(before: Image.Image, after: Image.Image) -> Edit | None:
    return how_edited(fingerprint_of(before), fingerprint_of(after))


@pytest.mark.parametrize(
    "retouch",
    [
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        lambda image: ImageEnhance.Brightness(image).enhance(1.04),
        lambda image: ImageEnhance.Contrast(image).enhance(1.15),
        lambda image: ImageEnhance.Contrast(image).enhance(0.9),
        lambda image: image.point(lambda value: round(255 * (value / 255) ** 1.1)),
        lambda image: image.filter(ImageFilter.SHARPEN),
        lambda image: image.convert("L"),
    ],
    ids=["darker", "brighter", "more contrast", "less contrast", "gamma", "sharper", "gray"],
)
def test_a_retouch_of_all_tones_leaves_the_same_picture(retouch: Callable[[Image.Image], Image.Image]) -> None:
    for eyes in EYES:
        image = draw_face(eyes, "grin")
        assert edited(image, retouch(image)) is Edit.RETOUCHED


def test_edits_that_hardly_show_leave_the_same_picture() -> None:
    look = bytes(100 + cell % 50 for cell in range(FINGERPRINT_BYTES))
    assert how_edited(look, look) is how_edited(look, bytes(value + 1 for value in look)) is Edit.RETOUCHED
    speck = look[:-1] + bytes([look[-1] - 80])
    assert how_edited(look, speck) is Edit.RETOUCHED and not show_the_same(look, speck)
    square = bytearray(look)
    middle = SIDE * SIDE // 2 + SIDE // 2
    for start in (middle, middle + SIDE):
        square[start : start + 2] = bytes(value - 40 for value in square[start : start + 2])
    assert how_edited(look, bytes(square)) is None


def test_an_unknown_fingerprint_tells_nothing_and_a_wrong_one_is_refused() -> None:
    look = bytes(FINGERPRINT_BYTES)
    assert how_edited(None, look) is how_edited(look, b"") is None
    with pytest.raises(ValueError, match="1024 bytes"):
        how_edited(look, bytes(3))


def test_images_of_one_color_are_the_same_only_if_their_colors_are_close() -> None:
    white, gray, black = (bytes([level]) * FINGERPRINT_BYTES for level in (255, 230, 0))
    assert how_edited(white, gray) is Edit.RETOUCHED and how_edited(white, black) is None


@pytest.mark.parametrize("turn", TURNS)
def test_a_picture_that_is_turned_or_mirrored_is_the_same(turn: Image.Transpose) -> None:
    for image in (*drawings(), draw_face("wink", "teeth")):
        assert edited(image, image.transpose(turn)) in (Edit.TURNED, Edit.RETOUCHED)  # a face may be symmetric
    wink = draw_face("wink", "grin")
    assert how_edited(fingerprint_of(wink), fingerprint_of(wink.transpose(turn), "JPEG", quality=70)) is Edit.TURNED


@pytest.mark.parametrize(
    "margins", [(0.01,) * 4, (0.03,) * 4, (0.03, 0, 0, 0), (0, 0.02, 0, 0.02), (0.004, 0.021, 0.013, 0.027)], ids=str
)
def test_a_picture_with_cropped_margins_is_the_same(margins: tuple[float, float, float, float]) -> None:
    for eyes, mouth in product(EYES, MOUTHS):
        image = draw_face(eyes, mouth, 400)
        assert edited(image, crop(image, *margins)) in (Edit.CROPPED, Edit.RETOUCHED)
        assert edited(crop(image, *margins), image) in (Edit.CROPPED, Edit.RETOUCHED)
    found = [edited(image, crop(image, *margins)) for image in drawings()]
    assert sum(one is not None for one in found) >= 0.75 * len(found)


def test_a_picture_of_which_more_is_missing_is_another_one() -> None:
    image = draw_face("open", "grin", 400)
    assert edited(image, crop(image, 0.1, 0.1, 0.1, 0.1)) is edited(image, crop(image, 0, 0, 0.2, 0)) is None


def test_no_expression_is_taken_for_another_however_it_is_edited() -> None:
    faces = [draw_face(eyes, mouth, 400) for eyes in EYES for mouth in MOUTHS]
    edits = [
        *(face for face in faces),
        *(crop(face, 0.01, 0.02, 0.02, 0.01) for face in faces),
        *(crop(face, 0.03, 0.03, 0.03, 0.03) for face in faces),
        *(ImageOps.mirror(face) for face in faces),
        *(ImageEnhance.Brightness(face).enhance(0.9) for face in faces),
    ]
    prints = list(map(fingerprint_of, edits))
    pairs = [(one, two) for one, two in combinations(range(len(prints)), 2) if one % len(faces) != two % len(faces)]
    assert len(pairs) == 900
    assert [pair for pair in pairs if how_edited(prints[pair[0]], prints[pair[1]]) is not None] == []


def test_no_drawing_is_taken_for_another() -> None:
    prints = [fingerprint_of(image) for image in (*drawings(), draw_face("open", "grin"))]
    assert not any(how_edited(one, other) for one, other in combinations(prints, 2))


def expression(angle: float) -> Halves:
    """An expression at an angle from another one, in degrees."""
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], dtype=np.float16)


def test_the_model_tells_expressions_apart_whose_pictures_hardly_differ() -> None:
    look = fingerprint_of(draw_face("open", "grin"))
    sure, other = (0.7, 0.2, 0.1), (0.2, 0.7, 0.1)
    assert label_holds(Look(look, sure, expression(0)), Look(look, other, expression(20)))
    assert not label_holds(Look(look, sure, expression(0)), Look(look, sure, expression(50)))
    # Without expressions, as for models of one space, the most probable emotion decides; an unknown one changes nothing.
    assert label_holds(Look(look, sure), Look(look, (0.5, 0.4, 0.1)))
    assert not label_holds(Look(look, sure), Look(look, other))
    assert label_holds(Look(look), Look(look, other)) and not label_holds(Look(), Look(look, sure))


def test_a_turned_picture_keeps_its_label_whatever_the_model_sees() -> None:
    face = draw_face("wink", "grin")
    look, turned = fingerprint_of(face), fingerprint_of(face.transpose(Image.Transpose.ROTATE_90))
    assert label_holds(Look(look, (1.0, 0.0), expression(0)), Look(turned, (0.0, 1.0), expression(90)))
