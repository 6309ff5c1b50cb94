"""Repair of a database, in the caller's transaction. Computed rows may be deleted; files and labels are always kept.

Every step finds the rows that it repairs by itself, so that an intact database stays as it is.
"""

# ruff: noqa: S608  # names in the SQL are constants of this program

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Mapping

from db.sqlite.check import BAD_REGIONS, BAD_STATE, MISPLACED, NO_EMBEDDING, NO_PREDICTION, UNREAD
from db.sqlite.check_values import broken_embeddings, broken_predictions
from db.sqlite.errors import reading_rows
from db.sqlite.model_rows import COLUMNS, card_to_values, stored_cards
from indexer.domain.files import FileStamp
from indexer.domain.models import ModelCard, with_precision

DigestOf = Callable[[bytes, FileStamp], bytes | None]
"""Function from a path and a stamp to the digest of the file; None if it is unreadable or has another stamp."""

_FORGET = """
DELETE FROM predictions WHERE EXISTS (
    SELECT 1 FROM broken WHERE broken.image_id = predictions.image_id AND broken.model_id = predictions.model_id
);
UPDATE files SET state = 'pending', failure_kind = NULL, failure_reason = NULL
    WHERE state = 'done' AND image_id IN (SELECT image_id FROM broken);
"""
_MISSING_IMAGES = """
SELECT DISTINCT image_id FROM (SELECT image_id FROM files UNION SELECT image_id FROM labels UNION SELECT image_id FROM hidden)
WHERE image_id IS NOT NULL AND image_id NOT IN (SELECT id FROM images)
"""


def repair(connection: sqlite3.Connection, installed: Mapping[str, ModelCard], digest_of: DigestOf, recovered: bool) -> None:
    """Repair all that `examine` finds in rows.

    `installed` are the cards of the installed models by key; `recovered` means that the database was salvaged, so that any row
    may be missing. Raises StoreDamaged for values that cannot be unpacked.
    """
    with reading_rows(connection):
        _repair(connection, installed, digest_of, recovered)


def _repair(connection: sqlite3.Connection, installed: Mapping[str, ModelCard], digest_of: DigestOf, recovered: bool) -> None:
    connection.execute(
        "CREATE TEMP TABLE broken (image_id INTEGER, model_id INTEGER, PRIMARY KEY (image_id, model_id)) WITHOUT ROWID"
    )
    # After a repair, the next index run compares every folder file by file.
    connection.execute("UPDATE folders SET listing = NULL, listed_model_id = NULL, listed_finder_id = NULL, listed_further = ''")
    before = _predicted(connection)
    _repair_models(connection, installed)
    _repair_references(connection)
    _repair_images(connection, digest_of)
    connection.execute(f"UPDATE files SET state = 'pending', failure_kind = NULL, failure_reason = NULL WHERE {BAD_STATE}")
    changed = _repair_predictions(connection)
    if recovered:
        connection.execute(
            "UPDATE files SET state = 'pending' WHERE state = 'done' AND image_id NOT IN (SELECT image_id FROM predictions)"
        )
    after = _predicted(connection)
    _renew_generations(
        connection,
        {model for model in before.keys() | after if recovered or model in changed or after.get(model) != before.get(model)},
    )
    connection.execute("UPDATE runs SET outcome = 'died', ended_at = started_at WHERE outcome = 'running'")
    connection.execute("DROP TABLE broken")


def _repair_models(connection: sqlite3.Connection, installed: Mapping[str, ModelCard]) -> None:
    """Restore the cards of models from installed models; delete models without a card."""
    known = connection.execute("SELECT id, key, weights_digest, precision FROM models").fetchall()
    by_weights = {card.weights_digest: card for card in installed.values()}
    bad = {number for number, card in stored_cards(connection).items() if card is None}
    for number, key, weights, precision in known:
        card = installed.get(key) or by_weights.get(weights)
        card = None if card is None else with_precision(card, precision)
        if (
            number in bad
            and card is not None
            and not connection.execute("SELECT 1 FROM models WHERE key = ? AND id != ?", (card.key, number)).fetchone()
        ):
            connection.execute(
                f"UPDATE models SET {', '.join(f'{column} = ?' for column in COLUMNS)} WHERE id = ?",
                (*card_to_values(card), number),
            )
            bad.discard(number)
    cards = {number: card for number, card in stored_cards(connection).items() if card is not None}
    for number, card in cards.items():
        connection.execute(
            "INSERT OR IGNORE INTO embedders (id, key) SELECT embedder_id, ? FROM models WHERE id = ? "
            "AND embedder_id NOT IN (SELECT id FROM embedders)",
            (card.embedder_key, number),
        )
        connection.execute(
            "UPDATE models SET embedder_id = (SELECT id FROM embedders WHERE key = ?) WHERE id = ? "
            "AND embedder_id NOT IN (SELECT id FROM embedders)",
            (card.embedder_key, number),
        )
    for number in bad:
        connection.execute("DELETE FROM models WHERE id = ?", (number,))
    if not cards and installed:  # runs refer to a model
        _add_model(connection, next(iter(installed.values())))


