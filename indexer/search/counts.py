"""The number of images of each emotion under a filter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.emotions import with_children
from indexer.registry.selection import available_emotions, open_selected
from indexer.search.engine import count
from indexer.search.resolve import resolve_request

if TYPE_CHECKING:
    from indexer.domain.queries import SearchRequest, Total
    from indexer.library import Library


class EmotionTotal(NamedTuple):
    """An emotion with the number of its images. `is_own`: no model knows it, only users' labels have it."""

    emotion: str
    total: Total
    is_own: bool


class EmotionTotals(NamedTuple):
    """The numbers of images by emotion, in the order of the model's labels, and the name of the model."""

    model: str
    emotions: list[EmotionTotal]


def count_emotions(library: Library, request: SearchRequest, most: int) -> EmotionTotals:
    """Count the images of each emotion under the other criteria of a request, each up to `most`.

    An emotion includes its sub-emotions unless the request wants exact labels. Raises UnknownEmotion, NotIndexed,
    ModelUnavailable and StoreDamaged.
    """
    with open_selected(library) as (store, model), store.snapshot():
        known = available_emotions(store, model)
        others = replace(request, emotions=(), embedding=None, like=None, image=None, after=None)
        query = resolve_request(others, store, model, library.open_analyzer)
        totals = []
        for emotion in known:
            wanted = {emotion} if request.exact_label else with_children(emotion) & frozenset(known)
            chosen = replace(query, emotions=frozenset(wanted) - query.excluded)
            totals.append(EmotionTotal(emotion, count(store, model, chosen, most), emotion not in model.card.labels))
        return EmotionTotals(model.card.name, totals)
