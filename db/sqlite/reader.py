"""The half of the SQLite store that searching reads. Imports numpy only where vectors are asked for."""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, bindparam, exists, func, literal, select

from db.sqlite.engine import connect_for_reading
from db.sqlite.errors import reading_rows
from db.sqlite.file_rows import file_under
from db.sqlite.model_rows import card_from_row
from db.sqlite.page_anchors import skip_to_anchor
from db.sqlite.prediction_rows import chunks, embedded, next_embedded
from db.sqlite.schema import (
    EmbeddingRow,
    FileRow,
    FolderRow,
    GenerationRow,
    ImageRow,
    LabelRow,
    Model,
    ModelRow,
    PredictionRow,
    RunRow,
)
from db.sqlite.search_queries import (
    BEST_FIRST,
    few_under,
    filter_conditions,
    hit_columns,
    is_live,
    is_main,
    model_without_index_hint,
    predictions_with_files,
    ranked_query,
    ranked_rows,
)
from indexer.domain.errors import NotIndexed
from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.images import Face, to_pixel_box
from indexer.domain.predictions import LabeledImage
from indexer.domain.queries import Hit
from indexer.ports.store_reader import Counts, HitFilter, ImageFile, RankedHit, RunRecord, RunTotals, Sample, StoredModel
from indexer.ports.vectors import NOT_THE_MODELS, Generation, VectorRows

if TYPE_CHECKING:
    from indexer.domain.types import Halves, Ids

_VECTOR_CHUNK_ROWS = 8192


# What every search asks: putting a query together takes several times as long as asking it.
_THESE = PredictionRow.id.in_(bindparam("ids", expanding=True))
_VECTORS_OF = select(PredictionRow.id, EmbeddingRow.vector, ModelRow.embedding_size).select_from(embedded()).where(_THESE)
_EMBEDDING_SIZE_OF = select(ModelRow.embedding_size).where(ModelRow.id == bindparam("model"))
_LABELS_OF = select(ModelRow.labels).where(ModelRow.id == bindparam("model"))
_EMOTIONS_SAID = select(LabelRow.emotion).distinct().order_by(LabelRow.emotion)


@lru_cache
def _hits_of(chosen: HitFilter) -> Select[*tuple[Any, ...]]:
    """What a filter shows of some predictions."""
    return (
        hit_columns().where(model_without_index_hint(bindparam("model")), _THESE, *filter_conditions(chosen)).order_by(FileRow.id)
    )