def _add_model(connection: sqlite3.Connection, card: ModelCard) -> None:
    connection.execute("INSERT OR IGNORE INTO embedders (key) VALUES (?)", (card.embedder_key,))
    connection.execute(
        f"INSERT INTO models ({', '.join(COLUMNS)}, embedder_id) SELECT {', '.join('?' * len(COLUMNS))}, id FROM embedders "
        "WHERE key = ?",
        (*card_to_values(card), card.embedder_key),
    )


def _repair_references(connection: sqlite3.Connection) -> None:
    """Give rows with broken references a row to refer to, or delete them if they can be computed again."""
    for statement in (
        "INSERT OR IGNORE INTO broken SELECT image_id, model_id FROM predictions "
        "WHERE finder_id IS NOT NULL AND finder_id NOT IN (SELECT id FROM finders)",
        "DELETE FROM predictions WHERE model_id NOT IN (SELECT id FROM models)",
        "DELETE FROM generations WHERE model_id NOT IN (SELECT id FROM models)",
        "DELETE FROM embeddings WHERE embedder_id NOT IN (SELECT id FROM embedders)",
        "UPDATE runs SET model_id = (SELECT min(id) FROM models) WHERE model_id NOT IN (SELECT id FROM models)",
        "UPDATE runs SET finder_id = NULL WHERE finder_id IS NOT NULL AND finder_id NOT IN (SELECT id FROM finders)",
        "DELETE FROM run_models WHERE run_id NOT IN (SELECT id FROM runs) OR model_id NOT IN (SELECT id FROM models)",
        "UPDATE run_models SET finder_id = NULL WHERE finder_id IS NOT NULL AND finder_id NOT IN (SELECT id FROM finders)",
        "INSERT INTO runs (started_at, ended_at, roots, model_id, pid, outcome, counts) "
        "SELECT 0, 0, '[]', min(id), 0, 'died', '{}' FROM models WHERE NOT EXISTS (SELECT 1 FROM runs) "
        "AND EXISTS (SELECT 1 FROM files) HAVING min(id) IS NOT NULL",
        "UPDATE files SET appeared_run_id = (SELECT min(id) FROM runs) WHERE appeared_run_id NOT IN (SELECT id FROM runs)",
        # A file whose folder is lost keeps its image; it is marked gone, and the next index run finds the file again.
        "INSERT INTO folders (id, path) SELECT DISTINCT folder_id, CAST('/lost-folder-' || folder_id AS BLOB) FROM files "
        "WHERE folder_id NOT IN (SELECT id FROM folders)",
    ):
        connection.execute(statement)
    connection.execute(
        "UPDATE files SET state = 'gone', failure_kind = NULL, failure_reason = NULL WHERE state != 'gone' AND folder_id IN "
        "(SELECT id FROM folders WHERE path = CAST('/lost-folder-' || id AS BLOB))"
    )


def _repair_images(connection: sqlite3.Connection, digest_of: DigestOf) -> None:
    """Restore images that files and labels refer to: the digest from a file's bytes or, for a label, from the image's id."""
    for (image_id,) in connection.execute("SELECT id FROM images WHERE length(digest) != 32").fetchall():
        connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
    for (image_id,) in connection.execute(_MISSING_IMAGES).fetchall():
        _restore_image(connection, image_id, _from_file(connection, image_id, digest_of))
    connection.execute("UPDATE images SET width = 0, height = 0 WHERE width <= 0 OR height <= 0")
    connection.execute("DELETE FROM predictions WHERE image_id NOT IN (SELECT id FROM images)")
    connection.execute("DELETE FROM embeddings WHERE image_id NOT IN (SELECT id FROM images)")
    connection.execute(
        "INSERT OR IGNORE INTO broken SELECT image_id, model_id FROM predictions "
        f"WHERE image_id IN (SELECT id FROM images WHERE {UNREAD})"
    )
    connection.execute(
        f"UPDATE files SET state = 'pending' WHERE state = 'done' AND image_id IN (SELECT id FROM images WHERE {UNREAD})"
    )


def _from_file(connection: sqlite3.Connection, image_id: int, digest_of: DigestOf) -> bytes | None:
    query = (
        "SELECT folders.path, files.name, size, mtime_ns FROM files JOIN folders ON folders.id = folder_id "
        "WHERE image_id = ? AND state = 'done'"
    )
    for folder, name, size, mtime in connection.execute(query, (image_id,)).fetchall():
        digest = digest_of(os.path.join(folder, name), FileStamp(size, mtime))
        if digest is not None:
            return digest
    return None


