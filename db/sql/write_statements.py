"""Statements of the writing half of a store: models, images, runs, folders and pending files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, literal_column, select, update

from db.schema import EmbedderRow, FileRow, FolderRow, ImageRow, ModelRow
from db.sql.dialect import among, chunks, inline, upsert, upsert_many
from db.sql.path_list import folder_ids_in_list
from db.sql.run_analyzers import RunAnalyzer, listed_by, predicted_by_all
from indexer.domain.files import FileState

if TYPE_CHECKING:
    from sqlalchemy import Update
    from sqlalchemy.dialects.sqlite import Insert

    from indexer.ports.store_writer import CommitBatch


def rename_embedder(model_key: str, embedder_key: str) -> Update:
    """Replace the key of an old embedder by the key of its backbone.

    An embedder from before backbone digests has the key of its model. Nothing changes if another embedder has the new key.
    """
    own = select(ModelRow.embedder_id).where(ModelRow.key == model_key)
    named = select(EmbedderRow.id).where(EmbedderRow.key == embedder_key)
    unnamed = (EmbedderRow.id.in_(own), EmbedderRow.key == model_key, ~named.exists())
    return update(EmbedderRow.table).where(*unnamed).values(key=embedder_key)


def upsert_model(dialect: str, row: dict[str, Any], embedder_key: str) -> Insert:
    """Add a model, or rename a known one."""
    embedder = select(EmbedderRow.id).where(EmbedderRow.key == embedder_key).scalar_subquery()
    statement = upsert(dialect, ModelRow.table).values(**row, embedder_id=embedder)
    return statement.on_conflict_do_update(index_elements=["key"], set_={"name": row["name"]})


def model_id_of(key: str) -> Select[int]:
    """Select the id of a model by its key."""
    return select(ModelRow.id).where(ModelRow.key == key)


def upsert_image(dialect: str) -> Insert:
    """Add an image. A known image of width 0, which a repair restored from its digest alone, gets its size and format."""
    statement = upsert(dialect, ImageRow.table)
    known = {name: statement.excluded[name] for name in ("width", "height", "format", "incomplete")}
    return statement.on_conflict_do_update(index_elements=["digest"], set_=known, where=ImageRow.width == literal_column("0"))


def store_images(connection: Connection, batch: CommitBatch) -> dict[bytes, int]:
    """Add a batch's images; return the ids of all images that it names, by digest."""
    # In one order, so that transactions that add the same images do not wait for each other.
    new = sorted((entry.image for entry in batch.predicted), key=lambda image: image.digest)
    if new:
        rows = [
            {"digest": i.digest, "width": i.width, "height": i.height, "format": i.format, "incomplete": int(i.incomplete)}
            for i in new
        ]
        upsert_many(connection, upsert_image(connection.dialect.name), rows)
    digests = {image.digest for image in new} | {digest for _, digest in batch.linked}
    ids: dict[bytes, int] = {}
    for chunk in chunks(sorted(digests)):
        found = connection.execute(select(ImageRow.digest, ImageRow.id).where(among(connection, ImageRow.digest, chunk)))
        ids.update((digest, image_id) for digest, image_id in found)
    return ids


def files_in_folder(
    folder: bytes, analyzers: Sequence[RunAnalyzer], *conditions: ColumnElement[bool]
) -> Select[*tuple[Any, ...]]:
    """Select the known files of a folder, with whether all analyzers have predictions of them."""
    predicted = predicted_by_all(analyzers)
    stamp = (FileRow.size, FileRow.mtime_ns, FileRow.change)
    columns = (FileRow.name, FileRow.id, *stamp, FileRow.state, FileRow.failure_kind, FileRow.failure_reason, predicted)
    return select(*columns).join(FolderRow.table, FolderRow.id == FileRow.folder_id).where(FolderRow.path == folder, *conditions)


def folders_in_list() -> Select[bytes]:
    """Select the paths of known folders at or below the paths in `PATH_LIST`, sorted."""
    return select(FolderRow.path).where(FolderRow.id.in_(folder_ids_in_list())).order_by(FolderRow.path)


def unchanged_folders(analyzers: Sequence[RunAnalyzer]) -> Select[*tuple[Any, ...]]:
    """Select folders in or below `PATH_LIST` that a run with the same analyzers listed, without pending or failed files.

    Each has the digest of its listing.
    """
    unfinished = select(FileRow.folder_id).where(FileRow.state.in_((FileState.PENDING, FileState.FAILED)))
    complete = (FolderRow.listing.is_not(None), FolderRow.id.not_in(unfinished))
    return select(FolderRow.path, FolderRow.listing).where(
        FolderRow.id.in_(folder_ids_in_list()), listed_by(analyzers), *complete
    )


def pending_files() -> Select[*tuple[Any, ...]]:
    """Select the folder and name of every pending file."""
    return select(FolderRow.path, FileRow.name).join(FolderRow.table, FolderRow.id == FileRow.folder_id).where(_PENDING)


def next_pending(after: int, limit: int) -> Select[*tuple[Any, ...]]:
    """Select the next pending files, by id."""
    return (
        select(FileRow.id, FolderRow.path, FileRow.name, FileRow.size, FileRow.mtime_ns, FileRow.change, FolderRow.source)
        .join(FolderRow.table, FolderRow.id == FileRow.folder_id)
        .where(_PENDING, FileRow.id > after)
        .order_by(FileRow.id)
        .limit(limit)
    )


_PENDING = FileRow.state == inline(FileState.PENDING.value)
