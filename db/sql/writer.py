"""The writing half of a store in SQL: models, runs, scans, pending files, batches, labels."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, Engine, delete, insert, update

from db.schema import EmbedderRow, FileRow, GenerationRow, RunModelRow, RunRow
from db.sql import write_statements as statements
from db.sql.anchor_moves import moving_anchors
from db.sql.derivation import derive
from db.sql.dialect import chunks, greatest, insert_missing
from db.sql.file_rows import detect_moves, finish_files, mark_missing, record_files
from db.sql.hidden_rows import follow_hidden, write_hidden
from db.sql.label_moves import move_labels
from db.sql.label_rows import write_labels
from db.sql.model_rows import card_to_row
from db.sql.page_anchors import build_page_anchors
from db.sql.path_list import file_counts_in_list, listed_paths, present_files_in_list
from db.sql.prediction_rows import (
    delete_predictions,
    next_prediction_ids,
    replace_probabilities,
    set_compared,
    write_predictions,
)
from db.sql.prepared import fetch
from db.sql.rescoring import rescore
from db.sql.retention import expire
from db.sql.root_rows import earlier_copies, forget_files, move_files, record_roots, root_rows
from db.sql.run_analyzers import PREDICTED_BY, RunAnalyzer, add_detector, add_further_models, run_analyzers
from db.sql.transactions import connect_for_writing
from db.sql.tuning import DEFAULT_TUNING, StoreTuning
from db.sql.unpacking import connect_for_reading
from indexer.domain.files import Failure, FileStamp, FileState, IndexedFile
from indexer.domain.path_set import PathSet
from indexer.domain.predictions import GROUP_CHANGED
from indexer.domain.runs import DIED, RUNNING, WHY_IT_DIED
from indexer.ports.store_writer import CommitBatch, FolderScanResult, KnownFile, LabelMoves, PendingFile

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.runs import RunCounts
    from indexer.ports.store_writer import Combine, Comparison, RunModel, Score

_PENDING_CHUNK_ROWS = 8192


class SqlWriter:
    """Implements `indexer.ports.store_writer.StoreWriter`."""

    def __init__(self, engine: Engine, tuning: StoreTuning = DEFAULT_TUNING) -> None:
        self._engine = engine
        self._tuning = tuning
        self._analyzers_of_runs: dict[int, tuple[RunAnalyzer, ...]] = {}

    def register_model(self, card: ModelCard) -> int:
        with connect_for_writing(self._engine) as connection:
            connection.execute(statements.rename_embedder(card.key, card.embedder_key))
            connection.execute(insert_missing(connection.dialect.name, EmbedderRow.table).values(key=card.embedder_key))
            connection.execute(statements.upsert_model(connection.dialect.name, card_to_row(card), card.embedder_key))
            return connection.execute(statements.model_id_of(card.key)).scalar_one()

    def begin_run(
        self, roots: Sequence[bytes], model_id: int, detector: str | None = None, further: Sequence[RunModel] = ()
    ) -> int:
        with connect_for_writing(self._engine) as connection:
            died = update(RunRow.table).where(RunRow.outcome == RUNNING, *self._has_died())
            connection.execute(died.values(outcome=DIED, reason=WHY_IT_DIED))
            run = insert(RunRow.table).values(
                started_at=time.time(),
                roots=[os.fsdecode(root) for root in roots],
                model_id=model_id,
                finder_id=add_detector(connection, detector),
                pid=os.getpid(),
                outcome=RUNNING,
                counts={},
            )
            run_id = connection.execute(run.returning(RunRow.id)).scalar_one()
            add_further_models(connection, run_id, further)
            self._hold_run(run_id)
            return run_id

    def finish_run(self, run_id: int, outcome: str, counts: RunCounts, reason: str | None = None) -> None:
        with connect_for_writing(self._engine) as connection:
            finished = update(RunRow.table).where(RunRow.id == run_id)
            ended_at = greatest(RunRow.started_at, time.time())  # the clock may have been set back
            connection.execute(finished.values(ended_at=ended_at, outcome=outcome, counts=counts.nonzero(), reason=reason))
            self._build_anchors_of_run(connection, run_id)

    def forget_run(self, run_id: int) -> None:
        with connect_for_writing(self._engine) as connection:
            self._build_anchors_of_run(connection, run_id)
            connection.execute(delete(RunModelRow.table).where(RunModelRow.run_id == run_id))
            connection.execute(delete(RunRow.table).where(RunRow.id == run_id))

    def known_files(self, folder: bytes, run_id: int | None, names: Collection[bytes] | None = None) -> dict[bytes, KnownFile]:
        known: dict[bytes, KnownFile] = {}
        with connect_for_reading(self._engine) as connection:
            analyzers = () if run_id is None else self._analyzers(connection, run_id)
            for some in [()] if names is None else ([FileRow.name.in_(chunk)] for chunk in chunks(names)):
                for name, file_id, size, mtime, change, state, kind, why, predicted in connection.execute(
                    statements.files_in_folder(folder, analyzers, *some)
                ):
                    failure = Failure(kind, why or "") if kind else None
                    known[name] = KnownFile(file_id, FileStamp(size, mtime, change), FileState(state), failure, predicted)
        return known

    def known_folders(self, roots: Collection[bytes]) -> list[bytes]:
        with connect_for_reading(self._engine) as connection, listed_paths(connection, roots):
            return list(connection.execute(statements.folders_in_list()).scalars())

    def unchanged_folder_digests(self, roots: Collection[bytes], run_id: int) -> dict[bytes, bytes]:
        with connect_for_reading(self._engine) as connection, listed_paths(connection, roots):
            return dict(connection.execute(statements.unchanged_folders(self._analyzers(connection, run_id))).all())

    def count_files(self, roots: Collection[bytes]) -> dict[bytes, int]:
        counts = dict.fromkeys(roots, 0)
        with connect_for_reading(self._engine) as connection, listed_paths(connection, roots):
            for path, count in connection.execute(file_counts_in_list()):
                counts[path] += count
        return counts

    def present_files(self, path: bytes) -> list[bytes]:
        with connect_for_reading(self._engine) as connection, listed_paths(connection, [path]):
            return sorted(os.path.join(folder, name) for folder, name in connection.execute(present_files_in_list()))

    def record_scan(self, run_id: int, results: Sequence[FolderScanResult]) -> None:
        if results:
            with connect_for_writing(self._engine) as connection:
                record_files(connection, run_id, results)

    # Statements that name the roots would grow with them; there are few pending files outside of the roots of a run.
    def count_pending(self, roots: Collection[bytes]) -> int:
        within = PathSet.of(roots)
        with connect_for_reading(self._engine) as connection:
            rows = connection.execution_options(yield_per=_PENDING_CHUNK_ROWS).execute(statements.pending_files())
            return sum(within.covers(os.path.join(folder, name)) for folder, name in rows)

    def pending(self, roots: Collection[bytes], after: int, limit: int) -> list[PendingFile]:
        within = PathSet.of(roots)
        with connect_for_reading(self._engine) as connection:
            while rows := connection.execute(statements.next_pending(after, limit)).all():
                after = rows[-1].id
                files = [
                    PendingFile(file_id, os.path.join(folder, name), FileStamp(size, version, change), source)
                    for file_id, folder, name, size, version, change, source in rows
                ]
                if found := [file for file in files if within.covers(file.path)]:
                    return found
        return []

    def unpredicted(self, digest: bytes, run_id: int) -> list[int]:
        with self._engine.connect() as connection:
            analyzers = self._analyzers(connection, run_id)
            predicted = set(fetch(connection, PREDICTED_BY, digest=digest))
        return [position for position, one in enumerate(analyzers) if (one.model_id, one.finder_id) not in predicted]

    def commit(self, run_id: int, batch: CommitBatch) -> LabelMoves:
        with connect_for_writing(self._engine) as connection:
            self._begin_commit(connection, run_id)
            images = statements.store_images(connection, batch)
            targets: dict[int, int | None] = dict.fromkeys(file.id for file, _ in batch.failed)
            targets |= {file.id: images[entry.image.digest] for entry in batch.predicted for file in entry.files}
            targets |= {file.id: images[digest] for file, digest in batch.linked}
            predictions = _by_position(batch, images)
            main = {image_id: analyzed[0] for image_id, analyzed in predictions[0].items()}
            labels = move_labels(connection, run_id, targets, main)
            follow_hidden(connection, targets)
            digests = {image_id: digest for digest, image_id in images.items()}
            for position, analyzer in enumerate(run_analyzers(connection, run_id)):
                if predictions[position]:
                    write_predictions(connection, analyzer, predictions[position], digests)
            done = [(file, images[entry.image.digest]) for entry in batch.predicted for file in entry.files]
            done += [(file, images[digest]) for file, digest in batch.linked]
            finish_files(connection, done, batch.failed)
            return labels

    def _analyzers(self, connection: Connection, run_id: int) -> tuple[RunAnalyzer, ...]:
        """Return the analyzers of a run, which never change."""
        if run_id not in self._analyzers_of_runs:
            self._analyzers_of_runs[run_id] = run_analyzers(connection, run_id)
        return self._analyzers_of_runs[run_id]

    def _build_anchors_of_run(self, connection: Connection, run_id: int) -> None:
        for analyzer in run_analyzers(connection, run_id):
            self._build_page_anchors(connection, analyzer.model_id)

    # What differs where several processes write at the same time.
    def _has_died(self) -> Sequence[ColumnElement[bool]]:
        """Return the conditions for runs without an end whose process has ended: with one writer, none."""
        return ()

    def _hold_run(self, run_id: int) -> None:
        """Show other processes that a run goes on. Called before its row is committed."""

    def _build_page_anchors(self, connection: Connection, model_id: int) -> None:
        """Build the page anchors that are missing after a change."""
        build_page_anchors(connection, model_id, self._tuning)

    def _begin_commit(self, connection: Connection, run_id: int) -> None:
        """Take the locks of a commit. Raises MoodexError for a run that has ended."""

    def root_paths(self) -> list[bytes]:
        with connect_for_reading(self._engine) as connection:
            return [row.path for row in connection.execute(root_rows())]

    def record_roots(self, roots: Collection[bytes], absorbed: Collection[bytes]) -> None:
        with connect_for_writing(self._engine) as connection:
            record_roots(connection, roots, absorbed, time.time())

    def earlier_copies(self, run_id: int) -> list[tuple[int, bytes]]:
        with connect_for_reading(self._engine) as connection:
            rows = connection.execute(earlier_copies(run_id))
            return [(file_id, os.path.join(folder, name)) for file_id, folder, name in rows]

    def forget_files(self, paths: Collection[bytes]) -> int:
        with connect_for_writing(self._engine) as connection:
            return forget_files(connection, paths)

    def move_files(self, old: bytes, new: bytes, job_roots: Mapping[bytes, bytes]) -> int:
        with connect_for_writing(self._engine) as connection:
            return move_files(connection, old, new, job_roots)

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        with connect_for_writing(self._engine) as connection:
            return detect_moves(connection, run_id, missing)

    def delete_failures(self, file_ids: Sequence[int]) -> None:
        with connect_for_writing(self._engine) as connection:
            for chunk in chunks(file_ids):
                failed = (FileRow.state == FileState.FAILED, FileRow.image_id.is_(None))
                connection.execute(delete(FileRow.table).where(FileRow.id.in_(chunk), *failed))

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        with connect_for_writing(self._engine) as connection:
            mark_missing(connection, file_ids, time.time())

    def requeue(self, files: Sequence[IndexedFile]) -> None:
        with connect_for_writing(self._engine) as connection:
            for chunk in chunks([file.id for file in files]):
                connection.execute(update(FileRow.table).where(FileRow.id.in_(chunk)).values(state=FileState.PENDING))

    def expire(self, before: float) -> int:
        return expire(self._engine, before, self._tuning.delete_chunk_rows)

    def hide(self, hidden: Mapping[bytes, bool]) -> None:
        now = time.time()
        with connect_for_writing(self._engine) as connection, moving_anchors(connection, hidden):
            write_hidden(connection, hidden, now)

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        now = time.time()
        with connect_for_writing(self._engine) as connection, moving_anchors(connection, emotions):
            write_labels(connection, emotions, now)

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        with connect_for_writing(self._engine) as connection:
            rescored = rescore(connection, source, target, score, advance)
            self._build_page_anchors(connection, target)
            return rescored

    def derive(self, target: int, sources: Sequence[int], combine: Combine, advance: Callable[[int], None]) -> int:
        with connect_for_writing(self._engine) as connection:
            derived = derive(connection, target, sources, combine, advance)
            self._build_page_anchors(connection, target)
            return derived

    def apply_comparison(self, model_id: int, comparison: Comparison) -> dict[int, int]:
        new = {int(i): row.tobytes() for i, row in zip(comparison.ids, comparison.probabilities.astype("<f4"), strict=True)}
        with connect_for_writing(self._engine) as connection:
            set_compared(connection, comparison.unchanged, comparison.compared_to)
            set_compared(connection, comparison.outdated, GROUP_CHANGED)
            return replace_probabilities(connection, model_id, new, comparison.compared_to) if new else {}

    def restore_pages(self, model_id: int) -> None:
        with connect_for_writing(self._engine) as connection:
            self._build_page_anchors(connection, model_id)

    def forget_model(self, model_id: int) -> int:
        forgotten = after = 0
        while True:
            with connect_for_writing(self._engine) as connection:
                ids = connection.execute(next_prediction_ids(model_id, after, self._tuning.delete_chunk_rows)).scalars().all()
                is_last = len(ids) < self._tuning.delete_chunk_rows
                if ids:
                    delete_predictions(connection, model_id, after, ids[-1])
                if is_last:
                    connection.execute(delete(GenerationRow.table).where(GenerationRow.model_id == model_id))
            forgotten += len(ids)
            if is_last:
                return forgotten
            after = ids[-1]


def _by_position(batch: CommitBatch, images: Mapping[bytes, int]) -> defaultdict[int, dict[int, AnalyzedImage]]:
    """Return the predictions of a batch by the position of their analyzer in the run, then by image id."""
    predictions: defaultdict[int, dict[int, AnalyzedImage]] = defaultdict(dict)
    for entry in batch.predicted:
        for position, analyzed in entry.predictions.items():
            predictions[position][images[entry.image.digest]] = analyzed
    return predictions
