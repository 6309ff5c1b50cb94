"""Rows of an export: everything known of live files, read in one pass."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from db.sqlite.errors import reading_rows
from db.sqlite.raw_connection import fetch_chunks
from indexer.domain.export import ExportChunk, ExportFilter
from indexer.domain.images import Face, to_pixel_box

if TYPE_CHECKING:
    from indexer.domain.export import Box
    from indexer.domain.models import ModelCard

_QUERY = """
SELECT folders.path, files.name, images.digest, images.width, images.height, labels.emotion,
    p.emotion, p.score, p.region, p."left", p.top, p."right", p.bottom, p.probabilities, embeddings.vector
FROM files CROSS JOIN folders ON folders.id = files.folder_id CROSS JOIN images ON images.id = files.image_id
LEFT JOIN labels ON labels.image_id = files.image_id
LEFT JOIN predictions p ON p.image_id = files.image_id AND p.model_id = :model
LEFT JOIN embeddings ON embeddings.embedder_id = :embedder AND embeddings.image_id = p.image_id AND embeddings.region = p.region
WHERE files.state IN ('done', 'pending') AND coalesce(p.emotion, labels.emotion) IS NOT NULL
"""
"""CROSS JOIN keeps SQLite from joining in another order, after which it would have to sort."""

_UNDER = (
    " AND (folders.path = :under OR (folders.path > :below AND folders.path < :above) "
    "OR (folders.path = :folder AND files.name = :name))"
)


def exported(connection: sqlite3.Connection, model_id: int, card: ModelCard, wanted: ExportFilter) -> Iterator[ExportChunk]:
    """Yield the rows of an export in chunks, by file, then by region."""
    (embedder,) = connection.execute("SELECT embedder_id FROM models WHERE id = ?", (model_id,)).fetchone()
    query, values = _QUERY, {"model": model_id, "embedder": embedder}
    if wanted.emotions is not None:
        names = [f"emotion{number}" for number in range(len(wanted.emotions))]
        query += f" AND coalesce(p.emotion, labels.emotion) IN ({', '.join(f':{name}' for name in names)})"
        values |= dict(zip(names, sorted(wanted.emotions), strict=True))
    if wanted.under is not None:
        stem = wanted.under.rstrip(b"/")
        folder, name = os.path.split(wanted.under)
        query += _UNDER
        values |= {"under": wanted.under, "below": stem + b"/", "above": stem + b"0", "folder": folder, "name": name}
    for rows in fetch_chunks(connection.execute(f"{query} ORDER BY files.id, p.region", values)):
        with reading_rows(connection):
            chunk = _chunk(rows, card)
        yield chunk


def _chunk(rows: Sequence[Any], card: ModelCard) -> ExportChunk:
    folders, names, digests, widths, heights, labels, emotions, scores, regions, *edges, probabilities, vectors = zip(
        *rows, strict=True
    )
    sizes = zip(widths, heights, strict=True)
    return ExportChunk(
        paths=[os.path.join(folder, name) for folder, name in zip(folders, names, strict=True)],
        digests=[digest.hex() for digest in digests],
        emotions=[emotion or label for emotion, label in zip(emotions, labels, strict=True)],
        scores=[1.0 if score is None else score for score in scores],
        labels=labels,
        regions=[region or 0 for region in regions],
        boxes=[_box(edge, size) for edge, size in zip(zip(*edges, strict=True), sizes, strict=True)],
        probabilities=_numbers(probabilities, len(card.labels), "<f4"),
        embeddings=_numbers(vectors, card.embedding_size, "<f2"),
    )


def _box(edges: Sequence[Any], size: tuple[int, int]) -> Box | None:
    return None if edges[0] is None else to_pixel_box(Face(*edges), *size)


def _numbers(blobs: Sequence[bytes | None], width: int, kind: str) -> Any:
    """Return N blobs of `width` numbers of dtype `kind` as an array, (N, width); NaN for None."""
    nothing = np.full(width, np.nan, dtype=kind).tobytes()
    return np.frombuffer(b"".join(nothing if blob is None else blob for blob in blobs), dtype=kind).reshape(len(blobs), width)
