"""Checks of a library on a server. Copies, restoration and damaged pages are the server's."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sqlalchemy import Connection, text

from db.postgres.engine import READING, open_engine
from db.postgres.errors import translate_postgres_errors
from db.sql.model_rows import card_from_row
from db.sql.read_statements import MODELS
from db.sqlite.check import COUNT_QUERIES, TABLES
from db.sqlite.check_values import broken_embeddings, broken_predictions
from indexer.domain.errors import UsageError
from indexer.domain.health import Finding

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from indexer.domain.models import ModelCard
    from indexer.ports.maintenance import DigestOf

_NO_COLUMN_TYPES = "labels_broken"
"""The check of values that no column of PostgreSQL holds."""

_PLACE = (
    "SELECT folders.path, files.name FROM files JOIN folders ON folders.id = files.folder_id WHERE {column} = :row "
    "ORDER BY files.id LIMIT 1"
)
_DEAD_RUNS = """SELECT count(*), to_char(to_timestamp(max(started_at)), 'YYYY-MM-DD HH24:MI:SS') FROM runs
    WHERE outcome = 'running' AND NOT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = :kind
    AND objid = CAST(runs.id AS oid))"""


@dataclass(frozen=True, slots=True)
class PostgresMaintenance:
    """Implements `indexer.ports.maintenance.DatabaseMaintenance`, without what the server does."""

    url: URL
    place: str
    is_file = False

    def translate_errors(self) -> AbstractContextManager[None]:
        return translate_postgres_errors(self.place)

    def count_rows(self) -> dict[str, int]:
        with self._snapshot() as connection:
            return {table: _count(connection, f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608  # constants

    def check(self, writer: int | None, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        with self._snapshot() as connection:
            cards = _cards(connection)
            for kind, query in COUNT_QUERIES.items():
                check_stop()
                if kind != _NO_COLUMN_TYPES:
                    yield from _counted(connection, kind, query)
            yield from _broken_values(connection, cards, advance)
            yield from _dead_runs(connection)

    def check_vectors(self, check_stop: Callable[[], None], advance: Callable[[int], None]) -> Iterator[Finding]:
        with self._snapshot() as connection:
            behind, wrong = [], 0
            for model_id, card in _cards(connection).items():
                check_stop()
                index = connection.execute(
                    text("SELECT name, last_id FROM vector_indexes WHERE model_key = :key"), {"key": card.key}
                ).first()
                newest = "SELECT coalesce(max(id), 0) FROM predictions WHERE model_id = :model"
                if _count(connection, newest, model=model_id) > (index.last_id if index else 0):
                    behind.append(card.name)
                if index is not None:
                    query = _wrong_vectors(index.name)
                    wrong += _count(connection, query, model=model_id, last=index.last_id, labels=list(card.labels))
                advance(_count(connection, "SELECT count(*) FROM predictions WHERE model_id = :model", model=model_id))
            if behind:
                yield Finding("vectors_behind", len(behind), behind[0])
            if wrong:
                yield Finding("vectors_wrong", wrong, "")

    def orphan_files(self) -> list[Path]:
        return []

    def used_cards(self) -> list[ModelCard]:
        with self._snapshot() as connection:
            return list(_cards(connection).values())

    def copy_aside(self, why: str) -> Path:
        self._refuse("repair")

    def repair_rows(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, rebuild_indexes: bool) -> None:
        self._refuse("repair")

    def salvage(self, cards: Mapping[str, ModelCard], digest_of: DigestOf, advance: Callable[[int], None]) -> Mapping[str, int]:
        self._refuse("repair")

    def copy_to(self, target: Path, advance: Callable[[int, int], None], check_stop: Callable[[], None]) -> dict[str, int]:
        self._refuse("back up")

    def remove_copy(self, copy: Path) -> None:
        self._refuse("back up")

    def check_copy(self, copy: Path) -> None:
        self._refuse("restore")

    def replace_by(self, copy: Path) -> None:
        self._refuse("restore")

    def holds(self, path: Path) -> bool:
        return False

    def _refuse(self, task: str) -> NoReturn:
        raise UsageError(f"The library is in the {self.place}; {task} it with the tools of that server.")

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        engine: Engine = open_engine(self.url, keep=False)
        with translate_postgres_errors(self.place), engine.connect().execution_options(**READING) as connection:
            yield connection


class _Streamed:
    """A connection whose queries are read from the server in portions. Leaving it closes their cursors."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursors = ExitStack()

    def __enter__(self) -> _Streamed:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursors.close()

    def execute(self, query: str) -> Any:
        driver: Any = self._connection.connection.driver_connection
        return self._cursors.enter_context(driver.cursor(name=f"check_{id(query)}")).execute(query)


def _cards(connection: Connection) -> dict[int, ModelCard]:
    """Return the cards of the models with predictions, by id."""
    return {row.id: card_from_row(row._asdict()) for row in connection.execute(MODELS) if row.used}


def _count(connection: Connection, query: str, **values: object) -> int:
    return int(connection.execute(text(query), values).scalar_one())


def _counted(connection: Connection, kind: str, query: str) -> Iterator[Finding]:
    number, first, table = connection.execute(text(query)).one()
    if number and table == "models":
        name = connection.execute(text("SELECT name FROM models WHERE id = :row"), {"row": first}).scalar_one()
        yield Finding(kind, number, name)
    elif number:
        yield Finding(kind, number, _place(connection, "files.image_id" if table == "images" else "files.id", first))


def _broken_values(connection: Connection, cards: Mapping[int, ModelCard], advance: Callable[[int], None]) -> Iterator[Finding]:
    """Yield wrong predictions and embeddings."""
    images: dict[str, list[int]] = defaultdict(list)
    with _Streamed(connection) as streamed:
        for predictions in broken_predictions(streamed, cards, advance):
            for one in predictions:
                images["predictions_broken" if one.emotion is None else "emotions"].append(one.image_id)
        for embeddings in broken_embeddings(streamed, cards, advance):
            images["embeddings_broken"] += [broken.image_id for broken in embeddings]
    for kind, wrong in images.items():
        yield Finding(kind, len(wrong), _place(connection, "files.image_id", wrong[0]))


def _place(connection: Connection, column: str, row: int) -> str:
    """Return the path of a file, by its id or that of its image."""
    found = connection.execute(text(_PLACE.format(column=column)), {"row": row}).first()
    return f"image number {row}" if found is None else os.fsdecode(os.path.join(found[0], found[1]))


def _dead_runs(connection: Connection) -> Iterator[Finding]:
    from db.sql.locks import RUNS

    number, latest = connection.execute(text(_DEAD_RUNS), {"kind": RUNS}).one()
    if number:
        yield Finding("runs_died", number, f"the one of {latest}")


def _wrong_vectors(name: str) -> str:
    """Return the query of the predictions that an index lacks, or has with another emotion or score."""
    return (
        "SELECT count(*) FROM predictions p WHERE p.model_id = :model AND p.id <= :last AND NOT EXISTS ("  # noqa: S608
        f"SELECT 1 FROM {name} v WHERE v.id = p.id AND v.score = CAST(p.score AS real) "
        "AND v.emotion = coalesce(array_position(CAST(:labels AS text[]), p.emotion) - 1, 255))"
    )
