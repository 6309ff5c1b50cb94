"""The network that the study trained from scratch (docs/explanation/study.md)."""

from __future__ import annotations

from torch import Tensor, nn

from models.architectures.network import HeadConfig, Network, activation

_CHANNELS = (32, 64, 64)
_DENSE = (64,)
"""Widths of the dense layers before the classifier."""


class BaselineCnn(Network):
    """Three convolutions and a dense layer of 64, without global pooling.

    The convolutions have 32, 64 and 64 channels and are 3 x 3 without padding; 2 x 2 max pooling follows the first two. The
    dense layer reads every position of the last maps, so a network has one input size.
    """

    def __init__(self, classes: int, size: int, modifiers: frozenset[str] = frozenset()) -> None:
        side = ((size - 2) // 2 - 2) // 2 - 2
        head = HeadConfig.parse(modifiers, dense=_DENSE)
        super().__init__(_CHANNELS[-1] * side * side, classes, head)
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(zip((3, *_CHANNELS), _CHANNELS, strict=False)):
            norm = [nn.BatchNorm2d(outputs)] if head.batch_norm else []
            pool = [nn.MaxPool2d(2)] if number < 2 else []
            layers += [nn.Conv2d(inputs, outputs, 3), *norm, activation(head.leaky_relu), *pool]
        self.convolutions = nn.Sequential(*layers)

    def pooled(self, x: Tensor) -> Tensor:
        out: Tensor = self.convolutions(x)
        return out.flatten(1)
