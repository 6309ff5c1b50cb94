"""The map of a library: a place in two dimensions for each face, or for each image without faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.types import Ids, Places

MAP_SIDE = 65_535
"""Places are whole numbers from 0 to this one, in both directions."""

NOT_SHOWN, OTHER_EMOTION = 255, 254
"""Codes of a point: its image is hidden or has no file any more; its emotion has no code of its own."""


@dataclass(frozen=True, slots=True)
class LibraryMap:
    """The places of the predictions of one model.

    - `version`: a random token, new for each computation. `made_at`: seconds since the epoch.
    - `fitted`: number of points that the projection was fitted on; the others were placed beside their nearest ones.
    - `ids`: int64, (N,), ascending, of predictions. `places`: uint16, (N, 2), x to the right and y upwards, 0 to `MAP_SIDE`.
    """

    model: str
    model_key: str
    version: str
    made_at: float
    fitted: int
    ids: Ids
    places: Places

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class MapReport:
    """The result of making a map: its model, its points, and how many of them the projection was fitted on."""

    model: str
    points: int
    fitted: int
    seconds: float
