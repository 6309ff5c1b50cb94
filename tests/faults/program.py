"""Run moodex with a fault and a model without weights: python -m tests.faults.program ARGUMENTS...

Environment variables define the fault, since a test cannot patch another process:

- `FAULT_AT`: one of `MOMENTS`, at which `FAULT_MAX_FILE_BYTES` and `FAULT_SIGNALS` take effect.
- `FAULT_MAX_FILE_BYTES`: the size of the largest file that the process may write from then on.
- `FAULT_SIGNALS`: signal numbers, separated by commas, that the process sends to itself.
- `FAULT_GROUP`: if set, it sends the signals to its process group.
- `FAULT_MAX_PAGES`: the maximum number of pages of the database.
- `FAULT_LOCK_TIMEOUT_SECONDS`: how long SQLite waits for locks.
- `FAULT_SHIPPED_MODEL`: if set, the shipped model is used.
"""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import Any

import cli
import db.sqlite.engine
import db.sqlite.errors
import db.sqlite.raw_connection
from db.sql.reader import SqlReader
from db.sql.writer import SqlWriter
from db.vectors.files import FaissFiles
from indexer import bootstrap
from indexer.analysis.analyzer import Analyzer
from indexer.settings import Settings
from models.model_registry import FolderModelRegistry
from tests.support.fake_models import FakeClassifier

MOMENTS: dict[str, tuple[object, str]] = {
    "scan": (SqlWriter, "known_files"),
    "record": (SqlWriter, "record_scan"),
    "decode": (SqlWriter, "pending"),
    "classify": (FakeClassifier, "classify"),
    "commit": (SqlWriter, "commit"),
    "vectors": (FaissFiles, "save"),
    "models": (SqlReader, "models"),
    "copy": (db.sqlite.raw_connection, "_begin"),
    "export": (SqlReader, "export_rows"),
    "rescore": (SqlWriter, "rescore"),
    "teach": (FolderModelRegistry, "path_for_new"),
}
"""The functions that moodex calls at each moment; the fault happens before the first call."""


def _fake_analyzer(settings: Settings, threads: int = 0, few: bool = True) -> Analyzer:
    return Analyzer(FakeClassifier(name=settings.model or "fake", batch_size=4))


def _before_first_call(owner: object, name: str, action: Callable[[], None]) -> None:
    """Patch a function so that an action runs before its first call."""
    original = getattr(owner, name)
    pending_actions = [action]

    @wraps(original)
    def patched(*arguments: Any, **options: Any) -> Any:
        if pending_actions:
            pending_actions.pop()()
        return original(*arguments, **options)

    setattr(owner, name, patched)


def _limit_pages(max_pages: int) -> None:
    """Make SQLite report a full disk when a database reaches a number of pages."""
    configure = db.sqlite.engine._configure

    def configure_with_limit(connection: sqlite3.Connection, record: Any) -> None:
        configure(connection, record)
        connection.execute(f"PRAGMA max_page_count={max_pages}")

    db.sqlite.engine._configure = configure_with_limit


def _cause_fault() -> None:
    if max_bytes := os.environ.get("FAULT_MAX_FILE_BYTES"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(max_bytes), int(max_bytes)))
    for number in os.environ.get("FAULT_SIGNALS", "").split(","):
        if number and os.environ.get("FAULT_GROUP"):
            os.killpg(os.getpgrp(), int(number))
        elif number:
            os.kill(os.getpid(), int(number))


def main() -> None:
    """Run one command line."""
    if not os.environ.get("FAULT_SHIPPED_MODEL"):
        os.environ["MOODEX_MODEL"] = "fake"
        bootstrap.open_analyzer = bootstrap.open_batch_analyzer = _fake_analyzer
    if seconds := os.environ.get("FAULT_LOCK_TIMEOUT_SECONDS"):
        for module in (db.sqlite.raw_connection, db.sqlite.engine, db.sqlite.errors):
            module.BUSY_TIMEOUT_SECONDS = float(seconds)  # type: ignore[attr-defined]
    if max_pages := os.environ.get("FAULT_MAX_PAGES"):
        _limit_pages(int(max_pages))
    if moment := os.environ.get("FAULT_AT"):
        _before_first_call(*MOMENTS[moment], _cause_fault)
    cli.main()


if __name__ == "__main__":
    main()
