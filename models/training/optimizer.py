"""Optimizer, learning rates, gradual unfreezing, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from models.architectures.network import HEAD, Network

if TYPE_CHECKING:
    from models.training.recipe import Recipe

_DEPTHS = 10
"""Groups of parameters of the backbone, each a tenth of its tensors."""


def build_optimizer(network: Network, recipe: Recipe) -> torch.optim.AdamW:
    """Build AdamW over all parameters that are ever trained, and freeze the others.

    Each group of parameters has its `peak` learning rate and its `depth`: 0 for the head, 1-10 for the tenths of the backbone
    from the head to the input. Weight decay applies to matrices and kernels, not to biases and batch norms.
    """
    named_parameters = network.from_input()
    frozen = int(recipe.frozen * len(named_parameters))
    for number, (name, parameter) in enumerate(named_parameters):
        parameter.requires_grad_(number >= frozen or name.startswith(HEAD))
    backbone = [parameter for name, parameter in named_parameters if not name.startswith(HEAD) and parameter.requires_grad]
    head = [parameter for name, parameter in named_parameters if name.startswith(HEAD)]
    groups: list[dict[str, Any]] = []
    for depth in range(1, _DEPTHS + 1):
        end, start = (len(backbone) * (_DEPTHS + 1 - depth) // _DEPTHS, len(backbone) * (_DEPTHS - depth) // _DEPTHS)
        groups += _groups(backbone[start:end], depth, recipe.backbone_rate * recipe.layer_decay**depth, recipe.weight_decay)
    groups += _groups(head, 0, recipe.head_rate, recipe.weight_decay)
    return torch.optim.AdamW(groups)


def set_learning_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, recipe: Recipe) -> None:
    """Set the learning rate of every group for a step.

    `step` is from 0 to `steps` - 1, of the whole training. The rate of a group that is still frozen is 0.
    """
    factor = learning_rate_factor(step, steps, recipe)
    for group in optimizer.param_groups:
        is_unfrozen = step >= recipe.thaw * steps * group["depth"] / _DEPTHS
        group["lr"] = group["peak"] * factor if is_unfrozen else 0.0


def learning_rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Return the factor, 0-1, of the peak learning rate at a step.

    It rises linearly during the warm-up. Then it is 1, or falls to 0 as half a cosine.
    """
    warm_up_steps = round(recipe.warm_up * steps)
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up_steps) / max(1, steps - warm_up_steps)))


def train_mode(network: nn.Module) -> None:
    """Switch a network to training mode, except for frozen batch norms, which keep their statistics."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


@torch.no_grad()
def update_ema(average: Mapping[str, Tensor], state: Mapping[str, Tensor], step: int, steps: int, recipe: Recipe) -> None:
    """Update the exponential moving average of the weights, in place, with the weights after a step.

    Both are tensors by name. In the first steps, the average decays faster than the recipe demands, so that it does not retain
    the initial weights.
    """
    decay = min(1 - 1 / (recipe.average * steps + 1), (step + 1) / (step + 10)) if recipe.average else 0.0
    for name, tensor in average.items():
        if tensor.is_floating_point():
            tensor.lerp_(state[name], 1 - decay)
        else:
            tensor.copy_(state[name])


def _groups(parameters: list[nn.Parameter], depth: int, peak: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters of a depth in two groups: with and without weight decay."""
    parts = ((weight_decay, [p for p in parameters if p.ndim > 1]), (0.0, [p for p in parameters if p.ndim <= 1]))
    return [{"params": part, "lr": 0.0, "weight_decay": decay, "peak": peak, "depth": depth} for decay, part in parts if part]
