"""Migrations: named steps of the schema, each applied once and recorded in the same transaction."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from db.schema import METADATA
from indexer.domain.errors import ForeignDatabase, MoodexError, StoreDamaged

FIRST_SCHEMA = (
    "CREATE TABLE folders (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE)",
    """CREATE TABLE images (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, width INTEGER NOT NULL, height INTEGER NOT NULL, format TEXT NOT NULL
)""",
    """CREATE TABLE models (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, architecture TEXT NOT NULL,
    weights_digest TEXT NOT NULL, labels JSON NOT NULL, input JSON NOT NULL, embedding_size INTEGER NOT NULL
)""",
    """CREATE TABLE runs (
    id INTEGER PRIMARY KEY, started_at REAL NOT NULL, ended_at REAL, roots JSON NOT NULL,
    model_id INTEGER NOT NULL REFERENCES models(id), pid INTEGER NOT NULL, outcome TEXT NOT NULL, counts JSON NOT NULL
)""",
    """CREATE TABLE files (
    id INTEGER PRIMARY KEY, folder_id INTEGER NOT NULL REFERENCES folders(id), name BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('done', 'failed', 'pending', 'gone')),
    failure_kind TEXT, failure_reason TEXT,
    image_id INTEGER REFERENCES images(id), appeared_run_id INTEGER NOT NULL REFERENCES runs(id),
    CHECK (state != 'done' OR image_id IS NOT NULL),
    CHECK ((state = 'failed') = (failure_kind IS NOT NULL))
)""",
    "CREATE UNIQUE INDEX files_by_path ON files (folder_id, name)",
    "CREATE INDEX files_by_image ON files (image_id)",
    "CREATE INDEX files_waiting ON files (id) WHERE state = 'pending'",
    "CREATE INDEX files_failed ON files (id) WHERE state = 'failed'",
    """CREATE TABLE predictions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image_id INTEGER NOT NULL REFERENCES images(id),
    model_id INTEGER NOT NULL REFERENCES models(id), region INTEGER NOT NULL,
    "left" REAL, top REAL, "right" REAL, bottom REAL,
    emotion TEXT NOT NULL, score REAL NOT NULL CHECK (score BETWEEN 0 AND 1), probabilities BLOB NOT NULL,
    CHECK ((region = 0) = ("left" IS NULL))
)""",
    "CREATE UNIQUE INDEX predictions_by_image ON predictions (image_id, model_id, region)",
    "CREATE INDEX predictions_by_score ON predictions (model_id, emotion, score DESC, id)",
    """CREATE TABLE embeddings (
    prediction_id INTEGER PRIMARY KEY REFERENCES predictions(id) ON DELETE CASCADE, vector BLOB NOT NULL
)""",
    """CREATE TABLE generations (
    id INTEGER PRIMARY KEY, model_id INTEGER NOT NULL REFERENCES models(id),
    last_prediction_id INTEGER NOT NULL, token TEXT NOT NULL
)""",
    "CREATE INDEX generations_by_model ON generations (model_id, last_prediction_id)",
)

_LABELS = (
    "CREATE TABLE labels (image_id INTEGER PRIMARY KEY REFERENCES images(id), emotion TEXT NOT NULL, said_at REAL NOT NULL)",
    "CREATE INDEX labels_by_emotion ON labels (emotion)",
)

# Embeddings belong to an embedder, not to a prediction: models that differ only in their last layer share them.
_SHARED_EMBEDDINGS = (
    "CREATE TABLE embedders (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    "INSERT INTO embedders (id, key) SELECT id, key FROM models",
    "ALTER TABLE models ADD COLUMN spaces JSON NOT NULL DEFAULT '{}'",
    "ALTER TABLE models ADD COLUMN backbone_digest TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE models ADD COLUMN embedder_id INTEGER REFERENCES embedders(id)",
    "UPDATE models SET embedder_id = id",
    """CREATE TABLE shared (
    id INTEGER PRIMARY KEY, embedder_id INTEGER NOT NULL REFERENCES embedders(id),
    image_id INTEGER NOT NULL REFERENCES images(id), region INTEGER NOT NULL, vector BLOB NOT NULL
)""",
    """INSERT INTO shared (embedder_id, image_id, region, vector)
    SELECT predictions.model_id, predictions.image_id, predictions.region, embeddings.vector
    FROM embeddings JOIN predictions ON predictions.id = embeddings.prediction_id ORDER BY predictions.id""",
    "DROP TABLE embeddings",
    "ALTER TABLE shared RENAME TO embeddings",
    "CREATE UNIQUE INDEX embeddings_by_image ON embeddings (embedder_id, image_id, region)",
)

_FACES = (
    "CREATE TABLE finders (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE)",
    "ALTER TABLE runs ADD COLUMN finder_id INTEGER REFERENCES finders(id)",
    "ALTER TABLE predictions ADD COLUMN finder_id INTEGER REFERENCES finders(id)",
    "CREATE INDEX predictions_of_pictures ON predictions (model_id, region) WHERE region <= 1",
)

# Any page of a search by emotion is found in indexes alone; tables are read only for the hits of the page.
_PAGES = (
    "DROP INDEX predictions_by_score",
    "CREATE INDEX predictions_by_score ON predictions (model_id, emotion, score DESC, id, image_id, region)",
    "CREATE INDEX files_live ON files (image_id) WHERE state IN ('done', 'pending')",
)

_PRECISION = ("ALTER TABLE models ADD COLUMN precision TEXT NOT NULL DEFAULT 'fp32'",)

# A folder whose listing did not change since a run with the same analyzer need not be compared file by file.
_LISTINGS = (
    "ALTER TABLE folders ADD COLUMN listing BLOB",
    "ALTER TABLE folders ADD COLUMN listed_model_id INTEGER REFERENCES models(id)",
    "ALTER TABLE folders ADD COLUMN listed_finder_id INTEGER REFERENCES finders(id)",
    """CREATE TRIGGER listings_of_predictions AFTER DELETE ON predictions BEGIN
    UPDATE folders SET listing = NULL
    WHERE listing IS NOT NULL AND id IN (SELECT folder_id FROM files WHERE image_id = OLD.image_id);
