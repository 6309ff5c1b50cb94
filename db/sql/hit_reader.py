"""The hits of a store in SQL: pages of searches, and the predictions of images."""

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, bindparam, select

from db.schema import FileRow, FolderRow, PredictionRow
from db.sql import read_statements as statements
from db.sql.dialect import chunks, one_of
from db.sql.newest_files import newest_files
from db.sql.page_anchors import after_place, count_with_anchors, skip_files_to_anchor, skip_to_anchor
from db.sql.paired_models import Region, choose_rows, ids_of_other, regions_of, rows_of_images
from db.sql.prepared import fetch
from db.sql.search_queries import (
    BEST_FIRST,
    count_hits,
    emotions_of_files,
    few_under,
    filter_conditions,
    hit_columns,
    is_live,
    listed_if_many,
    model_without_index_hint,
    placed_rows,
    predictions_with_files,
    ranked_query,
)
from db.sql.tag_rows import any_tag, known_tags, tags_of
from db.sql.unpacking import connect_for_reading, unpacking_from
from indexer.domain.errors import NotIndexed
from indexer.domain.files import FileStamp, FileState
from indexer.domain.images import Face, to_pixel_box
from indexer.domain.queries import Hit
from indexer.ports.store_reader import HitFilter, ImageFile, RankedHit

if TYPE_CHECKING:
    from indexer.domain.queries import HitKey
    from indexer.domain.types import Ids


@lru_cache
def _hits_of(chosen: HitFilter) -> Select[*tuple[Any, ...]]:
    """Select the hits of some predictions that pass a filter. Built once per filter, as every search executes it."""
    these = (model_without_index_hint(bindparam("model")), statements.THESE)
    return hit_columns().where(*these, *filter_conditions(chosen)).order_by(FolderRow.path, FileRow.name)


def _page(
    dialect: str,
    model_id: int,
    chosen: HitFilter,
    emotions: tuple[str, ...],
    limit: int,
    offset: int,
    *conditions: ColumnElement[bool],
) -> Select[*tuple[Any, ...]]:
    """Select a page of the hits of some emotions that satisfy some conditions."""
    return _shown(ranked_query(dialect, model_id, chosen, emotions, offset + limit, *conditions), limit, offset)


_first_page = lru_cache(maxsize=256)(_page)
"""The same without conditions, kept: the first pages of emotions are asked for again and again."""


def _shown(hits: Select[*tuple[Any, ...]], limit: int, offset: int) -> Select[*tuple[Any, ...]]:
    """Select what one page of ordered hits shows."""
    page = hits.limit(limit).offset(offset).subquery()
    return hit_columns(page).where(FileRow.id == page.c.file_id).order_by(*BEST_FIRST)


