"""Indexing a library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from indexer.domain.errors import StoreDamaged, UsageError, disk_error
from indexer.domain.image_ids import id_prefix
from indexer.ingest import run
from indexer.ingest.analyzer_group import AnalyzerGroup
from indexer.ingest.moved_roots import follow_moved_roots
from indexer.ingest.roots import split_available_roots
from indexer.registry.blends import update_blends
from indexer.system.paths_of_ids import paths_of_ids
from indexer.system.signals import graceful_stop
from indexer.system.text import joined

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard, StoredModel
    from indexer.domain.reports import Summary
    from indexer.domain.runs import RunCounts
    from indexer.ingest.run import IndexRequest
    from indexer.ingest.workers import Queue
    from indexer.library import Library
    from indexer.ports.cluster import Cluster
    from indexer.ports.progress import Progress
    from indexer.ports.store import Store

_SECONDS_PER_DAY = 86400.0


def index(
    library: Library, paths: Sequence[bytes], request: IndexRequest, progress: Progress, record_idle: bool = True
) -> Summary:
    """Index folders and files, then update the vector index. During a run, other processes can only label and hide images.

    Folders that are indexed but missing are reported, and keep their entries unless the request prunes them. `record_idle` is
    whether a run that finds nothing to do is recorded. The further models of the request analyze the images in the same pass.

    Raises UsageError for a path that does not exist or a model that is named twice, WriterBusy, ModelUnavailable,
    DeviceUnavailable, MissingExtra, StoreDamaged and Interrupted; committed batches stay.
    """
    settings = library.settings
    roots = split_available_roots(paths, library.source, library.known)
    settings.make_home()
    libraries = [library, *(library.reopen(replace(settings, model=name)) for name in request.further_models)]
    with (
        library.database.lock_writer(admits_labels=True),
        graceful_stop("indexed images are kept, and the next run resumes there") as check_stop,
        AnalyzerGroup(tuple(each.open_batch_analyzer() for each in libraries)) as analyzers,
        nullcontext() if library.cluster is None else library.cluster.connect() as cluster,
    ):
        cards = _distinct_cards(analyzers)
        with library.database.open() as store:
            derived = [_Derived(each, store, card, progress, check_stop) for each, card in zip(libraries, cards, strict=True)]
            context = run.RunContext(
                source=library.source,
                open_executor=library.open_executor,
                own_folder=os.fsencode(settings.home),
                always_exclude=settings.exclude,
                workers=settings.worker_count,
                grace_seconds=_SECONDS_PER_DAY * settings.grace_days,
                record_idle=record_idle,
                compare=lambda: _for_each(_Derived.compare, derived),
                moved=follow_moved_roots(store, library.source, roots, progress),
                work_on_cluster=_work_on_cluster(libraries, cluster, analyzers, check_stop),
            )
            summary = run.index(roots, store, analyzers, request, context, progress, check_stop)
            if cluster is not None:
                summary = replace(summary, device=cluster.place, engine="ray")
            _for_each(_Derived.sync_index, derived)
            update_blends(library, store, cards, check_stop)
            check_stop()
        if not library.database.exists():
            raise StoreDamaged(f"The database {settings.database} was removed during the run. Index again.")
    return summary


def typed_paths(library: Library, paths: Sequence[bytes]) -> list[bytes]:
    """Return paths that a user typed, with those of files in place of ids; see `paths_of_ids`. Raises UsageError."""
    if all(id_prefix(path) is None for path in paths) or not library.database.exists():
        return list(paths)
    with library.database.open(reading=True) as store:
        return paths_of_ids(paths, store)


def _work_on_cluster(
    libraries: Sequence[Library], cluster: Cluster | None, analyzers: AnalyzerGroup, check_stop: Callable[[], None]
) -> Callable[[Queue, bool], Iterator[RunCounts]] | None:
    if cluster is None:
        return None
    from indexer.ingest.pages import work_on_cluster

    return work_on_cluster(libraries, cluster, analyzers, check_stop)


def _distinct_cards(analyzers: AnalyzerGroup) -> list[ModelCard]:
    """Return the cards of the models of a run. Raises UsageError if one of them is named twice."""
    cards = {analyzer.classifier.card.key: analyzer.classifier.card for analyzer in analyzers.analyzers}
    if len(cards) < len(analyzers.analyzers):
        raise UsageError(f"Give each model once; the models of this run are {joined(card.name for card in cards.values())}.")
    return list(cards.values())


def _for_each(step: Callable[[_Derived], None], every: Sequence[_Derived]) -> None:
    for derived in every:
        step(derived)


@dataclass(frozen=True, slots=True)
class _Derived:
    """The steps of a run that read no images. They import numpy, which a list of jobs does not need."""

    library: Library
    store: Store
    card: ModelCard
    progress: Progress
    check_stop: Callable[[], None]

    def compare(self) -> None:
        """Read the new predictions beside their look-alikes, unless the settings turn that off."""
        if self.library.settings.look_alikes == "off" or not self.card.spaces:
            return
        from indexer.analysis.look_alikes import compare

        with self._explained_errors():
            open_scorer = self.library.teacher().scorer
            compare(self.store, self.library.vector_storage(), self._model(), open_scorer, self.progress, self.check_stop)

    def sync_index(self) -> None:
        """Make the stored vector index current."""
        from db.vectors.sync import sync_index

        with self._explained_errors():
            sync_index(self.store, self.library.vector_storage(), self._model())

    def _model(self) -> StoredModel:
        return next(model for model in self.store.models() if model.card.key == self.card.key)

    @contextmanager
    def _explained_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            path = error.filename or self.library.settings.vectors
            raise disk_error(f"The images are indexed, but the vector index {path}", error) from error
