"""Rows of labels: emotions that a user assigned to images."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from db.schema import ImageRow, LabelRow, RunRow
from db.sql.dialect import chunks
from db.sql.prediction_rows import rewrite_predictions
from indexer.domain.runs import RUNNING


def write_labels(connection: Connection, emotions: Mapping[bytes, str | None], now: float) -> None:
    """Set the labels of images by digest, and rewrite their predictions; None removes a label.

    Unknown digests are skipped. `now` is in seconds since the epoch. During a run, the predictions are compared again: the run
    reads others beside them, and does not find them under their new ids.
    """
    is_run_in_progress = connection.execute(select(RunRow.id).where(RunRow.outcome == RUNNING).limit(1)).first() is not None
    for chunk in chunks(sorted(emotions)):
        known = connection.execute(select(ImageRow.id, ImageRow.digest).where(ImageRow.digest.in_(chunk))).all()
        assigned = {image_id: emotions[digest] for image_id, digest in known}
        connection.execute(delete(LabelRow.table).where(LabelRow.image_id.in_(assigned)))
        rows = [
            {"image_id": image_id, "emotion": emotion, "said_at": now}
            for image_id, emotion in assigned.items()
            if emotion is not None
        ]
        if rows:
            connection.execute(insert(LabelRow.table), rows)
        rewrite_predictions(connection, list(assigned), compare_again=is_run_in_progress)