class SqlHitReader:
    """The part of `indexer.ports.store_reader.StoreReader` that searches call."""

    def __init__(self, engine: Engine) -> None:
        """`engine` opens connections whose transactions read from one snapshot."""
        self._read_engine = engine
        self._snapshot: Connection | None = None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything inside from one transaction: commits after its first query are not seen. For one thread at a time."""
        with self._read_engine.connect() as connection:
            self._snapshot = connection
            try:
                yield
            finally:
                self._snapshot = None

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        """Open a connection, or that of the snapshot, whose rows are unpacked inside."""
        if self._snapshot is not None:
            with unpacking_from(self._snapshot):
                yield self._snapshot
            return
        with connect_for_reading(self._read_engine) as connection:
            yield connection

    def count_hits(self, model_id: int, chosen: HitFilter, most: int | None = None) -> int:
        wanted = self._wanted(self._labels(model_id), chosen)
        if not wanted:
            return 0
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            few = bool(chosen.under) and few_under(connection, chosen.under)
            return connection.execute(count_hits(model_id, chosen, wanted, most, few)).scalar_one()

    def count_by_emotion(self, model_id: int, chosen: HitFilter, groups: Mapping[str, Collection[str]]) -> dict[str, int] | None:
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            if chosen.emotions is None and not (chosen.under and few_under(connection, chosen.under)):
                return None
            files: dict[str, set[int]] = defaultdict(set)
            for file_id, emotion in connection.execute(emotions_of_files(model_id, chosen)):
                files[emotion].add(file_id)
        return {name: len(set[int]().union(*(files[one] for one in group))) for name, group in groups.items()}

    def count_ranked(self, model_id: int, chosen: HitFilter) -> int | None:
        wanted = self._wanted(self._labels(model_id), chosen)
        with self._connect() as connection:
            return count_with_anchors(connection, model_id, chosen, wanted) if wanted else 0

    def ranked(self, model_id: int, chosen: HitFilter, limit: int, offset: int, after: HitKey | None = None) -> list[RankedHit]:
        labels = self._labels(model_id)
        wanted = self._wanted(labels, chosen)
        if not wanted:
            return []
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            beyond = () if after is None else after_place(connection, after)
            if chosen.under and few_under(connection, chosen.under):
                page = placed_rows(model_without_index_hint(model_id), chosen, wanted).where(*beyond).order_by(*BEST_FIRST)
                query = _shown(page, limit, offset)
            else:
                if after is None:
                    offset, beyond = skip_to_anchor(connection, model_id, chosen, offset)
                build = _page if beyond or chosen.under else _first_page
                query = build(connection.dialect.name, model_id, chosen, tuple(wanted), limit, offset, *beyond)
            return [_ranked_hit(row, labels) for row in connection.execute(query)]

    def newest(self, model_id: int, chosen: HitFilter, limit: int, before: int | None, offset: int = 0) -> list[RankedHit]:
        labels = self._labels(model_id)
        wanted = self._wanted(labels, chosen)
        if not wanted:
            return []
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            page = newest_files(connection, model_id, chosen, wanted)
            if before is None:
                offset, beyond = skip_files_to_anchor(connection, model_id, chosen, offset)
            else:
                beyond = (FileRow.id < before,)
            shown = page.where(*beyond).limit(limit).offset(offset).subquery()
            query = hit_columns(shown).where(FileRow.id == shown.c.file_id).order_by(FileRow.id.desc())
            return [_ranked_hit(row, labels) for row in connection.execute(query)]

    def hits(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        found: dict[int, list[Hit]] = defaultdict(list)
        labels = self._labels(model_id)
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            statement = _hits_of(chosen._replace(emotions=None, min_score=0.0))
            for chunk in chunks(prediction_ids):
                for row in fetch(connection, statement, chunk, model=model_id):
                    ranked = _ranked_hit(row, labels)
                    found[ranked.prediction_id].append(ranked.hit)
        return dict(found)

    def hits_of_images(self, model_id: int, prediction_ids: Sequence[int], chosen: HitFilter) -> dict[int, list[Hit]]:
        found: dict[int, list[Hit]] = {}
        labels = self._labels(model_id)
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            for chunk in chunks(prediction_ids):
                regions = [Region(number, digest, tuple(box)) for number, digest, *box in connection.execute(regions_of(chunk))]
                digests = sorted({region.digest for region in regions})
                rows = connection.execute(rows_of_images(model_id, digests, chosen)).all()
                for prediction_id, files in choose_rows(regions, rows, chosen):
                    found[prediction_id] = [_ranked_hit(row, labels).hit for row in files]
        return found

    def prediction_ids_of_other(self, model_id: int, chosen: HitFilter) -> Ids:
        import numpy as np

        wanted = () if chosen.emotions is None else (one_of(PredictionRow.emotion, chosen.emotions),)
        with self._connect() as connection, listed_if_many(connection, chosen.under):
            return np.fromiter(connection.execute(ids_of_other(model_id, chosen, wanted)).scalars(), dtype=np.int64)

    def prediction_ids(self, model_id: int, chosen: HitFilter, most: int | None = None) -> Ids | None:
        import numpy as np

        with self._connect() as connection, listed_if_many(connection, chosen.under):
            if chosen.under and most is not None and not few_under(connection, chosen.under, most):
                return None
            own = PredictionRow.model_id == model_id if not chosen.under else model_without_index_hint(model_id)
            wanted = () if chosen.emotions is None else (one_of(PredictionRow.emotion, chosen.emotions),)
            query = (
                select(PredictionRow.id)
                .select_from(predictions_with_files())
                .where(own, is_live(), *filter_conditions(chosen), *wanted)
            )
            ids = connection.execute(query.where(PredictionRow.score >= chosen.min_score)).scalars()
            found = np.unique(np.fromiter(ids, dtype=np.int64))
        return found if most is None or len(found) <= most else None

    def files_of_image(self, digest: bytes) -> list[ImageFile]:
        with self._connect() as connection:
            return [image_file(row) for row in connection.execute(statements.live_files_of_image(digest))]

    def predicted_at(self, model_id: int, path: bytes) -> list[RankedHit]:
        with self._connect() as connection:
            labels = self._labels(model_id)
            return [_ranked_hit(row, labels) for row in connection.execute(statements.hits_at(model_id, path))]

    def tags_of(self, model_id: int, digests: Collection[bytes]) -> dict[bytes, dict[str, float]]:
        found: dict[bytes, dict[str, float]] = defaultdict(dict)
        with self._connect() as connection:
            for chunk in chunks(sorted(digests)):
                for digest, tag, score in connection.execute(tags_of(model_id, chunk)):
                    found[digest][tag] = score
        return dict(found)

    def has_tags(self, model_id: int) -> bool:
        with self._connect() as connection:
            return connection.execute(any_tag(model_id)).first() is not None

    def known_tags(self, model_id: int, tags: Collection[str]) -> set[str]:
        found: set[str] = set()
        with self._connect() as connection:
            for chunk in chunks(sorted(tags)):
                found.update(connection.execute(known_tags(model_id, chunk)).scalars())
        return found

    def user_emotions(self) -> tuple[str, ...]:
        with self._connect() as connection:
            return tuple(emotion for (emotion,) in fetch(connection, statements.USER_EMOTIONS))

    def _wanted(self, labels: list[str], chosen: HitFilter) -> list[str]:
        """Return the emotions of a filter that predictions of a model with these labels can have."""
        return [emotion for emotion in self._emotions(labels) if chosen.emotions is None or emotion in chosen.emotions]

    def _emotions(self, labels: list[str]) -> list[str]:
        """Return the emotions that predictions of a model with these labels can have."""
        return [*labels, *(emotion for emotion in self.user_emotions() if emotion not in labels)]

    def _labels(self, model_id: int) -> list[str]:
        with self._connect() as connection:
            rows = fetch(connection, statements.LABELS_OF, model=model_id)
            if not rows:
                raise NotIndexed(f"The database holds no model number {model_id}.")
            labels: list[str] = rows[0][0]
            return labels


def image_file(row: Row[Any]) -> ImageFile:
    """Return a live file of a row with its path, its stamp and the digest of its image."""
    stamp = FileStamp(row.size, row.mtime_ns, row.change) if row.state == FileState.DONE else None
    return ImageFile(os.path.join(row.path, row.name), row.digest, stamp)


def _ranked_hit(row: Sequence[Any], labels: Sequence[str]) -> RankedHit:
    """Return the hit of a row of `hit_columns`, whose columns are read by position, which is faster than by name."""
    number, emotion, score, packed, label, left, top, right, bottom, frame, digest, width, height, incomplete, *file = row
    folder, name, file_id = file
    probabilities = struct.unpack(f"<{len(labels)}f", packed)
    hit = Hit(
        path=os.path.join(folder, name),
        image_id=digest.hex(),
        emotion=emotion,
        score=score,
        emotions=dict(zip(labels, probabilities, strict=True)),
        label=label,
        box=None if left is None else to_pixel_box(Face(left, top, right, bottom), width, height),
        frame=frame,
        incomplete=bool(incomplete),
        size=(width, height),
    )
    return RankedHit(number, hit, file_id)
