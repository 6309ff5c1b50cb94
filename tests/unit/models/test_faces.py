"""The face detector: its maps, its boxes, its checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from indexer.domain.errors import ModelUnavailable
from models.architectures.fuse_batchnorm import fuse_batchnorms
from models.faces import checkpoint
from models.faces.card import SHIPPED, read_card
from models.faces.decode_boxes import STRIDE, decode_detections, iou_matrix, non_max_suppression
from models.faces.detector import NetworkFaceDetector, torch_face_detector
from models.faces.network import FaceNet

if TYPE_CHECKING:
    from indexer.domain.types import Pixels
    from models.inference.engines.base import Engine, Outputs

ROOT = Path(__file__).parents[3]


class CountingEngine:
    """An engine that counts the images that it receives."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.image_count = engine, 0
        self.name, self.device, self.batch_size, self.streams = engine.name, engine.device, engine.batch_size, engine.streams

    def run(self, pixels: Pixels) -> Outputs:
        self.image_count += len(pixels)
        return self._engine.run(pixels)


def test_fusing_batch_norms_preserves_the_output() -> None:
    torch.manual_seed(0)
    network = FaceNet().eval()
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        before = network(x)
        fuse_batchnorms(network)
        after = network(x)
    assert before[0].shape == (2, 96 // STRIDE, 96 // STRIDE) and before[1].shape == (2, 4, 96 // STRIDE, 96 // STRIDE)
    for original, fused in zip(before, after, strict=True):
        torch.testing.assert_close(original, fused, atol=1e-3, rtol=1e-3)


def test_a_cell_with_distances_becomes_a_box() -> None:
    logits = np.full((1, 4, 4), -9.0, dtype=np.float32)
    logits[0, 1, 2] = 2.0
    distances = np.broadcast_to(np.array([4, 6, 8, 10], dtype=np.float32).reshape(1, 4, 1, 1), (1, 4, 4, 4))
    ((boxes, scores),) = decode_detections(logits, distances, 0.5)
    assert boxes.tolist() == [[20 - 4, 12 - 6, 20 + 8, 12 + 10]]
    assert scores.tolist() == pytest.approx([1 / (1 + np.exp(-2.0))])
    assert len(decode_detections(logits, distances, 0.95)[0][0]) == 0


def test_boxes_of_one_face_become_one() -> None:
    boxes = np.array(
        [
            [0.0, 0.0, 10.0, 10.0],
            [1.0, 1.0, 11.0, 11.0],  # nearly the first
            [20.0, 0.0, 30.0, 10.0],
            [8.0, 0.0, 18.0, 10.0],  # touches the first
            [22.0, 2.0, 26.0, 6.0],  # inside the third
        ],
        dtype=np.float32,
    )
    remaining, scores = non_max_suppression(boxes, np.array([0.9, 0.8, 0.7, 0.6, 0.55], dtype=np.float32))
    assert remaining.tolist() == [[0, 0, 10, 10], [20, 0, 30, 10], [8, 0, 18, 10]]
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert iou_matrix(boxes[:1], boxes).tolist()[0] == pytest.approx([1, 81 / 119, 0, 20 / 180, 0])


def draw_face(page: Image.Image, x: int, y: int, size: int) -> tuple[float, float, float, float]:
    """Draw a yellow smiley; return its box as shares of the page."""
    draw = ImageDraw.Draw(page)
    box = (x, y, x + size, y + size)
    draw.ellipse(box, fill=(255, 205, 60), outline=(60, 40, 10), width=max(1, size // 30))
    for eye in (0.33, 0.67):
        middle, radius = (x + eye * size, y + 0.4 * size), size * 0.07
        draw.ellipse((middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius), fill=(40, 25, 10))
    mouth = (x + 0.25 * size, y + 0.35 * size, x + 0.75 * size, y + 0.78 * size)
    draw.arc(mouth, 20, 160, fill=(40, 25, 10), width=max(1, size // 18))
    return (x / page.width, y / page.height, (x + size) / page.width, (y + size) / page.height)


@pytest.mark.parametrize(
    ("size", "positions"),
    [
        ((200, 200), [(30, 30, 140)]),
        ((700, 300), [(40, 60, 150), (420, 100, 120)]),
        ((600, 900), [(60, 80, 200), (380, 300, 90), (100, 640, 70)]),
    ],
)
def test_the_shipped_detector_detects_plain_faces(size: tuple[int, int], positions: list[tuple[int, int, int]]) -> None:
    page = Image.new("RGB", size, (235, 240, 250))
    expected = [draw_face(page, *position) for position in positions]
    (faces,) = torch_face_detector(device="cpu").detect([np.asarray(page)])
    boxes = np.array([[face.left, face.top, face.right, face.bottom] for face in faces])
    assert len(faces) == len(expected)
    assert iou_matrix(boxes, np.array(expected)).max(axis=1).min() > 0.6


@pytest.mark.parametrize(("size", "face"), [((384, 5000), (100, 2900, 150)), ((5000, 384), (2900, 20, 330))])
def test_a_face_on_a_strip_is_detected(size: tuple[int, int], face: tuple[int, int, int]) -> None:
    page = Image.new("RGB", size, (235, 240, 250))
    expected = draw_face(page, *face)
    (faces,) = torch_face_detector(device="cpu").detect([np.asarray(page)])
    boxes = np.array([[face.left, face.top, face.right, face.bottom] for face in faces])
    assert len(faces) == 1 and iou_matrix(boxes, np.array([expected])).min() > 0.6


def test_nearly_all_faces_of_a_sheet_are_detected() -> None:
    page = Image.new("RGB", (768, 768), (255, 255, 255))
    expected = np.array([draw_face(page, 64 * column + 8, 64 * row + 8, 48) for row in range(12) for column in range(12)])
    (faces,) = torch_face_detector(device="cpu").detect([np.asarray(page)])
    boxes = np.array([[face.left, face.top, face.right, face.bottom] for face in faces])
    assert (iou_matrix(boxes, expected).max(axis=0) > 0.5).mean() >= 0.95


@pytest.mark.parametrize(("side", "second_passes"), [(380, 0), (300, 1)])
def test_a_face_that_fills_the_image_prevents_the_second_pass(side: int, second_passes: int) -> None:
    page = Image.new("RGB", (640, 640), (235, 240, 250))
    expected = draw_face(page, 30, 40, side)
    detector = torch_face_detector(device="cpu")
    far = CountingEngine(detector._far())
    (faces,) = NetworkFaceDetector(detector._card, detector._near, lambda: far).detect([np.asarray(page)])
    assert len(faces) == 1 and far.image_count == second_passes
    assert (
        iou_matrix(np.array([[faces[0].left, faces[0].top, faces[0].right, faces[0].bottom]]), np.array([expected])).min() > 0.6
    )


def test_an_empty_image_has_no_face() -> None:
    assert torch_face_detector(device="cpu").detect([np.full((300, 400, 3), 255, dtype=np.uint8)]) == [[]]


def test_a_saved_detector_is_loaded(tmp_path: Path) -> None:
    state = FaceNet().state_dict()
    path = checkpoint.save(tmp_path, "mine", state, 96, 0.25, {"scenes": 1})
    card, stored = checkpoint.load(path)
    assert (card.side, card.least) == (96, 0.25) and card == read_card(path)
    assert stored.keys() == {name for name in state if not name.endswith("num_batches_tracked")}
    assert card.key != read_card(SHIPPED).key


def test_an_altered_detector_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "altered.safetensors"
    path.write_bytes(SHIPPED.read_bytes()[:-1] + b"\x00\x00")
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        torch_face_detector(path, "cpu")
    path.with_suffix(".json").write_bytes(SHIPPED.with_suffix(".json").read_bytes())
    with pytest.raises(ModelUnavailable, match="damaged or not the one"):
        torch_face_detector(path, "cpu")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, "other", {"stem.conv.weight": torch.zeros(1)}, 96, 0.5, {})
    with pytest.raises(ModelUnavailable, match="not a face detector"):
        torch_face_detector(path, "cpu")


def test_the_card_has_the_measurements() -> None:
    about = json.loads(SHIPPED.with_suffix(".json").read_text())["about"]
    measured = json.loads((ROOT / "bench/results/sprite_heads.json").read_text())
    assert about["measured"] == {"on": "sprites by artists that no training has seen", **measured["all"]}
