"""What all architectures share: a backbone that turns images into numbers, a neck, and a linear classifier on top."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from indexer.domain.models import FEEL, LOOK
from models.architectures import embedding_spaces
from models.architectures.fuse_batchnorm import fuse_batchnorms
from models.scaling import EMBEDDING_LENGTH, SHARE

MODIFIERS: dict[str, str] = {
    "leaky_relu": "leaky ReLU (slope 0.1) instead of ReLU",
    "batch_norm": "batch norm after every convolution and dense layer",
    "plain": "no batch norm, as the network was published",
    "dense64": "one dense layer of 64 before the classifier",
    "dense64x2": "two dense layers of 64 before the classifier",
    "dropout": "dropout of one half before the classifier",
    "extra_inception": "one more Inception after blocks 3 and 5",
    "unit": "the classifier reads the embedding at unit length, as it is stored",
    "spaces": "an embedding of two parts of 128, expression and appearance; the classifier reads the first, at unit length",
    "whole": "the classifier reads both parts of the embedding, so that taught labels may depend on appearance",
    "usual": "the classifier reads the expression minus the mean expression of images with a similar appearance",
}
"""What may follow an architecture's name, as in `googlenet+plain+dropout`, and its meaning."""

HEAD = ("neck.", "classifier.")
"""Prefixes of the parameters on top of the backbone."""

_FITTED = ("look.", "usual.")
"""Prefixes of the parameters that are fitted in closed form, not trained."""

_DENSE = {"dense64": (64,), "dense64x2": (64, 64)}
_SLOPE = 0.1


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The layers on top of a backbone.

    - `dense`: widths of the dense layers of the neck; `batch_norm` and `leaky_relu` say what follows each.
    - `dropout`: share of the classifier's inputs that are dropped in training.
    - `unit_input`: the classifier reads the embedding at unit length, times a constant, not the features.
    - `spaces`: the embedding has an expression and an appearance part; `reads_appearance`: the classifier reads both;
      `subtracts_baseline`: it reads the expression minus the style baseline.
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
        """Parse words of `MODIFIERS`; `dense` and `dropout` are the architecture's own, which modifiers override."""
        spaces = "spaces" in modifiers
        reads_appearance = spaces and "whole" in modifiers
        return cls(
            dense=next((widths for word, widths in _DENSE.items() if word in modifiers), dense),
            batch_norm="batch_norm" in modifiers,
            leaky_relu="leaky_relu" in modifiers,
            dropout=0.5 if "dropout" in modifiers else dropout,
            unit_input=spaces or "unit" in modifiers,
            spaces=spaces,
            reads_appearance=reads_appearance,
            subtracts_baseline=reads_appearance and "usual" in modifiers,
        )


class Encoding(NamedTuple):
    """What a network computes up to its classifier.

    - `classifier_input`: (N, inputs of the classifier).
    - `features`: (N, size), output of the neck, not of unit length.
    - `embedding`: (N, embedding size), each part of unit length.
    """

    classifier_input: Tensor
    features: Tensor
    embedding: Tensor


class NetworkOutput(NamedTuple):
    """Logits, (N, classes), with the features and the embedding of `Encoding`."""

    logits: Tensor
    features: Tensor
    embedding: Tensor


class Network(nn.Module):
    """A classifier of images: `pooled` computes `width` numbers per image, `neck` the features, `classifier` the logits.

    A subclass implements `pooled`, or `early` and `late` too if it supports the modifier `spaces`; `channels` are those of its
    early maps. `maps` is the path of the last layer with spatial positions, if only the network itself knows it.
    """

    maps = ""

    def __init__(self, width: int, classes: int, head: HeadConfig | None = None, channels: int = 0) -> None:
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
        self.spaces = ((FEEL, size), (LOOK, embedding_spaces.SIZE)) if head.spaces else ()
        self.embedding_size = size + (embedding_spaces.SIZE if head.spaces else 0)

    def pooled(self, x: Tensor) -> Tensor:
        """Compute (N, width) from normalized images, float, (N, 3, size, size)."""
        raise NotImplementedError

    def early(self, x: Tensor) -> Tensor:
        """Compute the early maps, (N, channels, H, W), from images as `pooled` takes them."""
        raise NotImplementedError

    def late(self, maps: Tensor) -> Tensor:
        """Compute what `pooled` returns, from early maps."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """Compute the penultimate layer, (N, size), not of unit length, from images as `pooled` takes them."""
        out: Tensor = self.neck(self.pooled(x))
        return out

    def forward(self, x: Tensor) -> NetworkOutput:
        """Classify and embed normalized images, float, (N, 3, size, size)."""
        encoding = self.encode(x)
        logits = self.classifier(self.dropout(encoding.classifier_input))
        return NetworkOutput(logits, encoding.features, encoding.embedding)

    def encode(self, x: Tensor) -> Encoding:
        """Compute everything up to the classifier."""
        if self.look is None:
            features = self.features(x)
            unit = normalize(features)
            return Encoding(unit * EMBEDDING_LENGTH if self.head_config.unit_input else features, features, unit)
        maps = self.early(x)
        features = self.neck(self.late(maps))
        expression, appearance = normalize(features), normalize(self.look(maps))
        read = expression if self.usual is None else expression - self.usual(appearance)
        if self.head_config.reads_appearance:
            read = torch.cat([read, appearance * SHARE], dim=1)
        return Encoding(read * EMBEDDING_LENGTH, features, torch.cat([expression, appearance], dim=1))

    def from_input(self) -> list[tuple[str, nn.Parameter]]:
        """Return the trained parameters with their names, from the input on; neck and classifier last."""
        trained = (named for named in self.named_parameters() if not named[0].startswith(_FITTED))
        return sorted(trained, key=lambda named: named[0].startswith(HEAD))

    def fold(self) -> None:
        """Switch to evaluation for good, and fuse the batch norms, which changes no output."""
        fuse_batchnorms(self)


class NormalizedClassifier(nn.Module):
    """A network with its normalization: uint8 images in, probabilities and embeddings out, as plain tensors for export.

    Images are uint8, (N, size, size, 3), RGB; outputs are float32, (N, classes), and float32, (N, embedding size).
    """

    def __init__(self, network: Network, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        # (N, H, W, 3) permuted to (N, 3, H, W) is already channels last: nothing is copied.
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        output = self.network(x)
        return output.logits.softmax(dim=1), output.embedding


def activation(leaky: bool) -> nn.Module:
    """Return a ReLU, or a leaky one."""
    return nn.LeakyReLU(_SLOPE, inplace=True) if leaky else nn.ReLU(inplace=True)


def start_as_he(module: nn.Module) -> None:
    """Initialize convolutions for ReLU networks without batch norm. He et al., arXiv:1502.01852."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
