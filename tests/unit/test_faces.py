"""The views of an image that a classifier receives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.analysis.analyzer import Analyzer
from indexer.analysis.face_crops import DETECTION_MAX_SIDE, crop_views, whole_view
from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.emotions import NEUTRAL, NONE
from indexer.domain.images import DecodedImage, Face, Frame
from indexer.domain.models import ModelCard
from indexer.domain.predictions import Scores
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
    ((view,),) = crop_views([image.pixels], None, SPEC)
    assert view.face is None and view.pixels is image.pixels


def test_without_faces_the_view_is_the_whole_image() -> None:
    ((view,),) = crop_views([decoded((1600, 800)).pixels], FixedFaceDetector(), SPEC)
    assert view.face is None and view.pixels.shape == (32, 32, 3)


def test_the_crop_of_a_small_face_leaves_out_its_edges() -> None:
    page = np.full((200, 400, 3), 255, dtype=np.uint8)
    page[82:118, 182:218] = (255, 0, 0)
    image = decode(encoded(Image.fromarray(page)), SPEC, DETECTION_MAX_SIDE)
    ((view,),) = crop_views([image.pixels], FixedFaceDetector(Face(0.45, 0.4, 0.55, 0.6)), SPEC)
    assert view.pixels.shape == (32, 32, 3)
    # The page around the red face is white: the whole box would be red in 0.81.
    assert (view.pixels[..., 1] < 128).mean() > 0.86


def test_the_view_of_a_face_that_fills_most_of_the_image_is_the_whole_image() -> None:
    image = decoded()
    ((view,),) = crop_views([image.pixels], FixedFaceDetector(Face(0.1, 0.1, 0.9, 0.9)), SPEC)
    assert view.face is not None and np.array_equal(view.pixels, prepare(Image.fromarray(image.pixels), SPEC))


@pytest.mark.parametrize("faces", [[], [Face(0.1, 0.1, 0.3, 0.5)], [Face(0.1, 0.1, 0.3, 0.5), Face(0.8, 0.8, 0.9, 0.9)]])
def test_after_the_main_face_come_the_other_faces_and_the_whole_image(faces: list[Face], tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(data := encoded(draw_blocks(1, (1600, 800))))
    detector, image = FixedFaceDetector(*faces), decode(data, SPEC, DETECTION_MAX_SIDE)
    (views,) = crop_views([image.pixels], detector, SPEC)
    expected = [view.pixels for view in views[1:]] + [whole_view(image.pixels, SPEC).pixels] * bool(faces)
    further = InputDecoder(detector).further_views(tmp_path / "page.png", SPEC)
    assert further.shape == (len(faces), SPEC.size, SPEC.size, 3)
    assert all(np.array_equal(one, other) for one, other in zip(further, expected, strict=True))


def test_a_data_set_is_decoded_as_the_analyzer_sees_its_images(tmp_path: Path) -> None:
    (tmp_path / "page.png").write_bytes(data := encoded(draw_blocks(1, (1600, 800))))
    face = Face(0.45, 0.4, 0.55, 0.6)
    for detector, faces in ((None, WHOLE_IMAGES), (FixedFaceDetector(face), "fixed"), (FixedFaceDetector(), "fixed")):
        decoder = InputDecoder(detector)
        ((view,),) = crop_views([decode(data, SPEC, DETECTION_MAX_SIDE if detector else 0).pixels], detector, SPEC)
        assert decoder.faces == faces and np.array_equal(decoder.decode(tmp_path / "page.png", SPEC), view.pixels)


edges = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)


@given(edges, edges, st.integers(1, 60), st.integers(1, 60))
def test_any_face_of_any_image_can_be_cropped(across: list[float], down: list[float], width: int, height: int) -> None:
    image = DecodedImage(b"", np.zeros((height, width, 3), np.uint8), width, height, "PNG")
    ((view,),) = crop_views([image.pixels], FixedFaceDetector(Face(across[0], down[0], across[1], down[1])), SPEC)
    assert view.pixels.shape == (32, 32, 3) and view.pixels.dtype == np.uint8


@pytest.mark.parametrize("edges", [(0.5, 0.1, 0.4, 0.2), (0.1, 0.1, 0.1, 0.2), (-0.1, 0, 1, 1), (0, 0, 1, 1.01)])
def test_a_face_outside_its_image_is_an_error(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="not a box"):
        Face(*edges)


class RedIsNone:
    """A classifier that takes red views for none, and all others for happy."""

    card = ModelCard("red", "none", "", ("happy", NONE), SPEC, 4)
    device, engine, batch_size, streams = "cpu", "none", 8, 1

    def __init__(self) -> None:
        self.view_counts: list[int] = []

    def classify(self, pixels: np.ndarray) -> Scores:
        self.view_counts.append(len(pixels))
        is_red = (pixels[..., 0] > 128).mean(axis=(1, 2)) - (pixels[..., 1] > 128).mean(axis=(1, 2)) > 0.5
        probabilities = np.stack([~is_red, is_red], axis=1).astype(np.float32)
        return Scores(probabilities, np.zeros((len(pixels), 4), dtype=np.float32))


def red_and_green_page() -> DecodedImage:
    page = np.full((400, 400, 3), 255, dtype=np.uint8)
    page[20:120, 20:120] = (255, 0, 0)
    page[220:280, 220:280] = (0, 255, 0)
    return DecodedImage(b"", page, 400, 400, "PNG")


RED, GREEN = Face(0.05, 0.05, 0.3, 0.3), Face(0.55, 0.55, 0.7, 0.7)


def test_a_region_that_the_classifier_takes_for_none_is_no_face() -> None:
    (predictions,) = Analyzer(RedIsNone(), FixedFaceDetector(RED, GREEN)).predict([red_and_green_page()])
    assert predictions is not None and [prediction.face for prediction in predictions] == [GREEN]


def test_an_image_whose_regions_are_all_none_is_classified_as_a_whole() -> None:
    classifier = RedIsNone()
    page = red_and_green_page()
    analyzed = Analyzer(classifier, FixedFaceDetector(RED)).predict([page, page])
    assert [[prediction.face for prediction in predictions or ()] for predictions in analyzed] == [[None], [None]]
    assert all(predictions and predictions[0].probabilities == (1.0, 0.0) for predictions in analyzed)
    assert classifier.view_counts == [2, 2]


def test_a_whole_image_of_none_is_none() -> None:
    image = DecodedImage(b"", np.full((50, 50, 3), (255, 0, 0), dtype=np.uint8), 50, 50, "PNG")
    (predictions,) = Analyzer(RedIsNone(), FixedFaceDetector()).predict([image])
    assert predictions is not None and predictions[0].face is None and predictions[0].probabilities == (0.0, 1.0)


class ByGreen:
    """A classifier whose probability of happy is the greenness of a view; the rest is neutral."""

    card = ModelCard("green", "none", "", ("happy", NEUTRAL), SPEC, 4)
    device, engine, batch_size, streams = "cpu", "none", 8, 1

    def classify(self, pixels: np.ndarray) -> Scores:
        green = pixels[:, 16, 16, 1].astype(np.float32) / 255
        return Scores(np.stack([green, 1 - green], axis=1), np.zeros((len(pixels), 4), dtype=np.float32))


class DarkIsAFace:
    """A face detector that finds one face in each page that is not white."""

    key = "dark"

    def detect(self, pages: Sequence[np.ndarray]) -> list[list[Face]]:
        return [[] if page.min() == 255 else [GREEN] for page in pages]


def animation_of(*greens: int | None) -> DecodedImage:
    pages = [np.full((400, 400, 3), 255 if green is None else (0, green, 0), dtype=np.uint8) for green in greens]
    later = tuple(Frame(10 * number, page) for number, page in enumerate(pages[1:], start=2))
    return DecodedImage(b"", pages[0], 400, 400, "GIF", 10, later)


@pytest.mark.parametrize(
    ("greens", "frame", "happy"),
    [
        ((None, 200, 240, 150), 30, 240 / 255),
        ((0, 200, 0), 20, 200 / 255),
        ((10, 0, 30), 20, 0.0),
        ((None, None, 20), 30, 20 / 255),
        ((220, 220), 10, 220 / 255),
        ((None, None), 10, 1.0),
    ],
)
def test_the_strongest_face_of_an_animation_answers(greens: tuple[int | None, ...], frame: int, happy: float) -> None:
    (predictions,) = Analyzer(ByGreen(), DarkIsAFace()).predict([animation_of(*greens)])
    assert predictions is not None and {prediction.frame for prediction in predictions} == {frame}
    assert predictions[0].probabilities[0] == pytest.approx(happy)
    assert (predictions[0].face is None) == all(green is None for green in greens)


def test_animations_and_still_images_are_analyzed_together() -> None:
    still = DecodedImage(b"", np.full((400, 400, 3), (0, 50, 0), dtype=np.uint8), 400, 400, "PNG")
    images = [still, animation_of(None, 255, 0), still, animation_of(255)]
    analyzed = Analyzer(ByGreen(), DarkIsAFace()).predict(images)
    assert [predictions[0].frame for predictions in analyzed if predictions] == [None, 20, None, 10]
    assert [round(predictions[0].probabilities[0] * 255) for predictions in analyzed if predictions] == [50, 255, 50, 255]


def test_without_faces_the_strongest_frame_answers() -> None:
    pages = [np.full((32, 32, 3), (0, green, 0), dtype=np.uint8) for green in (10, 250, 100)]
    image = DecodedImage(b"", pages[0], 32, 32, "GIF", 1, (Frame(2, pages[1]), Frame(3, pages[2])))
    (predictions,) = Analyzer(ByGreen()).predict([image])
    assert predictions is not None and predictions[0].frame == 2
