"""The wide face detector, from which the shipped one learns: the inside of its backbone is three times as wide."""

from __future__ import annotations

from torch import nn

from models.architectures.efficientnet_lite import ConvNorm, EfficientNetLite
from models.faces.network import COARSEST_CHANNELS, WIDTH, FaceNet

_COARSE = 11
"""Number of blocks of EfficientNet-Lite0 in the backbone."""


class WideFaceNet(FaceNet):
    """`FaceNet` with the whole blocks of EfficientNet-Lite0, and with dense convolutions before and after the merged maps."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = EfficientNetLite(1).blocks[:_COARSE]
        coarse = self.blocks[-1].project.conv.out_channels
        self.wider = nn.Sequential(ConvNorm(coarse, COARSEST_CHANNELS, 3, 2), ConvNorm(COARSEST_CHANNELS, COARSEST_CHANNELS, 3))
        self.top = nn.Sequential(ConvNorm(WIDTH, WIDTH, 3), nn.Conv2d(WIDTH, 5, 1))
