"""Query to hits. The store answers queries by emotion; for queries by similarity the vector index proposes candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.models import APPEARANCE
from indexer.domain.queries import HitKey, SearchResult, Total
from indexer.ports.store_reader import HitFilter, RankedHit, filter_of
from indexer.ports.vectors import NOT_THE_MODELS, VectorFilter
from indexer.search.groups import Groups
from indexer.search.living import FileExists, LivingFirst

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit, SearchQuery
    from indexer.domain.types import Floats
    from indexer.ports.store_reader import StoreReader
    from indexer.ports.vectors import VectorIndex

_RESULT_PAGE_SIZE = 256
_COPY_DIFFERENCE = 0.1
"""Largest difference between the similarities of two near-duplicates to a third image."""

_INDEX_ROUNDING = 1e-4
"""Largest difference between the similarities by which the index chooses vectors, and the exact ones that it returns."""


@dataclass(frozen=True, slots=True)
class SearchTuning:
    """Sizes that decide how fast a search is, and nothing else.

    - `listed_max_rows`: in a folder with more predictions, the index searches without a list of their ids, because listing takes
      longer.
    - `spare_candidates`: candidates that the first request asks for in addition to the hits.
    """

    listed_max_rows: int = 5000
    spare_candidates: int = 16


def search(
    store: StoreReader,
    model: StoredModel,
    query: SearchQuery,
    open_index: Callable[[], VectorIndex],
    tuning: SearchTuning | None = None,
    exists: FileExists = lambda _: True,
) -> list[Hit]:
    """Return the hits of a query, see `search_page`."""
    return search_page(store, model, query, open_index, tuning, exists).hits


def search_page(
    store: StoreReader,
    model: StoredModel,
    query: SearchQuery,
    open_index: Callable[[], VectorIndex],
    tuning: SearchTuning | None = None,
    exists: FileExists = lambda _: True,
    similar_by: StoredModel | None = None,
) -> SearchResult:
    """Return the hits of a query, best first: at most `query.limit`, after `query.offset`. They are not counted.

    Hits are ordered by score, or by similarity to `query.like`; only then is `open_index` called. Equal ones are ordered by
    digest, then by path, whatever the order in which images were indexed. Of the files of an image, those that exist come first.
    `similar_by` is the model of `query.similar_by`, to which the index and `query.like` belong.
    """
    exists = cache(exists)
    living = LivingFirst(store, model, filter_of(query), exists, similar_by if query.like is not None else None)
    found = _search_page(store, query, living, open_index, tuning or SearchTuning())
    return found._replace(hits=[hit if exists(hit.path) else replace(hit, missing=True) for hit in found.hits])


def _search_page(
    store: StoreReader, query: SearchQuery, living: LivingFirst, open_index: Callable[[], VectorIndex], tuning: SearchTuning
) -> SearchResult:
    model = living.model
    if query.like is not None:
        similar = _SimilaritySearch(store, living.embedded_by, query, query.like, living, open_index(), tuning)
        hits = similar.distinct_hits() if query.dedupe else list(islice(similar.hits(), query.offset + query.limit))
        # A later, larger request to the index may find a more similar candidate, so sort again.
        return SearchResult(sorted(hits[query.offset :], key=lambda hit: (-(hit.similarity or 0), hit.image_id)))
    if query.dedupe:
        return SearchResult(_distinct_hits(living, query))
    ranked = store.ranked(model.id, living.chosen, query.limit, query.offset, query.after)
    page = living.page(ranked, is_first=query.offset == 0 and query.after is None)
    return SearchResult(page, last=key_of(ranked[-1]) if ranked else None)


def key_of(ranked: RankedHit) -> HitKey:
    """Return the place of a hit in the list of a search by emotion."""
    return HitKey(ranked.hit.score, bytes.fromhex(ranked.hit.image_id), ranked.file_id)


def count(store: StoreReader, model: StoredModel, query: SearchQuery, most: int | None) -> Total:
    """Count the hits of a query without its limit, near-duplicates included; up to `most`, if it is given."""
    chosen = filter_of(query)
    known = store.count_ranked(model.id, chosen)
    if known is not None:
        return Total(known)
    number = store.count_hits(model.id, chosen, most)
    return Total(number) if most is None or number <= most else Total(most, exact=False)


def _distinct_hits(living: LivingFirst, query: SearchQuery) -> list[Hit]:
    """Return a page of hits by falling score, the best of each group of near-duplicates.

    All hits of the query are read, because any of them may be a copy of one that is shown.
    """
    groups = Groups(living, query.offset + query.limit)
    last: HitKey | None = None
    while page := living.store.ranked(living.model.id, living.chosen, _RESULT_PAGE_SIZE, 0, last):
        last = key_of(page[-1])
        groups.add(page)
    return groups.hits()[query.offset :]


class _Candidate(NamedTuple):
    """A prediction that the index proposed, with its similarity, the cosine of two appearances."""

    prediction_id: int
    similarity: float


@dataclass(frozen=True, slots=True)
class _SimilaritySearch:
    store: StoreReader
    model: StoredModel
    query: SearchQuery
    like: Floats
    living: LivingFirst
    index: VectorIndex
    tuning: SearchTuning

    def hits(self) -> Iterator[Hit]:
        """Yield all hits by falling similarity. An image is ranked by its most similar face."""
        return (hit for _, hits in self._images() for hit in self.living.files(hits))

    def distinct_hits(self) -> list[Hit]:
        """Return hits up to the page of the query, the most similar of each group of near-duplicates.

        Copies of a hit are about as similar as the hit, so candidates are read a bit further than the last hit that is shown.
        """
        groups = Groups(self.living, self.query.offset + self.query.limit)
        rows = (RankedHit(prediction_id, hit) for prediction_id, hits in self._images() for hit in hits)
        while portion := list(islice(rows, _RESULT_PAGE_SIZE)):
            groups.add(portion)
            last = groups.last_similarity()
            if last is not None and (portion[-1].hit.similarity or 0) < last - _COPY_DIFFERENCE:
                break
        return groups.hits()

    def _images(self) -> Iterator[tuple[int, list[Hit]]]:
        """Yield the images by falling similarity: the prediction of the most similar face, and a hit for each file."""
        shown: set[str] = set()
        for candidates in self._final_candidates():
            files = self.living.hits_of([one.prediction_id for one in candidates])
            for candidate in candidates:
                hits = files.get(candidate.prediction_id, [])
                if not hits or hits[0].image_id in shown:
                    continue
                shown.update(hit.image_id for hit in hits)
                yield candidate.prediction_id, [replace(hit, similarity=candidate.similarity) for hit in hits]

    def _final_candidates(self) -> Iterator[Sequence[_Candidate]]:
        """Yield candidates by falling similarity, as many at a time as there are hits to show.

        Requests to the index grow. A candidate is final if it is more similar than the last one that the index returned, because
        all others are less similar.
        """
        import numpy as np

        # Rounded like stored embeddings, so that a stored image has similarity 1 to itself.
        like = self.like[self.model.card.space_slice(APPEARANCE)].astype(np.float16)
        # Approximate rankings with different k can differ, so pages after the first compare all rows.
        within = self._vector_filter()._replace(exact=self.query.offset > 0)
        portion = self.query.limit + self.query.offset
        k = portion + self.tuning.spare_candidates
        seen: set[int] = set()
        while True:
            ids, similarities = self.index.search(like.astype(np.float32), k, within)
            exhausted = len(ids) < k
            floor = -inf if exhausted else float(similarities[-1]) + _INDEX_ROUNDING
            candidates = map(_Candidate, ids.tolist(), np.minimum(similarities, 1).round(6).tolist())
            final = self._ordered([one for one in candidates if one.similarity > floor and one.prediction_id not in seen])
            seen.update(one.prediction_id for one in final)
            yield from (final[start : start + portion] for start in range(0, len(final), portion))
            if exhausted:
                return
            k *= 4
            within = within._replace(exact=True)

    def _ordered(self, candidates: Sequence[_Candidate]) -> Sequence[_Candidate]:
        """Return candidates, ordered by falling similarity, with equal ones by digest and region."""
        counts = Counter(one.similarity for one in candidates)
        tied = [one.prediction_id for one in candidates if counts[one.similarity] > 1]
        if not tied:
            return candidates
        regions = self.store.regions_of(tied)
        return sorted(candidates, key=lambda one: (-one.similarity, regions.get(one.prediction_id, (b"", 0))))

    def _vector_filter(self) -> VectorFilter:
        """Translate the filter for the index, which knows the model's emotions by position, and no folders."""
        chosen = self.living.chosen
        if self.living.similar_by is not None:
            shows_all = chosen == HitFilter(hidden=chosen.hidden, also_by=chosen.also_by)
            ids = None if shows_all else self.store.prediction_ids_of_other(self.living.model.id, chosen)
            return VectorFilter(None, 0.0, ids)
        positions, asks_user_emotion = None, False
        if chosen.emotions is not None:
            labels = self.model.card.labels
            positions = frozenset(position for position, label in enumerate(labels) if label in chosen.emotions)
            asks_user_emotion = bool(chosen.emotions - set(labels))
            if asks_user_emotion:
                positions |= {NOT_THE_MODELS}
        ids = None
        has_tags = bool(chosen.tags or chosen.excluded_tags)
        if asks_user_emotion or chosen.under or has_tags:
            most = None if asks_user_emotion or has_tags else self.tuning.listed_max_rows
            ids = self.store.prediction_ids(self.model.id, chosen, most)
        return VectorFilter(positions, chosen.min_score, ids)
