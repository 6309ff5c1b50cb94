"""Style baselines: the mean expression of images with a similar appearance, such as those of one character or artist.

Some characters bias the classifier: a crab looks angry, a kitten happy. Subtracting the mean expression of similar-looking images
removes that bias, as normalization by person does for photographs of faces. Teaching uses a baseline only if that lowers the loss
on held-out labels. This module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import APPEARANCE, EXPRESSION
from models.clustering import spherical_kmeans

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats

GROUPS = 1024
"""Number of groups in a checkpoint. If a baseline has fewer, its first group is repeated."""

MODIFIER = "usual"
"""Modifier of an architecture whose classifier reads the expression minus the baseline; prefix of the baseline's tensors."""

_IMAGES_PER_GROUP = 8
"""Mean number of images per group: about the number of expressions of a character."""

_PRIOR_IMAGES = 4.0
"""Number of average images that are added to every group, because the mean of a few images is uncertain."""


@dataclass(frozen=True, slots=True)
class StyleBaseline:
    """The mean expressions of groups of images with similar appearance.

    - `appearances`: appearance of each group, its center: unit vectors, float32, (GROUPS, size of the appearance part).
    - `expressions`: mean expression of each group minus the mean of all images: float32, (GROUPS, size of the expression part).
    """

    appearances: Floats
    expressions: Floats

    def expected_expression(self, appearances: Floats) -> Floats:
        """Return the baseline of each appearance: that of the group with the most similar center.

        `appearances` is float32, (N, size of the appearance part); the result float32, (N, size of the expression part).
        """
        expected: Floats = self.expressions[(appearances @ self.appearances.T).argmax(axis=1)]
        return expected

    def state(self) -> dict[str, Floats]:
        """Return the arrays by their names in a checkpoint."""
        return {f"{MODIFIER}.looks": self.appearances, f"{MODIFIER}.feels": self.expressions}


def fit_baseline(card: ModelCard, embeddings: Floats) -> StyleBaseline:
    """Fit a baseline to the embeddings of a sample of a library, float32, (N, embedding size), N >= 1.

    `card` is the card of the model that computed them. Deterministic.
    """
    expressions, appearances = embeddings[:, card.space_slice(EXPRESSION)], embeddings[:, card.space_slice(APPEARANCE)]
    appearances = appearances / np.linalg.norm(appearances, axis=1, keepdims=True)
    count = min(GROUPS, max(1, len(appearances) // _IMAGES_PER_GROUP))
    centers = spherical_kmeans(appearances, count)
    groups = (appearances @ centers.T).argmax(axis=1)
    sums = np.zeros((count, expressions.shape[1]), dtype=np.float32)
    np.add.at(sums, groups, expressions - expressions.mean(axis=0))
    means = sums / (np.bincount(groups, minlength=count)[:, None] + np.float32(_PRIOR_IMAGES))
    return StyleBaseline(_stored_rows(centers), _stored_rows(means))


def load_baseline(state: Mapping[str, Floats]) -> StyleBaseline | None:
    """Return the baseline of a checkpoint, whose tensors are float32 arrays by name; None if it has no baseline."""
    if f"{MODIFIER}.looks" not in state:
        return None
    return StyleBaseline(state[f"{MODIFIER}.looks"], state[f"{MODIFIER}.feels"])


def _stored_rows(rows: Floats) -> Floats:
    """Return `GROUPS` rows, the first repeated, rounded to float16 as a checkpoint stores them."""
    padded = np.concatenate([rows, np.repeat(rows[:1], GROUPS - len(rows), axis=0)])
    return padded.astype(np.float16).astype(np.float32)
