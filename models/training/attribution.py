"""Attribution maps, which show the parts of an image that support an emotion, and tests of such maps."""

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
_INTEGRATION_STEPS = 32
"""Steps of the integral of integrated gradients."""

_DELETION_GRID = 16
"""Cells per side of the grid of the deletion test."""

_MIN_MAXIMUM = 1e-12
"""Prevents a division by zero for a map without evidence."""


def heat_maps(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, method: str) -> Floats:
    """Compute the evidence for the target of each image: float32, (N, size, size), 0-1.

    - `network`: in evaluation mode, on the CPU. `kind`: its architecture.
    - `pixels`: images, uint8, (N, size, size, 3), N >= 1.
    - `targets`: label numbers, int64, (N,).
    - `method`: one of `METHODS`.

    Each map has a maximum of 1, or is 0 everywhere. Raises MissingExtra if captum is required and not installed, UsageError if
    the method cannot explain the network.
    """
    batches = []
    for start in bar(range(0, len(pixels), _BATCH_SIZE), desc="explaining", unit="batch", leave=False):
        x = _normalized(pixels[start : start + _BATCH_SIZE], kind)
        raw = METHODS[method](network, kind, x, torch.from_numpy(targets[start : start + _BATCH_SIZE]))
        positive = raw.clamp(min=0)
        maximum = positive.flatten(1).amax(dim=1).view(-1, 1, 1)
        batches.append((positive / maximum.clamp(min=_MIN_MAXIMUM)).float().numpy())
    maps: Floats = np.concatenate(batches)
    return maps


