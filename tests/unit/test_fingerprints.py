"""Fingerprints tell expressions of one character apart, and copies of one image not."""

from __future__ import annotations

from itertools import combinations

import pytest
from PIL import Image

from indexer.domain.fingerprints import FINGERPRINT_BYTES, show_the_same
from tests.support.drawn_faces import EYES, MOUTHS, draw_face, fingerprint_of


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
