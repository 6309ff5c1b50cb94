"""The two parts of an embedding: expression, and appearance (the character and the style).

One vector cannot serve both: the expression must not depend on the character, and the appearance must not depend on the emotion.
Therefore the expression is learned on top of the whole network, and the appearance is computed from its early layers, which
still represent colors and positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.style_baseline import GROUPS

if TYPE_CHECKING:
    from indexer.domain.types import Ids

SIZE = 128
"""Numbers in each of the two parts of an embedding."""

_GRID = 4
"""Cells per side of the grid over which early maps are averaged."""

_SHRINKAGE = 0.1
"""Weight of the identity in the covariance within characters, as a share of its mean variance."""


class StyleBaselineLayer(nn.Module):
    """Computes expected expressions, float, (N, 128), from appearances, float, (N, 128), unit vectors.

    The torch equivalent of `models.style_baseline.StyleBaseline`.
    """

    def __init__(self) -> None:
        super().__init__()
        # Checkpoints name these `looks` and `feels`.
        self.looks = nn.Parameter(torch.zeros(GROUPS, SIZE), requires_grad=False)
        self.feels = nn.Parameter(torch.zeros(GROUPS, SIZE), requires_grad=False)

    def forward(self, appearances: Tensor) -> Tensor:
        return self.feels[(appearances @ self.looks.T).argmax(dim=1)]


class AppearanceProjection(nn.Module):
    """Projects early maps to the appearance.

    - Input: float, (N, channels, H, W). The linear projection is applied to its means over a grid of 4 x 4 cells.
    - Output: float, (N, 128), not of unit length.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels * _GRID * _GRID, SIZE)
        self.requires_grad_(False)

    def coarse(self, maps: Tensor) -> Tensor:
        """Return the input of the projection, float, (N, channels * 16)."""
        return functional.adaptive_avg_pool2d(maps, _GRID).flatten(1)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.project(self.coarse(maps))
        return out

    @torch.no_grad()
    def fit(self, coarse: Tensor, characters: Ids) -> None:
        """Fit the projection that separates characters best.

        `coarse` are outputs of `coarse` on the CPU, float, (M, channels * 16); `characters` numbers of their characters, int64,
        (M,).

        The method is linear discriminant analysis (Fisher 1936; Rao 1948). It finds the directions with the largest ratio of
        the variance between characters to the variance within characters. The covariance within characters is shrunk toward a
        multiple of the identity, because it has more entries than there are images.
        """
        x = coarse.double()
        mean = x.mean(dim=0)
        x = x - mean
        character = torch.from_numpy(np.unique(characters, return_inverse=True)[1])
        counts = torch.bincount(character).double()
        centers = torch.zeros(len(counts), x.shape[1], dtype=x.dtype).index_add_(0, character, x) / counts[:, None]
        within = torch.cov((x - centers[character]).T, correction=0)
        within += _SHRINKAGE * within.diagonal().mean() * torch.eye(len(within), dtype=x.dtype)
        between = (centers * counts[:, None]).T @ centers / len(x)
        # Whitening by the covariance within characters makes this an ordinary eigenproblem.
        root = torch.linalg.cholesky(within)
        half = torch.linalg.solve_triangular(root, between, upper=False)
        _, directions = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.T, upper=False))
        best = torch.linalg.solve_triangular(root.T, directions[:, -SIZE:], upper=True).T
        self.project.weight.copy_(best)
        self.project.bias.copy_(-best @ mean)
