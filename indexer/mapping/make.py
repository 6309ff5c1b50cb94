"""Make the map of the library: fit a projection on a sample of the faces, and place all others beside them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed, disk_error
from indexer.domain.maps import MAP_SIDE, LibraryMap, MapReport
from indexer.domain.models import APPEARANCE
from indexer.ports.progress import task
from indexer.registry.selection import open_selected
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.types import Floats, Ids, Places
    from indexer.library import Library
    from indexer.ports.maps import Projection
    from indexer.ports.progress import Progress
    from indexer.ports.store_reader import RegionIds, StoreReader
    from indexer.ports.vectors import VectorRows

SAMPLE_ROWS = 100_000
"""Vectors that the projection is fitted on. They take 51 MB, with 128 numbers each; the fit needs a multiple of that."""

_MARGIN = 0.02
"""Share of the map that stays empty at its edges."""


def make_map(library: Library, progress: Progress, sample_rows: int = SAMPLE_ROWS) -> MapReport:
    """Compute the map of the model in use, and store it.

    The library may change while it is computed: faces that are added then are not on the map yet. Raises NotIndexed,
    ModelUnavailable, MissingExtra, StoreDamaged and Interrupted; the earlier map stays then.
    """
    started = time.monotonic()
    with graceful_stop("the map was not changed") as check_stop, open_selected(library) as (store, model):
        projector = library.projector()
        ids, vectors = _sample(store, model, sample_rows, check_stop)
        if not len(ids):
            raise NotIndexed(f"The model {model.card.name!r} has analyzed no image; run: moodex index FOLDER")
        with task(progress, check_stop, projector.steps) as advance:
            projection = projector.fit(vectors, advance)
        del vectors  # a large sample must not be in memory while the others are placed
        with task(progress, check_stop, store.regions(model.id)) as advance:
            all_ids, positions = _place_all(store, model, ids, projection, advance)
        made = _to_map(model, len(ids), *_unique(store.region_ids(model.id), all_ids, positions))
        check_stop()
        try:
            library.map_storage().save(made)
        except OSError as error:
            raise disk_error(error.filename or "The map", error) from error
    return MapReport(made.model, len(made), made.fitted, time.monotonic() - started)


def _sample(store: StoreReader, model: StoredModel, most: int, check_stop: Callable[[], None]) -> tuple[Ids, Floats]:
    """Return at most `most` predictions, evenly distributed over their age: ids, int64, (S,), and appearances, (S, D)."""
    import numpy as np

    step = max(1, -(-store.regions(model.id) // most))
    ids: list[Ids] = [np.empty(0, dtype=np.int64)]
    vectors: list[Floats] = []
    seen = 0
    for chunk in store.vectors(model.id):
        check_stop()
        chosen = slice(-seen % step, None, step)
        ids.append(chunk.ids[chosen])
        vectors.append(_appearances(chunk, model, chosen))
        seen += len(chunk.ids)
    return np.concatenate(ids), np.concatenate(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def _appearances(chunk: VectorRows, model: StoredModel, chosen: slice) -> Floats:
    import numpy as np

    return np.ascontiguousarray(chunk.vectors[chosen, model.card.space_slice(APPEARANCE)], dtype=np.float32)


def _place_all(
    store: StoreReader, model: StoredModel, fitted: Ids, projection: Projection, advance: Callable[[int], None]
) -> tuple[Ids, Floats]:
    """Return all predictions with their positions: the fitted ones have theirs, the others are placed chunk by chunk."""
    import numpy as np

    ids: list[Ids] = []
    positions: list[Floats] = []
    for chunk in store.vectors(model.id):
        numbers = np.searchsorted(fitted, chunk.ids).clip(max=len(fitted) - 1)
        is_fitted = fitted[numbers] == chunk.ids
        placed = projection.positions[numbers]
        if not is_fitted.all():
            placed[~is_fitted] = projection.place(_appearances(chunk, model, slice(None))[~is_fitted])
        ids.append(chunk.ids)
        positions.append(placed)
        advance(len(chunk.ids))
    return np.concatenate(ids), np.concatenate(positions)


def _unique(regions: RegionIds, ids: Ids, positions: Floats) -> tuple[Ids, Floats]:
    """Return the keys of predictions, ascending, each once, with their positions. Predictions that went since are left out."""
    import numpy as np

    if not len(regions.ids):
        return regions.keys, positions[:0]
    numbers = np.searchsorted(regions.ids, ids).clip(max=len(regions.ids) - 1)
    stays = regions.ids[numbers] == ids
    keys, first = np.unique(regions.keys[numbers[stays]], return_index=True)
    return keys, positions[stays][first]


def _to_map(model: StoredModel, fitted: int, keys: Ids, positions: Floats) -> LibraryMap:
    if not len(keys):
        raise NotIndexed("All images were removed while the map was made; it was not changed.")
    card = model.card
    return LibraryMap(
        model=card.name,
        model_key=card.key,
        embedder_key=card.embedder_key,
        version=secrets.token_hex(8),
        made_at=time.time(),
        fitted=fitted,
        keys=keys,
        places=_to_places(positions),
    )


def _to_places(positions: Floats) -> Places:
    """Return positions as whole numbers of the map, centered, with the same scale in both directions."""
    import numpy as np

    low, high = positions.min(axis=0), positions.max(axis=0)
    span = float((high - low).max()) or 1.0
    shares = 0.5 + (positions - (low + high) / 2) / span * (1 - 2 * _MARGIN)
    places: Places = np.round(shares * MAP_SIDE).astype(np.uint16)
    return places
