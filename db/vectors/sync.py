"""Synchronize the vector index with the store: valid segments stay, everything else comes from the store."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.models import APPEARANCE
from indexer.ports.vectors import VectorFilter, VectorRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.domain.models import StoredModel
    from indexer.domain.types import Doubles, Floats, Ids
    from indexer.ports.store_reader import StoreReader
    from indexer.ports.vectors import Generation, Segment, VectorIndex, VectorStorage

_MERGE_FACTOR = 4
"""A segment is kept if it has at least this many times the rows that follow it."""

_MAX_INDEXED_PER_STORED = 1.25
"""The index is rebuilt if it has more than this many rows per row in the store."""


class CombinedVectorIndex:
    """Several indexes of different rows, searched as one. Implements `indexer.ports.vectors.VectorIndex`."""

    def __init__(self, layers: Sequence[VectorIndex]) -> None:
        self._layers = layers

    def __len__(self) -> int:
        return sum(len(layer) for layer in self._layers)

    def search(self, query: Floats, k: int, within: VectorFilter) -> tuple[Ids, Doubles]:
        found = [layer.search(query, k, within) for layer in self._layers]
        if len(found) == 1:
            return found[0]
        ids = np.concatenate([np.empty(0, dtype=np.int64), *(ids for ids, _ in found)])
        similarities = np.concatenate([np.empty(0, dtype=np.float64), *(similarities for _, similarities in found)])
        best = np.argsort(-similarities, kind="stable")[:k]
        return ids[best], similarities[best]

    def nearest(self, queries: Floats, k: int) -> tuple[Ids, Floats]:
        found = [layer.nearest(queries, k) for layer in self._layers]
        ids = np.concatenate([np.full((len(queries), k), -1, dtype=np.int64), *(ids for ids, _ in found)], axis=1)
        nothing = np.full((len(queries), k), -np.inf, dtype=np.float32)
        similarities = np.concatenate([nothing, *(similarities for _, similarities in found)], axis=1)
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(ids, best, axis=1), np.take_along_axis(similarities, best, axis=1)


def open_index(store: StoreReader, files: VectorStorage, model: StoredModel) -> VectorIndex:
    """Return an index of all vectors of a model. Rows that the stored index lacks are read from the store."""
    generation = store.generation(model.id)
    kept = _valid_segments(store, files, model, generation)
    layers = [segment.vectors for segment in kept]
    newer = [] if _is_current(kept, generation) else list(_appearance_rows(store, model, _last_indexed_id(kept)))
    if newer:
        layers.append(files.over(_joined(newer)))
    return CombinedVectorIndex(layers)


def is_index_current(store: StoreReader, files: VectorStorage, model: StoredModel) -> bool:
    """Return whether the stored index of a model covers its newest generation."""
    return _is_current(files.load(model.card), store.generation(model.id))


def sync_index(store: StoreReader, files: VectorStorage, model: StoredModel) -> bool:
    """Make the stored index of a model current; return whether it was not.

    New rows become a segment. It absorbs the segments before it that are not `_MERGE_FACTOR` times larger, so that there are few
    segments and none is written often (O'Neil et al., "The Log-Structured Merge-Tree", 1996). If too many rows are no longer in
    the store, the index is rebuilt.
    """
    # Read before the rows: rows committed since are then newer than the index says, which is harmless.
    generation = store.generation(model.id)
    if generation is None:
        return False
    kept = _valid_segments(store, files, model, generation)
    if _is_current(kept, generation):
        return False
    new = store.regions(model.id, _last_indexed_id(kept))
    staying = _segments_to_keep(kept, new, store.regions(model.id))
    # The rows of a large library are never all in memory.
    portions = _appearance_rows(store, model, _last_indexed_id(staying), generation.last_id)
    first = next(portions, None)
    if first is None:
        files.delete(model.card)
    else:
        files.save(model.card, staying, chain([first], portions), generation)
    return True


def _segments_to_keep(kept: list[Segment], new: int, stored: int) -> list[Segment]:
    """Return the stored segments that stay, given the number of new rows and of all rows in the store."""
    if sum(len(segment.vectors) for segment in kept) + new > _MAX_INDEXED_PER_STORED * stored:
        return []
    while kept and (new == 0 or len(kept[-1].vectors) < _MERGE_FACTOR * new):
        new += len(kept[-1].vectors)
        kept = kept[:-1]
    return kept


def _valid_segments(store: StoreReader, files: VectorStorage, model: StoredModel, generation: Generation | None) -> list[Segment]:
    """Return the stored segments whose generations are part of the history of the store."""
    kept = files.load(model.card)
    while kept and kept[-1].generation != generation and not store.had_generation(model.id, kept[-1].generation):
        kept.pop()
    return kept


def _is_current(kept: Sequence[Segment], generation: Generation | None) -> bool:
    """Return whether segments cover a generation."""
    return generation is None or (bool(kept) and kept[-1].generation == generation)


def _last_indexed_id(kept: Sequence[Segment]) -> int:
    return kept[-1].generation.last_id if kept else 0


def _appearance_rows(store: StoreReader, model: StoredModel, after: int, up_to: int | None = None) -> Iterator[VectorRows]:
    """Yield the appearance embeddings of predictions with ids above `after`, up to `up_to`, in chunks."""
    appearance = model.card.space_slice(APPEARANCE)
    for chunk in store.vectors(model.id, after):
        count = len(chunk.ids) if up_to is None else int(np.searchsorted(chunk.ids, up_to, side="right"))
        if count == 0:
            return
        some = slice(0, count)
        vectors = np.ascontiguousarray(chunk.vectors[some, appearance])
        yield VectorRows(chunk.ids[some], chunk.emotions[some], chunk.scores[some], vectors)


def _joined(chunks: Sequence[VectorRows]) -> VectorRows:
    return VectorRows(*(np.concatenate(columns) for columns in zip(*chunks, strict=True)))
