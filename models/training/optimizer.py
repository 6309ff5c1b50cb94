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


def build_optimizer(network: Network, recipe: Recipe) -> torch.optim.AdamW:
    """Build AdamW over all parameters that are ever trained, in groups by depth.

    A group has its `peak` rate and its `depth`: 0 for the head, then tenths of the network toward the input. Weight decay applies
    to matrices, not to biases and norms.
    """
    named = network.from_input()
    frozen = int(recipe.frozen * len(named))
    for number, (name, parameter) in enumerate(named):
        parameter.requires_grad_(number >= frozen or name.startswith(HEAD))
    body = [parameter for name, parameter in named if not name.startswith(HEAD) and parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for depth in range(1, _DEPTHS + 1):
        end, start = (len(body) * (_DEPTHS + 1 - depth) // _DEPTHS, len(body) * (_DEPTHS - depth) // _DEPTHS)
        groups += _decaying(body[start:end], depth, recipe.backbone_rate * recipe.layer_decay**depth, recipe.weight_decay)
    groups += _decaying(
        [parameter for name, parameter in named if name.startswith(HEAD)], 0, recipe.head_rate, recipe.weight_decay
    )
    return torch.optim.AdamW(groups)


def set_learning_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, recipe: Recipe) -> None:
    """Set the learning rate of every group for a step; 0 for groups that are still frozen."""
    share = learning_rate_factor(step, steps, recipe)
    for group in optimizer.param_groups:
        thawed = step >= recipe.thaw * steps * group["depth"] / _DEPTHS
        group["lr"] = group["peak"] * share if thawed else 0.0


def learning_rate_factor(step: int, steps: int, recipe: Recipe) -> float:
    """Return the share of the peak rate at a step: linear warm-up, then half a cosine to zero, or constant."""
    warm = round(recipe.warm_up * steps)
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train_mode(network: nn.Module) -> None:
    """Switch to training mode, except for frozen batch norms, which keep their statistics."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


@torch.no_grad()
def update_ema(average: Mapping[str, Tensor], now: Mapping[str, Tensor], step: int, steps: int, recipe: Recipe) -> None:
    """Update the moving average of the weights; it follows closely in the first steps."""
    keep = min(1 - 1 / (recipe.average * steps + 1), (step + 1) / (step + 10)) if recipe.average else 0.0
    for name, tensor in average.items():
        if tensor.is_floating_point():
            tensor.lerp_(now[name], 1 - keep)
        else:
            tensor.copy_(now[name])


def _decaying(parameters: list[nn.Parameter], depth: int, peak: float, weight_decay: float) -> list[dict[str, Any]]:
    parts = ((weight_decay, [p for p in parameters if p.ndim > 1]), (0.0, [p for p in parameters if p.ndim <= 1]))
    return [{"params": part, "lr": 0.0, "weight_decay": decay, "peak": peak, "depth": depth} for decay, part in parts if part]
