"""The base class of all architectures: a backbone that computes features of images, a neck, and a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from indexer.domain.models import APPEARANCE, EXPRESSION
from models.architectures import embedding_spaces
from models.architectures.fuse_batchnorm import fuse_batchnorms
from models.scaling import EMBEDDING_LENGTH, SHARE

HEAD = ("neck.", "classifier.")
"""Prefixes of the names of the parameters on top of the backbone."""

_FITTED = ("look.", "usual.")
"""Prefixes of the names of the parameters that are fitted in closed form, not trained."""

_DENSE_WIDTHS = {"dense64": (64,), "dense64x2": (64, 64)}
_LEAKY_SLOPE = 0.1
_DROPOUT = 0.5
"""Dropout of the modifier `dropout`."""


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The layers on top of a backbone.

    - `dense`: widths of the dense layers of the neck.
    - `batch_norm`: each dense layer has a batch norm. `leaky_relu`: it has a leaky ReLU instead of a ReLU.
    - `dropout`: share of the classifier's inputs that are dropped in training, 0-1.
    - `unit_input`: the classifier reads the embedding, multiplied by `EMBEDDING_LENGTH`, not the features.
    - `spaces`: the embedding has an expression and an appearance part.
    - `reads_appearance`: the classifier reads both parts.
    - `subtracts_baseline`: the classifier reads the expression minus the style baseline.
    """

    dense: tuple[int, ...] = ()
    batch_norm: bool = False
    leaky_relu: bool = False
    dropout: float = 0.0
    unit_input: bool = False
    spaces: bool = False
    reads_appearance: bool = False
    subtracts_baseline: bool = False

    @classmethod
    def parse(cls, modifiers: frozenset[str], dense: tuple[int, ...] = (), dropout: float = 0.0) -> Self:
        """Parse names of `models.architectures.modifiers.MODIFIERS`.

        They override the architecture's default values of `dense` and `dropout`.
        """
        spaces = "spaces" in modifiers
        reads_appearance = spaces and "whole" in modifiers
        return cls(
            dense=next((widths for modifier, widths in _DENSE_WIDTHS.items() if modifier in modifiers), dense),
            batch_norm="batch_norm" in modifiers,
            leaky_relu="leaky_relu" in modifiers,
            dropout=_DROPOUT if "dropout" in modifiers else dropout,
            unit_input=spaces or "unit" in modifiers,
            spaces=spaces,
            reads_appearance=reads_appearance,
            subtracts_baseline=reads_appearance and "usual" in modifiers,
        )


class Encoding(NamedTuple):
    """The tensors that a network computes before its classifier, all float.

    - `classifier_input`: (N, inputs of the classifier).
    - `features`: (N, size), output of the neck, not of unit length.
    - `embedding`: (N, embedding size), each part of unit length.
    """

    classifier_input: Tensor
    features: Tensor
    embedding: Tensor


class NetworkOutput(NamedTuple):
    """Logits, float, (N, classes), with the features and the embedding of `Encoding`."""

    logits: Tensor
    features: Tensor
    embedding: Tensor


