"""The projection of embeddings to two dimensions, and the storage of maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.maps import LibraryMap
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats


class Projection(Protocol):
    """A projection that was fitted on S vectors. `positions`: float32, (S, 2), finite."""

    positions: Floats

    def place(self, vectors: Floats) -> Floats:
        """Return positions of N further vectors, float32, (N, D), beside those that resemble them: float32, (N, 2)."""


class Projector(Protocol):
    """Fits projections. Equal vectors in equal order give equal positions on the same machine."""

    steps: int
    """Number of steps of a fit, for its progress."""

    def fit(self, vectors: Floats, advance: Callable[[int], None]) -> Projection:
        """Fit a projection on S >= 1 vectors, float32, (S, D), of length 1; similar vectors get near positions.

        Calls `advance` with the number of steps that were done, and passes on what it raises.
        """


class MapStorage(Protocol):
    """The storage of maps, one for all models that share embeddings.

    They are derived from the store: losing one costs only time.
    """

    def load(self, card: ModelCard) -> LibraryMap | None:
        """Return the map of the embeddings of a model; None if there is none, or if it is damaged."""

    def is_current(self, made: LibraryMap) -> bool:
        """Return whether a map that was loaded is still the stored one."""

    def save(self, made: LibraryMap) -> None:
        """Replace the map of these embeddings, in one step."""
