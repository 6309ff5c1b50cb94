"""The composition root of learning from people's labels, and of taking that back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from indexer.bootstrap import chosen_key, model_registry, need_database, open_store
from indexer.domain.errors import UsageError
from indexer.domain.models import FULL_PRECISION
from indexer.domain.reports import TeachReport, UndoReport
from indexer.registry.selection import select_stored_model
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from db.sqlite.store import SqliteStore
    from indexer.ports.progress import Progress
    from indexer.ports.store_reader import StoredModel
    from indexer.settings import Settings
    from models.teaching.model_version import EmbeddingScorer


def teach(settings: Settings, name: str | None, progress: Progress) -> TeachReport:
    """Refit the last layer of the model in use to all labels; where that helps, the new version is in use from now on.

    Raises UsageError, ModelUnavailable, NotIndexed and WriterBusy; nothing has changed then.
    """
    from db.vectors.files import FaissFiles
    from db.writer_lock import writer_lock
    from indexer.registry.forget import forget
    from indexer.teaching.training_set import build_teaching_set
    from models.teaching.model_version import learn

    need_database(settings)
    if settings.precision != FULL_PRECISION:
        raise UsageError(f"Teaching is for what is indexed in {FULL_PRECISION}; leave out --precision and MOODEX_PRECISION.")
    known = model_registry(settings)
    in_use, rescored = known.in_use(), 0
    chosen = in_use.set_by == "settings"
    with writer_lock(settings.home), graceful_stop("nothing was changed") as check_stop, open_store(settings) as store:
        model = select_stored_model(store, known.stored_name(), chosen_key(settings))
        given = build_teaching_set(store, model)
        taken = {one.card.name for one in store.models() if one.used}
        version = learn(known, in_use.name, given, name, taken, check_stop)
        new = version.new
        if new is not None:
            try:
                rescored = _rescore(settings, store, model, new, progress, check_stop)
                check_stop()
                if not chosen:
                    known.use(new.card.name)
            except BaseException:
                # The file first: that needs no room on a disk that may be full, and makes some.
                known.remove(new.card.name)
                forget(store, FaissFiles(settings.vectors), new.card.name, {one.name: card.key for one, card in known.cards()})
                raise
    done = version.taught
    now = in_use.name if new is None else new.card.name
    is_new = new is not None
    measured = done.before, done.after, done.tested
    return TeachReport(now, is_new, is_new and not chosen, *measured, given.counts(), rescored, version.already)


def undo_teaching(settings: Settings, progress: Progress) -> UndoReport:
    """Return to the model that was in use before the last teaching, and forget what was taught. The labels stay.

    What was indexed meanwhile is scored by the earlier model too. Raises UsageError, ModelUnavailable, NotIndexed, WriterBusy.
    """
    from db.vectors.files import FaissFiles
    from db.writer_lock import writer_lock
    from indexer.registry.forget import forget
    from models.teaching.model_version import earlier

    need_database(settings)
    known = model_registry(settings)
    in_use, rescored = known.in_use(), 0
    name = in_use.name
    if in_use.set_by == "settings":
        raise UsageError(
            f"{name!r} is what --model, MOODEX_MODEL or the configuration file names; only the default can be undone."
        )
    earlier_name, answering = earlier(known, name)
    with writer_lock(settings.home), graceful_stop("nothing was changed") as check_stop, open_store(settings) as store:
        model = select_stored_model(store, known.stored_name(), chosen_key(settings))
        if answering is not None:
            rescored = _rescore(settings, store, model, answering, progress, check_stop)
        known.use(earlier_name)
        forget(store, FaissFiles(settings.vectors), name, {one.name: card.key for one, card in known.cards()})
        known.remove(name)
    return UndoReport(earlier_name, rescored)


def _rescore(
    settings: Settings,
    store: SqliteStore,
    source: StoredModel,
    answering: EmbeddingScorer,
    progress: Progress,
    check_stop: Callable[[], None],
) -> int:
    """Let a model predict from the embeddings of another that shares them; its vector index is made at once."""
    from db.vectors.files import FaissFiles
    from db.vectors.sync import sync_index

    def advance(done: int) -> None:
        check_stop()
        progress.advance(done, 0)

    progress.start(store.pictures(source.id))
    try:
        target = store.register_model(answering.card)
        rescored = store.rescore(source.id, target, answering.score, advance)
    finally:
        progress.finish()
    sync_index(store, FaissFiles(settings.vectors), next(one for one in store.models() if one.id == target))
    return rescored
