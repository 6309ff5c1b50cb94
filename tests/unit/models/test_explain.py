from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from indexer.domain.errors import MissingExtra
from models.architectures.network import Network
from models.architectures.registry import ARCHITECTURES, Architecture, architecture
from models.training.attribution import METHODS, average_maps, deletion_test, heat_maps

SIZE = 64
CORNERS = {0: (slice(0, 32), slice(0, 32)), 1: (slice(32, 64), slice(32, 64))}
"""Rows and columns of the quarter that decides for each label: upper left, lower right."""


class TwoCorners(Network):
    """Predicts 0 for pure red in the upper left quarter, and 1 for pure red in the lower right quarter."""

    def __init__(self, classes: int, size: int, modifiers: frozenset[str]) -> None:
        super().__init__(2, classes)
        self.redness = nn.Conv2d(3, 2, 1)
        self.redness.weight.data = torch.tensor([[3.0, -1.5, -1.5], [3.0, -1.5, -1.5]])[:, :, None, None]
        self.redness.bias = nn.Parameter(torch.full((2,), -1.5))
        self.classifier.weight.data = torch.eye(2) * 20
        self.classifier.bias.data.zero_()

    def pooled(self, x: Tensor) -> Tensor:
        red = self.redness(x).relu()
        return torch.stack([red[:, label, rows, columns].mean(dim=(1, 2)) for label, (rows, columns) in CORNERS.items()], dim=1)


KIND = Architecture("two_corners", TwoCorners, frozenset(), maps="redness")


@pytest.fixture
def network() -> Network:
    return KIND.build(2, SIZE).eval()


@pytest.fixture
def marked_images() -> tuple[np.ndarray, np.ndarray]:
    """White images with two red squares: one in the quarter of their label, one in a quarter that the network ignores."""
    pixels = np.full((4, SIZE, SIZE, 3), 255, dtype=np.uint8)
    labels = np.array([0, 1, 0, 1], dtype=np.int64)
    for image, label in zip(pixels, labels, strict=True):
        start = 8 if label == 0 else 40
        image[start : start + 16, start : start + 16] = (255, 0, 0)
        image[4:12, 48:56] = (255, 0, 0)
    return pixels, labels


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_high_where_the_network_looks(
    network: Network, marked_images: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    pixels, labels = marked_images
    maps = heat_maps(network, KIND, pixels, labels, method)
    assert maps.shape == (4, SIZE, SIZE) and maps.dtype == np.float32
    assert maps.min() >= 0 and np.allclose(maps.max(axis=(1, 2)), 1)
    for heat, label in zip(maps, labels, strict=True):
        start = 8 if label == 0 else 40
        relevant = heat[start : start + 16, start : start + 16].mean()
        assert relevant > 0.5
        if method != "grad-cam":  # Grad-CAM weighs whole maps, so that every red pixel is high
            assert heat[4:12, 48:56].max() < 0.2


def test_grad_cam_is_high_where_the_feature_map_is(network: Network, marked_images: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = marked_images
    heat = heat_maps(network, KIND, pixels, labels, "grad-cam")[0]
    assert heat[8:24, 8:24].min() > 0.9 and heat[30:, :].max() == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_has_maps(name: str) -> None:
    kind = architecture(name)
    torch.manual_seed(0)
    network = kind.build(3, SIZE).eval()
    nn.init.normal_(network.classifier.weight)
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    maps_by_label = [heat_maps(network, kind, pixels, np.array([label, label]), "grad-cam") for label in range(3)]
    for maps in maps_by_label:
        assert maps.shape == (2, SIZE, SIZE) and np.isfinite(maps).all() and maps.min() >= 0 and maps.max() <= 1
    assert max(float(maps.max()) for maps in maps_by_label) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_deletion_separates_good_maps_from_bad_ones(network: Network, marked_images: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, labels = marked_images
    good = heat_maps(network, KIND, pixels, labels, "integrated-gradients")
    result = deletion_test(network, KIND, pixels, labels, good)
    assert result.images == 4 and len(result.by_heat) == len(result.by_chance) == 17
    assert result.by_heat[0] == result.by_chance[0] > 0.9 and result.by_heat[-1] == pytest.approx(result.by_chance[-1])
    by_heat, by_chance = result.areas
    assert by_heat < by_chance - 0.1
    wrong, _ = deletion_test(network, KIND, pixels, labels, 1 - good).areas
    assert wrong > by_chance


def test_averages_divide_the_heat_among_thirds() -> None:
    maps = np.zeros((3, 6, 6), dtype=np.float32)
    maps[0, 0] = 1.0
    maps[1, 0:4] = 1.0
    maps[2, 5] = 1.0
    pixels = np.stack([np.full((6, 6, 3), shade, dtype=np.uint8) for shade in (10, 30, 90)])
    averages = average_maps(maps, pixels, np.array([0, 0, 2]), ("happy", "sad", "angry"))
    assert list(averages) == ["happy", "angry"]
    assert averages["happy"].images == 2 and averages["happy"].thirds == pytest.approx((3 / 5, 2 / 5, 0))
    assert (averages["happy"].image == 20).all()
    assert averages["angry"].thirds == (0, 0, 1)


def test_an_image_without_evidence_has_an_empty_map(network: Network) -> None:
    white = np.full((1, SIZE, SIZE, 3), 255, dtype=np.uint8)
    for method in METHODS:
        assert not heat_maps(network, KIND, white, np.array([0]), method).any()
    assert average_maps(np.zeros((1, 6, 6), dtype=np.float32), white, np.array([0]), ("happy",))["happy"].thirds == (0, 0, 0)


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion"])
def test_a_missing_package_is_an_error(network: Network, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    for name in ("captum", "captum.attr"):
        monkeypatch.setitem(sys.modules, name, None)
    white = np.full((1, SIZE, SIZE, 3), 255, dtype=np.uint8)
    with pytest.raises(MissingExtra, match=r"captum: pip install 'moodex\[train\]'"):
        heat_maps(network, KIND, white, np.array([0]), method)
    assert heat_maps(network, KIND, white, np.array([0]), "grad-cam").shape == (1, SIZE, SIZE)
