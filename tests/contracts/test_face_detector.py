"""The contract of face detectors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from indexer.ports.models import FaceDetector
from models.faces.card import read_card
from models.faces.detector import onnx_face_detector, torch_face_detector
from models.inference.lazy import LazyFaceDetector
from tests.support.fake_models import FakeFaceDetector


@pytest.fixture(scope="module", params=["fake", "torch", "onnx", "lazy"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    match request.param:
        case "fake":
            return FakeFaceDetector()
        case "torch":
            return torch_face_detector(device="cpu")
        case "onnx":
            return onnx_face_detector()
        case _:
            return LazyFaceDetector(read_card().key, lambda: torch_face_detector(device="cpu"))


def pages() -> list[np.ndarray]:
    """Return pages of noise in several shapes, and one with two faces for the fake detector."""
    random = np.random.default_rng(0)
    shapes = [(120, 200), (300, 40), (1, 1), (768, 500), (33, 768)]
    noise = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
    with_faces = np.full((120, 160, 3), 255, dtype=np.uint8)
    with_faces[30:90, 40:100] = FakeFaceDetector.FACE_COLORS[0]
    with_faces[10:25, 120:150] = FakeFaceDetector.FACE_COLORS[1]
    return [*noise, with_faces]


def test_a_detector_has_a_key_that_does_not_change(detector: FaceDetector) -> None:
    assert detector.key and detector.key == detector.key.strip()
    assert detector.key == detector.key


def test_every_page_of_any_shape_has_a_result_with_the_largest_face_first(detector: FaceDetector) -> None:
    results = detector.detect(pages())
    assert len(results) == len(pages())
    for faces in results:
        areas = [face.area for face in faces]
        assert areas == sorted(areas, reverse=True)
        assert all(0 <= face.probability <= 1 for face in faces)


def test_a_page_has_the_same_faces_in_every_batch(detector: FaceDetector) -> None:
    in_one_batch = detector.detect(pages())
    for page, faces in zip(pages(), in_one_batch, strict=True):
        (alone,) = detector.detect([page])
        assert len(alone) == len(faces)
        for face, other in zip(alone, faces, strict=True):
            for edge in ("left", "top", "right", "bottom"):
                assert getattr(face, edge) == pytest.approx(getattr(other, edge), abs=1e-3)


def test_threads_share_a_detector(detector: FaceDetector) -> None:
    one_by_one = [detector.detect([page]) for page in pages()]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(detector.detect, [[page] for page in pages()] * 3)) == one_by_one * 3


def test_an_empty_list_of_pages_has_no_results(detector: FaceDetector) -> None:
    assert detector.detect([]) == []
