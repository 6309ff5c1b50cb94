"""The whole program in a process of its own, with a model that needs no weights: python -m tests.faults.program WORDS...

What is to go wrong in it stands in the environment, for a test cannot reach into another process:
`FAULT_PAGES` is how many pages its database may have, `FAULT_BYTES` the largest file that it may write from `FAULT_AT` on, at
which `FAULT_SIGNALS`, numbers with commas between, are sent to itself, or with `FAULT_GROUP` to its process group.
`FAULT_AT` is one of `MOMENTS`. `FAULT_PATIENCE` is for how many seconds SQLite waits for others.
"""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import cli
import db.engine
import db.raw
from db.catalog import SqliteCatalog
from db.shelf import SqliteShelf
from db.vector_files import FaissFiles
from indexer.bootstrap import indexing, searching
from indexer.look import Reader
from indexer.settings import Settings
from models.fake import FakeClassifier
from models.shelf import ModelShelf

MOMENTS: dict[str, tuple[object, str]] = {
    "scan": (SqliteCatalog, "known_files"),
    "noting": (SqliteCatalog, "note_scan"),
    "decoding": (SqliteCatalog, "pending"),
    "batch": (FakeClassifier, "classify"),
    "commit": (SqliteCatalog, "commit"),
    "vectors": (FaissFiles, "save"),
    "models": (SqliteShelf, "models"),
    "copying": (db.raw, "_begin"),
    "rescoring": (SqliteCatalog, "rescore"),
    "teaching": (ModelShelf, "place"),
}
"""What the program is about to do, by name."""


def _fake(settings: Settings, *_: object) -> Reader:
    return Reader(FakeClassifier(batch_size=4))


def _before(where: object, name: str, act: Callable[[], None]) -> None:
    """Do something, once, before a function is called."""
    honest = getattr(where, name)
    waiting = [act]

    @wraps(honest)
    def called(*arguments: Any, **options: Any) -> Any:
        if waiting:
            waiting.pop()()
        return honest(*arguments, **options)

    setattr(where, name, called)


def _limit_pages(most: int) -> None:
    """Let SQLite say that the disk is full once a database has so many pages."""
    configure = db.engine._configure

    def limited(connection: sqlite3.Connection, record: Any) -> None:
        configure(connection, record)
        connection.execute(f"PRAGMA max_page_count={most}")

    db.engine._configure = limited


def _go_wrong() -> None:
    if most := os.environ.get("FAULT_BYTES"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    for number in os.environ.get("FAULT_SIGNALS", "").split(","):
        if number and os.environ.get("FAULT_GROUP"):
            os.killpg(os.getpgrp(), int(number))
        elif number:
            os.kill(os.getpid(), int(number))


def main() -> None:
    """Run one command line."""
    if not os.environ.get("FAULT_SHIPPED_MODEL"):
        os.environ["MOODEX_MODEL"] = "fake"
        for module, name in ((indexing, "index"), (searching, "search"), (searching, "show")):
            setattr(module, name, partial(getattr(module, name), reader_factory=_fake))
    if seconds := os.environ.get("FAULT_PATIENCE"):
        db.raw.TIMEOUT = db.engine.TIMEOUT = float(seconds)
    if most := os.environ.get("FAULT_PAGES"):
        _limit_pages(int(most))
    if moment := os.environ.get("FAULT_AT"):
        _before(*MOMENTS[moment], _go_wrong)
    cli.main()


if __name__ == "__main__":
    main()
