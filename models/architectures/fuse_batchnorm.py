"""Fusing of batch norms into the layers before them: the same outputs in evaluation in less time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Pair = tuple[str, str, float]
"""Path of a layer, path of the batch norm after it, epsilon of the norm."""


def find_batchnorm_pairs(network: nn.Module) -> Iterator[Pair]:
    """Yield every layer that is followed by a batch norm, with that norm.

    Assumes that a batch norm is computed right after a convolution or linear layer if it is registered right after it and has
    the same number of channels. That holds for the networks of moodex and of torchvision.
    """
    for path, module in network.named_modules():
        for (name, layer), (norm_name, norm) in pairwise(list(module.named_children())):
            if _follows(layer, norm):
                yield f"{path}.{name}".lstrip("."), f"{path}.{norm_name}".lstrip("."), norm.eps


def fuse_batchnorms(network: nn.Module) -> None:
    """Switch a network to evaluation, and fuse every batch norm of `find_batchnorm_pairs` into its layer.

    Changes the network in place; it cannot be trained afterwards.
    """
    network.eval()
    for layer_path, norm_path, _ in list(find_batchnorm_pairs(network)):
        layer, norm = network.get_submodule(layer_path), cast("nn.BatchNorm2d", network.get_submodule(norm_path))
        if isinstance(layer, nn.Linear):
            fused: nn.Module = fuse_linear_bn_eval(layer, norm)
        else:
            fused = fuse_conv_bn_eval(cast("nn.Conv2d", layer), norm)
        _replace(network, layer_path, fused)
        _replace(network, norm_path, nn.Identity())


def _follows(layer: nn.Module, norm: nn.Module) -> bool:
    if type(norm) is nn.BatchNorm2d:
        return isinstance(layer, nn.Conv2d) and layer.out_channels == norm.num_features
    return type(norm) is nn.BatchNorm1d and isinstance(layer, nn.Linear) and layer.out_features == norm.num_features


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)
