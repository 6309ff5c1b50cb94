"""Style baselines: the mean expression of images with a similar appearance, such as those of one character or artist.

Some characters bias the classifier: a crab looks angry, a kitten happy. Subtracting the mean expression of similar-looking images
removes that bias, as normalization by person does for photographs of faces. Teaching uses a baseline only if held-out labels
favor it. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import FEEL, LOOK
from models.clustering import spherical_kmeans

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats

GROUPS = 1024
"""Number of groups in a checkpoint; a model with fewer repeats the first."""

WORD = "usual"
"""Modifier of an architecture whose classifier reads the expression minus the baseline."""

_IMAGES_PER_GROUP = 8
"""On average: about as many as a character has expressions."""

_PRIOR_IMAGES = 4.0
"""Average images that are added to every group, because the mean of a few images is uncertain."""


@dataclass(frozen=True, slots=True)
class StyleBaseline:
    """Groups of images with similar appearance.

    - `looks`: centers of the groups, float32, (GROUPS, size of the appearance part), unit vectors.
    - `feels`: mean expression of each group minus the mean of all images, float32, (GROUPS, size of the expression part).
    """

    looks: Floats
    feels: Floats

    def expected_expression(self, looks: Floats) -> Floats:
        """Return the baseline of N appearances: (N, size of the expression part)."""
        felt: Floats = self.feels[(looks @ self.looks.T).argmax(axis=1)]
        return felt

    def state(self) -> dict[str, Floats]:
        """Return the arrays by their names in a checkpoint."""
        return {f"{WORD}.looks": self.looks, f"{WORD}.feels": self.feels}


def fit_baseline(card: ModelCard, embeddings: Floats) -> StyleBaseline:
    """Fit a baseline to the embeddings of a sample of a library, float32, (N, embedding size). Deterministic."""
    feel, look = embeddings[:, card.space_slice(FEEL)], embeddings[:, card.space_slice(LOOK)]
    look = look / np.linalg.norm(look, axis=1, keepdims=True)
    count = min(GROUPS, max(1, len(look) // _IMAGES_PER_GROUP))
    looks = spherical_kmeans(look, count)
    group = (look @ looks.T).argmax(axis=1)
    sums = np.zeros((count, feel.shape[1]), dtype=np.float32)
    np.add.at(sums, group, feel - feel.mean(axis=0))
    feels = sums / (np.bincount(group, minlength=count)[:, None] + np.float32(_PRIOR_IMAGES))
    spare = GROUPS - count
    return StyleBaseline(_padded(looks, spare), _padded(feels, spare))


def load_baseline(state: Mapping[str, Floats]) -> StyleBaseline | None:
    """Return the baseline of a checkpoint; None if it has none."""
    if f"{WORD}.looks" not in state:
        return None
    return StyleBaseline(state[f"{WORD}.looks"], state[f"{WORD}.feels"])


def _padded(rows: Floats, spare: int) -> Floats:
    return np.concatenate([rows, np.repeat(rows[:1], spare, axis=0)]).astype(np.float16).astype(np.float32)
