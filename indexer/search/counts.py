"""The number of images of each emotion under a filter."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.emotions import with_children
from indexer.domain.queries import Total
from indexer.ports.store_reader import filter_of
from indexer.registry.selection import available_emotions, open_selected, select_similar
from indexer.search.engine import count
from indexer.search.resolve import resolve_request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from indexer.domain.models import StoredModel
    from indexer.domain.queries import SearchQuery, SearchRequest
    from indexer.library import Library
    from indexer.ports.store_reader import StoreReader


class EmotionTotal(NamedTuple):
    """An emotion with the number of its images. `is_own`: no model knows it, only users' labels have it."""

    emotion: str
    total: Total
    is_own: bool


class EmotionTotals(NamedTuple):
    """The numbers of images by emotion, in the order of the model's labels, and the name of the model.

    `reads_text`: whether the model has a text encoder. `has_tags`: whether an image has a tag that the request could name.
    """

    model: str
    reads_text: bool
    has_tags: bool
    emotions: list[EmotionTotal]


def count_emotions(library: Library, request: SearchRequest, most: int) -> EmotionTotals:
    """Count the images of each emotion under the other criteria of a request, each up to `most`.

    An emotion includes its sub-emotions unless the request wants exact labels. Raises UnknownEmotion, NotIndexed,
    ModelUnavailable and StoreDamaged.
    """
    with open_selected(library) as (store, model), store.snapshot():
        known = available_emotions(store, model)
        others = replace(request, emotions=(), embedding=None, like=None, image=None, texts=(), after=None)
        _, similar_by = select_similar(library, store, model, request.similar_by)
        query = resolve_request(others, store, model, library.open_analyzer, library.source, similar_by)
        available = frozenset(known)
        groups = {
            emotion: ({emotion} if request.exact_label else with_children(emotion) & available) - query.excluded
            for emotion in known
        }
        totals = _totals(store, model, query, groups, most)
        has_tags = any(store.has_tags(one.id) for one in (model, similar_by) if one is not None)
    found = [EmotionTotal(emotion, totals[emotion], emotion not in model.card.labels) for emotion in known]
    return EmotionTotals(model.card.name, library.models.text_card() is not None, has_tags, found)


def _totals(
    store: StoreReader, model: StoredModel, query: SearchQuery, groups: Mapping[str, Collection[str]], most: int
) -> dict[str, Total]:
    """Return the number of hits of each group of emotions, by its name.

    All are counted at once where there are few files. Elsewhere, this holds for the user's own emotions, of which there may be
    any number: only images with such a label have them.
    """
    chosen = filter_of(query)
    counted = store.count_by_emotion(model.id, chosen, groups)
    if counted is None:
        own = {name: group for name, group in groups.items() if name not in model.card.labels}
        counted = store.count_by_emotion(model.id, chosen._replace(emotions=frozenset(own)), own) or {}
    return {
        name: Total(counted[name]) if name in counted else count(store, model, replace(query, emotions=frozenset(group)), most)
        for name, group in groups.items()
    }
