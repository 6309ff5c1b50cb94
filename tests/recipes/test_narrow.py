"""The shipped detector starts with the most important channels of the wide one, and learns its outputs."""

from __future__ import annotations

import torch

from models.faces.network import FaceNet
from recipes.detector.loss import Outputs, distillation_loss
from recipes.detector.narrow import narrow
from recipes.detector.train import narrow_network, wide_network
from recipes.detector.wide import WideFaceNet


def wide_and_narrow() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    wide = WideFaceNet().state_dict()
    return wide, narrow(wide, {name: tensor.shape for name, tensor in FaceNet().state_dict().items()})


def test_every_tensor_of_the_backbone_has_initial_weights_of_its_shape() -> None:
    _, narrowed = wide_and_narrow()
    shapes = {name: tensor.shape for name, tensor in FaceNet().state_dict().items() if name.startswith(("stem.", "blocks."))}
    assert {name: narrowed[name].shape for name in shapes} == shapes


def test_channels_without_effect_are_removed_first() -> None:
    wide, _ = wide_and_narrow()
    useless = torch.arange(wide["blocks.1.project.conv.weight"].shape[1]) % 3 > 0
    wide["blocks.1.project.conv.weight"][:, useless] = 0
    narrowed = narrow(wide, {name: tensor.shape for name, tensor in FaceNet().state_dict().items()})
    kept = (~useless).nonzero().squeeze(1)
    assert torch.equal(narrowed["blocks.1.expand.conv.weight"], wide["blocks.1.expand.conv.weight"][kept])
    assert torch.equal(narrowed["blocks.1.depthwise.norm.running_var"], wide["blocks.1.depthwise.norm.running_var"][kept])
    assert torch.equal(narrowed["blocks.1.project.conv.weight"], wide["blocks.1.project.conv.weight"][:, kept])


def test_the_narrow_network_keeps_what_both_have() -> None:
    torch.manual_seed(0)
    teacher = wide_network({})
    state, taught = narrow_network(teacher).state_dict(), teacher.state_dict()
    for name in ("stem.conv.weight", "lateral.0.conv.weight", "joined.1.0.conv.weight", "top.1.weight", "top.1.bias"):
        assert torch.equal(state[name], taught[name]), name


def test_the_loss_of_distillation_is_least_for_the_outputs_of_the_teacher() -> None:
    torch.manual_seed(0)
    maps, logits, distances = torch.randn(2, 4, 6, 6), torch.randn(2, 6, 6), torch.rand(2, 4, 6, 6) * 20 + 1
    taught = Outputs(maps, logits, distances)
    same = distillation_loss(taught, taught)
    for other in (
        Outputs(maps + 0.5, logits, distances),
        Outputs(maps, logits + 1, distances),
        Outputs(maps, logits - 1, distances),
        Outputs(maps, logits, distances * 1.5),
    ):
        assert distillation_loss(other, taught) > same + 0.01
    torch.testing.assert_close(same, torch.tensor(0.0), atol=1e-5, rtol=0)
