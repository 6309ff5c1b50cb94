"""Keeps the derived vector index true to the store: takes what is kept as far as it can be trusted, the rest from the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import LOOK
from indexer.ports.vectors import VectorFilter, VectorRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.domain.types import Floats, Ids
    from indexer.ports.store_reader import StoredModel, StoreReader
    from indexer.ports.vectors import Generation, Segment, VectorIndex, VectorStorage

_LARGER = 4
_STALE = 1.25
"""Rows that are kept, for each that is stored, from which on the others are thrown out."""


class CombinedVectorIndex:
    """Several indexes of different rows, searched as one. Implements `indexer.ports.vectors.VectorIndex`."""

    def __init__(self, layers: Sequence[VectorIndex]) -> None:
        self._layers = layers

    def __len__(self) -> int:
        return sum(len(layer) for layer in self._layers)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Floats]:
        found = [layer.search(query, k, within) for layer in self._layers]
        ids = np.concatenate([np.empty(0, dtype=np.int64), *(ids for ids, _ in found)])
        similarities = np.concatenate([np.empty(0, dtype=np.float32), *(similarities for _, similarities in found)])
        best = np.argsort(-similarities, kind="stable")[:k]
        return ids[best], similarities[best]


def open_index(store: StoreReader, files: VectorStorage, model: StoredModel) -> VectorIndex:
    """Every vector of a model, whatever state the kept index is in: rows it lacks come from the store."""
    generation = store.generation(model.id)
    kept = _valid_segments(store, files, model, generation)
    layers = [segment.vectors for segment in kept]
    newer = [] if _is_current(kept, generation) else list(_looks(store, model, _last_indexed_id(kept)))
    if newer:
        layers.append(files.over(_joined(newer)))
    return CombinedVectorIndex(layers)


def is_index_current(store: StoreReader, files: VectorStorage, model: StoredModel) -> bool:
    """Whether the kept index of a model is current."""
    return _is_current(files.load(model.card), store.generation(model.id))


def sync_index(store: StoreReader, files: VectorStorage, model: StoredModel) -> bool:
    """Make the kept index of a model current; whether there was anything to do.

    New rows become a segment; it takes in those before it that are not `_LARGER` times as large, so that there are few of them
    and none is written often (O'Neil et al., "The Log-Structured Merge-Tree", 1996). Where too many rows are no longer in the
    store, everything is written anew.
    """
    # Read before the rows: rows that are committed meanwhile are then merely newer than the file says.
    generation = store.generation(model.id)
    if generation is None:
        return False
    kept = _valid_segments(store, files, model, generation)
    if _is_current(kept, generation):
        return False
    new = list(_looks(store, model, _last_indexed_id(kept), generation.last_id))
    staying = _segments_to_keep(kept, _count(new), store.regions(model.id))
    if len(staying) < len(kept):
        new = list(_looks(store, model, _last_indexed_id(staying), generation.last_id))
    if new:
        rows = _joined(new)
        del new  # else a large library would be in memory once more while the index is built
        files.save(model.card, staying, rows, generation)
    else:
        files.forget(model.card)
    return True


def _segments_to_keep(kept: list[Segment], new: int, stored: int) -> list[Segment]:
    """The kept segments that stay as they are where so many new rows come, and so many are in the store in all."""
    if sum(len(segment.vectors) for segment in kept) + new > _STALE * stored:
        return []
    while kept and (new == 0 or len(kept[-1].vectors) < _LARGER * new):
        new += len(kept[-1].vectors)
        kept = kept[:-1]
    return kept


def _valid_segments(store: StoreReader, files: VectorStorage, model: StoredModel, generation: Generation | None) -> list[Segment]:
    """The kept segments that a state of the store is, or grew out of."""
    kept = files.load(model.card)
    while kept and kept[-1].generation != generation and not store.had_generation(model.id, kept[-1].generation):
        kept.pop()
    return kept


def _is_current(kept: Sequence[Segment], generation: Generation | None) -> bool:
    """Whether segments hold all that a state of the store does."""
    return generation is None or (bool(kept) and kept[-1].generation == generation)


def _last_indexed_id(kept: Sequence[Segment]) -> int:
    return kept[-1].generation.last_id if kept else 0


def _looks(store: StoreReader, model: StoredModel, after: int, up_to: int | None = None) -> Iterator[VectorRows]:
    """What searches compare of predictions with ids after one and up to another: the part that says how a picture looks."""
    look = model.card.space_slice(LOOK)
    for chunk in store.vectors(model.id, after):
        count = len(chunk.ids) if up_to is None else int(np.searchsorted(chunk.ids, up_to, side="right"))
        if count == 0:
            return
        some = slice(0, count)
        vectors = np.ascontiguousarray(chunk.vectors[some, look])
        yield VectorRows(chunk.ids[some], chunk.emotions[some], chunk.scores[some], vectors)


def _count(chunks: Sequence[VectorRows]) -> int:
    return sum(len(chunk.ids) for chunk in chunks)


def _joined(chunks: Sequence[VectorRows]) -> VectorRows:
    return VectorRows(
        np.concatenate([chunk.ids for chunk in chunks]),
        np.concatenate([chunk.emotions for chunk in chunks]),
        np.concatenate([chunk.scores for chunk in chunks]),
        np.concatenate([chunk.vectors for chunk in chunks]),
    )
