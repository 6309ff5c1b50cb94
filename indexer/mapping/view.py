"""Read the map beside the store, which knows the emotions, the filters and the files of its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import MapChanged, UsageError
from indexer.domain.maps import NOT_SHOWN, OTHER_EMOTION
from indexer.ports.store_reader import HitFilter, filter_of
from indexer.registry.selection import available_emotions, open_selected, select_similar
from indexer.search.resolve import resolve_request

if TYPE_CHECKING:
    from indexer.domain.maps import LibraryMap
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit, SearchRequest
    from indexer.domain.types import Ids, Pixels
    from indexer.library import Library
    from indexer.ports.store import Store


@dataclass(frozen=True, slots=True)
class ColoredMap:
    """A map with the present predictions and emotions of its points.

    - `ids`: int64, (N,), of the predictions of the points; -1 for a point that has none any more.
    - `emotions`: names, by code. `codes`: uint8, (N,), of the points; also `NOT_SHOWN` and `OTHER_EMOTION`.
    - `absent`: number of faces that are not on the map, because they were analyzed after it was made.
    """

    made: LibraryMap
    ids: Ids
    emotions: tuple[str, ...]
    codes: Pixels
    absent: int

    def require(self, version: str) -> None:
        """Raise MapChanged if a request names another version of the map."""
        if self.made.version != version:
            raise MapChanged("The map was made again since; load it again.")


class PointHit(NamedTuple):
    """A point of the map, by its number, and the first file of its image."""

    point: int
    hit: Hit


def colored_map(library: Library, hidden: bool) -> ColoredMap | None:
    """Return the map of the model in use; None before it is made. `hidden` shows images that the user hid.

    Raises NotIndexed, ModelUnavailable and StoreDamaged.
    """
    import numpy as np

    with open_selected(library) as (store, model), store.snapshot():
        made = library.map_storage().load(model.card)
        if made is None:
            return None
        regions = store.region_ids(model.id)
        points = made.points(regions.keys)
        emotions = available_emotions(store, model)
        named, others = emotions[:OTHER_EMOTION], emotions[OTHER_EMOTION:]
        groups = [*((code, frozenset({emotion})) for code, emotion in enumerate(named)), (OTHER_EMOTION, frozenset(others))]
        codes = np.full(len(regions.ids), NOT_SHOWN, dtype=np.uint8)
        for code, some in groups:
            if some:
                codes[np.isin(regions.ids, _live_ids(store, model, HitFilter(some, hidden=hidden)))] = code
    is_on_map = points >= 0
    ids, codes_of_points = np.full(len(made), -1, dtype=np.int64), np.full(len(made), NOT_SHOWN, dtype=np.uint8)
    ids[points[is_on_map]], codes_of_points[points[is_on_map]] = regions.ids[is_on_map], codes[is_on_map]
    absent = int(np.count_nonzero(~is_on_map & (codes != NOT_SHOWN)))
    return ColoredMap(made, ids, named, codes_of_points, absent)


def matches(library: Library, colored: ColoredMap, request: SearchRequest) -> Pixels:
    """Return which points of a map a request finds: bits, the first point in the lowest bit of the first byte.

    Raises UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    import numpy as np

    with open_selected(library) as (store, model), store.snapshot():
        _, similar_by = select_similar(library, store, model, request.similar_by)
        query = resolve_request(request, store, model, library.open_analyzer, library.source, similar_by)
        found = _live_ids(store, model, filter_of(query))
    return np.packbits(np.isin(colored.ids, found), bitorder="little")


def point_hits(library: Library, colored: ColoredMap, points: Sequence[int]) -> list[PointHit]:
    """Return the first file of each of some points, in their order, without those that have none any more.

    Raises UsageError for a number that is not a point, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    if points and max(points) >= len(colored.made):
        raise UsageError(f"The map has {len(colored.made):,} points; {max(points)} is not the number of one.")
    ids = [int(colored.ids[point]) for point in points]
    with open_selected(library) as (store, model):
        files = store.hits(model.id, [one for one in ids if one >= 0], HitFilter(hidden=True))
    return [PointHit(point, files[one][0]) for point, one in zip(points, ids, strict=True) if files.get(one)]


def _live_ids(store: Store, model: StoredModel, chosen: HitFilter) -> Ids:
    ids = store.prediction_ids(model.id, chosen)
    assert ids is not None  # noqa: S101  # it is None only with a limit
    return ids