END""",
    """CREATE TRIGGER listings_of_gone_files AFTER UPDATE OF state ON files WHEN NEW.state = 'gone' BEGIN
    UPDATE folders SET listing = NULL WHERE id = NEW.folder_id AND listing IS NOT NULL;
END""",
)

# Images without files and labels are deleted: with the index, SQLite finds their embeddings without reading all.
_SCHEDULE = (
    "ALTER TABLE runs ADD COLUMN reason TEXT",
    "ALTER TABLE files ADD COLUMN gone_at REAL",
    "UPDATE files SET gone_at = CAST(strftime('%s', 'now') AS REAL) WHERE state = 'gone'",
    "CREATE INDEX files_gone ON files (gone_at) WHERE state = 'gone'",
    "CREATE INDEX embeddings_by_picture ON embeddings (image_id)",
    """CREATE TABLE jobs (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, roots JSON NOT NULL, cron TEXT, every REAL CHECK (every > 0),
    watch INTEGER NOT NULL,
    options JSON NOT NULL, added_at REAL NOT NULL, begun_at REAL, ended_at REAL, succeeded_at REAL, retry_at REAL,
    outcome TEXT, reason TEXT, failures INTEGER NOT NULL DEFAULT 0
)""",
)

# Page anchors store ranks. Every change of a file or prediction shifts later ranks, so triggers delete all anchors.
_MARKS = (
    """CREATE TABLE marks (
    model_id INTEGER NOT NULL REFERENCES models(id), emotions TEXT NOT NULL, place INTEGER NOT NULL,
    score REAL NOT NULL, prediction_id INTEGER NOT NULL, file_id INTEGER NOT NULL,
    PRIMARY KEY (model_id, emotions, place)
)""",
    "CREATE TRIGGER marks_of_new_files AFTER INSERT ON files BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_files AFTER UPDATE OF image_id, state ON files BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_lost_files AFTER DELETE ON files BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_new_predictions AFTER INSERT ON predictions BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_predictions AFTER UPDATE ON predictions BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_lost_predictions AFTER DELETE ON predictions BEGIN DELETE FROM marks; END",
)


# Prepares for other image sources. Every folder indexed before this step is in the file system.
_SOURCES = ("ALTER TABLE folders ADD COLUMN source TEXT NOT NULL DEFAULT 'file'",)

# A prediction is read beside its look-alikes once it is stored. Of older ones, none was.
_LOOK_ALIKES = (
    "ALTER TABLE predictions ADD COLUMN compared_to INTEGER NOT NULL DEFAULT -1",
    "CREATE INDEX predictions_uncompared ON predictions (model_id, id) WHERE compared_to <= 0",
)

# Which frame of an animation a prediction is of, whether the end of an image file is missing, and what near-duplicates share.
_FRAMES = (
    "ALTER TABLE predictions ADD COLUMN frame INTEGER",
    "ALTER TABLE images ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE embeddings ADD COLUMN fingerprint BLOB",
)

# A page anchor counts hits, and hidden images are none.
_HIDDEN = (
    "CREATE TABLE hidden (image_id INTEGER PRIMARY KEY REFERENCES images(id), hidden_at REAL NOT NULL)",
    "CREATE TRIGGER marks_of_hidden_pictures AFTER INSERT ON hidden BEGIN DELETE FROM marks; END",
    "CREATE TRIGGER marks_of_shown_pictures AFTER DELETE ON hidden BEGIN DELETE FROM marks; END",
)

# Searches by tag begin with the tag or, where another condition names few images, with the image.
_TAGS = (
    "CREATE TABLE tags (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    """CREATE TABLE image_tags (
    id INTEGER PRIMARY KEY, embedder_id INTEGER NOT NULL REFERENCES embedders(id),
    image_id INTEGER NOT NULL REFERENCES images(id), tag_id INTEGER NOT NULL REFERENCES tags(id),
    score REAL NOT NULL CHECK (score BETWEEN 0 AND 1)
)""",
    "CREATE UNIQUE INDEX image_tags_by_image ON image_tags (image_id, embedder_id, tag_id)",
    "CREATE INDEX image_tags_by_tag ON image_tags (tag_id, embedder_id, image_id)",
)

# Searches order equal scores by digest. Page anchors that are lost are built again at the end of a run.
_ORDER_OF_EQUALS = (
    "DROP TABLE marks",
    """CREATE TABLE marks (
    model_id INTEGER NOT NULL REFERENCES models(id), emotions TEXT NOT NULL, place INTEGER NOT NULL,
    score REAL, digest_start BLOB, file_id INTEGER,
    PRIMARY KEY (model_id, emotions, place)
)""",
    "DROP INDEX predictions_by_score",
    "ALTER TABLE predictions ADD COLUMN digest_start BLOB",
    "UPDATE predictions SET digest_start = (SELECT substr(digest, 1, 16) FROM images WHERE images.id = image_id)",
    "CREATE INDEX predictions_by_score ON predictions (model_id, emotion, score DESC, digest_start, image_id, region, id)",
)

# A run may have several models, and so may the run that listed a folder.
_RUN_MODELS = (
    """CREATE TABLE run_models (
    id INTEGER PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES runs(id), model_id INTEGER NOT NULL REFERENCES models(id),
    finder_id INTEGER REFERENCES finders(id)
)""",
    "CREATE INDEX run_models_by_run ON run_models (run_id)",
    "ALTER TABLE folders ADD COLUMN listed_further TEXT NOT NULL DEFAULT ''",
)

# Look-alikes weigh by their similarity, where they once weighed alike. All are read beside each other again.
_WEIGHTED_LOOK_ALIKES = ("UPDATE predictions SET compared_to = 0 WHERE compared_to > 0",)


def _files_of_a_library(connection: Connection) -> None:
    """Add what recognizes files: roots, changes that no program can hide, and the last paths of labels."""
    for statement in (
        "CREATE TABLE roots (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, indexed_at REAL NOT NULL)",
        "ALTER TABLE files ADD COLUMN change INTEGER",
        "ALTER TABLE labels ADD COLUMN last_path BLOB",
    ):
        connection.execute(text(statement))
    indexed: dict[bytes, float] = {}
    for roots, started_at in connection.execute(text("SELECT roots, started_at FROM runs WHERE outcome = 'done' ORDER BY id")):
        indexed |= dict.fromkeys(map(os.fsencode, json.loads(roots)), started_at)
    if indexed:
        connection.execute(
            text("INSERT INTO roots (path, indexed_at) VALUES (:path, :at)"),
            [{"path": path, "at": at} for path, at in indexed.items()],
        )


def _execute(*statements: str) -> Callable[[Connection], None]:
    """Return a step that executes statements in order."""

    def step(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return step


STEPS: tuple[tuple[str, Callable[[Connection], None]], ...] = (
    ("0001_first_schema", _execute(*FIRST_SCHEMA)),
    ("0002_labels", _execute(*_LABELS)),
    ("0003_shared_embeddings", _execute(*_SHARED_EMBEDDINGS)),
    ("0004_faces", _execute(*_FACES)),
    ("0005_pages", _execute(*_PAGES)),
    ("0006_precision", _execute(*_PRECISION)),
    ("0007_listings", _execute(*_LISTINGS)),
    ("0008_schedule", _execute(*_SCHEDULE)),
    ("0009_marks", _execute(*_MARKS)),
    ("0010_sources", _execute(*_SOURCES)),
    ("0011_look_alikes", _execute(*_LOOK_ALIKES)),
    ("0012_files", _files_of_a_library),
    ("0013_frames_and_hidden", _execute(*_FRAMES, *_HIDDEN)),
    ("0014_tags", _execute(*_TAGS)),
    ("0015_order_of_equals", _execute(*_ORDER_OF_EQUALS)),
    ("0016_run_models", _execute(*_RUN_MODELS)),
    ("0017_weighted_look_alikes", _execute(*_WEIGHTED_LOOK_ALIKES)),
)


def is_current(connection: Connection) -> bool:
    """Return whether a database has had every step. Reads only.

    Raises MoodexError for a database of a newer moodex, ForeignDatabase for one of another program, StoreDamaged if its record of
    steps is not readable.
    """
    had = _applied(connection)
    tables = set(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    if tables and STEPS[0][0] not in had:
        if {"migrations", *METADATA.tables} <= tables:
            raise StoreDamaged(
                "The database is damaged: the record of its schema steps is lost. Nothing was changed; see what can be saved: "
                "moodex doctor --repair"
            )
        raise ForeignDatabase(
            "The database file belongs to another program. Nothing was changed; move it away, or choose another folder with "
            "--home."
        )
    unknown = sorted(had - {name for name, _ in STEPS})
    if unknown:
        raise MoodexError(f"This database was written by a newer moodex (schema step {unknown[-1]}); update moodex to use it.")
    return len(had) == len(STEPS)


def migrate(connection: Connection) -> None:
    """Apply the steps that a database has not had, in the caller's transaction."""
    connection.execute(text("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"))
    had = _applied(connection)
    for name, step in STEPS:
        if name not in had:
            step(connection)
            connection.execute(
                text("INSERT INTO migrations (name, applied_at) VALUES (:name, :now)"), {"name": name, "now": time.time()}
            )


def _applied(connection: Connection) -> set[str]:
    if not connection.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'migrations'")).scalar():
        return set()
    return set(connection.execute(text("SELECT name FROM migrations")).scalars())