def grad_cam(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Compute Grad-CAM: the last maps of the network, weighted by their mean gradients.

    After Selvaraju et al., arXiv:1610.02391. `x` are normalized images, float, (N, 3, size, size), `targets` label numbers,
    int64, (N,); returns float, (N, size, size). Raises UsageError if no layer with spatial positions is known.
    """
    layer_outputs: list[Tensor] = []
    path = kind.maps or network.maps
    if not path:
        raise UsageError(f"No layer with spatial positions is known for {kind.name}; use --method occlusion.")
    layer = dict(network.named_modules())[path]
    handle = layer.register_forward_hook(lambda _module, _inputs, out: layer_outputs.append(out))
    try:
        with torch.enable_grad():
            # The logit is a sum over the features before their normalization, because a gradient through the normalization would
            # include evidence against the other emotions.
            features = network.features(x.requires_grad_(True))
            target_logits = (features * network.classifier.weight[targets, : features.shape[1]]).sum()
            (gradient,) = torch.autograd.grad(target_logits, layer_outputs[0])
    finally:
        handle.remove()
    maps, gradients = (_as_maps(tensor) for tensor in (layer_outputs[0].detach(), gradient))
    weighted = (maps * gradients.mean(dim=(2, 3), keepdim=True)).sum(dim=1, keepdim=True).clamp(min=0)
    return functional.interpolate(weighted, size=x.shape[2:], mode="bilinear", align_corners=False)[:, 0]


def integrated_gradients(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Compute integrated gradients from a white image, summed over the channels and smoothed.

    After Sundararajan et al., arXiv:1703.01365. Arguments and result are those of `grad_cam`. Raises MissingExtra.
    """
    require("captum", "captum", "train", "This method")
    from captum.attr import IntegratedGradients

    attribution = IntegratedGradients(_Logits(network)).attribute(
        x, baselines=_white_images(x, kind), target=targets, n_steps=_INTEGRATION_STEPS, internal_batch_size=_BATCH_SIZE
    )
    width = max(3, x.shape[-1] // 16 | 1)
    evidence = attribution.detach().sum(dim=1, keepdim=True).clamp(min=0)
    return functional.avg_pool2d(evidence, width, 1, width // 2)[:, 0]


def occlusion(network: Network, kind: Architecture, x: Tensor, targets: Tensor) -> Tensor:
    """Compute how much the logit falls if a white patch covers a part of the image.

    The side of the patch is an eighth of the image's. After Zeiler and Fergus, arXiv:1311.2901. Arguments and result are those
    of `grad_cam`. Raises MissingExtra.
    """
    require("captum", "captum", "train", "This method")
    from captum.attr import Occlusion

    side = x.shape[-1] // 8
    with torch.inference_mode():
        attribution: Tensor = Occlusion(_Logits(network)).attribute(
            x,
            sliding_window_shapes=(3, side, side),
            strides=(3, max(1, side // 2), max(1, side // 2)),
            baselines=_white_images(x, kind),
            target=targets,
        )
    return attribution.mean(dim=1)


METHODS: Mapping[str, Callable[[Network, Architecture, Tensor, Tensor], Tensor]] = {
    "grad-cam": grad_cam,
    "integrated-gradients": integrated_gradients,
    "occlusion": occlusion,
}
"""Attribution methods by name."""


def deletion_test(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, maps: Floats, seed: int = 0) -> Deletion:
    """Measure how fast the probability of the target falls while cells of the images are blurred.

    - `network`, `kind`, `pixels`, `targets`: as in `heat_maps`; `maps`: its result.
    - `seed`: of the random order.

    The cells of a 16 x 16 grid are blurred in 17 steps, from none to all: in the order of their heat, hottest first, and in
    random order. The smaller the area under the first curve, the more faithful are the maps. After Petsiuk et al., "RISE",
    arXiv:1806.07421.
    """
    random = np.random.default_rng(seed)
    heat = functional.adaptive_avg_pool2d(torch.from_numpy(maps)[:, None], _DELETION_GRID)[:, 0].flatten(1).numpy()
    by_heat = np.argsort(-heat, axis=1, kind="stable")
    at_random = np.stack([random.permutation(heat.shape[1]) for _ in range(len(pixels))])
    curves = [_deletion_curve(network, kind, pixels, targets, order) for order in (by_heat, at_random)]
    return Deletion(len(pixels), *(tuple(float(value) for value in curve) for curve in curves))


def average_maps(maps: Floats, pixels: Pixels, labels: Ids, emotions: tuple[str, ...]) -> dict[str, AverageMap]:
    """Average the maps and images of each emotion that occurs.

    - `maps`: float32, (N, size, size); `pixels`: uint8, (N, size, size, 3).
    - `labels`: positions in `emotions`, int64, (N,).

    The result also has the shares of the heat in the upper, middle and lower third of the images.
    """
    averages = {}
    for number, emotion in enumerate(emotions):
        rows = np.flatnonzero(labels == number)
        if len(rows):
            mean = maps[rows].mean(axis=0)
            bands = [float(band.sum()) for band in np.array_split(mean, 3)]
            total = sum(bands) or 1.0
            shares = (bands[0] / total, bands[1] / total, bands[2] / total)
            image = np.rint(pixels[rows].mean(axis=0)).astype(np.uint8)
            averages[emotion] = AverageMap(len(rows), mean, image, shares)
    return averages


@torch.inference_mode()
def _deletion_curve(network: Network, kind: Architecture, pixels: Pixels, targets: Ids, order: Ids) -> Floats:
    """Return the mean probability of the targets at each step, float32, (17,).

    At the steps, 0/16, 1/16, ... 16/16 of the cells are blurred. `order` are the numbers of the cells in the order in which they
    are blurred, int64, (N, 256).
    """
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    width = x.shape[-1] // 4 | 1
    blurred = functional.avg_pool2d(x, width, 1, width // 2, count_include_pad=False)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None], axis=1)
    rank_maps = torch.from_numpy(rank).view(-1, 1, _DELETION_GRID, _DELETION_GRID).float()
    ranks = functional.interpolate(rank_maps, size=x.shape[2:], mode="nearest")
    curve = []
    for step in bar(range(_DELETION_GRID + 1), desc="blurring", unit="step", leave=False):
        images = torch.where(ranks < step * _DELETION_GRID, blurred, x).sub(kind.mean).div(kind.std)
        logits = torch.cat([network(batch).logits for batch in torch.split(images, _BATCH_SIZE)])
        curve.append(float(logits.softmax(dim=1).gather(1, torch.from_numpy(targets)[:, None]).mean()))
    return np.array(curve, dtype=np.float32)


def _as_maps(layer_output: Tensor) -> Tensor:
    """Return the output of a layer as maps, (N, channels, h, w).

    The output of a transformer is (N, 1 + h * w, channels): a class token, and the tokens of the positions.
    """
    if layer_output.ndim == 4:
        return layer_output
    tokens = layer_output[:, 1:]
    side = round(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


def _normalized(pixels: Pixels, kind: Architecture) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().sub(kind.mean).div(kind.std)


def _white_images(x: Tensor, kind: Architecture) -> Tensor:
    """Return white images, normalized, of the shape of `x`."""
    return torch.full_like(x, (_WHITE - kind.mean) / kind.std)


class _Logits(nn.Module):
    """A network that returns only logits, as captum requires."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x).logits
        return logits
