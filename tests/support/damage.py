"""A small library to damage, copied for every test, and the command line over it in this process."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from sqlalchemy import create_engine, text

import cli
from db.sqlite.migrations import STEPS
from indexer import bootstrap
from indexer.analysis.analyzer import Analyzer
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from tests.support.builders import write_images, write_special_files
from tests.support.fake_models import FakeFaceDetector
from tests.support.library import Library


def build(folder: Path) -> Library:
    """Build a library: forty images, one with faces, one duplicate, one damaged file, one missing file; some labels."""
    library = Library(folder / "pictures", folder / "home")
    library.detector = FakeFaceDetector()
    write_images(library.folder / "a", 36)
    write_images(library.folder / "b", 3, first_seed=100)
    write_special_files(library.folder)
    library.index()
    (library.folder / "b/102.png").unlink()
    library.index(prune=True)
    labelled = [os.fsencode(library.folder / name) for name in ("a/003.png", "a/004.png", "b/faces.png")]
    labels_service.label(library.opened, parse_assignments(labelled, "sad", False), False)
    library.search(like=labelled[0])  # updates the vector index
    return library


def copy(library: Library, folder: Path) -> Library:
    """Copy the data folder; the images are shared."""
    shutil.copytree(library.settings.home, folder / "home")
    other = Library(library.folder, folder / "home")
    other.detector = library.detector
    return other


def old_schema(database: Path, steps: int) -> None:
    """Create a database as it was after the first `steps` migrations."""
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)"))
        for name, step in STEPS[:steps]:
            step(connection)
            connection.execute(text("INSERT INTO migrations VALUES (:name, 0)"), {"name": name})
    engine.dispose()


def sql(library: Library, *statements: str) -> None:
    """Execute statements in a database, without its constraints."""
    with closing(sqlite3.connect(library.settings.database)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def rows(library: Library, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(library.settings.database)) as connection:
        return connection.execute(query).fetchall()


class Answer:
    """The exit code and output of a command."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error

    def __repr__(self) -> str:
        return f"{self.code}: {self.error or self.out}"


@contextlib.contextmanager
def program(library: Library) -> Iterator[Callable[..., Answer]]:
    """Return a function that runs commands over a library in this process, with the fake model."""

    def fake(*_: object) -> Analyzer:
        return library.analyzer

    def run(*words: str | Path) -> Answer:
        out, error = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
        with patch.object(sys, "stdout", out), patch.object(sys, "stderr", error):
            code = cli.run(["--home", str(library.settings.home), *map(str, words)])
        return Answer(code, out.buffer.getvalue().decode("utf-8", "replace"), error.getvalue())  # type: ignore[attr-defined]

    with (
        patch.dict(os.environ, {"MOODEX_MODEL": "fake"}),
        patch.object(bootstrap, "open_analyzer", fake),
        patch.object(bootstrap, "open_batch_analyzer", fake),
    ):
        yield run
