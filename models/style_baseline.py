"""What is usually felt by pictures that look alike, as those of one character or one artist do.

A crab's face is read as angry whatever it feels, and a kitten's as happy. What a picture feels beside others that look like it
says more of it than what it feels by itself; so does normalising by person in the recognition of people's expressions. Which of
the two to read is told by labels. Imports no torch.
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
"""Of look-alikes that a model knows at most; one that knows fewer repeats the first."""

WORD = "usual"
"""What follows the name of an architecture whose classifier reads what is felt beside what is usual."""

_MEMBERS = 8
"""Of a group, on average: about as many as a character has expressions."""

_DOUBT = 4.0
"""Pictures like the average of all that every group is taken to have besides its own: of few, the mean is no sure one."""


@dataclass(frozen=True, slots=True)
class StyleBaseline:
    """`looks`, float32, (GROUPS, numbers of a look), are the middles of groups of a library's pictures, and `feels`, float32,
    (GROUPS, numbers of what is felt), how what is felt there on average lies from the average of all.
    """

    looks: Floats
    feels: Floats

    def expected_expression(self, looks: Floats) -> Floats:
        """What pictures of N looks, (N, numbers of a look), usually feel, (N, numbers of what is felt)."""
        felt: Floats = self.feels[(looks @ self.looks.T).argmax(axis=1)]
        return felt

    def state(self) -> dict[str, Floats]:
        """The arrays as a checkpoint holds them."""
        return {f"{WORD}.looks": self.looks, f"{WORD}.feels": self.feels}


def fit_baseline(card: ModelCard, embeddings: Floats) -> StyleBaseline:
    """What is usual in a sample of a library, float32, (N, embedding size). Deterministic."""
    feel, look = embeddings[:, card.space_slice(FEEL)], embeddings[:, card.space_slice(LOOK)]
    look = look / np.linalg.norm(look, axis=1, keepdims=True)
    count = min(GROUPS, max(1, len(look) // _MEMBERS))
    looks = spherical_kmeans(look, count)
    group = (look @ looks.T).argmax(axis=1)
    sums = np.zeros((count, feel.shape[1]), dtype=np.float32)
    np.add.at(sums, group, feel - feel.mean(axis=0))
    feels = sums / (np.bincount(group, minlength=count)[:, None] + np.float32(_DOUBT))
    spare = GROUPS - count
    return StyleBaseline(_padded(looks, spare), _padded(feels, spare))


def load_baseline(state: Mapping[str, Floats]) -> StyleBaseline | None:
    """What a checkpoint knows of what is usual; None for one that reads every picture by itself."""
    if f"{WORD}.looks" not in state:
        return None
    return StyleBaseline(state[f"{WORD}.looks"], state[f"{WORD}.feels"])


def _padded(rows: Floats, spare: int) -> Floats:
    return np.concatenate([rows, np.repeat(rows[:1], spare, axis=0)]).astype(np.float16).astype(np.float32)
