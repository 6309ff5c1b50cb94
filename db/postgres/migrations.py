"""Migrations: a new database gets the tables of this version; an older one the steps that it has not had."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

from db.indexes import full_metadata
from db.schema import METADATA
from db.sql.locks import MIGRATIONS, lock_until_end
from indexer.domain.errors import ForeignDatabase, MoodexError

# Searches order equal scores by digest.
_ORDER_OF_EQUALS = (
    "ALTER TABLE marks DROP COLUMN prediction_id, ADD COLUMN digest_start BYTEA, "
    "ALTER COLUMN score DROP NOT NULL, ALTER COLUMN file_id DROP NOT NULL",
    "DROP INDEX predictions_by_score",
    "ALTER TABLE predictions ADD COLUMN digest_start BYTEA",
    "UPDATE predictions SET digest_start = substr(images.digest, 1, 16) FROM images WHERE images.id = predictions.image_id",
    "CREATE INDEX predictions_by_score ON predictions (model_id, emotion, score DESC, digest_start, image_id, region, id)",
)
# A run may have several models, and so may the run that listed a folder.
_RUN_MODELS = (
    """CREATE TABLE run_models (
    id BIGSERIAL PRIMARY KEY, run_id BIGINT NOT NULL REFERENCES runs(id), model_id BIGINT NOT NULL REFERENCES models(id),
    finder_id BIGINT REFERENCES finders(id)
)""",
    "CREATE INDEX run_models_by_run ON run_models (run_id)",
    """ALTER TABLE folders ADD COLUMN listed_further TEXT COLLATE "C" NOT NULL DEFAULT ''""",
)
# Look-alikes weigh by their similarity, where they once weighed alike. All are read beside each other again.
_WEIGHTED_LOOK_ALIKES = ("UPDATE predictions SET compared_to = 0 WHERE compared_to > 0",)


def _execute(*statements: str) -> Callable[[Connection], None]:
    """Return a step that executes statements in order."""

    def step(connection: Connection) -> None:
        for statement in statements:
            connection.execute(text(statement))

    return step


_FIRST = "0001_first_schema"
LATER_STEPS: tuple[tuple[str, Callable[[Connection], None]], ...] = (
    ("0015_order_of_equals", _execute(*_ORDER_OF_EQUALS)),
    ("0016_run_models", _execute(*_RUN_MODELS)),
    ("0017_weighted_look_alikes", _execute(*_WEIGHTED_LOOK_ALIKES)),
)
"""The steps after the first version, by name. Never edit a step that was released."""

_LEAST_SERVER, _LEAST_VECTOR = 160_000, (0, 8)

# Each changes the folders in the order of their ids: two transactions then do not wait for each other.
_TRIGGERS = (
    """CREATE FUNCTION forget_listings_of_predictions() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE folders SET listing = NULL WHERE id IN (
        SELECT id FROM folders WHERE listing IS NOT NULL AND id IN (
            SELECT files.folder_id FROM files JOIN removed ON removed.image_id = files.image_id
        ) ORDER BY id FOR UPDATE
    );
    RETURN NULL;
END $$""",
    """CREATE TRIGGER listings_of_predictions AFTER DELETE ON predictions
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION forget_listings_of_predictions()""",
    """CREATE FUNCTION forget_listings_of_gone_files() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE folders SET listing = NULL WHERE id IN (
        SELECT id FROM folders WHERE listing IS NOT NULL AND id IN (
            SELECT folder_id FROM changed WHERE state = 'gone'
        ) ORDER BY id FOR UPDATE
    );
    RETURN NULL;
END $$""",
    """CREATE TRIGGER listings_of_gone_files AFTER UPDATE ON files
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION forget_listings_of_gone_files()""",
)

_VECTOR_INDEXES = """CREATE TABLE vector_indexes (
    model_key TEXT COLLATE "C" PRIMARY KEY, name TEXT NOT NULL, last_id BIGINT NOT NULL, token TEXT NOT NULL
)"""
"""The vector index of each model: its table, and the generation that it covers."""


def exists(connection: Connection) -> bool:
    """Return whether a database holds a library."""
    return connection.execute(text("SELECT to_regclass('migrations')")).scalar() is not None


def is_current(connection: Connection) -> bool:
    """Return whether a database has had every step. Reads only. Raises MoodexError for a database of a newer moodex."""
    had = _applied(connection)
    unknown = sorted(had - {_FIRST} - {name for name, _ in LATER_STEPS})
    if unknown:
        raise MoodexError(f"This database was written by a newer moodex (schema step {unknown[-1]}); update moodex to use it.")
    return len(had) == 1 + len(LATER_STEPS)


def migrate(connection: Connection) -> None:
    """Create the tables, or apply the steps that a database has not had, in the caller's transaction.

    Raises ForeignDatabase if the database has tables of these names, and MoodexError if the server or its pgvector is too old.
    """
    lock_until_end(connection, MIGRATIONS)
    if is_current(connection):
        return
    had = _applied(connection)
    if not had:
        _create(connection)
    new = {_FIRST, *(name for name, _ in LATER_STEPS)} - had
    if had:
        for name, step in LATER_STEPS:
            if name in new:
                step(connection)
    connection.execute(
        text("INSERT INTO migrations (name, applied_at) VALUES (:name, :now)"),
        [{"name": name, "now": time.time()} for name in sorted(new)],
    )


def _create(connection: Connection) -> None:
    taken = [name for name in METADATA.tables if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar()]
    if taken:
        raise ForeignDatabase(
            f"The database of --store has a table {taken[0]!r} of another program. Nothing was changed; give moodex a database "
            "that is empty."
        )
    _require_server(connection)
    connection.execute(text('CREATE TABLE migrations (name TEXT COLLATE "C" PRIMARY KEY, applied_at DOUBLE PRECISION NOT NULL)'))
    full_metadata().create_all(connection)
    for statement in (*_TRIGGERS, _VECTOR_INDEXES):
        connection.execute(text(statement))


def _require_server(connection: Connection) -> None:
    """Add pgvector to the database. Raises MoodexError if it is missing or, like the server, too old."""
    server = int(connection.execute(text("SHOW server_version_num")).scalar_one())
    offered = connection.execute(text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")).scalar()
    if server < _LEAST_SERVER or offered is None or tuple(map(int, offered.split(".")[:2])) < _LEAST_VECTOR:
        raise MoodexError(
            f"moodex needs PostgreSQL 16 with pgvector 0.8, or later; this server is PostgreSQL {server // 10_000} "
            f"{f'with pgvector {offered}' if offered else 'without pgvector'}. Update it, or install pgvector on it."
        )
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))


def _applied(connection: Connection) -> set[str]:
    return set(connection.execute(text("SELECT name FROM migrations")).scalars()) if exists(connection) else set()
