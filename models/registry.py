"""The architectures a checkpoint may name. Adding one is a line of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from torch import Tensor, nn

from indexer.errors import ModelUnavailable
from models import efficientnet_lite


class Network(Protocol):
    """What every architecture offers beside being a `torch.nn.Module`. `classifier` is its last layer."""

    classifier: nn.Linear

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer of normalised pictures: float, (N, 3, size, size) to (N, embedding size)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, (N, classes), and the features they were read from."""

    def fold(self) -> None:
        """Switch to evaluation for good and merge what can be merged without changing the outputs."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One kind of network.

    `build` makes it for a number of classes, with random weights; `mean` and `std` normalise its input, x in 0-255; `pretrained`
    gives ImageNet weights by our names and raises ImportError where their package is missing.
    """

    name: str
    build: Callable[[int], nn.Module]
    embedding_size: int
    mean: float
    std: float
    pretrained: Callable[[], Mapping[str, Tensor]] | None = None


def _lite(name: str, width: float, depth: float, pretrained: Callable[[], Mapping[str, Tensor]] | None = None) -> Architecture:
    build = partial(efficientnet_lite.EfficientNetLite, width=width, depth=depth)
    return Architecture(name, build, efficientnet_lite.EMBEDDING_SIZE, mean=127.0, std=128.0, pretrained=pretrained)


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _lite("efficientnet_lite0", width=1.0, depth=1.0, pretrained=efficientnet_lite.imagenet_lite0),
        _lite("efficientnet_lite1", width=1.0, depth=1.1),
        _lite("efficientnet_lite2", width=1.1, depth=1.2),
    )
}


def architecture(name: str) -> Architecture:
    """The architecture of that name. Raises ModelUnavailable."""
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise ModelUnavailable(f"There is no architecture {name!r} in this version of moodex; it knows {known}.") from None


def as_network(module: nn.Module) -> Network:
    """The same object, seen as what every architecture of this registry is."""
    return cast(Network, module)
