"""The reading half of a store in memory. Implements `indexer.ports.store_reader.StoreReader`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexer.domain.errors import NotIndexed
from indexer.domain.export import ExportChunk, ExportFilter
from indexer.domain.files import Counts, Failure, FileState, IndexedFile, IndexedRoot
from indexer.domain.images import to_pixel_box
from indexer.domain.maps import region_keys
from indexer.domain.models import StoredModel
from indexer.domain.predictions import GROUP_CHANGED, LabeledImage, effective_emotion
from indexer.domain.queries import Hit, HitKey
from indexer.domain.runs import RunRecord, RunTotals
from indexer.ports.store_reader import ComparedRows, HitFilter, ImageFile, RankedHit, RegionIds, Sample
from indexer.ports.vectors import NOT_THE_MODELS, Generation, VectorRows
from indexer.system.paths import is_under
from tests.support.memory_tables import MemoryTables, StoredPrediction

if TYPE_CHECKING:
    from indexer.domain.types import Halves, Ids


class MemoryReader(MemoryTables):
    def models(self) -> list[StoredModel]:
        return [StoredModel(i, card, bool(self._predictions.get(i))) for i, card in enumerate(self._cards, start=1)]

    def image_count(self, model_id: int) -> int:
        return len(self._predictions.get(model_id, {}))

    def counts(self) -> Counts:
        return Counts(dict(Counter(file.state for file in self._files.values())), len(self._images))

    def runs(self, limit: int) -> list[RunRecord]:
        return list(self._runs.values())[::-1][:limit]

    def totals(self) -> RunTotals:
        runs = self._runs.values()
        indexed, failed = (sum(getattr(run.counts, name) for run in runs) for name in ("indexed", "failed"))
        return RunTotals(indexed, failed, dict(Counter(run.outcome for run in runs)))

    def failures(self, limit: int, after: bytes | None = None) -> list[tuple[bytes, Failure]]:
        failed = [(path, file.failure) for path, file in self._files.items() if file.failure]
        follow = [item for item in failed if after is None or os.path.split(item[0]) > os.path.split(after)]
        return sorted(follow, key=lambda item: os.path.split(item[0]))[:limit]

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int, after: HitKey | None = None) -> list[RankedHit]:
        best: dict[bytes, RankedHit] = {}
        for ranked in self._matching(model_id, chosen):
            best.setdefault(ranked.hit.path, ranked)
        rows = [one for one in best.values() if after is None or _place(one) > self._place_of(after)]
        return rows[offset : offset + limit]

    def _place_of(self, key: HitKey) -> tuple[object, ...]:
        """Return the place of a key among hits: after all files of its image if the file is not known any more."""
        path = next((path for path, file in self._files.items() if file.id == key.file_id), None)
        return (-key.score, key.digest.hex(), *((1,) if path is None else (0, os.path.split(path))))

    def newest(self, model_id: int, chosen: HitFilter, limit: int, before: int | None, offset: int = 0) -> list[RankedHit]:
        rows = [one for one in self.ranked(model_id, chosen, len(self._files), 0) if before is None or one.file_id < before]
        return sorted(rows, key=lambda one: -one.file_id)[offset : offset + limit]

    def count_ranked(self, model_id: int, chosen: HitFilter) -> int | None:
        return None

    def count_hits(self, model_id: int, chosen: HitFilter, most: int | None = None) -> int:
        hits = len(self.ranked(model_id, chosen, len(self._files), 0))
        return hits if most is None else min(hits, most + 1)

    def count_by_emotion(self, model_id: int, chosen: HitFilter, groups: Mapping[str, Collection[str]]) -> dict[str, int] | None:
        wanted = {name: frozenset(group) & (chosen.emotions or frozenset(group)) for name, group in groups.items()}
        return {name: self.count_hits(model_id, chosen._replace(emotions=group)) for name, group in wanted.items()}

    def files_by_folder(self) -> dict[bytes, int]:
        return dict(Counter(os.path.dirname(path) for path, file in self._files.items() if file.is_live and file.digest))

    def files_of_image(self, digest: bytes) -> list[ImageFile]:
        files = sorted(self._files.items(), key=lambda item: os.path.split(item[0]))
        return [
            ImageFile(path, digest, file.stamp if file.state is FileState.DONE else None)
            for path, file in files
            if file.is_live and file.digest == digest
        ]

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        hits: dict[int, list[Hit]] = {}
        for ranked in sorted(self._live_hits(model_id, chosen), key=lambda ranked: os.path.split(ranked.hit.path)):
            if ranked.prediction_id in prediction_ids:
                hits.setdefault(ranked.prediction_id, []).append(ranked.hit)
        return hits

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        hits = self._matching(model_id, chosen._replace(excluded=frozenset()))
        ids = np.array(sorted({ranked.prediction_id for ranked in hits}), dtype=np.int64)
        return ids if most is None or len(ids) <= most else None

    def hits_of_images(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        ranked = list(self._matching(model_id, chosen._replace(emotions=None, min_score=0.0)))
        boxes = {row.id: row.prediction.face for rows in self._predictions.values() for all_ in rows.values() for row in all_}
        digests = {row.id: row.digest for rows in self._predictions.values() for all_ in rows.values() for row in all_}
        found: dict[int, list[Hit]] = {}
        for number in prediction_ids:
            own = [one for one in ranked if one.hit.image_id == digests[number].hex()]
            same = [one for one in own if boxes[number] is not None and boxes[one.prediction_id] == boxes[number]]
            wanted = [
                one
                for one in same or own
                if (chosen.emotions is None or one.hit.emotion in chosen.emotions) and one.hit.score >= chosen.min_score
            ]
            shown = [one for one in wanted if one.prediction_id == wanted[0].prediction_id]
            if shown:
                found[number] = [one.hit for one in sorted(shown, key=lambda one: one.file_id)]
        return found

    def prediction_ids_of_other(self, model_id: int, chosen: HitFilter) -> Ids:
        digests = {bytes.fromhex(ranked.hit.image_id) for ranked in self._matching(model_id, chosen)}
        rows = self._predictions.get(chosen.also_by or 0, {})
        return np.array(sorted(row.id for digest in digests for row in rows.get(digest, [])), dtype=np.int64)

    def tags_of(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, dict[str, float]]:
        return {digest: tags for digest in digests if (tags := self._tags(model_id, digest))}

    def has_tags(self, model_id: int) -> bool:
        return any(self._tags(model_id, digest) for digest in self._images)

    def known_tags(self, model_id: int, tags: Collection[str]) -> set[str]:
        return {tag for digest in self._images for tag in self._tags(model_id, digest)}.intersection(tags)

    def _tags(self, model_id: int, digest: bytes) -> dict[str, float]:
        """Return the tags of an image by the embedder of a model, the most probable first."""
        embedder = self._cards[model_id - 1].embedder_key
        for other, rows in self._predictions.items():
            if self._cards[other - 1].embedder_key == embedder and (found := rows.get(digest)):
                return dict(sorted(found[0].prediction.tags.items(), key=lambda item: (-item[1], item[0])))
        return {}

    def roots(self) -> list[IndexedRoot]:
        present = [path for path, file in self._files.items() if file.state is not FileState.GONE]
        return [IndexedRoot(root, at, sum(is_under(path, root) for path in present)) for root, at in sorted(self._roots.items())]

    def image_files_at(self, paths: Collection[bytes]) -> dict[bytes, list[ImageFile]]:
        live = [
            ImageFile(path, file.digest, file.stamp if file.state is FileState.DONE else None)
            for path, file in sorted(self._files.items(), key=lambda item: os.path.split(item[0]))
            if file.is_live and file.digest
        ]
        return {path: [file for file in live if is_under(file.path, path)] for path in paths}

    def known_paths(self, paths: Collection[bytes]) -> set[bytes]:
        return {path for path, files in self.image_files_at(paths).items() if files}

    def indexed_files(self, after: int, limit: int) -> list[IndexedFile]:
        files = [
            IndexedFile(file.id, path, file.stamp, file.digest)
            for path, file in self._files.items()
            if file.state is FileState.DONE and file.digest and file.id > after
        ]
        return sorted(files, key=lambda file: file.id)[:limit]

    def still_indexed(self, files: Sequence[IndexedFile]) -> set[IndexedFile]:
        return set(self.indexed_files(0, len(self._files))).intersection(files)

    def digests_with_prefix(self, digest_prefix: str) -> list[bytes]:
        return [digest for digest in self._images if digest.hex().startswith(digest_prefix)][:2]

    def hidden_of(self, digests: Collection[bytes]) -> set[bytes]:
        return self._hidden.intersection(digests)

    def count_hidden(self) -> int:
        return len(self._hidden)

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        return {digest for digest in digests if digest in self._images}

    def labeled_images(self) -> list[LabeledImage]:
        images = []
        for digest, emotion in self._labels_by_digest.items():
            files = [(file.id, path) for path, file in self._files.items() if file.digest == digest and file.is_live]
            missing = [(file.id, path) for path, file in self._files.items() if file.digest == digest and not file.is_live]
            last = min(missing)[1] if missing else self._last_paths.get(digest)
            images.append(LabeledImage(digest.hex(), emotion, min(files)[1] if files else None, None if files else last))
        return sorted(images, key=lambda image: (image.path is None, os.path.split(image.path or b""), image.image_id))

    def labels_of(self, digests: Collection[bytes]) -> dict[bytes, str]:
        return {digest: self._labels_by_digest[digest] for digest in digests if digest in self._labels_by_digest}

    def user_emotions(self) -> tuple[str, ...]:
        return tuple(sorted(set(self._labels_by_digest.values())))

    def sample(self, model_id: int, count: int) -> Sample:
        rows = [row for row in self._all_predictions(model_id) if row.region <= 1]
        step = -(-len(rows) // count) or 1
        rows = rows[step - 1 :: step]
        card = self._cards[model_id - 1]
        return Sample(
            np.array([row.id for row in rows], dtype=np.int64),
            np.array([row.prediction.embedding for row in rows], dtype=np.float16).reshape(len(rows), card.embedding_size),
            np.array([row.prediction.probabilities for row in rows], dtype=np.float32).reshape(len(rows), len(card.labels)),
        )

    def predictions_by_digest(self, model_id: int, digest_prefix: str) -> list[int]:
        rows = [regions[0] for regions in self._predictions.get(model_id, {}).values()]
        return [row.id for row in rows if row.digest.hex().startswith(digest_prefix)][:2]

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        return [ranked for ranked in self._live_hits(model_id, HitFilter(hidden=True)) if ranked.hit.path == path]

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        return next((row.id for row in self._predictions.get(model_id, {}).get(digest, [])), None)

    def export_rows(self, model: StoredModel, chosen: ExportFilter) -> Iterator[ExportChunk]:
        hits = {
            (ranked.hit.path, ranked.prediction_id): ranked
            for ranked in self._live_hits(model.id, HitFilter(under=chosen.under, hidden=True))
        }
        rows: list[tuple[Hit, int, Sequence[float], Halves]] = []
        for path, file in sorted(self._files.items(), key=lambda item: item[1].id):
            if file.digest is None or not file.is_live or not _is_under_any(path, chosen.under):
                continue
            if file.digest in self._hidden and not chosen.hidden:
                continue
            predictions = self._predictions.get(model.id, {}).get(file.digest, [])
            rows += [
                (hits[path, row.id].hit, row.region, row.prediction.probabilities, row.prediction.embedding)
                for row in predictions
            ]
            if not predictions and (label := self._labels_by_digest.get(file.digest)) is not None:
                hit = Hit(path, file.digest.hex(), label, 1.0, {}, label=label)
                nan = np.full(max(model.card.embedding_size, len(model.card.labels)), np.nan)
                rows.append((hit, 0, nan[: len(model.card.labels)].tolist(), nan[: model.card.embedding_size].astype(np.float16)))
        rows = [row for row in rows if chosen.emotions is None or row[0].emotion in chosen.emotions]
        if rows:
            shown, regions, probabilities, embeddings = zip(*rows, strict=True)
            yield ExportChunk(
                [hit.path for hit in shown],
                [hit.image_id for hit in shown],
                [hit.emotion for hit in shown],
                [hit.score for hit in shown],
                [hit.label for hit in shown],
                regions,
                [hit.box for hit in shown],
                [hit.size or (0, 0) for hit in shown],
                np.array(probabilities, dtype=np.float32),
                np.stack(embeddings),
            )

    def region_ids(self, model_id: int) -> RegionIds:
        rows = self._all_predictions(model_id)
        keys = region_keys((row.digest for row in rows), [row.region for row in rows])
        return RegionIds(np.array([row.id for row in rows], dtype=np.int64), keys)

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        labels = self._labels(model_id)
        rows = [row for row in self._all_predictions(model_id) if row.id > after]
        if rows:
            effective = [self._effective(row, labels) for row in rows]
            positions = [labels.index(emotion) if emotion in labels else NOT_THE_MODELS for emotion, _, _ in effective]
            yield VectorRows(
                np.array([row.id for row in rows], dtype=np.int64),
                np.array(positions, dtype=np.uint8),
                np.array([score for _, score, _ in effective], dtype=np.float32),
                np.stack([row.prediction.embedding for row in rows]),
            )

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        rows = [row for model_id in self._predictions for row in self._all_predictions(model_id)]
        return {row.id: row.prediction.embedding for row in rows if row.id in prediction_ids}

    def regions_of(self, prediction_ids: Sequence[int]) -> dict[int, tuple[bytes, int]]:
        rows = [row for model_id in self._predictions for row in self._all_predictions(model_id)]
        return {row.id: (row.digest, row.region) for row in rows if row.id in prediction_ids}

    def fingerprints_of(self, prediction_ids: Sequence[int]) -> dict[int, bytes]:
        images = [regions for by_digest in self._predictions.values() for regions in by_digest.values()]
        return {
            row.id: regions[0].prediction.fingerprint
            for regions in images
            for row in regions
            if row.id in prediction_ids and regions[0].prediction.fingerprint
        }

    def count_uncompared(self, model_id: int) -> int:
        return len(self.next_uncompared(model_id, 0, len(self._all_predictions(model_id))).ids)

    def next_uncompared(self, model_id: int, after: int, limit: int) -> ComparedRows:
        rows = [row for row in self._all_predictions(model_id) if row.compared_to <= GROUP_CHANGED and row.id > after]
        return self._compared_rows(model_id, rows[:limit])

    def compared_rows(self, model_id: int, prediction_ids: Sequence[int]) -> ComparedRows:
        return self._compared_rows(model_id, [row for row in self._all_predictions(model_id) if row.id in set(prediction_ids)])

    def _compared_rows(self, model_id: int, rows: Sequence[StoredPrediction]) -> ComparedRows:
        card, images = self._cards[model_id - 1], list(self._images)
        return ComparedRows(
            np.array([row.id for row in rows], dtype=np.int64),
            np.array([images.index(row.digest) for row in rows], dtype=np.int64),
            np.array([row.compared_to for row in rows], dtype=np.int64),
            np.array([row.prediction.probabilities for row in rows], dtype=np.float32).reshape(len(rows), len(card.labels)),
            np.array([row.prediction.embedding for row in rows], dtype=np.float16).reshape(len(rows), card.embedding_size),
        )

    def regions(self, model_id: int, after: int = 0) -> int:
        return sum(row.id > after for row in self._all_predictions(model_id))

    def generation(self, model_id: int) -> Generation | None:
        return self._generations.get(model_id, [None])[-1]  # type: ignore[list-item]

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        return generation in self._generations.get(model_id, [])

    def _labels(self, model_id: int) -> tuple[str, ...]:
        if not 1 <= model_id <= len(self._cards):
            raise NotIndexed(f"no model {model_id}")
        return self._cards[model_id - 1].labels

    def _effective(self, row: StoredPrediction, labels: Sequence[str]) -> tuple[str, float, dict[str, float]]:
        """Return the effective emotion and score of a prediction, and its probabilities."""
        emotions = {label: float(np.float32(p)) for label, p in zip(labels, row.prediction.probabilities, strict=True)}
        return *effective_emotion(labels, tuple(emotions.values()), self._labels_by_digest.get(row.digest)), emotions

    def _live_hits(self, model_id: int, chosen: HitFilter) -> list[RankedHit]:
        """Return the live hits in the folder of a filter, by file, without images that have an excluded emotion."""
        labels = self._labels(model_id)
        hits = []
        for path, file in sorted(self._files.items(), key=lambda item: item[1].id):
            rows = self._predictions.get(model_id, {}).get(file.digest or b"", [])
            if not file.is_live or not _is_under_any(path, chosen.under) or (file.digest in self._hidden and not chosen.hidden):
                continue
            if chosen.also_by is not None and not self._predictions.get(chosen.also_by, {}).get(file.digest or b""):
                continue
            tags = self._tags(model_id, file.digest or b"").keys() if chosen.tags or chosen.excluded_tags else set[str]()
            tags |= set() if chosen.also_by is None else self._tags(chosen.also_by, file.digest or b"").keys()
            if not chosen.tags <= tags or chosen.excluded_tags & tags:
                continue
            effective = [(row, *self._effective(row, labels)) for row in rows]
            if any(emotion in chosen.excluded for _, emotion, _, _ in effective):
                continue
            for row, emotion, score, emotions in effective:
                image, face = self._images[row.digest], row.prediction.face
                box = face and to_pixel_box(face, image.width, image.height)
                label = self._labels_by_digest.get(row.digest)
                found = Hit(
                    path,
                    row.digest.hex(),
                    emotion,
                    score,
                    emotions,
                    label=label,
                    box=box,
                    frame=row.prediction.frame,
                    incomplete=image.incomplete,
                    size=(image.width, image.height),
                )
                hits.append(RankedHit(row.id, found, file.id))
        return hits

    def _matching(self, model_id: int, chosen: HitFilter) -> list[RankedHit]:
        """Return the live hits that pass a filter, best first."""
        hits = [
            ranked
            for ranked in self._live_hits(model_id, chosen)
            if (chosen.emotions is None or ranked.hit.emotion in chosen.emotions) and ranked.hit.score >= chosen.min_score
        ]
        return sorted(hits, key=lambda ranked: (_place(ranked), ranked.prediction_id))


def _place(ranked: RankedHit) -> tuple[object, ...]:
    return -ranked.hit.score, ranked.hit.image_id, 0, os.path.split(ranked.hit.path)


def _is_under_any(path: bytes, folders: Sequence[bytes]) -> bool:
    """Return whether a path is at or below one of some folders, or there are none."""
    return not folders or any(is_under(path, folder) for folder in folders)
