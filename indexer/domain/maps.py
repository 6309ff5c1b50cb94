"""The map of a library: a place in two dimensions for each face, or for each image without faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids, Places

MAP_SIDE = 65_535
"""Places are whole numbers from 0 to this one, in both directions."""

NOT_SHOWN, OTHER_EMOTION = 255, 254
"""Codes of a point: its image is hidden or has no file any more; its emotion has no code of its own."""


_REGION_BITS = 12
"""An image has at most 256 faces. 52 bits of its digest remain: two of a million images share them once in 9000 libraries."""


def region_keys(digests: Iterable[bytes], regions: Sequence[int]) -> Ids:
    """Return the key of each of N regions of images: int64, (N,). It stays the same in every library, and for every model."""
    import numpy as np

    starts = np.frombuffer(b"".join(digest[:8] for digest in digests), dtype=">u8").astype(np.uint64)
    numbers = np.array(regions, dtype=np.uint64)
    return ((starts >> _REGION_BITS << _REGION_BITS) | numbers).view(np.int64)


@dataclass(frozen=True, slots=True)
class LibraryMap:
    """The places of the regions of images, by their embeddings.

    - `model`, `model_key`: the model whose embeddings they are. `embedder_key`: of all models that share these embeddings.
    - `version`: a random token, new for each computation. `made_at`: seconds since the epoch.
    - `fitted`: number of points that the projection was fitted on; the others were placed beside their nearest ones.
    - `keys`: int64, (N,), ascending, see `region_keys`. `places`: uint16, (N, 2), x to the right and y upwards, 0 to `MAP_SIDE`.
    """

    model: str
    model_key: str
    embedder_key: str
    version: str
    made_at: float
    fitted: int
    keys: Ids
    places: Places

    def __len__(self) -> int:
        return len(self.keys)

    def points(self, keys: Ids) -> Ids:
        """Return the number of the point with each of N keys: int64, (N,), -1 for a key that is not on the map."""
        import numpy as np

        numbers = np.searchsorted(self.keys, keys).clip(max=len(self) - 1)
        return np.where(self.keys[numbers] == keys, numbers, -1)

    def shares(self, keys: Ids) -> Floats:
        """Return the places of N keys as shares of the map: float32, (N, 2), 0-1, NaN for a key that is not on it."""
        import numpy as np

        points = self.points(keys)
        return np.where(points[:, None] < 0, np.nan, self.places[points] / MAP_SIDE).astype(np.float32)


@dataclass(frozen=True, slots=True)
class MapReport:
    """The result of making a map: its model, its points, and how many of them the projection was fitted on."""

    model: str
    points: int
    fitted: int
    seconds: float
