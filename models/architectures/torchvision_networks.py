"""Classifiers of torchvision as networks.

The import of torchvision takes seconds, so this module imports it only to build a network or to load its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.error import URLError

from torch import Tensor, nn

from indexer.domain.errors import ModelUnavailable
from models.architectures.network import HeadConfig, Network, activation, initialize_for_relu

if TYPE_CHECKING:
    from torchvision.models.googlenet import GoogLeNet

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of each channel of ImageNet, for values 0-1."""

HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation of each channel for GoogLeNet."""


class TorchvisionNetwork(Network):
    """The torchvision network `name` with a neck and a classifier instead of its last linear layer.

    Input: RGB, float, (N, 3, size, size), 0-1. The network normalizes it by `mean` and `std`, one value per channel, as its
    published weights expect.
    """

    def __init__(
        self,
        classes: int,
        size: int,
        modifiers: frozenset[str] = frozenset(),
        *,
        name: str,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        body = _googlenet(modifiers) if name == "googlenet" else _build(name, size)
        path, last = _last_linear(body)
        super().__init__(last.in_features, classes, HeadConfig.parse(modifiers))
        body.set_submodule(path, nn.Identity())
        self.body = body
        self.mean, self.std = mean, std

    def pooled(self, x: Tensor) -> Tensor:
        mean, std = (x.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        out: Tensor = self.body((x - mean) / std)
        return out


def imagenet(name: str, weights: str, size: int) -> Mapping[str, Tensor]:
    """Return ImageNet weights of torchvision, renamed, without the last layer.

    `weights` is the name of an entry of torchvision, which downloads the file or reads it from its cache. Raises
    ModelUnavailable if the file is not in the cache and cannot be downloaded.
    """
    from torchvision.models import get_weight

    entry = get_weight(weights)
    try:
        state = entry.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError) as error:
        raise ModelUnavailable(
            f"The ImageNet weights of {name} cannot be downloaded from {entry.url} ({error}). "
            "Download them elsewhere and give the file: --weights FILE, or start with random weights: --weights none."
        ) from error
    return rename_weights(name, state, size)


def rename_weights(name: str, state: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Rename the tensors of a torchvision state dict, without its last layer and auxiliary heads.

    Interpolates the position embeddings of a transformer for an input size in pixels; raises KeyError or ValueError if the state
    dict does not have them.
    """
    path, _ = _last_linear(_build(name, size))
    if name.startswith("vit"):
        from torchvision.models.vision_transformer import interpolate_embeddings

        patch = state["conv_proj.weight"].shape[-1]
        state = interpolate_embeddings(size, patch, dict(state))
    return {f"body.{key}": tensor for key, tensor in state.items() if not key.startswith((f"{path}.", "aux"))}


def _build(name: str, size: int) -> nn.Module:
    from torchvision.models import get_model

    options: dict[str, object] = {"image_size": size} if name.startswith("vit") else {}
    if name == "googlenet":
        options = {"aux_logits": False, "init_weights": False}
    model: nn.Module = get_model(name, weights=None, **options)
    return model


def _last_linear(body: nn.Module) -> tuple[str, nn.Linear]:
    """Return the layer that computes the logits, with its path: the last linear layer of the networks in the registry."""
    return [(path, module) for path, module in body.named_modules() if isinstance(module, nn.Linear)][-1]


def _googlenet(modifiers: frozenset[str]) -> nn.Module:
    from torchvision.models.googlenet import GoogLeNet, Inception, InceptionAux

    unit = partial(_Unit, plain="plain" in modifiers, leaky="leaky_relu" in modifiers)
    block: Callable[..., nn.Module] = partial(Inception, conv_block=unit)
    body = GoogLeNet(aux_logits=False, init_weights=False, blocks=[unit, block, InceptionAux])
    if "extra_inception" in modifiers:
        _extend(body, block)
    if "plain" in modifiers:
        initialize_for_relu(body)
    googlenet: nn.Module = body
    return googlenet


def _extend(body: GoogLeNet, block: Callable[..., nn.Module]) -> None:
    """Add an Inception at the end of blocks 3 and 5. It does not change the shape; the other layers keep their names."""
    body.maxpool3 = nn.Sequential(block(480, 128, 128, 192, 32, 96, 64), body.maxpool3)
    body.avgpool = nn.Sequential(block(1024, 384, 192, 384, 48, 128, 128), body.avgpool)


class _Unit(nn.Module):
    """A convolution of GoogLeNet: batch norm unless `plain`, then a ReLU. Its layers have the names of torchvision."""

    def __init__(self, inputs: int, outputs: int, *, plain: bool, leaky: bool, **shape: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=plain, **shape)  # type: ignore[arg-type]
        self.bn = nn.Identity() if plain else nn.BatchNorm2d(outputs, eps=0.001)
        self.activation = activation(leaky)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.bn(self.conv(x)))
        return out
