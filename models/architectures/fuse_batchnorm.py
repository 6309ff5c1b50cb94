"""Fusing of batch norms into the layers before them: same outputs in evaluation, less time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Pair = tuple[str, str, float]
"""Path of a layer, path of the batch norm after it, epsilon of the norm."""


def find_batchnorm_pairs(network: nn.Module) -> Iterator[Pair]:
    """Yield every layer that is followed by a batch norm.

    Assumes that a batch norm that is registered after a convolution or linear layer of as many channels is computed right after
    it, which is true of the networks here and of torchvision.
    """
    for path, module in network.named_modules():
        for (name, part), (after, norm) in pairwise(list(module.named_children())):
            if _follows(part, norm):
                yield f"{path}.{name}".lstrip("."), f"{path}.{after}".lstrip("."), norm.eps


def fuse_batchnorms(network: nn.Module) -> None:
    """Switch a network to evaluation for good, and fuse every batch norm of `find_batchnorm_pairs` into its layer."""
    network.eval()
    for layer, norm, _ in list(find_batchnorm_pairs(network)):
        part, after = network.get_submodule(layer), cast("nn.BatchNorm2d", network.get_submodule(norm))
        merged = (
            fuse_linear_bn_eval(part, after) if isinstance(part, nn.Linear) else fuse_conv_bn_eval(cast("nn.Conv2d", part), after)
        )
        _replace(network, layer, merged)
        _replace(network, norm, nn.Identity())


def _follows(part: nn.Module, norm: nn.Module) -> bool:
    if type(norm) is nn.BatchNorm2d:
        return isinstance(part, nn.Conv2d) and part.out_channels == norm.num_features
    return type(norm) is nn.BatchNorm1d and isinstance(part, nn.Linear) and part.out_features == norm.num_features


def _replace(network: nn.Module, path: str, part: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, part)
