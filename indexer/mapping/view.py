"""Read the map beside the store, which knows the emotions, the filters and the files of its points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import MapChanged, NotIndexed, UsageError
from indexer.domain.maps import NOT_SHOWN, OTHER_EMOTION
from indexer.ports.store_reader import HitFilter, filter_of
from indexer.registry.selection import available_emotions, open_selected
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
    """A map with the present emotions of its points.

    - `emotions`: names, by code. `codes`: uint8, (N,), of the points; also `NOT_SHOWN` and `OTHER_EMOTION`.
    - `absent`: number of faces that are not on the map, because they were analyzed after it was made.
    """

    made: LibraryMap
    emotions: tuple[str, ...]
    codes: Pixels
    absent: int


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
        emotions = available_emotions(store, model)
        named, others = emotions[:OTHER_EMOTION], emotions[OTHER_EMOTION:]
        codes, absent = np.full(len(made), NOT_SHOWN, dtype=np.uint8), 0
        groups = [*((code, frozenset({emotion})) for code, emotion in enumerate(named)), (OTHER_EMOTION, frozenset(others))]
        for code, some in groups:
            ids = _live_ids(store, model, HitFilter(some, hidden=hidden)) if some else np.empty(0, dtype=np.int64)
            points = _points_of(made, ids)
            codes[points] = code
            absent += len(ids) - len(points)
    return ColoredMap(made, named, codes, absent)


def matches(library: Library, version: str, request: SearchRequest) -> Pixels:
    """Return which points of a map a request finds: bits, the first point in the lowest bit of the first byte.

    Raises MapChanged, UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    import numpy as np

    with _opened(library, version) as (store, model, made):
        query = resolve_request(request, store, model, library.open_analyzer)
        found = np.zeros(len(made), dtype=bool)
        found[_points_of(made, _live_ids(store, model, filter_of(query)))] = True
    return np.packbits(found, bitorder="little")


def point_hits(library: Library, version: str, points: Sequence[int]) -> list[PointHit]:
    """Return the first file of each of some points, in their order, without those that have none any more.

    Raises MapChanged, UsageError for a number that is not a point, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    with _opened(library, version) as (store, model, made):
        if points and max(points) >= len(made):
            raise UsageError(f"The map has {len(made):,} points; {max(points)} is not the number of one.")
        ids = [int(made.ids[point]) for point in points]
        files = store.hits(model.id, ids, HitFilter(hidden=True))
        return [PointHit(point, files[one][0]) for point, one in zip(points, ids, strict=True) if files.get(one)]


@contextmanager
def _opened(library: Library, version: str) -> Iterator[tuple[Store, StoredModel, LibraryMap]]:
    """Open the store and a map. Raises NotIndexed without one, and MapChanged for another version."""
    with open_selected(library) as (store, model), store.snapshot():
        made = library.map_storage().load(model.card)
        if made is None:
            raise NotIndexed(f"There is no map of the model {model.card.name!r} yet; make it with: moodex map")
        if made.version != version:
            raise MapChanged("The map was made again since; load it again.")
        yield store, model, made


def _live_ids(store: Store, model: StoredModel, chosen: HitFilter) -> Ids:
    ids = store.prediction_ids(model.id, chosen)
    assert ids is not None  # noqa: S101  # it is None only with a limit
    return ids


def _points_of(made: LibraryMap, ids: Ids) -> Ids:
    """Return the numbers of the points of some predictions, ascending. Predictions that are not on the map are left out."""
    import numpy as np

    numbers = np.searchsorted(made.ids, ids)
    inside = numbers < len(made)
    numbers, ids = numbers[inside], ids[inside]
    return numbers[made.ids[numbers] == ids]
