"""Rows of hidden images."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from db.schema import HiddenRow, ImageRow
from db.sql.dialect import chunks


def write_hidden(connection: Connection, hidden: Mapping[bytes, bool], now: float) -> None:
    """Hide images by digest, or show them again. Unknown digests are skipped. `now` is in seconds since the epoch."""
    for chunk in chunks(sorted(hidden)):
        known = connection.execute(select(ImageRow.id, ImageRow.digest).where(ImageRow.digest.in_(chunk))).all()
        connection.execute(delete(HiddenRow.table).where(HiddenRow.image_id.in_([image_id for image_id, _ in known])))
        rows = [{"image_id": image_id, "hidden_at": now} for image_id, digest in known if hidden[digest]]
        if rows:
            connection.execute(insert(HiddenRow.table), rows)