class SqliteReader:
    """Implements `indexer.ports.store_reader.StoreReader`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._snapshot: Connection | None = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """While inside, everything that is read here is as it was when the first of it was, whatever a writer commits meanwhile.

        For one thread at a time.
        """
        with self._engine.connect() as connection:
            self._snapshot = connection
            try:
                yield
            finally:
                self._snapshot = None

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """Open a connection whose rows are unpacked inside, see `reading_rows`; that of the snapshot, if there is one."""
        if self._snapshot is not None:
            with reading_rows(self._snapshot):
                yield self._snapshot
            return
        with connect_for_reading(self._engine) as connection:
            yield connection

    def models(self) -> list[StoredModel]:
        own = exists().where(PredictionRow.model_id == ModelRow.id)
        with self._connect() as connection:
            rows = connection.execute(select(ModelRow.table, own.label("used")).order_by(ModelRow.id))
            return [StoredModel(row.id, card_from_row(row._asdict()), bool(row.used)) for row in rows]

    def pictures(self, model_id: int) -> int:
        with self._connect() as connection:
            return _count(connection, PredictionRow, PredictionRow.model_id == model_id, is_main())

    def counts(self) -> Counts:
        with self._connect() as connection:
            # Each state but one has an index of its files. The states stand in the SQL itself, for SQLite to see that they fit.
            files = {
                state: _count(connection, FileRow, FileRow.state == literal(state.value, literal_execute=True))
                for state in (FileState.FAILED, FileState.PENDING, FileState.GONE)
            }
            files[FileState.DONE] = _count(connection, FileRow) - sum(files.values())
            return Counts({state: n for state, n in files.items() if n}, _count(connection, ImageRow))

    def runs(self, limit: int) -> list[RunRecord]:
        with self._connect() as connection:
            rows = connection.execute(select(RunRow.table).order_by(RunRow.id.desc()).limit(limit))
            return [
                RunRecord(
                    row.id,
                    row.started_at,
                    row.ended_at,
                    tuple(os.fsencode(root) for root in row.roots),
                    row.outcome,
                    row.counts,
                    row.reason,
                    row.pid,
                )
                for row in rows
            ]

    def totals(self) -> RunTotals:
        indexed, failed = (func.sum(RunRow.counts[name].as_integer()) for name in ("indexed", "failed"))
        query = select(RunRow.outcome, func.count(), func.coalesce(indexed, 0), func.coalesce(failed, 0)).group_by(RunRow.outcome)
        with self._connect() as connection:
            rows = connection.execute(query).all()
        return RunTotals(sum(row[2] for row in rows), sum(row[3] for row in rows), {row[0]: row[1] for row in rows})

    def failures(self, limit: int) -> list[tuple[bytes, Failure]]:
        query = (
            select(FolderRow.path, FileRow.name, FileRow.failure_kind, FileRow.failure_reason)
            .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
            .where(FileRow.state == FileState.FAILED)
            .order_by(FolderRow.path, FileRow.name)
            .limit(limit)
        )
        with self._connect() as connection:
            return [
                (os.path.join(folder, name), Failure(kind or "", reason or ""))
                for folder, name, kind, reason in connection.execute(query)
            ]

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int) -> list[RankedHit]:
        labels = self._labels(model_id)
        wanted = [emotion for emotion in self._emotions(labels) if chosen.emotions is None or emotion in chosen.emotions]
        if not wanted:
            return []
        with self._connect() as connection:
            if chosen.under is not None and few_under(connection, chosen.under):
                page = ranked_rows(model_without_index_hint(model_id), chosen, wanted).order_by(*BEST_FIRST)
            else:
                offset, beyond = skip_to_anchor(connection, model_id, chosen, offset)
                page = ranked_query(model_id, chosen, wanted, *beyond)
            shown = page.limit(limit).offset(offset).subquery()
            query = hit_columns(shown).where(FileRow.id == shown.c.file_id).order_by(*BEST_FIRST)
            return [_ranked_hit(row, labels) for row in connection.execute(query)]

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        found: dict[int, list[Hit]] = defaultdict(list)
        labels = self._labels(model_id)
        with self._connect() as connection:
            for chunk in chunks(prediction_ids):
                for row in connection.execute(_hits_of(chosen), {"model": model_id, "ids": chunk}):
                    ranked = _ranked_hit(row, labels)
                    found[ranked.prediction_id].append(ranked.hit)
        return dict(found)

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        import numpy as np

        with self._connect() as connection:
            if chosen.under is not None and most is not None and not few_under(connection, chosen.under, most):
                return None
            who = PredictionRow.model_id == model_id if chosen.under is None else model_without_index_hint(model_id)
            wanted = () if chosen.emotions is None else (PredictionRow.emotion.in_(sorted(chosen.emotions)),)
            query = (
                select(PredictionRow.id)
                .select_from(predictions_with_files())
                .where(who, is_live(), *filter_conditions(chosen), *wanted)
            )
            ids = connection.execute(query.where(PredictionRow.score >= chosen.min_score)).scalars()
            found = np.unique(np.fromiter(ids, dtype=np.int64))
        return found if most is None or len(found) <= most else None

    def sample(self, model_id: int, count: int) -> Sample:
        import numpy as np

        own = and_(PredictionRow.model_id == model_id, is_main())
        total = select(func.count()).select_from(PredictionRow.table).where(own)
        number = func.row_number().over(order_by=PredictionRow.id).label("number")
        numbered = select(PredictionRow.id, number).where(own).subquery()
        with self._connect() as connection:
            step = -(-connection.execute(total).scalar_one() // count) or 1
            ids = connection.execute(select(numbered.c.id).where(numbered.c.number % step == 0)).scalars().all()
            rows: list[Row[Any]] = []
            for chunk in chunks(ids):
                query = select(PredictionRow.id, EmbeddingRow.vector, PredictionRow.probabilities).select_from(embedded())
                rows += connection.execute(query.where(PredictionRow.id.in_(chunk)).order_by(PredictionRow.id))
            model = connection.execute(select(ModelRow.embedding_size, ModelRow.labels).where(ModelRow.id == model_id)).one()
            return Sample(
                np.array([row.id for row in rows], dtype=np.int64),
                np.frombuffer(b"".join(row.vector for row in rows), dtype="<f2").reshape(len(rows), model.embedding_size),
                np.frombuffer(b"".join(row.probabilities for row in rows), dtype="<f4").reshape(len(rows), len(model.labels)),
            )

    def find(self, model_id: int, digest_prefix: str) -> list[int]:
        low = bytes.fromhex(digest_prefix + "0" * (len(digest_prefix) % 2))
        high = bytes.fromhex(digest_prefix + "f" * (len(digest_prefix) % 2)).ljust(32, b"\xff")
        query = (
            select(PredictionRow.id)
            .join(ImageRow.table, ImageRow.id == PredictionRow.image_id)
            .where(model_without_index_hint(model_id), is_main())
            .where(ImageRow.digest >= low, ImageRow.digest <= high)
            .limit(2)
        )
        with self._connect() as connection:
            return list(connection.execute(query).scalars())

    def pictures_at(self, root: bytes) -> list[ImageFile]:
        query = (
            select(FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns, FileRow.state, ImageRow.digest)
            .join(FileRow.table, FileRow.folder_id == FolderRow.id)
            .join(ImageRow.table, ImageRow.id == FileRow.image_id)
            .where(is_live(), file_under(root))
            .order_by(FolderRow.path, FileRow.name)
        )
        with self._connect() as connection:
            return [
                ImageFile(
                    os.path.join(row.path, row.name),
                    row.digest,
                    FileStamp(row.size, row.mtime_ns) if row.state == FileState.DONE else None,
                )
                for row in connection.execute(query)
            ]

    def holds(self, path: bytes) -> bool:
        files = FileRow.table.join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        query = select(FileRow.id).select_from(files).where(is_live(), file_under(path)).limit(1)
        with self._connect() as connection:
            return connection.execute(query).first() is not None

    def known_digests(self, digests: Collection[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._connect() as connection:
            for chunk in chunks(sorted(digests)):
                found.update(connection.execute(select(ImageRow.digest).where(ImageRow.digest.in_(chunk))).scalars())
        return found

    def labelled(self) -> list[LabeledImage]:
        first = (
            select(FileRow.image_id.label("image_id"), func.min(FileRow.id).label("file_id"))
            .where(is_live())
            .group_by(FileRow.image_id)
            .subquery()
        )
        query = (
            select(ImageRow.digest, LabelRow.emotion, FolderRow.path, FileRow.name)
            .select_from(LabelRow.table)
            .join(ImageRow.table, ImageRow.id == LabelRow.image_id)
            .outerjoin(first, first.c.image_id == LabelRow.image_id)
            .outerjoin(FileRow.table, FileRow.id == first.c.file_id)
            .outerjoin(FolderRow.table, FolderRow.id == FileRow.folder_id)
            .order_by(FolderRow.path.is_(None), FolderRow.path, FileRow.name, ImageRow.digest)
        )
        with self._connect() as connection:
            return [
                LabeledImage(digest.hex(), emotion, None if name is None else os.path.join(folder, name))
                for digest, emotion, folder, name in connection.execute(query)
            ]

    def user_emotions(self) -> tuple[str, ...]:
        with self._connect() as connection:
            return tuple(connection.execute(_EMOTIONS_SAID).scalars())

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        here = and_(FolderRow.path == os.path.dirname(path), FileRow.name == os.path.basename(path))
        query = hit_columns().where(model_without_index_hint(model_id), here).order_by(PredictionRow.region)
        with self._connect() as connection:
            labels = self._labels(model_id)
            return [_ranked_hit(row, labels) for row in connection.execute(query)]

    def predicted_as(self, model_id: int, digest: bytes) -> int | None:
        found = self.find(model_id, digest.hex())
        return found[0] if found else None

    def vectors(self, model_id: int, after: int = 0) -> Iterator[VectorRows]:
        import numpy as np

        positions = {emotion: position for position, emotion in enumerate(self._labels(model_id))}
        while True:
            with self._connect() as connection:
                rows = connection.execute(next_embedded(model_id, after, _VECTOR_CHUNK_ROWS)).all()
                if not rows:
                    return
                ids, emotions, scores, vectors = zip(*((row.id, row.emotion, row.score, row.vector) for row in rows), strict=True)
                size = connection.execute(_EMBEDDING_SIZE_OF, {"model": model_id}).scalar_one()
                chunk = VectorRows(
                    np.array(ids, dtype=np.int64),
                    np.array([positions.get(emotion, NOT_THE_MODELS) for emotion in emotions], dtype=np.uint8),
                    np.array(scores, dtype=np.float32),
                    np.frombuffer(b"".join(vectors), dtype="<f2").reshape(len(rows), size),
                )
            yield chunk
            after = ids[-1]

    def vectors_of(self, prediction_ids: Sequence[int]) -> dict[int, Halves]:
        import numpy as np

        found: dict[int, Halves] = {}
        with self._connect() as connection:
            for chunk in chunks(prediction_ids):
                rows = connection.execute(_VECTORS_OF, {"ids": chunk})
                found.update({row_id: np.frombuffer(vector, dtype="<f2").reshape(size) for row_id, vector, size in rows})
        return found

    def regions(self, model_id: int) -> int:
        with self._connect() as connection:
            return _count(connection, PredictionRow, PredictionRow.model_id == model_id)

    def generation(self, model_id: int) -> Generation | None:
        query = select(GenerationRow.last_prediction_id, GenerationRow.token).where(GenerationRow.model_id == model_id)
        with self._connect() as connection:
            newest = query.order_by(GenerationRow.last_prediction_id.desc(), GenerationRow.id.desc()).limit(1)
            row = connection.execute(newest).first()
            return Generation(row.last_prediction_id, row.token) if row is not None else None

    def had_generation(self, model_id: int, generation: Generation) -> bool:
        query = select(GenerationRow.id).where(
            GenerationRow.model_id == model_id,
            GenerationRow.last_prediction_id == generation.last_id,
            GenerationRow.token == generation.token,
        )
        with self._connect() as connection:
            return connection.execute(query).first() is not None

    def _emotions(self, labels: list[str]) -> list[str]:
        return [*labels, *(word for word in self.user_emotions() if word not in labels)]

    def _labels(self, model_id: int) -> list[str]:
        with self._connect() as connection:
            labels = connection.execute(_LABELS_OF, {"model": model_id}).scalar_one_or_none()
            if labels is None:
                raise NotIndexed(f"The database holds no model number {model_id}.")
            return labels


def _ranked_hit(row: Row[Any], labels: Sequence[str]) -> RankedHit:
    probabilities = struct.unpack(f"<{len(labels)}f", row.probabilities)
    hit = Hit(
        path=os.path.join(row.folder, row.name),
        image_id=row.digest.hex(),
        emotion=row.emotion,
        score=row.score,
        emotions=dict(zip(labels, probabilities, strict=True)),
        label=row.label,
        box=None if row.left is None else to_pixel_box(Face(row.left, row.top, row.right, row.bottom), row.width, row.height),
    )
    return RankedHit(row.prediction_id, hit)


def _count(connection: Connection, what: type[Model], *conditions: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(what.table).where(*conditions)).scalar_one()
