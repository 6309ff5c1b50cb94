"""The composition root of the report on what is indexed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from indexer.bootstrap import open_store
from indexer.domain.reports import Status

if TYPE_CHECKING:
    from indexer.settings import Settings


def status(settings: Settings, failures: int) -> Status:
    """The state of the database; an empty one where nothing was indexed yet."""
    from db.writer_lock import writer
    from indexer.domain.runs import with_dead_runs_marked
    from indexer.ports.store_reader import Counts

    disk = {part.name: _size(part) for part in (settings.database, settings.vectors, settings.models)}
    if not settings.database.exists():
        return Status(settings.home, Counts({}, 0), [], [], [], disk)
    with open_store(settings, reading=True) as store:
        runs = with_dead_runs_marked(partial(store.runs, 5), partial(writer, settings.home))
        with store.snapshot():
            models = [(model, store.pictures(model.id)) for model in store.models()]
            return Status(settings.home, store.counts(), models, runs, store.failures(failures), disk)


def _size(part: Path) -> int:
    if part.is_dir():
        return sum(map(_file_size, part.rglob("*")))
    return sum(map(_file_size, (part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm"))))


def _file_size(path: Path) -> int:
    """A file's bytes; 0 for what is none, or none any more: a writer replaces files at any time."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if S_ISREG(status.st_mode) else 0
