"""Labels of files whose content changed: they follow a change that hardly shows, and are kept otherwise."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, exists, insert, select, update

from db.schema import EmbedderRow, EmbeddingRow, FileRow, FolderRow, LabelRow, ModelRow, PredictionRow, RunRow
from db.sql.dialect import among, chunks
from db.sql.model_rows import card_from_row
from db.sql.prediction_rows import embedded, rewrite_predictions
from db.sql.search_queries import is_live, is_main
from indexer.domain.models import EXPRESSION
from indexer.ports.store_writer import LabelMoves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from indexer.domain.edits import Look
    from indexer.domain.predictions import Prediction


class _Change(NamedTuple):
    """A file of a labeled image that gets another image, or none."""

    path: bytes
    old: int
    new: int | None
    emotion: str
    said_at: float


def move_labels(
    connection: Connection, run_id: int, targets: Mapping[int, int | None], main: Mapping[int, Prediction]
) -> LabelMoves:
    """Move the labels of files, by id, that get another image, if it is the same picture. Call this before the files change.

    `targets` are the new images of the files; None for a file that failed. `main` are the predictions of new images, or
    of their main faces. See `indexer.domain.edits.label_holds`. Labels that no file has any more get its path.
    """
    changes = [change for chunk in chunks(targets) for change in _changes(connection, chunk, targets)]
    if not changes:
        return LabelMoves()
    from indexer.domain.edits import label_holds  # it imports numpy, which other commands that write do not need

    images = {change.old for change in changes} | {change.new for change in changes if change.new is not None}
    looks = _looks(connection, run_id, images, main)
    labeled = {image for (image,) in _of_images(connection, select(LabelRow.image_id), LabelRow.image_id, images)}
    kept = _with_other_files(connection, {change.old for change in changes}, targets)
    followed: dict[int, _Change] = {}
    left = [change for change in changes if change.old not in kept]
    for change in changes:
        new = change.new
        if new is not None and new not in labeled and label_holds(looks[change.old], looks[new]):
            followed.setdefault(new, change)
    moved = {change.old for change in followed.values()}
    orphans = {change.old: change.path for change in left if change.old not in moved}
    _write(connection, followed, moved - kept, orphans)
    for some in chunks(sorted({*followed, *(moved - kept)})):
        rewrite_predictions(connection, some)
    return LabelMoves(len(followed), len(orphans))


def _changes(connection: Connection, files: Sequence[int], targets: Mapping[int, int | None]) -> list[_Change]:
    query = (
        select(FileRow.id, FolderRow.path, FileRow.name, FileRow.image_id, LabelRow.emotion, LabelRow.said_at)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .join(LabelRow.table, LabelRow.image_id == FileRow.image_id)
        .where(among(connection, FileRow.id, files))
    )
    rows = connection.execute(query).all()
    return [
        _Change(os.path.join(row.path, row.name), row.image_id, targets[row.id], row.emotion, row.said_at)
        for row in rows
        if row.image_id != targets[row.id]
    ]


def _fingerprints(connection: Connection, images: Collection[int]) -> dict[int, bytes]:
    """Return the fingerprints of those of some images that have one, stored with the embeddings of any model."""
    # Naming the embedders lets SQLite look the images up.
    known = (EmbeddingRow.embedder_id.in_(select(EmbedderRow.id)), EmbeddingRow.fingerprint.is_not(None))
    query = select(EmbeddingRow.image_id, EmbeddingRow.fingerprint).where(*known)
    return dict(_of_images(connection, query, EmbeddingRow.image_id, images))


def _looks(connection: Connection, run_id: int, images: Collection[int], main: Mapping[int, Prediction]) -> dict[int, Look]:
    """Return what is known of images, by their stored main regions and those of `main`, by the run's first model."""
    import numpy as np

    from indexer.domain.edits import Look

    model = connection.execute(select(ModelRow.table).join(RunRow.table).where(RunRow.id == run_id)).one()
    card = card_from_row(model._asdict())
    part = card.space_slice(EXPRESSION) if card.spaces else None
    fingerprints = _fingerprints(connection, images)
    looks = {image: Look(fingerprints.get(image)) for image in images}
    query = select(PredictionRow.image_id, PredictionRow.probabilities, EmbeddingRow.vector).select_from(embedded())
    query = query.where(PredictionRow.model_id == model.id, is_main())
    for image, blob, stored in _of_images(connection, query, PredictionRow.image_id, images):
        vector = np.frombuffer(stored, dtype="<f2")
        probabilities = struct.unpack(f"<{len(blob) // 4}f", blob)
        looks[image] = Look(fingerprints.get(image), probabilities, None if part is None else vector[part])
    for image, one in main.items():
        looks[image] = Look(one.fingerprint, one.probabilities, None if part is None else one.embedding[part])
    return looks


def _with_other_files(connection: Connection, images: Collection[int], targets: Mapping[int, int | None]) -> set[int]:
    """Return the images that have live files beside those that get another image."""
    rows = _of_images(connection, select(FileRow.id, FileRow.image_id).where(is_live()), FileRow.image_id, images)
    return {image for file_id, image in rows if targets.get(file_id, image) == image}


def _of_images(
    connection: Connection,
    query: Select[*tuple[Any, ...]],
    column: ColumnElement[int] | ColumnElement[int | None],
    images: Collection[int],
) -> Iterator[Any]:
    """Yield the rows of a query for some images, of which there may be any number."""
    for some in chunks(sorted(images)):
        yield from connection.execute(query.where(column.in_(some)))


def _write(connection: Connection, followed: Mapping[int, _Change], moved: set[int], orphans: Mapping[int, bytes]) -> None:
    rows = [{"image_id": new, "emotion": one.emotion, "said_at": one.said_at} for new, one in followed.items()]
    if rows:
        connection.execute(insert(LabelRow.table), rows)
    for some in chunks(sorted(moved)):
        connection.execute(delete(LabelRow.table).where(LabelRow.image_id.in_(some)))
    remember_paths(connection, orphans)


def remember_paths(connection: Connection, paths: Mapping[int, bytes]) -> None:
    """Note the path at which the image of a label was last, by image."""
    if paths:
        noted = update(LabelRow.table).where(LabelRow.image_id == bindparam("image")).values(last_path=bindparam("path"))
        connection.execute(noted, [{"image": image, "path": path} for image, path in paths.items()])


def paths_of_labeled(connection: Connection, files: Sequence[int]) -> dict[int, bytes]:
    """Return the paths of those of some files whose images have labels, by image."""
    query = (
        select(FileRow.image_id, FolderRow.path, FileRow.name)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(FileRow.id.in_(files), exists().where(LabelRow.image_id == FileRow.image_id))
    )
    return {image: os.path.join(folder, name) for image, folder, name in connection.execute(query) if image is not None}
