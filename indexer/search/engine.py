"""Query to hits. By emotion alone the store answers; by likeness the vector index proposes and the store decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from indexer.domain.emotions import with_children
from indexer.domain.models import LOOK
from indexer.ports.store_reader import HitFilter
from indexer.ports.vectors import NOT_THE_MODELS, VectorFilter
from indexer.registry.selection import available_emotions
from indexer.search.dedupe import Distinct

if TYPE_CHECKING:
    from indexer.domain.queries import Hit, SearchQuery
    from indexer.domain.types import Floats
    from indexer.ports.store_reader import StoredModel, StoreReader
    from indexer.ports.vectors import VectorIndex


_RESULT_PAGE_SIZE = 256
_LISTED = 5000
_SLACK = 16
_ROUNDING = 1e-4
"""How far the index's similarities, computed in another order, may be from the store's."""


def search(store: StoreReader, model: StoredModel, query: SearchQuery, open_vectors: Callable[[], VectorIndex]) -> list[Hit]:
    """The hits that answer a query, best first: exactly `query.limit` after `query.offset`, where so many exist.

    By emotion alone hits are ordered by score; with `query.like` by similarity. `open_index` is called only in the second case.
    """
    known = available_emotions(store, model)
    chosen = HitFilter(_wanted(query, known), query.min_score, query.under, _excluded(query, known))
    if query.like is None:
        if not query.dedupe:
            return [ranked.hit for ranked in store.ranked(model.id, chosen, query.limit, query.offset)]
        return _page(_distinct(store, model, chosen), query)
    page = _page(_iter_similar_hits(store, model, query, query.like, chosen, open_vectors()), query)
    # What was only found when more were looked for may be nearer than what was found at first.
    return sorted(page, key=lambda hit: -(hit.similarity or 0))


def _wanted(query: SearchQuery, labels: tuple[str, ...]) -> frozenset[str] | None:
    """The emotions that a query lets through; None for all of them."""
    wanted = _meant(query, query.emotions) if query.emotions else frozenset(labels)
    left = (wanted - _meant(query, query.excluded)) & frozenset(labels)
    return None if left == frozenset(labels) else left


def _excluded(query: SearchQuery, labels: tuple[str, ...]) -> frozenset[str]:
    return _meant(query, query.excluded) & frozenset(labels)


def _meant(query: SearchQuery, emotions: Iterable[str]) -> frozenset[str]:
    return frozenset(emotions) if query.exact_label else frozenset().union(*map(with_children, emotions))


def _page(hits: Iterable[Hit], query: SearchQuery) -> list[Hit]:
    return list(islice(hits, query.offset, query.offset + query.limit))


def _iter_similar_hits(
    store: StoreReader, model: StoredModel, query: SearchQuery, vector: Floats, chosen: HitFilter, index: VectorIndex
) -> Iterator[Hit]:
    """All hits by falling similarity, fetched in growing portions."""
    import numpy as np

    look = model.card.space_slice(LOOK)
    # As the stored ones are, so that a stored picture finds itself at 1.
    wanted = vector[look].astype(np.float16)
    like = wanted.astype(np.float64)
    # Another page, or more of this one, is found among all: of two rankings of the likely ones neither continues the other.
    within = _selection(store, model, chosen)._replace(exact=query.offset > 0)
    seen: set[int] = set()
    shown: set[str] = set()
    distinct = Distinct(model)
    k = query.limit + query.offset + _SLACK
    while True:
        ids, similarities = index.search(wanted.astype(np.float32), k, within)
        exhausted = len(ids) < k
        vectors = store.vectors_of([int(i) for i in ids if i not in seen])
        exact = {i: round(min(1.0, float(np.einsum("i,i->", v[look].astype(np.float64), like))), 6) for i, v in vectors.items()}
        # What lies below the last one found is unknown; what is clearly above it is settled.
        floor = -np.inf if exhausted else float(similarities[-1]) + _ROUNDING
        settled = sorted((i for i, similarity in exact.items() if similarity > floor), key=lambda i: (-exact[i], i))
        for prediction_id, files in _hits_by_prediction(store, model, settled, chosen, query.limit + query.offset):
            seen.add(prediction_id)
            live = files
            if live and live[0].image_id in shown:
                continue  # by another face, which is more alike
            shown.update(hit.image_id for hit in live)
            if query.dedupe and live:
                live = live[:1] if distinct.take(vectors[prediction_id]) else []
            for hit in live:
                yield replace(hit, similarity=exact[prediction_id])
        if exhausted:
            return
        k *= 4
        within = within._replace(exact=True)


def _hits_by_prediction(
    store: StoreReader, model: StoredModel, prediction_ids: Sequence[int], chosen: HitFilter, at_once: int
) -> Iterator[tuple[int, list[Hit]]]:
    """Predictions with what a filter shows of each, as many at a time as are likely to be asked for."""
    for start in range(0, len(prediction_ids), at_once):
        some = prediction_ids[start : start + at_once]
        files = store.hits(model.id, some, chosen)
        yield from ((prediction_id, files.get(prediction_id, [])) for prediction_id in some)


def _selection(store: StoreReader, model: StoredModel, chosen: HitFilter) -> VectorFilter:
    positions, only_said = None, False
    if chosen.emotions is not None:
        positions = frozenset(position for position, label in enumerate(model.card.labels) if label in chosen.emotions)
        if only_said := bool(chosen.emotions - set(model.card.labels)):
            positions |= {NOT_THE_MODELS}
    ids = None
    if only_said or chosen.under is not None:
        # Of a large folder's pictures those are taken that the index finds: to list them all would take longer.
        ids = store.prediction_ids(model.id, chosen, None if only_said else _LISTED)
    return VectorFilter(positions, chosen.min_score, ids)


def _distinct(store: StoreReader, model: StoredModel, chosen: HitFilter) -> Iterator[Hit]:
    """All hits by falling score, of nearly equal pictures the best."""
    distinct = Distinct(model)
    shown: set[int] = set()
    offset = 0
    while page := store.ranked(model.id, chosen, _RESULT_PAGE_SIZE, offset):
        offset += len(page)
        vectors = store.vectors_of([entry.prediction_id for entry in page])
        for entry in page:
            if entry.prediction_id not in shown and distinct.take(vectors[entry.prediction_id]):
                yield entry.hit
            shown.add(entry.prediction_id)
