"""Fingerprints tell expressions of one character apart, and copies of one image not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from indexer.domain.fingerprints import FINGERPRINT_BYTES, SIDE, nearly_the_same, show_the_same
from indexer.imaging.decode import decode
from indexer.imaging.fingerprint import fingerprint
from tests.support.builders import SPEC, encoded

EYES, MOUTHS = ("open", "closed", "wink"), ("grin", "teeth", "smile")


def draw_face(eyes: str, mouth: str, size: int = 256) -> Image.Image:
    """Draw a character with an expression, four times as large, and reduce it."""
    image = Image.new("RGB", (1024, 1024), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 80, 904, 960), fill=(255, 220, 185), outline=0, width=12)
    for left in (300, 580):
        if eyes == "open" or (eyes == "wink" and left == 300):
            draw.ellipse((left, 360, left + 120, 520), fill="white", outline=0, width=10)
            draw.ellipse((left + 30, 400, left + 90, 500), fill=(30, 60, 120))
        else:
            draw.arc((left, 400, left + 120, 520), 200, 340, fill=0, width=24)
    box = (360, 580, 660, 840)
    if mouth == "smile":
        draw.arc(box, 20, 160, fill=0, width=24)
    else:
        draw.chord(box, 0, 180, fill="white" if mouth == "teeth" else (190, 40, 50), outline=0, width=18)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def fingerprint_of(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    return fingerprint(decode(encoded(image, form, **options), SPEC, 768).pixels)


def test_every_pair_of_expressions_differs() -> None:
    prints = [fingerprint_of(draw_face(eyes, mouth)) for eyes in EYES for mouth in MOUTHS]
    assert not any(show_the_same(one, other) for one, other in combinations(prints, 2))


@pytest.mark.parametrize("size", [128, 256, 700])
@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("JPEG", {"quality": 60}), ("WEBP", {"quality": 70})])
def test_resized_and_compressed_copies_are_the_same(size: int, form: str, options: dict[str, object]) -> None:
    for eyes in EYES:
        original, copy = draw_face(eyes, "grin", 512), draw_face(eyes, "grin", 512).resize((size, size), Image.Resampling.BICUBIC)
        assert show_the_same(fingerprint_of(original), fingerprint_of(copy, form, **options))


def test_expressions_of_a_small_face_differ() -> None:
    """The head of a figure takes a fifth of the height of its image."""
    prints = []
    for eyes in EYES:
        figure = Image.new("RGB", (500, 1000), "white")
        figure.paste((60, 90, 170), (100, 250, 400, 1000))
        figure.paste(draw_face(eyes, "grin", 200), (150, 50))
        prints.append(fingerprint_of(figure))
    assert not any(show_the_same(one, other) for one, other in combinations(prints, 2))


def test_the_same_face_in_another_image_differs() -> None:
    prints = []
    for color in ((20, 40, 160), (240, 180, 20)):
        figure = Image.new("RGB", (400, 800), color)
        figure.paste(draw_face("open", "grin", 128), (130, 20))
        prints.append(fingerprint_of(figure))
    assert not show_the_same(*prints)


def test_a_fingerprint_of_another_length_is_refused() -> None:
    assert len(fingerprint_of(draw_face("open", "grin"))) == FINGERPRINT_BYTES
    with pytest.raises(ValueError, match="1024 bytes"):
        show_the_same(bytes(FINGERPRINT_BYTES), bytes(3))
    with pytest.raises(ValueError, match="1024 bytes"):
        nearly_the_same(bytes(FINGERPRINT_BYTES), bytes(3))


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
def test_a_retouch_of_all_tones_leaves_an_image_nearly_the_same(retouch: Callable[[Image.Image], Image.Image]) -> None:
    for eyes in EYES:
        image = draw_face(eyes, "grin")
        assert nearly_the_same(fingerprint_of(image), fingerprint_of(retouch(image)))


def test_other_expressions_are_not_nearly_the_same_in_any_tones() -> None:
    faces = [draw_face(eyes, mouth) for eyes in EYES for mouth in MOUTHS]
    prints = [fingerprint_of(face) for face in faces]
    darker = [fingerprint_of(ImageEnhance.Brightness(face).enhance(0.9)) for face in faces]
    assert not any(nearly_the_same(one, other) for one, other in combinations(prints, 2))
    assert not any(nearly_the_same(one, other) for at, one in enumerate(prints) for other in darker[at + 1 :])


def test_images_of_one_color_are_nearly_the_same_only_if_their_colors_are_close() -> None:
    white, gray, black = (bytes([level]) * FINGERPRINT_BYTES for level in (255, 230, 0))
    assert nearly_the_same(white, gray) and not nearly_the_same(white, black)


def test_edits_that_hardly_show_leave_an_image_nearly_the_same() -> None:
    look = bytes(100 + cell % 50 for cell in range(FINGERPRINT_BYTES))
    assert nearly_the_same(look, look) and nearly_the_same(look, bytes(value + 1 for value in look))
    speck = look[:-1] + bytes([look[-1] - 80])
    assert nearly_the_same(look, speck) and not show_the_same(look, speck)
    square = bytearray(look)
    for start in (0, SIDE):
        square[start : start + 2] = bytes(value - 40 for value in square[start : start + 2])
    assert not nearly_the_same(look, bytes(square))
    assert not nearly_the_same(None, look) and not nearly_the_same(b"", b"")
