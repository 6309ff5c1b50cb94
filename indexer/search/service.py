"""The composition root of questions: search, and show for one picture. A search by emotion never reaches torch or FAISS."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from indexer.bootstrap import AnalyzerFactory, model_name, open_analyzer, open_store, open_with_model
from indexer.domain.errors import ModelUnavailable
from indexer.domain.images import to_pixel_box
from indexer.domain.queries import Hit, SearchRequest
from indexer.search.resolve import check, read_and_analyze, resolve_request
from indexer.system.paths import indexed_path

if TYPE_CHECKING:
    from indexer.analysis.analyzer import Analyzer
    from indexer.ports.store_reader import StoredModel

if TYPE_CHECKING:
    from db.sqlite.store import SqliteStore
    from indexer.analysis.analyzer import Analyzer
    from indexer.domain.queries import Hit, SearchRequest
    from indexer.ports.store_reader import StoredModel
    from indexer.ports.vectors import VectorIndex
    from indexer.settings import Settings


def search(settings: Settings, question: SearchRequest, reader_factory: AnalyzerFactory = open_analyzer) -> list[Hit]:
    """The hits for a question."""
    from indexer.search.engine import search as answer

    check(question)
    with open_with_model(settings) as (store, model):
        if question.image is not None or question.like is not None:
            _keep_if_free(settings, store, model)
        with store.snapshot():
            query = resolve_request(question, store, model, lambda: _same(reader_factory(settings), model))
            return answer(store, model, query, lambda: _vectors(settings, store, model))


def show(settings: Settings, path: bytes, reader_factory: AnalyzerFactory = open_analyzer) -> list[Hit]:
    """What the model says of one picture, indexed or not: a hit a face, the largest first, or one of the whole."""
    if settings.database.exists():
        with open_store(settings, reading=True) as store, store.snapshot():
            for model in reversed(store.models()):
                if model.card.name == model_name(settings):
                    known = store.predicted_at(model.id, indexed_path(path, store.holds))
                    if known and not (settings.faces == "off" and known[0].hit.box):
                        return [ranked.hit for ranked in known]
    return analyze_file(path, reader_factory(settings))


def _same(reader: Analyzer, model: StoredModel) -> Analyzer:
    card = reader.classifier.card
    if card.key != model.card.key:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the pictures were indexed; run moodex index again.")
    return reader


def _vectors(settings: Settings, store: SqliteStore, model: StoredModel) -> VectorIndex:
    from db.vectors.files import FaissFiles
    from db.vectors.sync import open_index

    return open_index(store, FaissFiles(settings.vectors), model)


def _keep_if_free(settings: Settings, store: SqliteStore, model: StoredModel) -> None:
    """Mend what is kept of a model's vectors, unless somebody is writing just now."""
    from db.vectors.files import FaissFiles
    from db.vectors.sync import is_index_current, sync_index

    files = FaissFiles(settings.vectors)
    if is_index_current(store, files, model):
        return
    from db.writer_lock import writer_lock
    from indexer.domain.errors import MoodexError

    try:
        with writer_lock(settings.home, patience=0):
            sync_index(store, files, model)
    except (MoodexError, OSError):
        pass  # a writer is at work and will keep it, or the folder is read-only or full: the store answers


def analyze_file(path: bytes, reader: Analyzer) -> list[Hit]:
    """What a model says of a picture that is looked at now, a hit a face. Raises UsageError for one that cannot be read."""
    image, regions = read_and_analyze(path, reader)
    hits = []
    for region in regions:
        emotions = dict(zip(reader.classifier.card.labels, region.probabilities, strict=True))
        best = max(emotions, key=emotions.__getitem__)
        box = None if region.face is None else to_pixel_box(region.face, image.width, image.height)
        hits.append(Hit(os.path.realpath(path), image.digest.hex(), best, emotions[best], emotions, box=box))
    return hits