def _restore_image(connection: sqlite3.Connection, image_id: int, digest: bytes | None) -> None:
    labeled = connection.execute(
        "SELECT 1 FROM (SELECT image_id FROM labels UNION SELECT image_id FROM hidden) WHERE image_id = ?", (image_id,)
    ).fetchone()
    same = connection.execute("SELECT id FROM images WHERE digest = ?", (digest,)).fetchone() if digest else None
    if same is not None:
        connection.execute("UPDATE files SET image_id = ? WHERE image_id = ?", (same[0], image_id))
        connection.execute("UPDATE OR IGNORE labels SET image_id = ? WHERE image_id = ?", (same[0], image_id))
        connection.execute("DELETE FROM labels WHERE image_id = ?", (image_id,))
        connection.execute("UPDATE OR IGNORE hidden SET image_id = ? WHERE image_id = ?", (same[0], image_id))
        connection.execute("DELETE FROM hidden WHERE image_id = ?", (image_id,))
    elif digest is not None or labeled:
        known = digest or image_id.to_bytes(32)
        connection.execute("INSERT INTO images (id, digest, width, height, format) VALUES (?, ?, 0, 0, '')", (image_id, known))
    else:
        connection.execute(
            "UPDATE files SET image_id = NULL, state = iif(state = 'gone', 'gone', 'pending') WHERE image_id = ?", (image_id,)
        )


def _repair_predictions(connection: sqlite3.Connection) -> set[int]:
    """Delete broken predictions, and correct emotions and scores.

    A broken prediction is deleted with all regions of its image. Returns the ids of the models with corrections.
    """
    installed = stored_cards(connection)
    changed: set[int] = set()
    corrected = []
    for chunk in broken_predictions(connection, installed, _no_progress):
        for one in chunk:
            if one.emotion is None:
                connection.execute("INSERT OR IGNORE INTO broken VALUES (?, ?)", (one.image_id, one.model_id))
            else:
                corrected.append((one.emotion, one.score, one.id))
                changed.add(one.model_id)
    connection.executemany("UPDATE predictions SET emotion = ?, score = ? WHERE id = ?", corrected)
    spoiled = [one for chunk in broken_embeddings(connection, installed, _no_progress) for one in chunk]
    connection.executemany(
        "INSERT OR IGNORE INTO broken SELECT p.image_id, p.model_id FROM predictions p JOIN models m ON m.id = p.model_id "
        "WHERE p.image_id = ? AND m.embedder_id = ?",
        [(one.image_id, one.embedder_id) for one in spoiled],
    )
    connection.executemany("DELETE FROM embeddings WHERE id = ?", [(one.id,) for one in spoiled])
    connection.execute(
        "INSERT OR IGNORE INTO broken SELECT p.image_id, p.model_id FROM predictions p JOIN models m ON m.id = p.model_id "
        f"WHERE {NO_EMBEDDING}"
    )
    connection.execute(f"INSERT OR IGNORE INTO broken {BAD_REGIONS}")
    connection.execute(
        "UPDATE predictions SET digest_start = (SELECT substr(digest, 1, 16) FROM images WHERE images.id = image_id) WHERE id IN "
        f"(SELECT p.id FROM predictions p JOIN images i ON i.id = p.image_id WHERE {MISPLACED})"
    )
    for statement in _FORGET.split(";"):
        connection.execute(statement)
    connection.execute(f"DELETE FROM embeddings WHERE {NO_PREDICTION}")
    return changed


def _predicted(connection: sqlite3.Connection) -> dict[int, tuple[int, int, bool]]:
    """Return, for each model, the number of predictions, the greatest id, and whether it is newer than every generation."""
    query = (
        "SELECT model_id, count(*), max(id), max(id) > coalesce((SELECT max(last_prediction_id) FROM generations g "
        "WHERE g.model_id = p.model_id), 0) FROM predictions p GROUP BY model_id"
    )
    return {model: (number, last, bool(behind)) for model, number, last, behind in connection.execute(query)}


def _renew_generations(connection: sqlite3.Connection, models: set[int]) -> None:
    """Replace the generations of models by a new one, so that no earlier vector index is used any more."""
    behind = {model for model, (_, _, late) in _predicted(connection).items() if late}
    for model in models | behind:
        connection.execute("DELETE FROM generations WHERE model_id = ?", (model,))
        connection.execute(
            "INSERT INTO generations (model_id, last_prediction_id, token) "
            "SELECT ?, max(id), ? FROM predictions WHERE model_id = ? HAVING max(id) IS NOT NULL",
            (model, secrets.token_hex(16), model),
        )


def _no_progress(_rows: int) -> None:
    """Ignore progress: the check before the repair has reported it."""
