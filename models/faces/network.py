"""The face detection network: one map of the centers of faces, four maps of the distances to their edges.

Anchor-free, after CenterNet (Zhou et al., arXiv:1904.07850) for the centers and FCOS (Tian et al., arXiv:1904.01355) for the
edges; three resolutions are merged top-down as in feature pyramids (Lin et al., arXiv:1612.03144).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable
from models.architectures.efficientnet_lite import ConvNorm, EfficientNetLite
from models.architectures.fuse_batchnorm import fuse_batchnorms
from models.faces.decode_boxes import STRIDE

_FINE, _COARSE = 5, 11
"""Numbers of the blocks of the backbone after which its maps are used: of stride 8 and of stride 16."""

_CHANNELS = (40, 112)
"""Channels of these maps."""

_COARSEST_CHANNELS = 128
"""Channels of the third resolution, of stride 32, which is computed on top of the backbone."""

_WIDTH = 64
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
        backbone = EfficientNetLite(1)
        self.stem = backbone.stem
        self.blocks = backbone.blocks[:_COARSE]
        self.wider = nn.Sequential(
            ConvNorm(_CHANNELS[1], _COARSEST_CHANNELS, 3, 2), ConvNorm(_COARSEST_CHANNELS, _COARSEST_CHANNELS, 3)
        )
        self.lateral = nn.ModuleList(ConvNorm(channels, _WIDTH, linear=True) for channels in (*_CHANNELS, _COARSEST_CHANNELS))
        self.joined = nn.ModuleList(
            nn.Sequential(ConvNorm(_WIDTH, _WIDTH, 5, groups=_WIDTH), ConvNorm(_WIDTH, _WIDTH)) for _ in range(2)
        )
        self.top = nn.Sequential(ConvNorm(_WIDTH, _WIDTH, 3), nn.Conv2d(_WIDTH, 5, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.blocks[:_FINE](self.stem(x))
        coarse = self.blocks[_FINE:](fine)
        maps = self.lateral[2](self.wider(coarse))
        for lateral, joined, source in ((self.lateral[1], self.joined[1], coarse), (self.lateral[0], self.joined[0], fine)):
            maps = joined(functional.interpolate(maps, scale_factor=2.0, mode="nearest") + lateral(source))
        out = self.top(maps)
        return out[:, 0], out[:, 1:].clamp(max=_MAX_LOG_DISTANCE).exp() * STRIDE


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
