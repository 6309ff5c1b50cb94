"""The training loop: a network, pictures and a recipe in, averaged weights out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from models.device import keep_memory
from models.network import HEAD, Network
from models.training.augment import Augment
from models.training.datasets import Pictures


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. Rates are AdamW's peak; the first `frozen` share of the tensors, counted from the input, stay as they are.

    Warm-up takes `warm_up` of the steps, the weights' running average looks back over `average` of them.
    """

    size: int = 128
    epochs: int = 3
    pictures_per_epoch: int = 5000
    batch_size: int = 32
    backbone_rate: float = 3e-3
    head_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    strength: float = 1.0
    frozen: float = 0.3
    warm_up: float = 0.1
    average: float = 0.1
    seed: int = 0

    @property
    def steps(self) -> int:
        """How many batches are seen in all."""
        return self.epochs * math.ceil(self.pictures_per_epoch / self.batch_size)


def fit(network: Network, pictures: Pictures, recipe: Recipe, mean: float, std: float, device: torch.device) -> dict[str, Tensor]:
    """Train a network and return the running average of its weights, float32 on the CPU.

    Deterministic for a seed on one machine. Changes `network`. Shows progress on stderr when that is a terminal.
    """
    keep_memory()
    torch.manual_seed(recipe.seed)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = _optimiser(network, recipe)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    augment = Augment(recipe.seed, recipe.strength)
    order = np.random.default_rng(recipe.seed).choice(
        len(pictures), size=(recipe.steps, recipe.batch_size), p=sampling_weights(pictures)
    )
    _train_mode(network)
    with tqdm(order, desc="training", unit="batch", disable=None) as progress:
        for step, rows in enumerate(progress):
            x = augment(torch.from_numpy(pictures.pixels[rows])).mul_(255).sub_(mean).div_(std)
            truth = torch.from_numpy(pictures.labels[rows]).to(device)
            logits, _ = network(x.to(device=device, memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, truth, label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rates.step()
            _move(average, network.state_dict(), keep=min(1 - 1 / (recipe.average * recipe.steps + 1), (step + 1) / (step + 10)))
            if step % 20 == 0:
                progress.set_postfix(loss=f"{loss.item():.3f}")
    return {name: tensor.cpu() for name, tensor in average.items()}


def sampling_weights(pictures: Pictures) -> npt.NDArray[np.float64]:
    """How often to draw each picture, (N,), summing to 1: balanced over styles within an emotion, then over emotions.

    A cell (emotion and artist's set) counts with the square root of its size, an emotion with the square root of its cells'
    sum: rare ones are drawn more often than they occur, and yet not the same few pictures all the time.
    """
    cells = [(int(label), source.name) for label, source in zip(pictures.labels, pictures.sources, strict=True)]
    sizes = Counter(cells)
    emotions: Counter[int] = Counter()
    for (label, _), size in sizes.items():
        emotions[label] += math.sqrt(size)  # type: ignore[assignment]
    weights: npt.NDArray[np.float64] = np.array([1 / math.sqrt(sizes[cell] * emotions[cell[0]]) for cell in cells])
    weights /= weights.sum()
    return weights


def _optimiser(network: Network, recipe: Recipe) -> torch.optim.Optimizer:
    named = network.from_input()
    for _, parameter in named[: int(recipe.frozen * len(named))]:
        parameter.requires_grad_(False)
    learning = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    groups = []
    for head, rate in ((False, recipe.backbone_rate), (True, recipe.head_rate)):
        part = [parameter for name, parameter in learning if name.startswith(HEAD) == head]
        for decay, matrices in ((recipe.weight_decay, True), (0.0, False)):
            groups.append({"params": [p for p in part if (p.ndim > 1) == matrices], "lr": rate, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def _train_mode(network: nn.Module) -> None:
    """Training mode, except for batch norms that do not learn: those keep the statistics they came with."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def _rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warm = max(1, round(recipe.warm_up * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


@torch.no_grad()
def _move(average: Mapping[str, Tensor], now: Mapping[str, Tensor], keep: float) -> None:
    for name, tensor in average.items():
        if tensor.is_floating_point():
            tensor.lerp_(now[name], 1 - keep)
