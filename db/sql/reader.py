"""The reading half of a store in SQL. It imports numpy only where arrays are asked for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, select

from db.schema import FileRow, HiddenRow, ImageRow, ModelRow, PredictionRow
from db.sql import read_statements as statements
from db.sql.dialect import chunks, no_index
from db.sql.hit_reader import SqlHitReader, image_file
from db.sql.model_rows import card_from_row
from db.sql.path_list import file_counts_in_list, listed_paths
from db.sql.prediction_rows import next_embedded
from db.sql.prepared import fetch
from db.sql.root_rows import root_rows
from db.sql.tag_rows import any_tag
from db.sql.unpacking import unpacking_from
from indexer.domain.files import Counts, Failure, FileStamp, FileState, IndexedFile, IndexedRoot
from indexer.domain.maps import region_keys
from indexer.domain.models import StoredModel
from indexer.domain.predictions import LabeledImage
from indexer.domain.runs import RunCounts, RunRecord, RunTotals
from indexer.ports.store_reader import ComparedRows, ImageFile, RegionIds, Sample
from indexer.ports.vectors import NOT_THE_MODELS, Generation, VectorRows

if TYPE_CHECKING:
    from indexer.domain.export import ExportChunk, ExportFilter
    from indexer.domain.types import Halves

_VECTOR_CHUNK_ROWS = 8192
_EXPORT_CHUNK_ROWS = 8192


class SqlReader(SqlHitReader):
    """Implements `indexer.ports.store_reader.StoreReader`."""

    def models(self) -> list[StoredModel]:
        with self._connect() as connection:
            names = statements.MODELS.selected_columns.keys()
            rows = [dict(zip(names, row, strict=True)) for row in fetch(connection, statements.MODELS)]
            return [StoredModel(row["id"], card_from_row(row), bool(row["used"])) for row in rows]

    def image_count(self, model_id: int) -> int:
        with self._connect() as connection:
            return connection.execute(statements.count_main_regions(model_id)).scalar_one()

    def counts(self) -> Counts:
        with self._connect() as connection:
            files = {
                state: connection.execute(statements.count_in_state(state)).scalar_one()
                for state in (FileState.FAILED, FileState.PENDING, FileState.GONE)
            }
            files[FileState.DONE] = connection.execute(statements.count(FileRow)).scalar_one() - sum(files.values())
            images = connection.execute(statements.count(ImageRow)).scalar_one()
        return Counts({state: number for state, number in files.items() if number}, images)

    def runs(self, limit: int) -> list[RunRecord]:
        with self._connect() as connection:
            rows = connection.execute(statements.newest_runs(limit)).all()
            names: dict[int, list[str]] = {row.id: [] for row in rows}
            for chunk in chunks(names):
                for run_id, name in connection.execute(statements.models_of_runs(chunk)):
                    names[run_id].append(name)
            return [_run_record(row, names[row.id]) for row in rows]

    def totals(self) -> RunTotals:
        with self._connect() as connection:
            rows = connection.execute(statements.run_totals()).all()
        return RunTotals(sum(row[2] for row in rows), sum(row[3] for row in rows), {row[0]: row[1] for row in rows})

    def failures(self, limit: int, after: bytes | None = None) -> list[tuple[bytes, Failure]]:
        with self._connect() as connection:
            return [
                (os.path.join(folder, name), Failure(kind or "", reason or ""))
                for folder, name, kind, reason in connection.execute(statements.failed_files(limit, after))
            ]

    def sample(self, model_id: int, count: int) -> Sample:
        import numpy as np

        with self._connect() as connection:
            step = -(-connection.execute(statements.count_main_regions(model_id)).scalar_one() // count) or 1
            ids = connection.execute(statements.every_nth_main_region(model_id, step)).scalars().all()
            rows: list[Row[Any]] = []
            for chunk in chunks(ids):
                rows += connection.execute(statements.samples(chunk))
            model = connection.execute(select(ModelRow.embedding_size, ModelRow.labels).where(ModelRow.id == model_id)).one()
            return Sample(
                np.array([row.id for row in rows], dtype=np.int64),
                np.frombuffer(b"".join(row.vector for row in rows), dtype="<f2").reshape(len(rows), model.embedding_size),
                np.frombuffer(b"".join(row.probabilities for row in rows), dtype="<f4").reshape(len(rows), len(model.labels)),
            )

    def predictions_by_digest(self, model_id: int, digest_prefix: str) -> list[int]:
        with self._connect() as connection:
            return list(connection.execute(statements.main_region_of_digest(model_id, digest_prefix)).scalars())

    def roots(self) -> list[IndexedRoot]:
        with self._connect() as connection:
            found: dict[bytes, float] = dict(connection.execute(root_rows()).all())
            files = dict.fromkeys(found, 0)
            with listed_paths(connection, found):
                for path, count in connection.execute(file_counts_in_list()):
                    files[path] += count
        return [IndexedRoot(path, indexed_at, files[path]) for path, indexed_at in found.items()]

    def files_by_folder(self) -> dict[bytes, int]:
        with self._connect() as connection:
            return dict(connection.execute(statements.live_files_by_folder()).all())

    def image_files_at(self, paths: Collection[bytes]) -> dict[bytes, list[ImageFile]]:
        files: dict[bytes, list[ImageFile]] = {path: [] for path in paths}
        with self._connect() as connection:
            named, folders = self._listed(connection, paths)
            for file in named:
                files[file.path] = [file]
            for path in folders:
                if not files[path]:
                    files[path] = [image_file(row) for row in connection.execute(statements.live_files_below(path))]
        return files

    @staticmethod
    def _listed(connection: Connection, paths: Collection[bytes]) -> tuple[list[ImageFile], set[bytes]]:
        """Return the live files among some paths, and the paths at or below which there is a folder."""
        if not paths:
            return [], set()
        with listed_paths(connection, paths):
            files = [image_file(row) for row in connection.execute(statements.live_files_in_list())]
            return files, set(connection.execute(statements.folders_in_list()).scalars())

    def indexed_files(self, after: int, limit: int) -> list[IndexedFile]:
        with self._connect() as connection:
            query = statements.indexed_files(FileRow.id > after).limit(limit)
            return [_indexed_file(row) for row in connection.execute(query)]

    def still_indexed(self, files: Sequence[IndexedFile]) -> set[IndexedFile]:
        with self._connect() as connection:
            rows = connection.execute(statements.indexed_files(FileRow.id.between(files[0].id, files[-1].id)))
            return {_indexed_file(row) for row in rows}.intersection(files)

    def known_paths(self, paths: Collection[bytes]) -> set[bytes]:
        known: set[bytes] = set()
        with self._connect() as connection:
            named, folders = self._listed(connection, paths)
            known.update(file.path for file in named)
            for path in folders - known:
                if connection.execute(statements.any_live_file_below(path)).first() is not None:
                    known.add(path)
        return known

    def digests_with_prefix(self, digest_prefix: str) -> list[bytes]:
        with self._connect() as connection:
            return list(connection.execute(statements.digests_with_prefix(digest_prefix)).scalars())

    def hidden_of(self, digests: Collection[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._connect() as connection:
            for chunk in chunks(sorted(digests)):
                found.update(connection.execute(statements.hidden_digests(chunk)).scalars())
        return found

    def count_hidden(self) -> int:
        with self._connect() as connection:
            return connection.execute(statements.count(HiddenRow)).scalar_one()

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._connect() as connection:
            for chunk in chunks(sorted(digests)):
                found.update(connection.execute(statements.known_digests(chunk)).scalars())
        return found

    def labeled_images(self) -> list[LabeledImage]:
        with self._connect() as connection:
            return [_labeled_image(row) for row in connection.execute(statements.labels_with_oldest_file())]

    def labels_of(self, digests: Collection[bytes]) -> dict[bytes, str]:
        labels: dict[bytes, str] = {}
        with self._connect() as connection:
            for chunk in chunks(sorted(digests)):
                labels.update(connection.execute(statements.labels_of(chunk)).all())
        return labels

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        found = self.predictions_by_digest(model_id, digest.hex())
        return found[0] if found else None

    def export_rows(self, model: StoredModel, chosen: ExportFilter) -> Iterator[ExportChunk]:
        from db.sql.export_query import export_chunk, exported, image_tags

        with self._read_engine.connect() as connection, listed_paths(connection, chosen.under) if chosen.under else nullcontext():
            has_tags = connection.execute(any_tag(model.id)).first() is not None
            query = exported(model.id, chosen).execution_options(yield_per=_EXPORT_CHUNK_ROWS)
            with connection.execute(query) as result:
                for rows in result.partitions():
                    with unpacking_from(connection):  # not around `yield`: the caller's errors are not damage
                        chunk = export_chunk(rows, model.card, image_tags(connection, model.id, rows) if has_tags else {})
                    yield chunk

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        import numpy as np

        positions = {emotion: position for position, emotion in enumerate(self._labels(model_id))}
        while True:
            with self._connect() as connection:
                rows = connection.execute(next_embedded(model_id, after, _VECTOR_CHUNK_ROWS)).all()
                if not rows:
                    return
                ids, emotions, scores, vectors = zip(*((row.id, row.emotion, row.score, row.vector) for row in rows), strict=True)
                size = connection.execute(statements.EMBEDDING_SIZE_OF, {"model": model_id}).scalar_one()
                chunk = VectorRows(
                    np.array(ids, dtype=np.int64),
                    np.array([positions.get(emotion, NOT_THE_MODELS) for emotion in emotions], dtype=np.uint8),
                    np.array(scores, dtype=np.float32),
                    np.frombuffer(b"".join(vectors), dtype="<f2").reshape(len(rows), size),
                )
            yield chunk
            after = ids[-1]

    def region_ids(self, model_id: int) -> RegionIds:
        import numpy as np

        with self._connect() as connection:
            rows = connection.execute(statements.region_ids(model_id)).all()
        ids, digests, regions = zip(*rows, strict=True) if rows else [()] * 3
        return RegionIds(np.array(ids, dtype=np.int64), region_keys(digests, regions))

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        import numpy as np

        found: dict[int, Halves] = {}
        with self._connect() as connection:
            for chunk in chunks(prediction_ids):
                rows = fetch(connection, statements.VECTORS_OF, chunk)
                found.update({row_id: np.frombuffer(vector, dtype="<f2").reshape(size) for row_id, vector, size in rows})
        return found

    def regions_of(self, prediction_ids: Sequence[int]) -> dict[int, tuple[bytes, int]]:
        found: dict[int, tuple[bytes, int]] = {}
        with self._connect() as connection:
            for chunk in chunks(prediction_ids):
                rows = fetch(connection, statements.REGIONS_OF, chunk)
                found.update({row_id: (digest, region) for row_id, digest, region in rows})
        return found

    def fingerprints_of(self, prediction_ids: Sequence[int]) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        with self._connect() as connection:
            for chunk in chunks(prediction_ids):
                rows = fetch(connection, statements.FINGERPRINTS_OF, chunk)
                found.update((row_id, fingerprint) for row_id, fingerprint in rows if fingerprint is not None)
        return found

    def count_uncompared(self, model_id: int) -> int:
        with self._connect() as connection:
            return connection.execute(statements.count(PredictionRow, *statements.uncompared(model_id))).scalar_one()

    def next_uncompared(self, model_id: int, after: int, limit: int) -> ComparedRows:
        with self._connect() as connection:
            query = statements.compared_rows(*statements.uncompared(model_id), PredictionRow.id > after).limit(limit)
            return _compared_rows(connection, model_id, connection.execute(query).all())

    def compared_rows(self, model_id: int, prediction_ids: Sequence[int]) -> ComparedRows:
        rows: list[Row[Any]] = []
        with self._connect() as connection:
            for chunk in chunks(sorted(prediction_ids)):
                rows += connection.execute(statements.COMPARED_ROWS_OF, {"model": model_id, "ids": chunk})
            return _compared_rows(connection, model_id, rows)

    def regions(self, model_id: int, after: int = 0) -> int:
        row = PredictionRow
        own = (no_index(row.model_id) == model_id, row.id > after) if after else (row.model_id == model_id,)
        with self._connect() as connection:
            return connection.execute(statements.count(row, *own)).scalar_one()

    def generation(self, model_id: int) -> Generation | None:
        with self._connect() as connection:
            rows = fetch(connection, statements.NEWEST_GENERATION, model=model_id)
            return Generation(*rows[0]) if rows else None

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        with self._connect() as connection:
            return connection.execute(statements.same_generation(model_id, generation)).first() is not None


def _compared_rows(connection: Connection, model_id: int, rows: Sequence[Row[Any]]) -> ComparedRows:
    import numpy as np

    model = connection.execute(select(ModelRow.embedding_size, ModelRow.labels).where(ModelRow.id == model_id)).one()
    ids, images, compared_to, probabilities, vectors = zip(*rows, strict=True) if rows else [()] * 5
    return ComparedRows(
        np.array(ids, dtype=np.int64),
        np.array(images, dtype=np.int64),
        np.array(compared_to, dtype=np.int64),
        np.frombuffer(b"".join(probabilities), dtype="<f4").reshape(len(rows), len(model.labels)),
        np.frombuffer(b"".join(vectors), dtype="<f2").reshape(len(rows), model.embedding_size),
    )


def _labeled_image(row: Row[Any]) -> LabeledImage:
    if row.name is not None:
        return LabeledImage(row.digest.hex(), row.emotion, os.path.join(row.path, row.name))
    last = row.last_path if row.lost_name is None else os.path.join(row.lost_folder, row.lost_name)
    return LabeledImage(row.digest.hex(), row.emotion, None, last)


def _run_record(row: Row[Any], models: Sequence[str]) -> RunRecord:
    return RunRecord(
        row.id,
        row.started_at,
        row.ended_at,
        tuple(os.fsencode(root) for root in row.roots),
        row.outcome,
        RunCounts.of(row.counts),
        row.reason,
        row.pid,
        tuple(models),
    )


def _indexed_file(row: Row[Any]) -> IndexedFile:
    return IndexedFile(row.id, os.path.join(row.path, row.name), FileStamp(row.size, row.mtime_ns, row.change), row.digest)
