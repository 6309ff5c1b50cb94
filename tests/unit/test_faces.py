"""The views of an image that a classifier receives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.analysis.face_crops import DETECTION_MAX_SIDE, crop_views, main_view
from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.images import DecodedImage, Face
from indexer.domain.training import WHOLE_IMAGES
from indexer.imaging.decode import decode, prepare
from tests.support.builders import SPEC, draw_blocks, encoded


class FixedFaceDetector:
    """Detects the same faces in every image."""

    key = "fixed"

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, pages: Sequence[np.ndarray]) -> list[list[Face]]:
        return [self.faces for _ in pages]


def decoded(size: tuple[int, int] = (400, 200)) -> DecodedImage:
    return decode(encoded(draw_blocks(1, size)), SPEC, DETECTION_MAX_SIDE)


def test_the_image_for_detection_keeps_its_aspect_ratio_and_is_not_enlarged() -> None:
    small, large = decoded(), decoded((1600, 800))
    assert small.pixels.shape == (200, 400, 3)
    assert large.pixels.shape == (384, 768, 3)
    assert decode(encoded(draw_blocks(1, (1600, 800))), SPEC).pixels.shape == (32, 32, 3)


def test_without_a_detector_the_view_is_the_whole_image() -> None:
    image = decode(encoded(draw_blocks(1)), SPEC)
    ((view,),) = crop_views([image], None, SPEC)
    assert view.face is None and view.pixels is image.pixels


def test_without_faces_the_view_is_the_whole_image() -> None:
    ((view,),) = crop_views([decoded((1600, 800))], FixedFaceDetector(), SPEC)
    assert view.face is None and view.pixels.shape == (32, 32, 3)


def test_a_small_face_is_cropped_with_a_margin() -> None:
    page = np.full((200, 400, 3), 255, dtype=np.uint8)
    page[80:120, 180:220] = (255, 0, 0)
    image = decode(encoded(Image.fromarray(page)), SPEC, DETECTION_MAX_SIDE)
    ((view,),) = crop_views([image], FixedFaceDetector(Face(0.45, 0.4, 0.55, 0.6)), SPEC)
    red = (view.pixels[..., 1] < 128).any(axis=0)
    assert view.pixels.shape == (32, 32, 3)
    assert 32 / 1.1 - 2 <= red.sum() <= 32 / 1.1 + 2  # the crop is 1.1 times as wide as the face


def test_the_view_of_a_face_that_fills_most_of_the_image_is_the_whole_image() -> None:
    image = decoded()
    ((view,),) = crop_views([image], FixedFaceDetector(Face(0.1, 0.1, 0.9, 0.9)), SPEC)
    assert view.face is not None and np.array_equal(view.pixels, prepare(Image.fromarray(image.pixels), SPEC))


@pytest.mark.parametrize("faces", [[], [Face(0.1, 0.1, 0.3, 0.5)], [Face(0.1, 0.1, 0.3, 0.5), Face(0.8, 0.8, 0.9, 0.9)]])
def test_the_main_view_is_the_first_view(faces: list[Face]) -> None:
    image, detector = decoded((1600, 800)), FixedFaceDetector(*faces)
    ((first, *_),) = crop_views([image], detector, SPEC)
    main = main_view(image, detector, SPEC)
    assert main.face == first.face and np.array_equal(main.pixels, first.pixels)


def test_a_data_set_is_decoded_as_the_analyzer_sees_its_images(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(data := encoded(draw_blocks(1, (1600, 800))))
    face = Face(0.45, 0.4, 0.55, 0.6)
    for detector, faces in ((None, WHOLE_IMAGES), (FixedFaceDetector(face), "fixed"), (FixedFaceDetector(), "fixed")):
        decoder = InputDecoder(detector)
        ((view,),) = crop_views([decode(data, SPEC, DETECTION_MAX_SIDE if detector else 0)], detector, SPEC)
        assert decoder.faces == faces and np.array_equal(decoder.decode(tmp_path / "page.png", SPEC), view.pixels)


edges = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)


@given(edges, edges, st.integers(1, 60), st.integers(1, 60))
def test_any_face_of_any_image_can_be_cropped(across: list[float], down: list[float], width: int, height: int) -> None:
    image = DecodedImage(b"", np.zeros((height, width, 3), np.uint8), width, height, "PNG")
    ((view,),) = crop_views([image], FixedFaceDetector(Face(across[0], down[0], across[1], down[1])), SPEC)
    assert view.pixels.shape == (32, 32, 3) and view.pixels.dtype == np.uint8


@pytest.mark.parametrize("edges", [(0.5, 0.1, 0.4, 0.2), (0.1, 0.1, 0.1, 0.2), (-0.1, 0, 1, 1), (0, 0, 1, 1.01)])
def test_a_face_outside_its_image_is_an_error(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="not a box"):
        Face(*edges)
