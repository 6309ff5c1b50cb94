"""A store in memory, in plain dictionaries. Implements `indexer.ports.store.Store`."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from indexer.domain.edits import Look, label_holds
from indexer.domain.files import Failure, FileStamp, FileState, IndexedFile
from indexer.domain.models import EXPRESSION, ModelCard
from indexer.domain.path_set import PathSet
from indexer.domain.predictions import GROUP_CHANGED, NEVER_COMPARED
from indexer.domain.runs import DIED, DONE, RUNNING, WHY_IT_DIED, RunCounts, RunRecord
from indexer.ports.store_writer import (
    Combine,
    CommitBatch,
    Comparison,
    FolderScanResult,
    KnownFile,
    LabelMoves,
    PendingFile,
    RunModel,
    Score,
)
from indexer.ports.vectors import Generation
from indexer.system.paths import is_under
from tests.support.memory_reader import MemoryReader
from tests.support.memory_tables import StoredFile, StoredPrediction


class MemoryStore(MemoryReader):
    """The writing half, `indexer.ports.store_writer.StoreWriter`, on top of the reading half."""

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        yield  # only this process can write here

    def register_model(self, card: ModelCard) -> int:
        keys = [stored.key for stored in self._cards]
        if card.key not in keys:
            self._cards.append(card)
            return len(self._cards)
        position = keys.index(card.key)
        self._cards[position] = card
        return position + 1

    def begin_run(
        self, roots: Sequence[bytes], model_id: int, detector: str | None = None, further: Sequence[RunModel] = ()
    ) -> int:
        run_id = self._next_id("run")
        self._analyzers[run_id] = (RunModel(model_id, detector), *further)
        for number, run in self._runs.items():
            if run.outcome == RUNNING:
                self._runs[number] = run._replace(outcome=DIED, reason=WHY_IT_DIED)
        names = tuple(self._cards[model.model_id - 1].name for model in self._analyzers[run_id])
        begun = RunRecord(run_id, float(run_id), None, tuple(roots), RUNNING, RunCounts(), pid=os.getpid(), models=names)
        self._runs[run_id] = begun
        return run_id

    def finish_run(self, run_id: int, outcome: str, counts: RunCounts, reason: str | None = None) -> None:
        ended = self._runs[run_id]._replace(ended_at=float(run_id), outcome=outcome, counts=counts, reason=reason)
        self._runs[run_id] = ended

    def forget_run(self, run_id: int) -> None:
        del self._runs[run_id]

    def known_files(self, folder: bytes, run_id: int | None, names: Collection[bytes] | None = None) -> dict[bytes, KnownFile]:
        return {
            os.path.basename(path): KnownFile(
                file.id,
                file.stamp,
                file.state,
                file.failure,
                run_id is not None and not self.unpredicted(file.digest or b"", run_id),
            )
            for path, file in self._files.items()
            if os.path.dirname(path) == folder and (names is None or os.path.basename(path) in names)
        }

    def known_folders(self, roots: Collection[bytes]) -> list[bytes]:
        return sorted({os.path.dirname(path) for path in self._files if PathSet(roots).covers(os.path.dirname(path))})

    def unchanged_folder_digests(self, roots: Collection[bytes], run_id: int) -> dict[bytes, bytes]:
        return {
            folder: listing
            for folder, (listing, listed_by) in self._listings.items()
            if listing is not None
            and PathSet(roots).covers(folder)
            and self._analyzers[listed_by] == self._analyzers[run_id]
            and all(
                file.state in (FileState.DONE, FileState.GONE)
                and (file.state is FileState.GONE or not self.unpredicted(file.digest or b"", run_id))
                for path, file in self._files.items()
                if os.path.dirname(path) == folder
            )
        }

    def count_files(self, roots: Collection[bytes]) -> dict[bytes, int]:
        present = [path for path, file in self._files.items() if file.state is not FileState.GONE]
        return {root: sum(is_under(path, root) for path in present) for root in roots}

    def present_files(self, path: bytes) -> list[bytes]:
        return sorted(known for known, file in self._files.items() if is_under(known, path) and file.state is not FileState.GONE)

    def record_scan(self, run_id: int, results: Sequence[FolderScanResult]) -> None:
        for result in results:
            self._listings[result.folder] = (result.listing, run_id)
            self._sources.setdefault(result.folder, result.source)
            for name, stamp in result.restamped.items():
                path = os.path.join(result.folder, name)
                self._files[path] = replace(self._files[path], stamp=stamp)
            entries: list[tuple[bytes, FileStamp, Failure | None]] = [(n, s, None) for n, s in result.pending.items()]
            entries += [(name, stamp, failure) for name, (stamp, failure) in result.failed.items()]
            for name, stamp, failure in entries:
                path = os.path.join(result.folder, name)
                state = FileState.FAILED if failure else FileState.PENDING
                old = self._files.get(path)
                if old is None:
                    self._files[path] = StoredFile(self._next_id("file"), stamp, state, failure, None, run_id)
                else:
                    self._files[path] = replace(
                        old,
                        stamp=stamp,
                        state=state,
                        failure=failure,
                        digest=None if failure else old.digest,
                        appeared=run_id if old.state is FileState.GONE else old.appeared,
                        missing_since=None,
                    )

    def count_pending(self, roots: Collection[bytes]) -> int:
        return len(self.pending(roots, 0, len(self._files)))

    def pending(self, roots: Collection[bytes], after: int, limit: int) -> list[PendingFile]:
        files = [
            PendingFile(file.id, path, file.stamp, self._sources[os.path.dirname(path)])
            for path, file in self._files.items()
            if file.state is FileState.PENDING and file.id > after and PathSet(roots).covers(path)
        ]
        return sorted(files, key=lambda file: file.id)[:limit]

    def unpredicted(self, digest: bytes, run_id: int) -> list[int]:
        return [
            position
            for position, model in enumerate(self._analyzers[run_id])
            if all(row.detector != model.detector for row in self._predictions.get(model.model_id, {}).get(digest, []))
        ]

    def commit(self, run_id: int, batch: CommitBatch) -> LabelMoves:
        analyzers = self._analyzers[run_id]
        labels = self._move_labels(analyzers[0].model_id, batch)
        self._follow_hidden(batch)
        for entry in batch.predicted:
            digest = entry.image.digest
            self._images[digest] = entry.image
            for position, analyzed in entry.predictions.items():
                model_id, detector = analyzers[position]
                self._forget_other_regions(digest, model_id, detector)
                self._predictions.setdefault(model_id, {})[digest] = [
                    StoredPrediction(
                        self._next_id("prediction"), digest, 0 if prediction.face is None else number, detector, prediction
                    )
                    for number, prediction in enumerate(analyzed, start=1)
                ]
            for file in entry.files:
                self._finish_file(file, FileState.DONE, entry.image.digest, None)
        for file, digest in batch.linked:
            self._finish_file(file, FileState.DONE, digest, None)
        for file, failure in batch.failed:
            self._finish_file(file, FileState.FAILED, None, failure)
        for position in {position for entry in batch.predicted for position in entry.predictions}:
            self._begin_generation(analyzers[position].model_id)
        return labels

    def _follow_hidden(self, batch: CommitBatch) -> None:
        """Hide the new images of files whose images are hidden, as `db.sql.hidden_rows` does."""
        targets = {file.path: entry.image.digest for entry in batch.predicted for file in entry.files}
        targets |= {file.path: digest for file, digest in batch.linked}
        changes = [
            (self._files[path].digest, new)
            for path, new in targets.items()
            if self._files[path].digest in self._hidden and self._files[path].digest != new
        ]
        in_use = {targets.get(path, file.digest) for path, file in self._files.items() if file.is_live}
        gone = {old for old, _ in changes if old is not None} - in_use
        self._hidden = (self._hidden | {new for _, new in changes}) - gone

    def _move_labels(self, model_id: int, batch: CommitBatch) -> LabelMoves:
        """Move the labels of changed files, as `db.sql.label_moves` does."""
        targets: dict[bytes, bytes | None] = {file.path: None for file, _ in batch.failed}
        targets |= {file.path: entry.image.digest for entry in batch.predicted for file in entry.files}
        targets |= {file.path: digest for file, digest in batch.linked}
        main = {digest: rows[0].prediction for digest, rows in self._predictions.get(model_id, {}).items()}
        main |= {entry.image.digest: entry.predictions[0][0] for entry in batch.predicted if 0 in entry.predictions}
        stored = (rows for predictions in self._predictions.values() for rows in predictions.items() if rows[1])
        prints = {digest: rows[0].prediction.fingerprint for digest, rows in stored}
        looks = defaultdict(Look, {digest: Look(fingerprint) for digest, fingerprint in prints.items()})
        card = self._cards[model_id - 1]
        part = card.space_slice(EXPRESSION) if card.spaces else None
        for digest, one in main.items():
            looks[digest] = Look(one.fingerprint, one.probabilities, None if part is None else one.embedding[part])
        labeled = dict(self._labels_by_digest)
        changes = [
            (path, self._files[path].digest or b"", new)
            for path, new in targets.items()
            if self._files[path].digest in labeled and self._files[path].digest != new
        ]
        in_use = {targets.get(path, file.digest) for path, file in self._files.items() if file.is_live}
        followed: dict[bytes, bytes] = {}
        for _, old, new in changes:
            if new is not None and new not in labeled and label_holds(looks[old], looks[new]):
                followed.setdefault(new, old)
        for new, old in followed.items():
            self._labels_by_digest[new] = labeled[old]
        for old in set(followed.values()) - in_use:
            del self._labels_by_digest[old]
        orphans = {old: path for path, old, _ in changes if old not in in_use and old not in followed.values()}
        self._last_paths |= orphans
        return LabelMoves(len(followed), len(orphans))

    def _begin_generation(self, model_id: int) -> None:
        """Record that a model has new predictions."""
        generation = Generation(self._last_ids["prediction"], self._new_token())
        self._generations.setdefault(model_id, []).append(generation)

    def _new_token(self) -> str:
        return f"{id(self)}-{self._next_id('generation')}"

    def _forget_other_regions(self, digest: bytes, model_id: int, detector: str | None) -> None:
        """Delete an image's predictions of models that share embeddings but used another face detector."""
        embedder = self._cards[model_id - 1].embedder_key
        for other, rows in self._predictions.items():
            if self._cards[other - 1].embedder_key == embedder and digest in rows and rows[digest][0].detector != detector:
                del rows[digest]

    def _finish_file(self, file: PendingFile, state: FileState, digest: bytes | None, failure: Failure | None) -> None:
        old = self._files[file.path]
        self._files[file.path] = replace(old, stamp=file.stamp, state=state, digest=digest, failure=failure)

    def root_paths(self) -> list[bytes]:
        return sorted(self._roots)

    def record_roots(self, roots: Collection[bytes], absorbed: Collection[bytes]) -> None:
        self._roots |= dict.fromkeys(roots, float(self._next_id("survey")))
        for path in absorbed:
            self._roots.pop(path, None)

    def earlier_copies(self, run_id: int) -> list[tuple[int, bytes]]:
        since = max((run.id for run in self._runs.values() if run.id < run_id and run.outcome == DONE), default=0)
        new = [file for file in self._files.values() if file.appeared > since and file.state is FileState.DONE]
        return [
            (file.id, path)
            for path, file in self._files.items()
            if file.is_live and any(file.digest == other.digest and file.appeared < other.appeared for other in new)
        ]

    def forget_files(self, paths: Collection[bytes]) -> int:
        chosen = PathSet(paths)
        self._roots = {path: at for path, at in self._roots.items() if not chosen.covers(path)}
        forgotten = [path for path in self._files if chosen.covers(path)]
        for path in forgotten:
            self._files[path] = replace(self._files[path], state=FileState.GONE, failure=None, missing_since=0.0)
            self._listings.pop(os.path.dirname(path), None)
        return len(forgotten)

    def move_files(self, old: bytes, new: bytes, job_roots: Mapping[bytes, bytes]) -> int:
        def moved(path: bytes) -> bytes:
            return new + path[len(old) :] if is_under(path, old) else path

        count = 0
        for path in [path for path in self._files if is_under(path, old)]:
            file, there = self._files.pop(path), self._files.get(moved(path))
            if there is None or (there.state is FileState.GONE and file.state is not FileState.GONE):
                self._files[moved(path)] = file
                count += file.state is not FileState.GONE
            self._sources.setdefault(os.path.dirname(moved(path)), self._sources[os.path.dirname(path)])
            self._listings.pop(os.path.dirname(path), None)
            self._listings.pop(os.path.dirname(moved(path)), None)
        around = PathSet(self._roots).around(old)
        indexed_at = self._roots.get(around) if around is not None else None
        self._roots = {moved(path): at for path, at in self._roots.items()}
        if indexed_at is not None and not PathSet(self._roots).covers(new):
            self._roots[new] = indexed_at
        for name, job in self._jobs.items():
            self._jobs[name] = replace(job, roots=tuple(job_roots.get(root, root) for root in job.roots))
        return count

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        since = max((run.id for run in self._runs.values() if run.id < run_id and run.outcome == DONE), default=0)
        appeared = [
            (file.digest, file.appeared)
            for file in self._files.values()
            if file.appeared > since and file.state is FileState.DONE and file.digest
        ]
        moved = []
        for path, file in sorted(self._files.items(), key=lambda item: item[1].id):
            target = next(((digest, run) for digest, run in appeared if digest == file.digest and run > file.appeared), None)
            if file.id in set(missing) and target is not None:
                appeared.remove(target)
                moved.append(file.id)
                del self._files[path]
        return moved

    def delete_failures(self, file_ids: Sequence[int]) -> None:
        failed = [path for path, file in self._files.items() if file.id in set(file_ids) and file.state is FileState.FAILED]
        for path in failed:
            if self._files[path].digest is None:
                del self._files[path]

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        for path, file in self._files.items():
            if file.id in set(file_ids):
                self._files[path] = replace(file, state=FileState.GONE, failure=None, missing_since=time.time())
                self._listings.pop(os.path.dirname(path), None)

    def requeue(self, files: Sequence[IndexedFile]) -> None:
        for file in files:
            self._files[file.path] = replace(self._files[file.path], state=FileState.PENDING)

    def expire(self, before: float) -> int:
        expired = [path for path, file in self._files.items() if file.missing_since is not None and file.missing_since < before]
        for path in expired:
            self._last_paths[self._files[path].digest or b""] = path
            del self._files[path]
        in_use = {file.digest for file in self._files.values()} | self._labels_by_digest.keys() | self._hidden
        for digest in [digest for digest in self._images if expired and digest not in in_use]:
            del self._images[digest]
            for model_id, rows in self._predictions.items():
                if rows.pop(digest, None) and (history := self._generations.get(model_id)):
                    history.append(Generation(history[-1].last_id, self._new_token()))
        return len(expired)

    def hide(self, hidden: Mapping[bytes, bool]) -> None:
        for digest in hidden.keys() & self._images.keys():
            self._hidden = self._hidden | {digest} if hidden[digest] else self._hidden - {digest}

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        is_run_in_progress = any(run.outcome == RUNNING for run in self._runs.values())
        state = {"compared_to": NEVER_COMPARED} if is_run_in_progress else {}
        for digest in sorted(emotions.keys() & self._images.keys()):
            emotion = emotions[digest]
            if emotion is None:
                self._labels_by_digest.pop(digest, None)
            else:
                self._labels_by_digest[digest] = emotion
            for model_id, rows in self._predictions.items():
                if digest in rows:
                    rows[digest] = [replace(row, id=self._next_id("prediction"), **state) for row in rows[digest]]
                    self._begin_generation(model_id)

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        scored = self._predictions.setdefault(target, {})
        missing = [row for row in self._all_predictions(source) if row.digest not in scored]
        if not missing:
            return 0
        embeddings = [row.prediction.embedding for row in missing]
        new = [
            replace(
                row,
                id=self._next_id("prediction"),
                prediction=replace(row.prediction, probabilities=tuple(numbers.tolist())),
                compared_to=NEVER_COMPARED,
            )
            for row, numbers in zip(missing, score(np.stack(embeddings)), strict=True)
        ]
        advance(len(new))
        for row in new:
            scored.setdefault(row.digest, []).append(row)
        self._begin_generation(target)
        return len(new)

    def derive(self, target: int, sources: Sequence[int], combine: Combine, advance: Callable[[int], None]) -> int:
        done = self._predictions.setdefault(target, {})
        rows = [row for row in self._all_predictions(sources[0]) if row.digest not in done]
        others = [self._predictions.get(source, {}) for source in sources[1:]]
        rows = [row for row in rows if all(row.digest in other for other in others)]
        if not rows:
            return 0
        inputs = [np.array([row.prediction.probabilities for row in rows], dtype=np.float32)]
        for other in others:
            same = [next((one for one in other[row.digest] if one.region == row.region), other[row.digest][0]) for row in rows]
            inputs.append(np.array([one.prediction.probabilities for one in same], dtype=np.float32))
        for row, numbers in zip(rows, combine(inputs), strict=True):
            changed = replace(row.prediction, probabilities=tuple(numbers.tolist()))
            new = replace(row, id=self._next_id("prediction"), prediction=changed, compared_to=NEVER_COMPARED)
            done.setdefault(row.digest, []).append(new)
        advance(len(rows))
        self._begin_generation(target)
        return len(rows)

    def apply_comparison(self, model_id: int, comparison: Comparison) -> dict[int, int]:
        new = dict(zip(comparison.ids.tolist(), comparison.probabilities.tolist(), strict=True))
        compared_to = dict.fromkeys(comparison.unchanged, comparison.compared_to)
        compared_to |= dict.fromkeys(comparison.outdated, GROUP_CHANGED)
        new_ids = {row.id: self._next_id("prediction") for row in self._all_predictions(model_id) if row.id in new}
        for rows in self._predictions[model_id].values():
            for position, row in enumerate(rows):
                if row.id in new:
                    changed = replace(row.prediction, probabilities=tuple(new[row.id]))
                    rows[position] = replace(row, id=new_ids[row.id], prediction=changed, compared_to=comparison.compared_to)
                else:
                    rows[position] = replace(row, compared_to=compared_to.get(row.id, row.compared_to))
        if new_ids:
            self._begin_generation(model_id)
        return new_ids

    def restore_pages(self, model_id: int) -> None:
        pass  # there is nothing to prepare

    def forget_model(self, model_id: int) -> int:
        self._generations.pop(model_id, None)
        return sum(len(regions) for regions in self._predictions.pop(model_id, {}).values())
