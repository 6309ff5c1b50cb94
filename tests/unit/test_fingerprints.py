"""Fingerprints tell expressions of one character apart, and copies of one image not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from indexer.domain.fingerprints import FINGERPRINT_BYTES, show_the_same
from indexer.imaging.decode import decode
from indexer.imaging.fingerprint import gray_image, gray_region
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


def fingerprint(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    page = decode(encoded(image, form, **options), SPEC, 768).pixels
    view = np.asarray(Image.fromarray(page).resize((128, 128), Image.Resampling.BICUBIC))
    return gray_image(page) + gray_region(view)


def test_every_pair_of_expressions_differs() -> None:
    prints = [fingerprint(draw_face(eyes, mouth)) for eyes in EYES for mouth in MOUTHS]
    assert not any(show_the_same(one, other) for one, other in combinations(prints, 2))


@pytest.mark.parametrize("size", [128, 256, 700])
@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("JPEG", {"quality": 60}), ("WEBP", {"quality": 70})])
def test_resized_and_compressed_copies_are_the_same(size: int, form: str, options: dict[str, object]) -> None:
    for eyes in EYES:
        original, copy = draw_face(eyes, "grin", 512), draw_face(eyes, "grin", 512).resize((size, size), Image.Resampling.BICUBIC)
        assert show_the_same(fingerprint(original), fingerprint(copy, form, **options))


def test_a_face_that_was_cut_out_a_little_otherwise_is_the_same() -> None:
    image = draw_face("open", "grin")
    views = [np.asarray(image.crop(box).resize((128, 128))) for box in ((20, 20, 236, 236), (23, 18, 239, 234))]
    page = gray_image(np.asarray(image))
    first, second = (page + gray_region(view) for view in views)
    assert show_the_same(first, second)


def test_the_same_face_in_another_image_differs() -> None:
    face = np.asarray(draw_face("open", "grin", 128))
    pages = []
    for color in ((20, 40, 160), (240, 180, 20)):
        page = Image.new("RGB", (400, 800), color)
        page.paste(Image.fromarray(face), (130, 20))
        pages.append(gray_image(np.asarray(page)) + gray_region(face))
    assert not show_the_same(*pages)


def test_a_fingerprint_of_another_length_is_refused() -> None:
    assert len(fingerprint(draw_face("open", "grin"))) == FINGERPRINT_BYTES
    with pytest.raises(ValueError, match="832 bytes"):
        show_the_same(bytes(FINGERPRINT_BYTES), bytes(3))
