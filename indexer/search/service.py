"""Search, and the predictions of one image. A search by emotion never imports torch or FAISS."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, MoodexError, UsageError
from indexer.domain.image_ids import id_prefix
from indexer.domain.queries import Total
from indexer.registry.selection import find_stored_model, open_selected, select_similar, warn_of_different_images
from indexer.search.engine import count, search_page
from indexer.search.resolve import analyze_file, check, image_vector, indexed_file, interpret_image, resolve_request
from indexer.search.tags import with_tags
from indexer.search.texts import with_embedding
from indexer.system.paths import indexed_path

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit, SearchQuery, SearchRequest, SearchResult
    from indexer.domain.types import Floats
    from indexer.library import Library
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.store import Store
    from indexer.ports.vectors import VectorIndex

_log = logging.getLogger(__name__)


def search(library: Library, request: SearchRequest) -> list[Hit]:
    """Return the hits of a request.

    Raises UsageError, UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    return _search(library, request, None).hits


def search_page_of(library: Library, request: SearchRequest) -> SearchResult:
    """Return the hits of a request, which are not counted, and where they end. Raises what `search` raises."""
    return _search(library, request, None)


def search_and_count(library: Library, request: SearchRequest, most: int | None = None) -> SearchResult:
    """Return the hits of a request, and the number of all hits without its limit; up to `most`, if that is given.

    The total is None if near-duplicates are shown once: how many groups there are would be known only after comparing all hits.
    Raises what `search` raises.
    """
    return _search(library, request, lambda store, model, query: count(store, model, query, most))


def _search(
    library: Library, request: SearchRequest, count_all: Callable[[Store, StoredModel, SearchQuery], Total] | None
) -> SearchResult:
    check(request)
    with open_selected(library) as (store, model):
        similar_library, similar_by = select_similar(library, store, model, request.similar_by)
        embedded_by = similar_by or model
        warn_of_different_images(store, model, similar_by)
        reads_text = request.image is not None and similar_library.models.text_card() is not None
        request = interpret_image(request, store, model, library.source, embedded_by, reads_text)
        if request.texts or any(given is not None for given in (request.image, request.like, request.embedding)):
            _refresh_index_if_idle(similar_library, store, embedded_by)
        with store.snapshot():

            def open_same() -> Analyzer:
                return same_analyzer(similar_library, embedded_by)

            def vector_of_image() -> Floats | None:
                return image_vector(given, store, embedded_by, open_same, library.source)

            given = request
            request = with_embedding(similar_library, given, embedded_by, vector_of_image)
            query = resolve_request(request, store, model, open_same, library.source, similar_by)
            page = search_page(
                store,
                model,
                query,
                lambda: _open_index(similar_library, store, embedded_by),
                exists=library.source.has_file,
                similar_by=similar_by,
            )
            if query.tags or query.excluded_tags:
                page = page._replace(hits=with_tags(page.hits, store, [model] if similar_by is None else [model, similar_by]))
            if count_all is None or request.dedupe:
                return page
            return page._replace(total=_total(page.hits, request, lambda: count_all(store, model, query)))


def _total(hits: list[Hit], request: SearchRequest, count_all: Callable[[], Total]) -> Total:
    """Return the number of all hits, which follows from a page that is not full."""
    is_last = 0 < len(hits) < request.limit
    return Total(request.offset + len(hits)) if is_last else count_all()


def indexed_file_of(library: Library, path: bytes) -> bytes:
    """Return the path of the indexed file whose id, as searches print it, a user gave; any other path as it is.

    Raises UsageError if several images have an id with these digits, ModelUnavailable and StoreDamaged.
    """
    if id_prefix(path) is None or os.path.lexists(path) or not library.database.exists():
        return path
    with library.database.open(reading=True) as store, store.snapshot():
        model = find_stored_model(store, library.models)
        return path if model is None else indexed_file(path, store, model, library.source)


def show(library: Library, path: bytes) -> list[Hit]:
    """Return the predictions for one image, indexed or not, by its path or by its id.

    There is one hit for each face, the largest first, or one for the whole image.

    Raises UsageError for a file that cannot be analyzed, ModelUnavailable and StoreDamaged.
    """

    def fail(error: UsageError) -> None:
        raise error

    (hits,) = show_all(library, [path], fail)
    return hits


def show_all(library: Library, paths: Sequence[bytes], skip: Callable[[UsageError], None]) -> Iterator[list[Hit]]:
    """Yield the predictions for each of some images, like `show`; `skip` receives the errors of those that have none.

    The library is opened and the model is loaded once. Raises ModelUnavailable and StoreDamaged.
    """
    analyzer: Analyzer | None = None
    with _open_model(library) as opened:
        for path in paths:
            try:
                file, hits = (path, []) if opened is None else _stored_hits(library, *opened, path)
                if not hits:
                    analyzer = analyzer or library.open_analyzer()
                    hits = analyze_file(file, analyzer, library.source.read)
            except UsageError as error:
                skip(error)
            else:
                yield hits


@contextmanager
def _open_model(library: Library) -> Iterator[tuple[Store, StoredModel] | None]:
    """Open the store with the model in use; None if there is no library, or the model has no predictions."""
    if not library.database.exists():
        yield None
        return
    with library.database.open(reading=True) as store:
        model = find_stored_model(store, library.models)
        yield None if model is None else (store, model)


def _stored_hits(library: Library, store: Store, model: StoredModel, path: bytes) -> tuple[bytes, list[Hit]]:
    """Return the path of the file that a user named, and its stored hits, if they comply with the setting `faces`.

    Raises UsageError for digits with which several ids begin.
    """
    with store.snapshot():
        file = indexed_file(path, store, model, library.source)
        stored = store.predicted_at(model.id, indexed_path(file, store.known_paths))
        hits = with_tags([ranked.hit for ranked in stored], store, [model])
    has_faces = any(hit.box for hit in hits)
    return file, [] if library.settings.faces == "off" and has_faces else hits


def same_analyzer(library: Library, model: StoredModel) -> Analyzer:
    """Open the analyzer; its model must be the one whose predictions are searched. Raises ModelUnavailable."""
    analyzer = library.open_analyzer()
    card = analyzer.classifier.card
    if card.key != model.card.key:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the images were indexed; run moodex index again.")
    return analyzer


def _open_index(library: Library, store: Store, model: StoredModel) -> VectorIndex:
    from db.vectors.sync import open_index  # imports numpy, which takes as long as a search by emotion

    return open_index(store, library.vector_storage(), model)


def _refresh_index_if_idle(library: Library, store: Store, model: StoredModel) -> None:
    """Update the vector index, which makes later searches faster, unless another process writes.

    Here a read command writes derived data. If it cannot, searches read the missing vectors from the store.
    """
    from db.vectors.sync import is_index_current, sync_index

    storage = library.vector_storage()
    if is_index_current(store, storage, model):
        return
    try:
        with library.database.lock_writer(wait=False, admits_labels=True):
            sync_index(store, storage, model)
            _log.debug("Updated the vector index of %s.", model.card.name)
    except (MoodexError, OSError) as error:
        _log.debug("The vector index of %s was not updated: %s", model.card.name, error)
