"""Hits whose files are missing come after those of the same image that exist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit
    from indexer.ports.store_reader import HitFilter, RankedHit, StoreReader

FileExists = Callable[[bytes], bool]
"""Returns whether a file exists. A search asks only for the files of the hits that it shows."""


@dataclass(frozen=True, slots=True)
class LivingFirst:
    """Orders the files of an image: those that exist first, each part by path.

    The disk of a missing file may only not be mounted, so its hit is shown, but it hides no file that exists. With `similar_by`,
    that model's predictions are ranked, and the hits are those of `model`.
    """

    store: StoreReader
    model: StoredModel
    chosen: HitFilter
    exists: FileExists
    similar_by: StoredModel | None = None

    @property
    def embedded_by(self) -> StoredModel:
        """The model whose predictions are ranked."""
        return self.similar_by or self.model

    def hits_of(self, prediction_ids: Sequence[int]) -> dict[int, list[Hit]]:
        """Return the hits of predictions that are ranked, by their ids, as `StoreReader.hits` does."""
        read = self.store.hits if self.similar_by is None else self.store.hits_of_images
        return read(self.model.id, prediction_ids, self.chosen)

    def page(self, ranked: Sequence[RankedHit], is_first: bool) -> list[Hit]:
        """Reorder a page of ranked hits. It shows of every image as many files as before."""
        page: list[Hit] = []
        for prediction_id, group in groupby(ranked, key=lambda one: one.prediction_id):
            hits = [one.hit for one in group]
            # The files of the first image may have begun, and have been reordered, on the page before.
            if (not page and not is_first) or not all(self.exists(hit.path) for hit in hits):
                hits = self._reordered(prediction_id, hits)
            page += hits
        return page

    def files(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return all hits of one image, those with files that exist first."""
        return sorted(hits, key=lambda hit: not self.exists(hit.path)) if len(hits) > 1 else list(hits)

    def best(self, ranked: RankedHit) -> tuple[Hit, bool]:
        """Return the first hit of an image after reordering, given the first one before it, and whether its file exists."""
        if self.exists(ranked.hit.path):
            return ranked.hit, True
        every = self.hits_of([ranked.prediction_id]).get(ranked.prediction_id, [])
        living = next((hit for hit in every if self.exists(hit.path)), None)
        return (ranked.hit, False) if living is None else (replace(living, similarity=ranked.hit.similarity), True)

    def _reordered(self, prediction_id: int, shown: Sequence[Hit]) -> list[Hit]:
        """Return the hits at the ranks of those that are shown; the others of the image may be on other pages."""
        every = self.hits_of([prediction_id]).get(prediction_id, [])
        paths = [hit.path for hit in every]
        if shown[0].path not in paths:
            return list(shown)  # the files of an image are not those of a moment ago
        first = paths.index(shown[0].path)
        return self.files(every)[first : first + len(shown)]
