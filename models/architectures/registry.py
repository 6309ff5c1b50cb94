"""The registry of the architectures that a checkpoint may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable
from models.architectures import efficientnet_lite, external, torchvision_networks
from models.architectures.baseline_cnn import BaselineCnn
from models.architectures.modifiers import modifiers_of, with_modifiers
from models.architectures.network import Network
from models.architectures.torchvision_networks import HALF, TorchvisionNetwork

if TYPE_CHECKING:
    from torch import Tensor

_ANY_HEAD = frozenset({"dense64", "dense64x2", "dropout", "unit"})
"""Modifiers that every architecture supports."""

Build = Callable[[int, int, frozenset[str]], Network]
"""Builds a network with random weights from a number of classes, the side of the input, and names of `modifiers.MODIFIERS`."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture with its modifiers.

    - `name`: its name with the modifiers, such as `googlenet+plain`.
    - `make`: builds the network.
    - `allowed`: modifiers that it supports; `modifiers`: those that it has.
    - `maps`: path of the last layer with spatial positions, for explanations; "" if only the built network knows it.
    - `mean`, `std`: its input is normalized as (x - mean) / std from 0-255.
    - `imagenet`: returns pretrained weights, renamed, for an input size. Raises ImportError if their package is not installed,
      ModelUnavailable if they cannot be downloaded. None if there are no pretrained weights.
    - `translate`: renames the tensors of a published state dict for an input size. None if there is no published state dict.
    """

    name: str
    make: Build
    allowed: frozenset[str]
    maps: str
    mean: float = 0.0
    std: float = 255.0
    imagenet: Callable[[int], Mapping[str, Tensor]] | None = None
    translate: Callable[[Mapping[str, Tensor], int], Mapping[str, Tensor]] | None = None
    modifiers: frozenset[str] = frozenset()

    def build(self, classes: int, size: int) -> Network:
        """Build the network with random weights, for an input of `size` x `size` pixels. Raises ModelUnavailable."""
        return self.make(classes, size, self.modifiers)


def _lite(number: int, width: float, depth: float) -> Architecture:
    return Architecture(
        f"efficientnet_lite{number}",
        partial(efficientnet_lite.EfficientNetLite, width=width, depth=depth),
        _ANY_HEAD | {"spaces", "whole", "usual"},
        maps="head",
        mean=127.0,
        std=128.0,
        imagenet=lambda _size: efficientnet_lite.imagenet(number),
        translate=lambda state, _size: efficientnet_lite.from_reference(state),
    )


def _torchvision(
    name: str, weights: str, maps: str, allowed: frozenset[str] = frozenset(), **normalize: tuple[float, ...]
) -> Architecture:
    return Architecture(
        name,
        partial(TorchvisionNetwork, name=name, **normalize),  # type: ignore[arg-type]
        _ANY_HEAD | allowed,
        maps=f"body.{maps}",
        imagenet=partial(torchvision_networks.imagenet, name, weights),
        translate=partial(torchvision_networks.rename_weights, name),
    )


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("baseline_cnn", BaselineCnn, _ANY_HEAD | {"leaky_relu", "batch_norm"}, maps="convolutions"),
        _lite(0, width=1.0, depth=1.0),
        _lite(1, width=1.0, depth=1.1),
        _lite(2, width=1.1, depth=1.2),
        _torchvision(
            "googlenet", "GoogLeNet_Weights.IMAGENET1K_V1", "inception5b", frozenset({"plain", "leaky_relu", "extra_inception"}),
            mean=HALF, std=HALF,
        ),
        _torchvision("resnet18", "ResNet18_Weights.IMAGENET1K_V1", "layer4"),
        _torchvision("resnet50", "ResNet50_Weights.IMAGENET1K_V2", "layer4"),
        _torchvision("efficientnet_v2_s", "EfficientNet_V2_S_Weights.IMAGENET1K_V1", "features"),
        _torchvision("convnext_tiny", "ConvNeXt_Tiny_Weights.IMAGENET1K_V1", "features"),
        _torchvision("mobilenet_v3_large", "MobileNet_V3_Large_Weights.IMAGENET1K_V2", "features"),
        _torchvision("vit_b_16", "ViT_B_16_Weights.IMAGENET1K_V1", "encoder.layers.encoder_layer_11.ln_1"),
        _torchvision("swin_v2_t", "Swin_V2_T_Weights.IMAGENET1K_V1", "permute"),
    )
}  # fmt: skip


_LIBRARIES: dict[str, tuple[Callable[..., Network], Callable[[str, int], Mapping[str, Tensor]]]] = {
    "timm": (external.timm_network, external.timm_weights),
    "open_clip": (external.clip_network, external.clip_weights),
}
"""Libraries of backbones, with the functions that build a network and load pretrained weights, by name."""


def architecture(name: str) -> Architecture:
    """Return an architecture by name, such as `resnet50`, `googlenet+plain+dropout` or `timm:NAME`.

    Raises ModelUnavailable for an unknown name, and for a modifier that the architecture does not support.
    """
    base, modifiers = name.split("+", maxsplit=1)[0], modifiers_of(name)
    library, colon, external_name = base.partition(":")
    if colon and library in _LIBRARIES:
        make, weights = _LIBRARIES[library]
        kind = Architecture(
            base,
            partial(make, name=external_name),
            _ANY_HEAD,
            maps="",
            imagenet=partial(weights, external_name),
            translate=external.rename_weights,
        )
    elif base in ARCHITECTURES:
        kind = ARCHITECTURES[base]
    else:
        raise ModelUnavailable(
            f"There is no architecture {base!r} in this version of moodex. Choose {', '.join(ARCHITECTURES)}, or, with the "
            "extra backbones, timm:NAME or open_clip:NAME."
        )
    if unknown := sorted(modifiers - kind.allowed):
        allowed = ", ".join(sorted(kind.allowed))
        raise ModelUnavailable(f"{base} does not support the modifier {unknown[0]!r}; it supports {allowed}.")
    return replace(kind, name=with_modifiers(base, modifiers), modifiers=modifiers)
