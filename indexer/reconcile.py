"""Keeps the derived vector index true to the store: takes what is kept as far as it can be trusted, the rest from the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain import LOOK
from indexer.ports import Generation, Selection, VectorRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.domain import Floats, Ids
    from indexer.ports import Shelf, StoredModel, VectorFiles, VectorIndex


class Layers:
    """Several indexes of different rows, searched as one. Implements `indexer.ports.VectorIndex`."""

    def __init__(self, layers: Sequence[VectorIndex]) -> None:
        self._layers = layers

    def __len__(self) -> int:
        return sum(len(layer) for layer in self._layers)

    def search(self, query: Floats, k: int, within: Selection) -> tuple[Ids, Floats]:
        found = [layer.search(query, k, within) for layer in self._layers]
        ids = np.concatenate([np.empty(0, dtype=np.int64), *(ids for ids, _ in found)])
        similarities = np.concatenate([np.empty(0, dtype=np.float32), *(similarities for _, similarities in found)])
        best = np.argsort(-similarities, kind="stable")[:k]
        return ids[best], similarities[best]


def open_vectors(shelf: Shelf, files: VectorFiles, model: StoredModel) -> VectorIndex:
    """Every vector of a model, whatever state the kept index is in: rows it lacks come from the store."""
    kept = _trusted(shelf, files, model)
    after = kept[1].last_id if kept else 0
    layers = [kept[0]] if kept else []
    newer = list(_looks(shelf, model, after))
    if newer:
        layers.append(files.over(_joined(newer)))
    return Layers(layers)


def keep_vectors(shelf: Shelf, files: VectorFiles, model: StoredModel) -> bool:
    """Make the kept index of a model current; whether there was anything to do."""
    # Read before the rows: rows that are committed meanwhile are then merely newer than the file says.
    generation = shelf.generation(model.id)
    if generation is None:
        return False
    kept = files.load(model.card)
    if kept is not None and kept[1] == generation:
        return False
    rows = [chunk for chunk in _looks(shelf, model) if chunk.ids[0] <= generation.last_id]
    files.save(model.card, _up_to(_joined(rows), generation), generation)
    return True


def _trusted(shelf: Shelf, files: VectorFiles, model: StoredModel) -> tuple[VectorIndex, Generation] | None:
    kept = files.load(model.card)
    if kept is None or not shelf.had_generation(model.id, kept[1]):
        return None
    return kept


def _looks(shelf: Shelf, model: StoredModel, after: int = 0) -> Iterator[VectorRows]:
    """What searches compare: the part of every embedding that says how a picture looks."""
    look = model.card.columns(LOOK)
    for chunk in shelf.vectors(model.id, after):
        yield replace(chunk, vectors=np.ascontiguousarray(chunk.vectors[:, look]))


def _joined(chunks: Sequence[VectorRows]) -> VectorRows:
    return VectorRows(
        np.concatenate([chunk.ids for chunk in chunks]),
        np.concatenate([chunk.emotions for chunk in chunks]),
        np.concatenate([chunk.scores for chunk in chunks]),
        np.concatenate([chunk.vectors for chunk in chunks]),
    )


def _up_to(rows: VectorRows, generation: Generation) -> VectorRows:
    n = int(np.searchsorted(rows.ids, generation.last_id, side="right"))
    return VectorRows(rows.ids[:n], rows.emotions[:n], rows.scores[:n], rows.vectors[:n])
