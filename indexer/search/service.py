"""Answers to searches, and to questions about one image. A search by emotion never imports torch or FAISS."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, MoodexError
from indexer.registry.selection import find_stored_model, open_selected
from indexer.search.engine import search as run_query
from indexer.search.resolve import analyze_file, check, resolve_request
from indexer.system.paths import indexed_path

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit, SearchRequest
    from indexer.library import Library
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.store import Store
    from indexer.ports.vectors import VectorIndex

_log = logging.getLogger(__name__)


def search(library: Library, request: SearchRequest) -> list[Hit]:
    """Return the hits of a request.

    Raises UsageError, UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    check(request)
    with open_selected(library) as (store, model):
        if request.image is not None or request.like is not None:
            _refresh_index_if_idle(library, store, model)
        with store.snapshot():
            query = resolve_request(request, store, model, lambda: _same_analyzer(library, model))
            return run_query(store, model, query, lambda: _open_index(library, store, model))


def show(library: Library, path: bytes) -> list[Hit]:
    """Return the predictions for one image, indexed or not: a hit for each face, the largest first, or one for the whole.

    Raises UsageError for a file that cannot be analyzed, ModelUnavailable and StoreDamaged.
    """
    return _stored_hits(library, path) or analyze_file(path, library.open_analyzer())


def _stored_hits(library: Library, path: bytes) -> list[Hit]:
    """The stored predictions for an image, if the model in use made them as the settings want them."""
    if not library.database.exists():
        return []
    with library.database.open(reading=True) as store, store.snapshot():
        model = find_stored_model(store, library.models)
        if model is None:
            return []
        known = store.predicted_at(model.id, indexed_path(path, store.holds))
    by_face = any(ranked.hit.box for ranked in known)
    return [] if library.settings.faces == "off" and by_face else [ranked.hit for ranked in known]


def _same_analyzer(library: Library, model: StoredModel) -> Analyzer:
    """Open the analyzer; its model must be the one whose predictions are searched."""
    analyzer = library.open_analyzer()
    card = analyzer.classifier.card
    if card.key != model.card.key:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the images were indexed; run moodex index again.")
    return analyzer


def _open_index(library: Library, store: Store, model: StoredModel) -> VectorIndex:
    from db.vectors.sync import open_index  # it imports numpy, which takes as long as a search by emotion

    return open_index(store, library.vector_storage(), model)


def _refresh_index_if_idle(library: Library, store: Store, model: StoredModel) -> None:
    """Bring the vector index up to date, so that the next search is faster; skipped while another process writes.

    A read command writes derived data here. If it cannot, the store answers for what the index lacks.
    """
    from db.vectors.sync import is_index_current, sync_index

    storage = library.vector_storage()
    if is_index_current(store, storage, model):
        return
    try:
        with library.database.lock_writer(wait=False):
            sync_index(store, storage, model)
            _log.debug("The vector index of %s was brought up to date.", model.card.name)
    except (MoodexError, OSError) as error:
        _log.debug("The vector index of %s stays as it is: %s", model.card.name, error)
