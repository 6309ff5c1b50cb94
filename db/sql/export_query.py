"""The rows of an export: the files that searches find, each with its image's predictions and label."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Row, Select, and_, exists, func, select

from db.schema import EmbeddingRow, FileRow, FolderRow, HiddenRow, ImageRow, LabelRow, ModelRow, PredictionRow
from db.sql.dialect import chunks, no_index, one_of
from db.sql.path_list import file_ids_in_list
from db.sql.search_queries import is_live
from db.sql.tag_rows import tags_of
from indexer.domain.export import ExportChunk
from indexer.domain.images import Face, to_pixel_box

if TYPE_CHECKING:
    from indexer.domain.export import Box, ExportFilter
    from indexer.domain.models import ModelCard


def exported(model_id: int, chosen: ExportFilter) -> Select[*tuple[Any, ...]]:
    """Select the rows of an export, by file, then by region.

    `no_index` keeps SQLite from beginning with another table than the files, after which it would have to sort all rows.
    """
    prediction = PredictionRow
    emotion = func.coalesce(prediction.emotion, LabelRow.emotion)
    embedder = select(ModelRow.embedder_id).where(ModelRow.id == model_id).scalar_subquery()
    same_region = and_(
        EmbeddingRow.embedder_id == embedder,
        EmbeddingRow.image_id == prediction.image_id,
        EmbeddingRow.region == prediction.region,
    )
    query = (
        select(
            FolderRow.path,
            FileRow.name,
            ImageRow.digest,
            ImageRow.width,
            ImageRow.height,
            LabelRow.emotion,
            emotion,
            func.coalesce(prediction.score, 1.0),
            func.coalesce(prediction.region, 0),
            prediction.left,
            prediction.top,
            prediction.right,
            prediction.bottom,
            prediction.probabilities,
            EmbeddingRow.vector,
        )
        .select_from(FileRow.table)
        .join(FolderRow.table, FolderRow.id == no_index(FileRow.folder_id))
        .join(ImageRow.table, ImageRow.id == no_index(FileRow.image_id))
        .outerjoin(LabelRow.table, LabelRow.image_id == FileRow.image_id)
        .outerjoin(prediction.table, and_(prediction.image_id == FileRow.image_id, prediction.model_id == model_id))
        .outerjoin(EmbeddingRow.table, same_region)
        .where(is_live(), emotion.is_not(None))
    )
    if chosen.emotions is not None:
        query = query.where(one_of(emotion, chosen.emotions))
    if not chosen.hidden:
        query = query.where(~exists().where(HiddenRow.image_id == FileRow.image_id))
    if chosen.under:
        query = query.where(FileRow.id.in_(file_ids_in_list()))
    return query.order_by(FileRow.id, prediction.region)


def image_tags(connection: Connection, model_id: int, rows: Sequence[Row[Any]]) -> dict[bytes, dict[str, float]]:
    """Return the tags of the images of some rows of `exported`, by digest."""
    found: dict[bytes, dict[str, float]] = defaultdict(dict)
    for chunk in chunks(sorted({row.digest for row in rows})):
        for digest, tag, score in connection.execute(tags_of(model_id, chunk)):
            found[digest][tag] = score
    return found


def export_chunk(rows: Sequence[Row[Any]], card: ModelCard, tags: Mapping[bytes, Mapping[str, float]]) -> ExportChunk:
    """Convert rows of `exported` into columns, with the tags of images by digest, or none for a model without tags.

    Raises ValueError or TypeError for values that moodex never writes.
    """
    folders, names, digests, widths, heights, labels, emotions, scores, regions, *edges, probabilities, vectors = zip(
        *rows, strict=True
    )
    sizes = list(zip(widths, heights, strict=True))
    return ExportChunk(
        paths=[os.path.join(folder, name) for folder, name in zip(folders, names, strict=True)],
        digests=[digest.hex() for digest in digests],
        emotions=emotions,
        scores=scores,
        labels=labels,
        regions=regions,
        boxes=[_box(edge, size) for edge, size in zip(zip(*edges, strict=True), sizes, strict=True)],
        sizes=sizes,
        probabilities=_numbers(probabilities, len(card.labels), "<f4"),
        embeddings=_numbers(vectors, card.embedding_size, "<f2"),
        tags=[tags.get(digest, {}) for digest in digests] if tags else (),
    )


def _box(edges: Sequence[Any], size: tuple[int, int]) -> Box | None:
    return None if edges[0] is None else to_pixel_box(Face(*edges), *size)


def _numbers(blobs: Sequence[bytes | None], width: int, kind: str) -> Any:
    """Return N blobs of `width` numbers of dtype `kind` as an array, (N, width); NaN for None."""
    nothing = np.full(width, np.nan, dtype=kind).tobytes()
    return np.frombuffer(b"".join(nothing if blob is None else blob for blob in blobs), dtype=kind).reshape(len(blobs), width)
