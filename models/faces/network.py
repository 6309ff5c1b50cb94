"""The face detection network: one map of the centers of faces, four maps of the distances to their edges.

Anchor-free, after CenterNet (Zhou et al., arXiv:1904.07850) for the centers and FCOS (Tian et al., arXiv:1904.01355) for the
edges; three resolutions are merged top-down as in feature pyramids (Lin et al., arXiv:1612.03144).

The backbone is the first five stages of EfficientNet-Lite0 with a third of the channels inside its blocks. All convolutions that
merge the maps are depthwise or pointwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable
from models.architectures.efficientnet_lite import STAGES, STEM_CHANNELS, Block, ConvNorm
from models.architectures.fuse_batchnorm import fuse_batchnorms
from models.faces.decode_boxes import STRIDE

_STAGES = STAGES[:5]
FINE = 5
"""Number of blocks up to the maps of stride 8. The maps after the last block have the stride 16."""

_EXPANSION = 2
"""Expansion of the blocks; in EfficientNet-Lite0 it is 6."""

COARSEST_CHANNELS = 128
"""Channels of the third resolution, of stride 32, which is computed on top of the backbone."""

WIDTH = 64
"""Channels of the merged maps."""

_MAX_LOG_DISTANCE = 6.0
"""Largest natural logarithm of a distance in units of `STRIDE`: 403 times 8 pixels."""


class FaceNet(nn.Module):
    """The face detection network.

    - Input: normalized images, float, (N, 3, S, S); S = 8 M, M a multiple of 4.
    - Outputs: logits, float, (N, M, M); distances, float, (N, 4, M, M), in input pixels, from the center of a cell to the left,
      top, right and bottom edge of a face.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, 2)
        self.blocks = nn.Sequential(*_blocks())
        coarse = _STAGES[-1].channels
        self.wider = nn.Sequential(
            Block(coarse, COARSEST_CHANNELS, 5, 2, _EXPANSION), Block(COARSEST_CHANNELS, COARSEST_CHANNELS, 5, 1, _EXPANSION)
        )
        channels = (_STAGES[2].channels, coarse, COARSEST_CHANNELS)
        self.lateral = nn.ModuleList(ConvNorm(count, WIDTH, linear=True) for count in channels)
        self.joined = nn.ModuleList(_separable() for _ in range(2))
        self.top = nn.Sequential(_separable(), nn.Conv2d(WIDTH, 5, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.read(self.merge(x))

    def merge(self, x: Tensor) -> Tensor:
        """Return the merged maps of normalized images, float, (N, 64, M, M)."""
        fine = self.blocks[:FINE](self.stem(x))
        coarse = self.blocks[FINE:](fine)
        maps: Tensor = self.lateral[2](self.wider(coarse))
        for lateral, joined, source in ((self.lateral[1], self.joined[1], coarse), (self.lateral[0], self.joined[0], fine)):
            maps = joined(functional.interpolate(maps, scale_factor=2.0, mode="nearest") + lateral(source))
        return maps

    def read(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs for merged maps."""
        out = self.top(maps)
        return out[:, 0], out[:, 1:].clamp(max=_MAX_LOG_DISTANCE).exp() * STRIDE


def _blocks() -> Iterator[Block]:
    channels = STEM_CHANNELS
    for stage in _STAGES:
        expansion = min(stage.expansion, _EXPANSION)
        for repeat in range(stage.repeats):
            yield Block(channels, stage.channels, stage.kernel, 1 if repeat else stage.stride, expansion)
            channels = stage.channels


def _separable() -> nn.Sequential:
    return nn.Sequential(ConvNorm(WIDTH, WIDTH, 5, groups=WIDTH), ConvNorm(WIDTH, WIDTH))


class NormalizedDetector(nn.Module):
    """A detector with its normalization: takes images, uint8, (N, S, S, 3), RGB, and returns the outputs of `FaceNet`."""

    def __init__(self, network: FaceNet, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        logits, distances = self.network(x)
        return logits, distances


def normalized_detector(state: Mapping[str, Tensor], mean: float, std: float) -> NormalizedDetector:
    """Build a detector for evaluation, on the CPU, with fused batch norms.

    `state` are the weights by name; inputs are normalized as (x - mean) / std. Raises ModelUnavailable for weights of another
    network.
    """
    with torch.device("meta"):
        network = FaceNet()
    try:
        network.load_state_dict(dict(state), assign=True)
    except RuntimeError as error:
        raise ModelUnavailable("The file is not a face detector: its tensors are not those of the network.") from error
    fuse_batchnorms(network)
    return NormalizedDetector(network, mean, std)
