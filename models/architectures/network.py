"""What every architecture is made of: something that turns pictures into numbers, a neck, and a linear classifier on top."""

from __future__ import annotations

from itertools import pairwise

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
    "spaces": "an embedding of two parts of 128, what is felt and how it looks; the classifier reads the first, at unit length",
    "whole": "the classifier reads both spaces: what a person taught it may be about how a picture looks",
    "usual": "it reads what is felt less what pictures that look the same usually feel",
}
"""What may follow an architecture's name, as in `googlenet+plain+dropout`, and what it means."""

HEAD = ("neck.", "classifier.")
"""How the names of a network's own layers on top of its backbone begin."""

_FITTED = ("look.", "usual.")

_DENSE = {"dense64": (64,), "dense64x2": (64, 64)}
_SLOPE = 0.1


class Network(nn.Module):
    """A classifier of pictures. `pooled` makes `width` numbers a picture, `neck` the features, `classifier` the logits.

    `maps` is the path of the last layer that knows places, where only the network itself can say.

    `words` are of `MODIFIERS`; `dense` are the neck's layers and `dropout` its share where no word says otherwise; `channels` are
    those of the `early` maps, for networks that can have spaces.
    """

    maps = ""

    def __init__(
        self,
        width: int,
        classes: int,
        words: frozenset[str] = frozenset(),
        dense: tuple[int, ...] = (),
        dropout: float = 0.0,
        channels: int = 0,
    ) -> None:
        super().__init__()
        for word in words & _DENSE.keys():
            dense = _DENSE[word]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((width, *dense)):
            norm = [nn.BatchNorm1d(outputs)] if "batch_norm" in words else []
            layers += [nn.Linear(inputs, outputs), *norm, activation(words)]
        size = dense[-1] if dense else width
        if "spaces" in words:
            layers += [nn.Linear(size, embedding_spaces.SIZE, bias=False), nn.BatchNorm1d(embedding_spaces.SIZE)]
            size = embedding_spaces.SIZE
        self.neck: nn.Module = nn.Sequential(*layers) if layers else nn.Identity()
        self.dropout = nn.Dropout(0.5 if "dropout" in words else dropout)
        self.unit = bool(words & {"unit", "spaces"})
        self.whole = {"spaces", "whole"} <= words
        self.classifier = nn.Linear(size + embedding_spaces.SIZE if self.whole else size, classes)
        self.look = embedding_spaces.AppearanceProjection(channels) if "spaces" in words else None
        self.usual = embedding_spaces.StyleBaselineLayer() if self.whole and "usual" in words else None
        self.spaces = ((FEEL, size), (LOOK, embedding_spaces.SIZE)) if self.look else ()
        self.embedding_size = size + (embedding_spaces.SIZE if self.look else 0)

    def pooled(self, x: Tensor) -> Tensor:
        """Normalised pictures, float, (N, 3, size, size), to (N, width)."""
        raise NotImplementedError

    def early(self, x: Tensor) -> Tensor:
        """Pictures as `pooled` takes them to early maps, (N, channels, H, W), for networks that can have spaces."""
        raise NotImplementedError

    def late(self, maps: Tensor) -> Tensor:
        """Early maps to what `pooled` makes of the picture."""
        raise NotImplementedError

    def features(self, x: Tensor) -> Tensor:
        """The penultimate layer, (N, size), of pictures as `pooled` takes them; not of unit length."""
        out: Tensor = self.neck(self.pooled(x))
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, (N, classes), and the features or, for a network with the word `whole`, the embedding they were read from."""
        if self.whole:
            return self.embed(x)
        features = self.features(x)
        read = normalize(features) * EMBEDDING_LENGTH if self.unit else features
        return self.classifier(self.dropout(read)), features

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, (N, classes), and the embedding, (N, embedding size): each space's part of unit length."""
        read, embedding = self.read(x)
        return self.classifier(self.dropout(read)), embedding

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the classifier reads, (N, its inputs), and the embedding."""
        if self.look is None:
            features = self.features(x)
            unit = normalize(features)
            return unit * EMBEDDING_LENGTH if self.unit else features, unit
        maps = self.early(x)
        feel, look = normalize(self.neck(self.late(maps))), normalize(self.look(maps))
        felt = feel if self.usual is None else feel - self.usual(look)
        read = torch.cat([felt, look * SHARE], dim=1) if self.whole else felt
        return read * EMBEDDING_LENGTH, torch.cat([feel, look], dim=1)

    def from_input(self) -> list[tuple[str, nn.Parameter]]:
        """Every parameter that training moves, with its name, in the order in which a picture meets them: neck and classifier
        last.
        """
        learning = (named for named in self.named_parameters() if not named[0].startswith(_FITTED))
        return sorted(learning, key=lambda named: named[0].startswith(HEAD))

    def fold(self) -> None:
        """Switch to evaluation for good, and merge what can be merged without changing the outputs."""
        fuse_batchnorms(self)


class NormalizedClassifier(nn.Module):
    """A network as a model that needs nothing else: pictures in, probabilities and embeddings out.

    Pictures are uint8, (N, size, size, 3), RGB; out come float32, (N, classes), and float32, (N, embedding size).
    """

    def __init__(self, network: Network, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.mean, self.std = mean, std

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        # (N, H, W, 3) seen as (N, 3, H, W) is already channels last: nothing is moved.
        x = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        logits, embeddings = self.network.embed(x)
        return logits.softmax(dim=1), embeddings


def activation(words: frozenset[str]) -> nn.Module:
    """The non-linearity that the words ask for."""
    return nn.LeakyReLU(_SLOPE, inplace=True) if "leaky_relu" in words else nn.ReLU(inplace=True)


def start_as_he(module: nn.Module) -> None:
    """Draw the convolutions' weights for ReLU networks without batch norm. He et al., arXiv:1502.01852."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if part.bias is not None:
                torch.nn.init.zeros_(part.bias)
