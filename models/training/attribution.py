"""Attribution maps: which parts of an image support an emotion, and tests of such maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from indexer.domain.errors import UsageError
from indexer.domain.training import AverageMap, Deletion
from indexer.system.optional import require
from models.progress_bar import bar

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids, Pixels
    from models.architectures.network import Network
    from models.architectures.registry import Architecture

_BATCH_SIZE = 16
_WHITE = 255.0
_IG_STEPS = 32
_CELLS = 16


def heat_maps(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, method: str) -> Floats:
    """Compute the evidence for the target of each image: float32, (N, size, size), 0-1; each map has a maximum of 1, or is all 0.

    `pixels` is uint8, (N, size, size, 3); `targets` int64, (N,), label numbers; `method` one of `METHODS`. `network` must be in
    evaluation mode. Raises MissingExtra.
    """
    found = []
    for start in bar(range(0, len(pixels), _BATCH_SIZE), desc="explaining", unit="batch", leave=False):
        x = _normalized(pixels[start : start + _BATCH_SIZE], kind)
        raw = METHODS[method](network, kind, x, torch.from_numpy(targets[start : start + _BATCH_SIZE]))
        positive = raw.clamp(min=0)
        highest = positive.flatten(1).amax(dim=1).view(-1, 1, 1)
        found.append((positive / highest.clamp(min=1e-12)).float().numpy())
    maps: Floats = np.concatenate(found)
    return maps


def grad_cam(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Selvaraju et al., "Grad-CAM", arXiv:1610.02391: the last maps, weighted by their mean gradients. (N, size, size)."""
    kept: list[Tensor] = []
    path = kind.maps or network.maps
    if not path:
        raise UsageError(f"No layer with spatial positions is known for {kind.name}; use --method occlusion.")
    layer = dict(network.named_modules())[path]
    handle = layer.register_forward_hook(lambda _module, _inputs, out: kept.append(out))
    try:
        with torch.enable_grad():
            # The logit as a sum over the features: the gradient through their normalization would show evidence against others.
            features = network.features(x.requires_grad_(True))
            chosen = (features * network.classifier.weight[targets, : features.shape[1]]).sum()
            (gradient,) = torch.autograd.grad(chosen, kept[0])
    finally:
        handle.remove()
    maps, slopes = (_as_maps(part) for part in (kept[0].detach(), gradient))
    weighted = (maps * slopes.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).clamp(min=0)
    return functional.interpolate(weighted, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def integrated_gradients(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Sundararajan et al., arXiv:1703.01365, from a white image; summed over the channels, and smoothed."""
    require("captum", "captum", "train", "This method")
    from captum.attr import IntegratedGradients

    attribution = IntegratedGradients(_Logits(network)).attribute(
        x, baselines=_page(x, kind), target=targets, n_steps=_IG_STEPS, internal_batch_size=_BATCH_SIZE
    )
    width = max(3, x.shape[-1] // 16 | 1)
    strength = attribution.detach().sum(dim=1, keepdim=True).clamp(min=0)
    return functional.avg_pool2d(strength, width, 1, width // 2)[:, 0]


def occlusion(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Zeiler and Fergus, arXiv:1311.2901: the drop of the logit under a white patch, an eighth of the side wide."""
    require("captum", "captum", "train", "This method")
    from captum.attr import Occlusion

    side = x.shape[-1] // 8
    with torch.inference_mode():
        found: Tensor = Occlusion(_Logits(network)).attribute(
            x,
            sliding_window_shapes=(3, side, side),
            strides=(3, max(1, side // 2), max(1, side // 2)),
            baselines=_page(x, kind),
            target=targets,
        )
    return found.mean(dim=1)


METHODS: Mapping[str, Callable[[Network, Architecture, Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "integrated-gradients": integrated_gradients,
    "occlusion": occlusion,
}


def deletion_test(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, maps: Floats, seed: int = 0) -> Deletion:
    """Measure how fast the probability of the target falls if cells are blurred, hottest first, and in random order.

    After Petsiuk et al., "RISE", arXiv:1806.07421: the smaller the area under the curve, the more faithful the maps. Cells are
    those of a 16 x 16 grid; both orders blur them in the same 17 steps.
    """
    random = np.random.default_rng(seed)
    heat = functional.adaptive_avg_pool2d(torch.from_numpy(maps)[:, None], _CELLS)[:, 0].flatten(1).numpy()
    by_heat = np.argsort(-heat, axis=1, kind="stable")
    by_chance = np.stack([random.permutation(heat.shape[1]) for _ in range(len(pixels))])
    curves = [_curve(network, kind, pixels, targets, order) for order in (by_heat, by_chance)]
    return Deletion(len(pixels), *(tuple(float(value) for value in curve) for curve in curves))


def average_maps(maps: Floats, pixels: Pixels, labels: Ids, emotions: tuple[str, ...]) -> dict[str, AverageMap]:
    """Average maps and images for each emotion that occurs, and the shares of heat in thirds from top to bottom."""
    found = {}
    for number, emotion in enumerate(emotions):
        rows = np.flatnonzero(labels == number)
        if len(rows):
            mean = maps[rows].mean(axis=0)
            bands = [float(band.sum()) for band in np.array_split(mean, 3)]
            total = sum(bands) or 1.0
            shares = (bands[0] / total, bands[1] / total, bands[2] / total)
            image = np.rint(pixels[rows].mean(axis=0)).astype(np.uint8)
            found[emotion] = AverageMap(len(rows), mean, image, shares)
    return found


@torch.inference_mode()
def _curve(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, order: Ids) -> Floats:
    """Return the mean probability of the targets with 0, 1/16, ... of the cells blurred, float32, (17,)."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    width = x.shape[-1] // 4 | 1
    blurred = functional.avg_pool2d(x, width, 1, width // 2, count_include_pad=False)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
    ranks = functional.interpolate(torch.from_numpy(rank).view(-1, 1, _CELLS, _CELLS).float(), size=x.shape[2:], mode="nearest")
    curve = []
    for step in bar(range(_CELLS + 1), desc="blurring", unit="step", leave=False):
        shown = torch.where(ranks < step * _CELLS, blurred, x).sub(kind.mean).div(kind.std)
        logits = torch.cat([network(part).logits for part in torch.split(shown, _BATCH_SIZE)])
        curve.append(float(logits.softmax(dim=1).gather(1, torch.from_numpy(targets)[:, None]).mean()))
    return np.array(curve, dtype=np.float32)


def _as_maps(layer_output: Tensor) -> Tensor:
    """Return the output of a layer as (N, channels, h, w); that of a transformer is a class token and then h x w tokens."""
    if layer_output.ndim == 4:
        return layer_output
    tokens = layer_output[:, 1:]
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


def _normalized(pixels: Pixels, kind: Architecture) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(kind.mean).div(kind.std)


def _page(x: Tensor, kind: Architecture) -> Tensor:
    return torch.full_like(x, (_WHITE - kind.mean) / kind.std)


class _Logits(nn.Module):
    """A network that returns logits only, as captum needs it."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x).logits
        return logits
