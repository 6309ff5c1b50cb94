"""Backbones of timm and open_clip, by name: timm:NAME, open_clip:NAME or open_clip:NAME/WEIGHTS.

The extra `backbones` installs the two packages. This module imports them when it builds such a network. They download their
weights themselves, and load safetensors, or state dicts with `weights_only`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from indexer.domain.errors import ModelUnavailable
from indexer.system.optional import require
from models.architectures.network import HeadConfig, Network

_Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, for values 0-1."""


class ExternalBackbone(Network):
    """An external backbone with a neck and a classifier.

    Input: RGB, float, (N, 3, size, size), 0-1. The network normalizes it as its pretrained weights expect.
    """

    def __init__(
        self,
        body: nn.Module,
        normalization: _Normalization,
        shape: tuple[int, int],
        modifiers: frozenset[str],
    ) -> None:
        """`body` returns (N, width) for normalized images; `shape` is the number of classes and the side of the input."""
        classes, size = shape
        super().__init__(_width(body, size), classes, HeadConfig.parse(modifiers))
        self.body = body
        self.mean, self.std = normalization

    def fold(self) -> None:
        """Switch to evaluation. Fuses nothing, because the order of layers in an external network is unknown."""
        self.eval()

    def pooled(self, x: Tensor) -> Tensor:
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        out: Tensor = self.body((x - mean) / std)
        return out


def timm_network(classes: int, size: int, modifiers: frozenset[str] = frozenset(), *, name: str) -> ExternalBackbone:
    """Build the timm network `name` for an input size, with random weights.

    Raises ModelUnavailable for an unknown name, or if timm cannot build the network, MissingExtra if timm is not installed.
    """
    body, normalization = _timm(name, size, pretrained=False)
    network = ExternalBackbone(body, normalization, (classes, size), modifiers)
    info = getattr(body, "feature_info", None)
    if isinstance(info, list) and info:
        network.maps = f"body.{info[-1]['module']}"
    return network


def timm_weights(name: str, size: int) -> Mapping[str, Tensor]:
    """Return the pretrained weights of a timm network, renamed. Raises ModelUnavailable if they cannot be loaded."""
    return rename_weights(_timm(name, size, pretrained=True)[0].state_dict(), size)


def clip_network(classes: int, size: int, modifiers: frozenset[str] = frozenset(), *, name: str) -> ExternalBackbone:
    """Build the image encoder of the open_clip model `name`, with random weights. Raises as `timm_network` does."""
    return ExternalBackbone(*_clip(name.partition("/")[0], size, None), (classes, size), modifiers)


def clip_weights(name: str, size: int) -> Mapping[str, Tensor]:
    """Return pretrained weights of an open_clip model, renamed; `name` is MODEL/WEIGHTS.

    Raises ModelUnavailable if the name lacks the weights, or if they cannot be loaded.
    """
    model, _, weights = name.partition("/")
    if not weights:
        import open_clip

        available = [tag for other, tag in open_clip.list_pretrained() if other == model]
        raise ModelUnavailable(
            f"The name lacks its weights: choose open_clip:{model}/WEIGHTS, one of {', '.join(available) or 'none'}."
        )
    return rename_weights(_clip(model, size, weights)[0].state_dict(), size)


def rename_weights(state: Mapping[str, Tensor], _size: int) -> dict[str, Tensor]:
    """Rename the tensors of the state dict of a backbone to those of `ExternalBackbone`."""
    return {f"body.{name}": tensor for name, tensor in state.items()}


def _timm(name: str, size: int, pretrained: bool) -> tuple[nn.Module, _Normalization]:
    require("timm", "timm", "backbones", "timm's networks")
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise ModelUnavailable(_unknown("timm", name, timm.list_models()))
    try:
        body: nn.Module = _sized(timm.create_model, name, size, pretrained)
    except (OSError, RuntimeError) as error:
        raise ModelUnavailable(f"timm cannot build the network {name!r} with the requested weights: {error}") from error
    config: Any = import_module("timm.data").resolve_model_data_config(body)
    return body, (tuple(config["mean"]), tuple(config["std"]))


def _sized(create: Any, name: str, size: int, pretrained: bool) -> nn.Module:
    """Create a network for an input size. Only transformers have an option for it; convolutional networks take any size."""
    try:
        network: nn.Module = create(name, pretrained=pretrained, num_classes=0, img_size=size)
    except TypeError:
        network = create(name, pretrained=pretrained, num_classes=0)
    return network


def _clip(name: str, size: int, weights: str | None) -> tuple[nn.Module, _Normalization]:
    require("open_clip", "open-clip-torch", "backbones", "open_clip's networks")
    import open_clip

    if name not in open_clip.list_models():
        raise ModelUnavailable(_unknown("open_clip", name, open_clip.list_models()))
    try:
        with _without_warnings():  # open_clip warns about random weights
            model = open_clip.create_model(
                name, pretrained=weights, force_image_size=size, device=torch.get_default_device(), pretrained_hf=False
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"open_clip cannot build the network {name!r} with the requested weights: {error}") from error
    visual = model.visual
    return visual, (tuple(visual.image_mean or (0.5,) * 3), tuple(visual.image_std or (0.5,) * 3))


@contextmanager
def _without_warnings() -> Iterator[None]:
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)


@torch.no_grad()
def _width(body: nn.Module, size: int) -> int:
    """Return the number of features that a backbone computes per image."""
    body.eval()
    width = int(body(torch.zeros(1, 3, size, size)).shape[1])
    body.train()
    return width


def _unknown(library: str, name: str, available: list[str]) -> str:
    similar = get_close_matches(name, available, n=3)
    hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
    return f"{library} has no network {name!r}.{hint}"
