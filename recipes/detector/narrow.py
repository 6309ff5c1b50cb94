"""Initial weights of the shipped detector: the wide one with the most important third of the channels inside each block.

A block expands its input to many channels, filters each of them, and projects them. These inner channels can be removed one by
one without any change to the other layers (structured pruning; Li et al., "Pruning Filters for Efficient ConvNets",
arXiv:1608.08710).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_BATCH_NORM_EPSILON = 1e-3
_MAX_MEAN = 6.0
"""ReLU6 cuts off larger values."""


def narrow(wide: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Return the tensors of `wide` that a narrower network with tensors of `shapes` has too, by name, with fewer inner channels.

    A block keeps the inner channels that contribute most to its output.
    """
    kept: dict[str, Tensor] = {}
    narrowed: dict[str, Tensor] = {name: tensor for name, tensor in wide.items() if name in shapes}
    for name in shapes:
        block, part, rest = _parts(name)
        if not part or name not in narrowed:
            continue
        if block not in kept:
            count = shapes[f"{block}.project.conv.weight"][1]
            kept[block] = _contributions(wide, block).topk(count).indices.sort().values
        if part != "project":
            narrowed[name] = narrowed[name][kept[block]] if narrowed[name].ndim else narrowed[name]
        elif rest == "conv.weight":
            narrowed[name] = narrowed[name][:, kept[block]]
    return narrowed


def _parts(name: str) -> tuple[str, str, str]:
    """Split the name of a tensor into block, part of the block and the rest; the part is empty outside blocks."""
    pieces = name.split(".")
    if pieces[0] != "blocks" or pieces[2] not in ("expand", "depthwise", "project"):
        return "", "", name
    return ".".join(pieces[:2]), pieces[2], ".".join(pieces[3:])


def _contributions(wide: Mapping[str, Tensor], block: str) -> Tensor:
    """Estimate how much each inner channel adds to the output of a block: (channels,).

    It is the size of the channel times the size of its column in the projection. The batch norm of the depthwise convolution
    tells the mean and the standard deviation of the channel before ReLU6; that of the projection scales its outputs.
    """
    mean, deviation = wide[f"{block}.depthwise.norm.bias"], wide[f"{block}.depthwise.norm.weight"].abs()
    typical = torch.sqrt(mean.clamp(0, _MAX_MEAN) ** 2 + deviation**2)
    scale = wide[f"{block}.project.norm.weight"] / torch.sqrt(wide[f"{block}.project.norm.running_var"] + _BATCH_NORM_EPSILON)
    columns = wide[f"{block}.project.conv.weight"].flatten(1) * scale[:, None]
    return typical * columns.norm(dim=0)
