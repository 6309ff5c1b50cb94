"""The two spaces of an embedding: what a picture feels, and how it looks, that is, who is drawn and by whom.

One vector cannot serve both: what decides the emotion must not depend on the character, and who a character is must not depend
on the emotion. So the first is learned on top of the whole network, and the second is read off its early layers, which still
know colours and places.
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
"""Numbers a picture in each of the two spaces."""

_GRID = 4
_SHRINKAGE = 0.1


class StyleBaselineLayer(nn.Module):
    """Expected expression, (N, 128), of appearances of unit length, (N, 128); see `models.style_baseline.StyleBaseline`."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = nn.Parameter(torch.zeros(GROUPS, SIZE), requires_grad=False)
        self.feels = nn.Parameter(torch.zeros(GROUPS, SIZE), requires_grad=False)

    def forward(self, look: Tensor) -> Tensor:
        return self.feels[(look @ self.looks.T).argmax(dim=1)]


class AppearanceProjection(nn.Module):
    """Who is drawn: early maps, (N, channels, H, W), averaged over a grid of 4 x 4 places, projected to (N, 128)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(channels * _GRID * _GRID, SIZE)
        self.requires_grad_(False)

    def coarse(self, maps: Tensor) -> Tensor:
        """What is projected, (N, channels * 16)."""
        return functional.adaptive_avg_pool2d(maps, _GRID).flatten(1)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.project(self.coarse(maps))
        return out

    @torch.no_grad()
    def fit(self, coarse: Tensor, characters: Ids) -> None:
        """Choose the projection that tells characters best apart, from M coarse views and the number of who is in each.

        Linear discriminant analysis (Fisher 1936; Rao 1948): the directions in which characters differ most, measured by how
        much one character's pictures differ among themselves. The latter covariance is shrunk towards a multiple of the
        identity, for it is estimated from fewer pictures than it has numbers.
        """
        x = coarse.double()
        mean = x.mean(dim=0)
        x = x - mean
        who = torch.from_numpy(np.unique(characters, return_inverse=True)[1])
        count = torch.bincount(who).double()
        centres = torch.zeros(len(count), x.shape[1], dtype=x.dtype).index_add_(0, who, x) / count[:, None]
        within = torch.cov((x - centres[who]).T, correction=0)
        within += _SHRINKAGE * within.diagonal().mean() * torch.eye(len(within), dtype=x.dtype)
        between = (centres * count[:, None]).T @ centres / len(x)
        # Where the pictures of one character vary equally in all directions, the answer is an ordinary eigenproblem.
        root = torch.linalg.cholesky(within)
        half = torch.linalg.solve_triangular(root, between, upper=False)
        _, directions = torch.linalg.eigh(torch.linalg.solve_triangular(root, half.T, upper=False))
        best = torch.linalg.solve_triangular(root.T, directions[:, -SIZE:], upper=True).T
        self.project.weight.copy_(best)
        self.project.bias.copy_(-best @ mean)
