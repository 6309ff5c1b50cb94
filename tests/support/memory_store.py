"""A store in memory, in plain dictionaries. Implements `indexer.ports.store.Store`."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import NotIndexed
from indexer.domain.files import Counts, Failure, FileStamp, FileState
from indexer.domain.images import DecodedImage, to_pixel_box
from indexer.domain.models import ModelCard, StoredModel
from indexer.domain.predictions import LabeledImage, Prediction, effective_emotion
from indexer.domain.queries import Hit
from indexer.domain.runs import DIED, DONE, RUNNING, WHY_IT_DIED, RunRecord, RunTotals
from indexer.ports.store_reader import HitFilter, ImageFile, RankedHit, Sample
from indexer.ports.store_writer import CommitBatch, FolderScanResult, KnownFile, PendingFile, Score
from indexer.ports.vectors import NOT_THE_MODELS, Generation, VectorRows
from indexer.system.paths import is_under
from tests.support.memory_jobs import MemoryJobs

if TYPE_CHECKING:
    from indexer.domain.types import Halves, Ids


@dataclass(frozen=True)
class _File:
    id: int
    stamp: FileStamp
    state: FileState
    failure: Failure | None
    digest: bytes | None
    appeared: int
    gone_at: float | None = None


@dataclass(frozen=True)
class _Row:
    id: int
    digest: bytes
    region: int
    detector: str | None
    prediction: Prediction


def _is_live(file: _File) -> bool:
    return file.digest is not None and file.state in (FileState.DONE, FileState.PENDING)


class MemoryStore(MemoryJobs):
    def __init__(self) -> None:
        super().__init__()
        self._cards: list[ModelCard] = []
        self._runs: dict[int, RunRecord] = {}
        self._files: dict[bytes, _File] = {}
        self._images: dict[bytes, DecodedImage] = {}
        self._readers: dict[int, tuple[int, str | None]] = {}
        self._rows: dict[int, dict[bytes, list[_Row]]] = {}
        self._generations: dict[int, list[Generation]] = {}
        self._labels_by_digest: dict[bytes, str] = {}
        self._sources: dict[bytes, str] = {}
        self._listings: dict[bytes, tuple[bytes | None, int]] = {}
        self._last = Counter[str]()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        yield  # nobody else writes here

    def _next(self, kind: str) -> int:
        self._last[kind] += 1
        return self._last[kind]

    def register_model(self, card: ModelCard) -> int:
        keys = [known.key for known in self._cards]
        if card.key not in keys:
            self._cards.append(card)
            return len(self._cards)
        position = keys.index(card.key)
        self._cards[position] = card
        return position + 1

    def begin_run(self, roots: Sequence[bytes], model_id: int, detector: str | None = None) -> int:
        run_id = self._next("run")
        self._readers[run_id] = (model_id, detector)
        for number, run in self._runs.items():
            if run.outcome == RUNNING:
                self._runs[number] = run._replace(outcome=DIED, reason=WHY_IT_DIED)
        self._runs[run_id] = RunRecord(run_id, float(run_id), None, tuple(roots), RUNNING, {}, pid=os.getpid())
        return run_id

    def finish_run(self, run_id: int, outcome: str, counts: Mapping[str, int], reason: str | None = None) -> None:
        ended = self._runs[run_id]._replace(ended_at=float(run_id), outcome=outcome, counts=dict(counts), reason=reason)
        self._runs[run_id] = ended

    def forget_run(self, run_id: int) -> None:
        del self._runs[run_id]

    def known_files(self, folder: bytes, run_id: int) -> dict[bytes, KnownFile]:
        return {
            os.path.basename(path): KnownFile(
                file.id, file.stamp, file.state, file.failure, self.has_prediction(file.digest or b"", run_id)
            )
            for path, file in self._files.items()
            if os.path.dirname(path) == folder
        }

    def known_folders(self, root: bytes) -> list[bytes]:
        return sorted({os.path.dirname(path) for path in self._files if is_under(os.path.dirname(path), root)})

    def unchanged_folder_digests(self, root: bytes, run_id: int) -> dict[bytes, bytes]:
        return {
            folder: listing
            for folder, (listing, listed_by) in self._listings.items()
            if listing is not None
            and is_under(folder, root)
            and self._readers[listed_by] == self._readers[run_id]
            and all(
                file.state in (FileState.DONE, FileState.GONE)
                and (file.state is FileState.GONE or self.has_prediction(file.digest or b"", run_id))
                for path, file in self._files.items()
                if os.path.dirname(path) == folder
            )
        }

    def count_files(self, root: bytes) -> int:
        return sum(is_under(path, root) and file.state is not FileState.GONE for path, file in self._files.items())

    def record_scan(self, run_id: int, notes: Sequence[FolderScanResult]) -> None:
        for note in notes:
            self._listings[note.folder] = (note.listing, run_id)
            self._sources.setdefault(note.folder, note.source)
            entries: list[tuple[bytes, FileStamp, Failure | None]] = [(n, s, None) for n, s in note.pending.items()]
            entries += [(name, stamp, failure) for name, (stamp, failure) in note.failed.items()]
            for name, stamp, failure in entries:
                path = os.path.join(note.folder, name)
                state = FileState.FAILED if failure else FileState.PENDING
                old = self._files.get(path)
                if old is None:
                    self._files[path] = _File(self._next("file"), stamp, state, failure, None, run_id)
                else:
                    self._files[path] = replace(
                        old,
                        stamp=stamp,
                        state=state,
                        failure=failure,
                        digest=None if failure else old.digest,
                        appeared=run_id if old.state is FileState.GONE else old.appeared,
                        gone_at=None,
                    )

    def count_pending(self, roots: Sequence[bytes]) -> int:
        return len(self.pending(roots, 0, len(self._files)))

    def pending(self, roots: Sequence[bytes], after: int, limit: int) -> list[PendingFile]:
        waiting = [
            PendingFile(file.id, path, file.stamp, self._sources[os.path.dirname(path)])
            for path, file in self._files.items()
            if file.state is FileState.PENDING and file.id > after and any(is_under(path, root) for root in roots)
        ]
        return sorted(waiting, key=lambda file: file.id)[:limit]

    def has_prediction(self, digest: bytes, run_id: int) -> bool:
        model_id, detector = self._readers[run_id]
        return any(row.detector == detector for row in self._rows.get(model_id, {}).get(digest, []))

    def commit(self, run_id: int, batch: CommitBatch) -> None:
        model_id, detector = self._readers[run_id]
        for entry in batch.predicted:
            digest = entry.image.digest
            self._images[digest] = entry.image
            self._forget_other_regions(digest, model_id, detector)
            self._rows.setdefault(model_id, {})[digest] = [
                _Row(self._next("prediction"), digest, 0 if one.face is None else number, detector, one)
                for number, one in enumerate(entry.predictions, start=1)
            ]
            for file in entry.files:
                self._settle(file, FileState.DONE, entry.image.digest, None)
        for file, digest in batch.linked:
            self._settle(file, FileState.DONE, digest, None)
        for file, failure in batch.failed:
            self._settle(file, FileState.FAILED, None, failure)
        if batch.predicted:
            generations = self._generations.setdefault(model_id, [])
            generations.append(Generation(self._last["prediction"], f"{id(self)}-{self._next('generation')}"))

    def _forget_other_regions(self, digest: bytes, model_id: int, detector: str | None) -> None:
        embedder = self._cards[model_id - 1].embedder_key
        for other, rows in self._rows.items():
            if self._cards[other - 1].embedder_key == embedder and digest in rows and rows[digest][0].detector != detector:
                del rows[digest]

    def _settle(self, file: PendingFile, state: FileState, digest: bytes | None, failure: Failure | None) -> None:
        old = self._files[file.path]
        self._files[file.path] = replace(old, stamp=file.stamp, state=state, digest=digest, failure=failure)

    def detect_moves(self, run_id: int, missing: Sequence[int]) -> list[int]:
        since = max((run.id for run in self._runs.values() if run.id < run_id and run.outcome == DONE), default=0)
        appeared = [
            (file.digest, file.appeared)
            for file in self._files.values()
            if file.appeared > since and file.state is FileState.DONE and file.digest
        ]
        moved = []
        for path, file in sorted(self._files.items(), key=lambda item: item[1].id):
            later = next((one for one in appeared if one[0] == file.digest and one[1] > file.appeared), None)
            if file.id in set(missing) and later is not None:
                appeared.remove(later)
                moved.append(file.id)
                del self._files[path]
        return moved

    def mark_missing(self, file_ids: Sequence[int]) -> None:
        for path, file in self._files.items():
            if file.id in set(file_ids):
                self._files[path] = replace(file, state=FileState.GONE, failure=None, gone_at=time.time())
                self._listings.pop(os.path.dirname(path), None)

    def expire(self, before: float) -> int:
        expired = [path for path, file in self._files.items() if file.gone_at is not None and file.gone_at < before]
        for path in expired:
            del self._files[path]
        held = {file.digest for file in self._files.values()} | self._labels_by_digest.keys()
        for digest in [digest for digest in self._images if expired and digest not in held]:
            del self._images[digest]
            for model_id, rows in self._rows.items():
                if rows.pop(digest, None) and (known := self._generations.get(model_id)):
                    known.append(Generation(known[-1].last_id, f"{id(self)}-{self._next('generation')}"))
        return len(expired)

    def label(self, emotions: Mapping[bytes, str | None]) -> None:
        for digest in sorted(emotions.keys() & self._images.keys()):
            word = emotions[digest]
            if word is None:
                self._labels_by_digest.pop(digest, None)
            else:
                self._labels_by_digest[digest] = word
            for model_id, rows in self._rows.items():
                if digest in rows:
                    rows[digest] = [replace(row, id=self._next("prediction")) for row in rows[digest]]
                    token = f"{id(self)}-{self._next('generation')}"
                    self._generations.setdefault(model_id, []).append(Generation(self._last["prediction"], token))

    def image_files_at(self, root: bytes) -> list[ImageFile]:
        live = [(path, file) for path, file in self._files.items() if _is_live(file) and is_under(path, root)]
        return [
            ImageFile(path, file.digest, file.stamp if file.state is FileState.DONE else None)
            for path, file in sorted(live, key=lambda one: os.path.split(one[0]))
            if file.digest
        ]

    def holds(self, path: bytes) -> bool:
        return any(_is_live(file) and is_under(own, path) for own, file in self._files.items())

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        return {digest for digest in digests if digest in self._images}

    def labeled_images(self) -> list[LabeledImage]:
        found = []
        for digest, emotion in self._labels_by_digest.items():
            files = [(file.id, path) for path, file in self._files.items() if file.digest == digest and _is_live(file)]
            found.append(LabeledImage(digest.hex(), emotion, min(files)[1] if files else None))
        return sorted(found, key=lambda one: (one.path is None, os.path.split(one.path or b""), one.image_id))

    def user_emotions(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._labels_by_digest.values())))

    def _effective(self, row: _Row, labels: Sequence[str]) -> tuple[str, float, dict[str, float]]:
        """Return the effective emotion and score of a row, and its probabilities."""
        emotions = {label: float(np.float32(p)) for label, p in zip(labels, row.prediction.probabilities, strict=True)}
        return *effective_emotion(labels, tuple(emotions.values()), self._labels_by_digest.get(row.digest)), emotions

    def rescore(self, source: int, target: int, score: Score, advance: Callable[[int], None]) -> int:
        done = self._rows.setdefault(target, {})
        missing = [row for row in self._all_rows(source) if row.digest not in done]
        if not missing:
            return 0
        embeddings = [row.prediction.embedding for row in missing]
        new = [
            replace(row, id=self._next("prediction"), prediction=replace(row.prediction, probabilities=tuple(numbers.tolist())))
            for row, numbers in zip(missing, score(np.stack(embeddings)), strict=True)
        ]
        advance(len(new))
        for row in new:
            done.setdefault(row.digest, []).append(row)
        token = f"{id(self)}-{self._next('generation')}"
        self._generations.setdefault(target, []).append(Generation(self._last["prediction"], token))
        return len(new)

    def sample(self, model_id: int, count: int) -> Sample:
        rows = [row for row in self._all_rows(model_id) if row.region <= 1]
        step = -(-len(rows) // count) or 1
        rows = rows[step - 1 :: step]
        card = self._cards[model_id - 1]
        return Sample(
            np.array([row.id for row in rows], dtype=np.int64),
            np.array([row.prediction.embedding for row in rows], dtype=np.float16).reshape(len(rows), card.embedding_size),
            np.array([row.prediction.probabilities for row in rows], dtype=np.float32).reshape(len(rows), len(card.labels)),
        )

    def forget_model(self, model_id: int) -> int:
        self._generations.pop(model_id, None)
        return sum(len(regions) for regions in self._rows.pop(model_id, {}).values())

    def _all_rows(self, model_id: int) -> list[_Row]:
        rows = [row for regions in self._rows.get(model_id, {}).values() for row in regions]
        return sorted(rows, key=lambda row: row.id)

    def models(self) -> list[StoredModel]:
        return [StoredModel(i, card, bool(self._rows.get(i))) for i, card in enumerate(self._cards, start=1)]

    def image_count(self, model_id: int) -> int:
        return len(self._rows.get(model_id, {}))

    def counts(self) -> Counts:
        return Counts(dict(Counter(file.state for file in self._files.values())), len(self._images))

    def runs(self, limit: int) -> list[RunRecord]:
        return list(self._runs.values())[::-1][:limit]

    def totals(self) -> RunTotals:
        runs = self._runs.values()
        indexed, failed = (sum(run.counts.get(name, 0) for run in runs) for name in ("indexed", "failed"))
        return RunTotals(indexed, failed, dict(Counter(run.outcome for run in runs)))

    def failures(self, limit: int) -> list[tuple[bytes, Failure]]:
        failed = [(path, file.failure) for path, file in self._files.items() if file.failure]
        return sorted(failed, key=lambda item: os.path.split(item[0]))[:limit]

    def _labels(self, model_id: int) -> tuple[str, ...]:
        if not 1 <= model_id <= len(self._cards):
            raise NotIndexed(f"no model {model_id}")
        return self._cards[model_id - 1].labels

    def _hits(self, model_id: int, chosen: HitFilter) -> list[RankedHit]:
        labels = self._labels(model_id)
        hits = []
        for path, file in sorted(self._files.items(), key=lambda item: item[1].id):
            rows = self._rows.get(model_id, {}).get(file.digest or b"", [])
            if not _is_live(file) or (chosen.under is not None and not is_under(path, chosen.under)):
                continue
            said = [(row, *self._effective(row, labels)) for row in rows]
            if any(emotion in chosen.excluded for _, emotion, _, _ in said):
                continue
            for row, emotion, score, emotions in said:
                image, face = self._images[row.digest], row.prediction.face
                box = face and to_pixel_box(face, image.width, image.height)
                own = self._labels_by_digest.get(row.digest)
                hits.append(RankedHit(row.id, Hit(path, row.digest.hex(), emotion, score, emotions, label=own, box=box)))
        return hits

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int) -> list[RankedHit]:
        best: dict[bytes, RankedHit] = {}
        for ranked in self._matching(model_id, chosen):
            best.setdefault(ranked.hit.path, ranked)
        return list(best.values())[offset : offset + limit]

    def _matching(self, model_id: int, chosen: HitFilter) -> list[RankedHit]:
        hits = [
            ranked
            for ranked in self._hits(model_id, chosen)
            if (chosen.emotions is None or ranked.hit.emotion in chosen.emotions) and ranked.hit.score >= chosen.min_score
        ]
        return sorted(hits, key=lambda ranked: (-ranked.hit.score, ranked.prediction_id))

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        found: dict[int, list[Hit]] = {}
        for ranked in self._hits(model_id, chosen):
            if ranked.prediction_id in prediction_ids:
                found.setdefault(ranked.prediction_id, []).append(ranked.hit)
        return found

    def prediction_ids(self, model_id: int, chosen: HitFilter) -> Ids:
        hits = self._matching(model_id, chosen._replace(excluded=frozenset()))
        return np.array(sorted({ranked.prediction_id for ranked in hits}), dtype=np.int64)

    def predictions_by_digest(self, model_id: int, digest_prefix: str) -> list[int]:
        rows = [regions[0] for regions in self._rows.get(model_id, {}).values()]
        return [row.id for row in rows if row.digest.hex().startswith(digest_prefix)][:2]

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        return [ranked for ranked in self._hits(model_id, HitFilter()) if ranked.hit.path == path]

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        return next((row.id for row in self._rows.get(model_id, {}).get(digest, [])), None)

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        labels = self._labels(model_id)
        rows = [row for row in self._all_rows(model_id) if row.id > after]
        if rows:
            said = [self._effective(row, labels) for row in rows]
            places = [labels.index(emotion) if emotion in labels else NOT_THE_MODELS for emotion, _, _ in said]
            yield VectorRows(
                np.array([row.id for row in rows], dtype=np.int64),
                np.array(places, dtype=np.uint8),
                np.array([score for _, score, _ in said], dtype=np.float32),
                np.stack([row.prediction.embedding for row in rows]),
            )

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        rows = [row for model_id in self._rows for row in self._all_rows(model_id)]
        return {row.id: row.prediction.embedding for row in rows if row.id in prediction_ids}

    def regions(self, model_id: int) -> int:
        return len(self._all_rows(model_id))

    def generation(self, model_id: int) -> Generation | None:
        return self._generations.get(model_id, [None])[-1]  # type: ignore[list-item]

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        return generation in self._generations.get(model_id, [])
