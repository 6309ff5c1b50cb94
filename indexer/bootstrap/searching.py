"""The composition root of questions: search, and show for one picture. A search by emotion never reaches torch or FAISS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.ask import check, look_at, to_query
from indexer.bootstrap.opening import ReaderFactory, model_name, open_reader, open_store, open_with_model
from indexer.errors import ModelUnavailable
from indexer.where import stored_path

if TYPE_CHECKING:
    from db.store import SqliteStore
    from indexer.domain import Hit
    from indexer.look import Reader
    from indexer.ports import StoredModel, VectorIndex
    from indexer.question import Question
    from indexer.settings import Settings


def search(settings: Settings, question: Question, reader_factory: ReaderFactory = open_reader) -> list[Hit]:
    """The hits for a question."""
    from indexer.search import search as answer

    check(question)
    with open_with_model(settings) as (store, model):
        if question.image is not None or question.like is not None:
            _keep_if_free(settings, store, model)
        with store.snapshot():
            query = to_query(question, store, model, lambda: _same(reader_factory(settings), model))
            return answer(store, model, query, lambda: _vectors(settings, store, model))


def show(settings: Settings, path: bytes, reader_factory: ReaderFactory = open_reader) -> list[Hit]:
    """What the model says of one picture, indexed or not: a hit a face, the largest first, or one of the whole."""
    if settings.database.exists():
        with open_store(settings, reading=True) as store, store.snapshot():
            for model in reversed(store.models()):
                if model.card.name == model_name(settings):
                    known = store.predicted_at(model.id, stored_path(path, store.holds))
                    if known and not (settings.faces == "off" and known[0].hit.box):
                        return [ranked.hit for ranked in known]
    return look_at(path, reader_factory(settings))


def _same(reader: Reader, model: StoredModel) -> Reader:
    card = reader.classifier.card
    if card.key != model.card.key:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the pictures were indexed; run moodex index again.")
    return reader


def _vectors(settings: Settings, store: SqliteStore, model: StoredModel) -> VectorIndex:
    from db.vector_files import FaissFiles
    from indexer.reconcile import open_vectors

    return open_vectors(store, FaissFiles(settings.vectors), model)


def _keep_if_free(settings: Settings, store: SqliteStore, model: StoredModel) -> None:
    """Mend what is kept of a model's vectors, unless somebody is writing just now."""
    from db.vector_files import FaissFiles
    from indexer.reconcile import is_kept, keep_vectors

    files = FaissFiles(settings.vectors)
    if is_kept(store, files, model):
        return
    from db.lock import writer_lock
    from indexer.errors import MoodexError

    try:
        with writer_lock(settings.home, patience=0):
            keep_vectors(store, files, model)
    except (MoodexError, OSError):
        pass  # a writer is at work and will keep it, or the folder is read-only or full: the store answers
