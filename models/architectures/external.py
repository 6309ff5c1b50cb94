"""Backbones of timm and open_clip, by name: timm:NAME, open_clip:NAME or open_clip:NAME/WEIGHTS.

The two packages are the extra `backbones`, and are imported when such a network is built. They download their weights themselves,
and load safetensors, or state dicts with `weights_only`.
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


class ExternalBackbone(Network):
    """An external backbone under a neck and classifier. Input: RGB, 0-1, normalized as its weights expect."""

    def __init__(
        self,
        body: nn.Module,
        normalize: tuple[tuple[float, ...], tuple[float, ...]],
        shape: tuple[int, int],
        modifiers: frozenset[str],
    ) -> None:
        classes, size = shape
        super().__init__(_width(body, size), classes, HeadConfig.parse(modifiers))
        self.body = body
        self.mean, self.std = normalize

    def fold(self) -> None:
        """Switch to evaluation for good. The order of layers in an external network is unknown, so nothing is fused."""
        self.eval()

    def pooled(self, x: Tensor) -> Tensor:
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        out: Tensor = self.body((x - mean) / std)
        return out


def timm_network(classes: int, size: int, modifiers: frozenset[str] = frozenset(), *, name: str) -> ExternalBackbone:
    """Build the timm network `name` for an input size, with random weights. Raises ModelUnavailable, MissingExtra."""
    body, normalize = _timm(name, size, pretrained=False)
    network = ExternalBackbone(body, normalize, (classes, size), modifiers)
    info = getattr(body, "feature_info", None)
    if isinstance(info, list) and info:
        network.maps = f"body.{info[-1]['module']}"
    return network


def timm_weights(name: str, size: int) -> Mapping[str, Tensor]:
    """Return pretrained weights of timm, renamed. Raises ModelUnavailable if they cannot be loaded."""
    return rename_weights(_timm(name, size, pretrained=True)[0].state_dict(), size)


def clip_network(classes: int, size: int, modifiers: frozenset[str] = frozenset(), *, name: str) -> ExternalBackbone:
    """Build the image encoder of the open_clip model `name`, with random weights. Raises as `timm_network` does."""
    return ExternalBackbone(*_clip(name.partition("/")[0], size, None), (classes, size), modifiers)


def clip_weights(name: str, size: int) -> Mapping[str, Tensor]:
    """Return pretrained weights of open_clip, renamed. Raises ModelUnavailable if none are named or cannot be loaded."""
    model, _, weights = name.partition("/")
    if not weights:
        import open_clip

        known = [tag for other, tag in open_clip.list_pretrained() if other == model]
        raise ModelUnavailable(
            f"The name lacks its weights: choose open_clip:{model}/WEIGHTS, one of {', '.join(known) or 'none'}."
        )
    return rename_weights(_clip(model, size, weights)[0].state_dict(), size)


def rename_weights(state: Mapping[str, Tensor], _size: int) -> dict[str, Tensor]:
    """Rename the state dict of a backbone."""
    return {f"body.{name}": tensor for name, tensor in state.items()}


def _timm(name: str, size: int, pretrained: bool) -> tuple[nn.Module, tuple[tuple[float, ...], tuple[float, ...]]]:
    require("timm", "timm", "backbones", "timm's networks")
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise ModelUnavailable(_unknown("timm", name, timm.list_models()))
    try:
        body: nn.Module = _sized(timm.create_model, name, size, pretrained)
    except (OSError, RuntimeError) as error:
        raise ModelUnavailable(f"timm cannot make {name!r} with the weights asked for: {error}") from error
    config: Any = import_module("timm.data").resolve_model_data_config(body)
    return body, (tuple(config["mean"]), tuple(config["std"]))


def _sized(create: Any, name: str, size: int, pretrained: bool) -> nn.Module:
    """Pass the input size to transformers; convolutional networks take any size and have no such option."""
    try:
        made: nn.Module = create(name, pretrained=pretrained, num_classes=0, img_size=size)
    except TypeError:
        made = create(name, pretrained=pretrained, num_classes=0)
    return made


def _clip(name: str, size: int, weights: str | None) -> tuple[nn.Module, tuple[tuple[float, ...], tuple[float, ...]]]:
    require("open_clip", "open-clip-torch", "backbones", "open_clip's networks")
    import open_clip

    if name not in open_clip.list_models():
        raise ModelUnavailable(_unknown("open_clip", name, open_clip.list_models()))
    try:
        with _without_warnings():  # about random weights
            model = open_clip.create_model(
                name, pretrained=weights, force_image_size=size, device=torch.get_default_device(), pretrained_hf=False
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelUnavailable(f"open_clip cannot make {name!r} with the weights asked for: {error}") from error
    visual = model.visual
    return visual, (tuple(visual.image_mean or (0.5,) * 3), tuple(visual.image_std or (0.5,) * 3))


@contextmanager
def _without_warnings() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@torch.no_grad()
def _width(body: nn.Module, size: int) -> int:
    """Return how many numbers a backbone computes per image."""
    body.eval()
    width = int(body(torch.zeros(1, 3, size, size)).shape[1])
    body.train()
    return width


def _unknown(library: str, name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"{library} has no network {name!r}.{hint}"
