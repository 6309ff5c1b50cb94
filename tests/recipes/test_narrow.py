"""The initial weights of the detector: channels inside blocks are removed, the most important ones stay."""

from __future__ import annotations

import torch

from models.architectures.efficientnet_lite import EfficientNetLite
from models.faces.network import FaceNet
from recipes.detector.narrow import narrow


def wide_and_narrow() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    wide = EfficientNetLite(1).state_dict()
    return wide, narrow(wide, {name: tensor.shape for name, tensor in FaceNet().state_dict().items()})


def test_every_tensor_of_the_backbone_has_initial_weights_of_its_shape() -> None:
    _, narrowed = wide_and_narrow()
    network = FaceNet()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    backbone = {name for name in shapes if name.startswith(("stem.", "blocks."))}
    assert backbone == narrowed.keys()
    assert all(tensor.shape == shapes[name] for name, tensor in narrowed.items())


def test_channels_without_effect_are_removed_first() -> None:
    torch.manual_seed(0)
    wide = EfficientNetLite(1).state_dict()
    useless = torch.arange(wide["blocks.1.project.conv.weight"].shape[1]) % 3 > 0
    wide["blocks.1.project.conv.weight"][:, useless] = 0
    narrowed = narrow(wide, {name: tensor.shape for name, tensor in FaceNet().state_dict().items()})
    kept = (~useless).nonzero().squeeze(1)
    assert torch.equal(narrowed["blocks.1.expand.conv.weight"], wide["blocks.1.expand.conv.weight"][kept])
    assert torch.equal(narrowed["blocks.1.depthwise.norm.running_var"], wide["blocks.1.depthwise.norm.running_var"][kept])
    assert torch.equal(narrowed["blocks.1.project.conv.weight"], wide["blocks.1.project.conv.weight"][:, kept])
