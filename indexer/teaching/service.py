"""Teaching: fit the model in use to the user's labels, undo that, and suggest images to label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from db.vectors.sync import sync_index
from indexer.analysis.look_alikes import compare
from indexer.domain.errors import UsageError
from indexer.domain.models import FULL_PRECISION
from indexer.domain.reports import TeachReport, UndoReport
from indexer.ports.progress import task
from indexer.registry.forget import forget
from indexer.registry.selection import open_selected, select_stored_model
from indexer.system.signals import graceful_stop
from indexer.teaching import training_set

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.reports import Suggestion
    from indexer.library import Library
    from indexer.ports.progress import Progress
    from indexer.ports.store import Store
    from indexer.ports.teaching import Scorer

_CHOSEN_BY_SETTINGS = "settings"


def teach(library: Library, name: str | None, progress: Progress) -> TeachReport:
    """Fit the last layer of the model in use to all labels; make a better version the default.

    `name` is that of the new version; None gives a numbered one. Raises UsageError, ModelUnavailable, NotIndexed and WriterBusy;
    nothing has changed then.
    """
    library.require_database()
    if library.settings.precision != FULL_PRECISION:
        raise UsageError(f"Teaching works only in {FULL_PRECISION}; remove --precision and MOODEX_PRECISION.")
    in_use = library.models.in_use()
    becomes_default = in_use.set_by != _CHOSEN_BY_SETTINGS
    with _writing(library) as (store, check_stop):
        model = select_stored_model(store, library.models)
        examples = training_set.build_teaching_set(store, model)
        used = {stored.card.name for stored in store.models() if stored.used}
        version = library.teacher().learn(in_use.name, examples, name, used, check_stop)
        rescored = 0
        if version.scorer is not None:
            with _removed_on_failure(library, store, version.scorer):
                rescored = _rescore(library, store, model, version.scorer, progress, check_stop)
                check_stop()
                if becomes_default:
                    library.models.use(version.scorer.card.name)
    is_new = version.scorer is not None
    return TeachReport(
        model=in_use.name if version.scorer is None else version.scorer.card.name,
        new=is_new,
        default=is_new and becomes_default,
        before=version.before,
        after=version.after,
        tested=version.tested,
        labels=examples.counts(),
        rescored=rescored,
        already=version.unchanged,
    )


def undo_teaching(library: Library, progress: Progress) -> UndoReport:
    """Return to the model before the last teaching, and delete the taught version. Labels are kept.

    The earlier model also scores images that were indexed since then. Raises UsageError, ModelUnavailable, NotIndexed and
    WriterBusy.
    """
    library.require_database()
    in_use = library.models.in_use()
    if in_use.set_by == _CHOSEN_BY_SETTINGS:
        raise UsageError(
            f"{in_use.name!r} is set by --model, MOODEX_MODEL or the configuration file; undo works only for the default model."
        )
    earlier_name, scorer = library.teacher().earlier(in_use.name)
    rescored = 0
    with _writing(library) as (store, check_stop):
        model = select_stored_model(store, library.models)
        if scorer is not None:
            rescored = _rescore(library, store, model, scorer, progress, check_stop)
        library.models.use(earlier_name)
        _forget(library, store, in_use.name)
        library.models.remove(in_use.name)
    return UndoReport(earlier_name, rescored)


def suggest(library: Library, count: int) -> list[Suggestion]:
    """Suggest unlabeled images whose labels would teach the model in use most. Raises NotIndexed and ModelUnavailable."""
    with open_selected(library) as (store, model), store.snapshot():
        return training_set.suggest(store, model, library.teacher(), count)


@contextmanager
def _writing(library: Library) -> Iterator[tuple[Store, Callable[[], None]]]:
    with (
        library.database.lock_writer(),
        graceful_stop("nothing was changed") as check_stop,
        library.database.open() as store,
    ):
        yield store, check_stop


@contextmanager
def _removed_on_failure(library: Library, store: Store, version: Scorer) -> Iterator[None]:
    """Remove an installed version and its predictions if the `with` block fails."""
    finished = False
    try:
        yield
        finished = True
    finally:
        if not finished:
            # Delete the file first: that frees space on a disk that may be full.
            library.models.remove(version.card.name)
            _forget(library, store, version.card.name)


def _forget(library: Library, store: Store, name: str) -> None:
    forget(store, library.vector_storage(), name, {model.name: card.key for model, card in library.models.cards()})


def _rescore(
    library: Library,
    store: Store,
    source: StoredModel,
    scorer: Scorer,
    progress: Progress,
    check_stop: Callable[[], None],
) -> int:
    """Predict from the stored embeddings of another model, and update the vector index; return the number of predictions.

    The predictions are read beside their look-alikes, as in an index run.
    """
    with task(progress, check_stop, store.image_count(source.id)) as advance:
        target = store.register_model(scorer.card)
        rescored = store.rescore(source.id, target, scorer.score, advance)
    model, storage = next(model for model in store.models() if model.id == target), library.vector_storage()
    if library.settings.look_alikes == "on":
        compare(store, storage, model, lambda: scorer, progress, check_stop)
    sync_index(store, storage, model)
    return rescored
