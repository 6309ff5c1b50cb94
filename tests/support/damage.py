"""A small library to damage, copied for every test, and commands on it in this process."""

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
    """Build a library of forty images.

    One image has faces, one is a duplicate, one file is not an image, and one file is missing. Three images have labels.
    """
    library = Library(folder / "images", folder / "home")
    library.detector = FakeFaceDetector()
    write_images(library.folder / "a", 36)
    write_images(library.folder / "b", 3, first_seed=100)
    write_special_files(library.folder)
    library.index()
    (library.folder / "b/102.png").unlink()
    library.index(prune=True)
    labeled = [os.fsencode(library.folder / name) for name in ("a/003.png", "a/004.png", "b/faces.png")]
    labels_service.label(library.opened, parse_assignments(labeled, "sad", False), False)
    library.search(like=labeled[0])  # builds the vector index
    return library


def copy(library: Library, folder: Path) -> Library:
    """Copy the data folder; the images are shared."""
    shutil.copytree(library.settings.home, folder / "home")
    copied = Library(library.folder, folder / "home")
    copied.detector = library.detector
    return copied


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
    """Execute statements on the database of a library, without its check constraints."""
    with closing(sqlite3.connect(library.settings.database)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def rows(library: Library, query: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on the database of a library."""
    with closing(sqlite3.connect(library.settings.database)) as connection:
        return connection.execute(query).fetchall()


class CommandResult:
    """The exit code and output of a command."""

    def __init__(self, code: int, out: str, error: str) -> None:
        self.code, self.out, self.error = code, out, error

    def __repr__(self) -> str:
        return f"{self.code}: {self.error or self.out}"


@contextlib.contextmanager
def program(library: Library) -> Iterator[Callable[..., CommandResult]]:
    """Yield a function that runs commands on a library in this process, with the fake model."""

    def open_fake_analyzer(*_: object) -> Analyzer:
        return library.analyzer

    def run(*arguments: str | Path) -> CommandResult:
        out, error = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True), io.StringIO()
        with patch.object(sys, "stdout", out), patch.object(sys, "stderr", error):
            code = cli.run(["--home", str(library.settings.home), *map(str, arguments)])
        return CommandResult(code, out.buffer.getvalue().decode("utf-8", "replace"), error.getvalue())  # type: ignore[attr-defined]

    with (
        patch.dict(os.environ, {"MOODEX_MODEL": "fake"}),
        patch.object(bootstrap, "open_analyzer", open_fake_analyzer),
        patch.object(bootstrap, "open_batch_analyzer", open_fake_analyzer),
    ):
        yield run
