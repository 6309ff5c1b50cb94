"""Rows of hidden images."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from db.schema import FileRow, HiddenRow, ImageRow
from db.sql.dialect import among, chunks, insert_missing
from db.sql.search_queries import is_live


def write_hidden(connection: Connection, hidden: Mapping[bytes, bool], now: float) -> None:
    """Hide images by digest, or show them again. Unknown digests are skipped. `now` is in seconds since the epoch."""
    for chunk in chunks(sorted(hidden)):
        known = connection.execute(select(ImageRow.id, ImageRow.digest).where(ImageRow.digest.in_(chunk))).all()
        connection.execute(delete(HiddenRow.table).where(HiddenRow.image_id.in_([image_id for image_id, _ in known])))
        rows = [{"image_id": image_id, "hidden_at": now} for image_id, digest in known if hidden[digest]]
        if rows:
            connection.execute(insert(HiddenRow.table), rows)


def follow_hidden(connection: Connection, targets: Mapping[int, int | None]) -> None:
    """Hide the new images of files whose images are hidden, however much they changed. Call this before the files change.

    `targets` are the new images of the files by id; None for a file that failed. The mark of an image without other files goes.
    """
    marks: dict[int, float] = {}
    left: set[int] = set()
    for some in chunks(targets):
        query = select(FileRow.id, FileRow.image_id, HiddenRow.hidden_at).join(
            HiddenRow.table, HiddenRow.image_id == FileRow.image_id
        )
        for file_id, old, hidden_at in connection.execute(query.where(among(connection, FileRow.id, some))):
            new = targets[file_id]
            if old is not None and new is not None and new != old:
                marks[new] = hidden_at
                left.add(old)
    if not marks:
        return
    rows = [{"image_id": image_id, "hidden_at": hidden_at} for image_id, hidden_at in marks.items()]
    connection.execute(insert_missing(connection.dialect.name, HiddenRow.table), rows)
    for some in chunks(sorted(left)):
        live = connection.execute(select(FileRow.id, FileRow.image_id).where(is_live(), FileRow.image_id.in_(some)))
        kept = {image_id for file_id, image_id in live if targets.get(file_id, image_id) == image_id}
        connection.execute(delete(HiddenRow.table).where(HiddenRow.image_id.in_(set(some) - kept)))
