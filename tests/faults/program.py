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
import db.sqlite.engine
import db.sqlite.errors
import db.sqlite.raw_connection
from db.sqlite.reader import SqliteReader
from db.sqlite.writer import SqliteWriter
from db.vectors.files import FaissFiles
from indexer.analysis.analyzer import Analyzer
from indexer.ingest import service as ingest_service
from indexer.search import service as search_service
from indexer.settings import Settings
from models.model_registry import ModelRegistry
from tests.support.fake_models import FakeClassifier

MOMENTS: dict[str, tuple[object, str]] = {
    "scan": (SqliteWriter, "known_files"),
    "noting": (SqliteWriter, "record_scan"),
    "decoding": (SqliteWriter, "pending"),
    "batch": (FakeClassifier, "classify"),
    "commit": (SqliteWriter, "commit"),
    "vectors": (FaissFiles, "save"),
    "models": (SqliteReader, "models"),
    "copying": (db.sqlite.raw_connection, "_begin"),
    "rescoring": (SqliteWriter, "rescore"),
    "teaching": (ModelRegistry, "place"),
}
"""What the program is about to do, by name."""


def _fake(settings: Settings, *_: object) -> Analyzer:
    return Analyzer(FakeClassifier(batch_size=4))


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
    configure = db.sqlite.engine._configure

    def limited(connection: sqlite3.Connection, record: Any) -> None:
        configure(connection, record)
        connection.execute(f"PRAGMA max_page_count={most}")

    db.sqlite.engine._configure = limited


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
        for module, name in ((ingest_service, "index"), (search_service, "search"), (search_service, "show")):
            setattr(module, name, partial(getattr(module, name), reader_factory=_fake))
    if seconds := os.environ.get("FAULT_PATIENCE"):
        for module in (db.sqlite.raw_connection, db.sqlite.engine, db.sqlite.errors):
            module.BUSY_TIMEOUT_SECONDS = float(seconds)  # type: ignore[attr-defined]
    if most := os.environ.get("FAULT_PAGES"):
        _limit_pages(int(most))
    if moment := os.environ.get("FAULT_AT"):
        _before(*MOMENTS[moment], _go_wrong)
    cli.main()


if __name__ == "__main__":
    main()
