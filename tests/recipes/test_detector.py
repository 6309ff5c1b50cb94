"""How the detector learns: scenes whose boxes are where the heads are, and a loss that a right answer makes small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from models.faces.decode_boxes import STRIDE, decode_detections
from recipes.detector import scenes
from recipes.detector.cutouts import Cutout
from recipes.detector.loss import loss, target
from recipes.detector.scenes import Objects, compose

SIDE = 192


def heads() -> list[Cutout]:
    """Red discs, off the middle of their images."""
    image = Image.new("RGBA", (120, 160), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((10, 30, 89, 129), fill=(255, 0, 0, 255))
    return [Cutout(image, (10, 30, 90, 130), "nobody", True)] * 8


def things() -> Objects:
    return Objects([Image.new("RGBA", (40, 40), (0, 0, 255, 255))])


def test_the_same_seed_makes_the_same_scene() -> None:
    one, other = (compose(np.random.default_rng(5), heads(), things(), SIDE) for _ in range(2))
    assert np.array_equal(one.pixels, other.pixels) and np.array_equal(one.boxes, other.boxes)


def test_boxes_surround_the_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "_BACKGROUNDS", {"flat": 0.5, "panels": 0.5})
    monkeypatch.setattr(scenes, "finish", lambda random, page: page)
    monkeypatch.setattr(scenes, "paste_thing", lambda *_: None)
    monkeypatch.setattr(scenes, "_bubble", lambda *_: None)
    monkeypatch.setattr(scenes, "_color", lambda random: (0, 200, 0))
    counts = set()
    for seed in range(60):
        scene = compose(np.random.default_rng(seed), heads(), things(), SIDE)
        assert scene.pixels.shape == (SIDE, SIDE, 3) and scene.boxes.dtype == np.float32
        counts.add(len(scene.boxes))
        red = (scene.pixels[..., 0] > 200) & (scene.pixels[..., 1] < 60)
        left = red.copy()
        for box in scene.boxes:
            assert (box >= 0).all() and (box <= SIDE).all()
            a, b, c, d = (int(edge) for edge in np.round(box))
            inside = red[b:d, a:c]
            rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
            assert rows[0] <= 3 and rows[-1] >= d - b - 4 and columns[0] <= 3 and columns[-1] >= c - a - 4
            left[max(0, b - 2) : d + 2, max(0, a - 2) : c + 2] = False
        assert not left.any(), f"a head without a box in scene {seed}"
    assert {0, 1, 2, 3} <= counts


def test_scenes_of_all_kinds_can_be_made() -> None:
    counts = []
    for seed in range(120):
        scene = compose(np.random.default_rng((7, seed)), heads(), things(), SIDE)
        assert scene.pixels.dtype == np.uint8
        counts.append(len(scene.boxes))
    assert min(counts) == 0 and max(counts) > 20


def test_the_loss_is_zero_only_for_correct_maps() -> None:
    boxes = torch.tensor([[16.0, 24.0, 80.0, 100.0], [120.0, 120.0, 140.0, 136.0]])
    wanted = target([boxes], SIDE)
    logits = torch.where(wanted.marks > 0.99, 9.0, -9.0)
    steps = (torch.arange(SIDE // STRIDE) + 0.5) * STRIDE
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    near = wanted.boxes[0]
    distances = torch.stack([x - near[..., 0], y - near[..., 1], near[..., 2] - x, near[..., 3] - y])[None]
    right = float(loss(logits, distances, wanted))
    assert right < 0.05
    assert float(loss(logits, distances + 20, wanted)) > right + 0.5
    assert float(loss(-logits, distances, wanted)) > right + 5
    ((places, _),) = decode_detections(logits.numpy(), distances.numpy(), 0.5)
    assert sorted(places.tolist()) == sorted(boxes.tolist())