class Network(nn.Module):
    """A classifier of images: a backbone, a neck that computes features, and a linear classifier that computes logits.

    A subclass implements `pooled`; one that supports the modifier `spaces` implements `early` and `late` too. `maps` is the path
    of the last layer with spatial positions, if the registry does not know it.
    """

    maps = ""

    def __init__(self, width: int, classes: int, head: HeadConfig | None = None, channels: int = 0) -> None:
        """Build the neck and the classifier.

        - `width`: numbers per image that the backbone computes.
        - `channels`: channels of the early maps, for the modifier `spaces`.
        """
        super().__init__()
        head = head or HeadConfig()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((width, *head.dense)):
            norm = [nn.BatchNorm1d(outputs)] if head.batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, activation(head.leaky_relu)]
        size = head.dense[-1] if head.dense else width
        if head.spaces:
            layers += [nn.Linear(size, embedding_spaces.SIZE, bias=False), nn.BatchNorm1d(embedding_spaces.SIZE)]
            size = embedding_spaces.SIZE
        self.head_config = head
        self.neck: nn.Module = nn.Sequential(*layers) if layers else nn.Identity()
        self.dropout = nn.Dropout(head.dropout)
        self.classifier = nn.Linear(size + embedding_spaces.SIZE if head.reads_appearance else size, classes)
        # Checkpoints name these `look` and `usual`.
        self.look = embedding_spaces.AppearanceProjection(channels) if head.spaces else None
        self.usual = embedding_spaces.StyleBaselineLayer() if head.subtracts_baseline else None
        self.spaces = ((EXPRESSION, size), (APPEARANCE, embedding_spaces.SIZE)) if head.spaces else ()
        self.embedding_size = size + (embedding_spaces.SIZE if head.spaces else 0)

    def pooled(self, x: Tensor) -> Tensor:
        """Compute the output of the backbone, float, (N, width), from normalized images, float, (N, 3, size, size)."""
        raise NotImplementedError

    def early(self, x: Tensor) -> Tensor:
        """Compute the early maps of the backbone, float, (N, channels, H, W), from the input of `pooled`."""
        raise NotImplementedError

    def late(self, maps: Tensor) -> Tensor:
        """Compute the output of `pooled` from early maps."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Compute the output of the neck, float, (N, size), not of unit length, from the input of `pooled`."""
        out: Tensor = self.neck(self.pooled(x))
        return out

    def forward(self, x: Tensor) -> NetworkOutput:
        """Classify and embed normalized images, float, (N, 3, size, size)."""
        encoding = self.encode(x)
        logits = self.classifier(self.dropout(encoding.classifier_input))
        return NetworkOutput(logits, encoding.features, encoding.embedding)

    def encode(self, x: Tensor) -> Encoding:
        """Compute features, embedding and the input of the classifier from the input of `pooled`."""
        if self.look is None:
            features = self.features(x)
            embedding = normalize(features)
            return Encoding(embedding * EMBEDDING_LENGTH if self.head_config.unit_input else features, features, embedding)
        maps = self.early(x)
        features = self.neck(self.late(maps))
        expression, appearance = normalize(features), normalize(self.look(maps))
        classifier_input = expression if self.usual is None else expression - self.usual(appearance)
        if self.head_config.reads_appearance:
            classifier_input = torch.cat([classifier_input, appearance * SHARE], dim=1)
        return Encoding(classifier_input * EMBEDDING_LENGTH, features, torch.cat([expression, appearance], dim=1))

    def from_input(self) -> list[tuple[str, nn.Parameter]]:
        """Return the names and parameters that are trained, in order from the input; neck and classifier are last."""
        trained = (named for named in self.named_parameters() if not named[0].startswith(_FITTED))
        return sorted(trained, key=lambda named: named[0].startswith(HEAD))

    def fold(self) -> None:
        """Switch to evaluation, and fuse the batch norms, which changes no output. The network cannot be trained afterwards."""
        fuse_batchnorms(self)


class NormalizedClassifier(nn.Module):
    """A network with its normalization, whose inputs and outputs are plain tensors, for inference and export.

    - Input: images, uint8, (N, size, size, 3), RGB.
    - Outputs: probabilities, float32, (N, classes); embeddings, float32, (N, embedding size).
    """

    def __init__(self, network: Network, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        # The permuted tensor, (N, 3, H, W), has the memory format channels last already, so nothing is copied.
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        output = self.network(x)
        return output.logits.softmax(dim=1), output.embedding


def activation(leaky: bool) -> nn.Module:
    """Return a ReLU, or a leaky ReLU."""
    return nn.LeakyReLU(_LEAKY_SLOPE, inplace=True) if leaky else nn.ReLU(inplace=True)


def initialize_for_relu(module: nn.Module) -> None:
    """Initialize the convolutions of a ReLU network without batch norm (He et al., arXiv:1502.01852)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
