"""The architectures a checkpoint may name. Adding one is a line of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from indexer.domain.errors import ModelUnavailable
from models.architectures import efficientnet_lite, external, torchvision_networks
from models.architectures.baseline_cnn import BaselineCnn
from models.architectures.network import MODIFIERS, Network
from models.architectures.torchvision_networks import HALF, TorchvisionNetwork

_ANY_HEAD = frozenset({"dense64", "dense64x2", "dropout", "unit"})

Build = Callable[[int, int, frozenset[str]], Network]
"""Makes a network for so many classes, an input of that side, and words of `network.MODIFIERS`, with random weights."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of network, perhaps with words that vary it: `name` holds both.

    `mean` and `std` normalise its input, x in 0-255. `maps` is the path of the last layer that still knows places, for looking
    inside, "" where the built network says. `imagenet` gives pretrained weights by our names for an input size; it raises
    ImportError where their package is missing and ModelUnavailable where they cannot be downloaded. `translate` turns a
    published state dict into our names.
    """

    name: str
    make: Build
    allowed: frozenset[str]
    maps: str
    mean: float = 0.0
    std: float = 255.0
    imagenet: Callable[[int], Mapping[str, Tensor]] | None = None
    translate: Callable[[Mapping[str, Tensor], int], Mapping[str, Tensor]] | None = None
    words: frozenset[str] = frozenset()

    def build(self, classes: int, size: int) -> Network:
        """The network for so many classes and an input of `size` x `size`."""
        return self.make(classes, size, self.words)


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
    name: str, weights: str, maps: str, allowed: frozenset[str] = frozenset(), **normalise: tuple[float, ...]
) -> Architecture:
    return Architecture(
        name,
        partial(TorchvisionNetwork, name=name, **normalise),  # type: ignore[arg-type]
        _ANY_HEAD | allowed,
        maps=f"body.{maps}",
        imagenet=partial(torchvision_networks.imagenet, name, weights),
        translate=partial(torchvision_networks.ours, name),
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


def architecture(name: str) -> Architecture:
    """The architecture of that name, as `resnet50`, `googlenet+plain+dropout` or `timm:NAME`. Raises ModelUnavailable."""
    base, *given = name.split("+")
    words = frozenset(given)
    library, colon, theirs = base.partition(":")
    if colon and library in _LIBRARIES:
        make, weights = _LIBRARIES[library]
        kind = Architecture(
            base, partial(make, name=theirs), _ANY_HEAD, maps="", imagenet=partial(weights, theirs), translate=external.ours
        )
    elif base in ARCHITECTURES:
        kind = ARCHITECTURES[base]
    else:
        raise ModelUnavailable(
            f"There is no architecture {base!r} in this version of moodex; it knows {', '.join(ARCHITECTURES)}, and, with the "
            "extra backbones, timm:NAME and open_clip:NAME."
        )
    if unknown := sorted(words - kind.allowed):
        known = ", ".join(sorted(kind.allowed))
        raise ModelUnavailable(f"{base} cannot be varied by {unknown[0]!r}; it can by {known}.")
    return replace(kind, name="+".join([base, *(word for word in MODIFIERS if word in words)]), words=words)
