"""Batch norms merged into the convolutions before them: the same outputs in evaluation, in less time."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module) -> None:
    """Switch a network to evaluation for good, and merge every batch norm that follows a convolution into it.

    To be used for networks in which a batch norm that is named right after a convolution of as many channels is computed right
    after it, which holds for ours and torchvision's.
    """
    network.eval()
    for module in list(network.modules()):
        for (name, part), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(part, nn.Conv2d) and type(norm) is nn.BatchNorm2d and part.out_channels == norm.num_features:
                setattr(module, name, fuse_conv_bn_eval(part, norm))
                setattr(module, after, nn.Identity())
