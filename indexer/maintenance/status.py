"""The status of a library."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from indexer.domain.files import Counts
from indexer.domain.reports import Status
from indexer.domain.runs import with_dead_runs_marked

if TYPE_CHECKING:
    from indexer.library import Library


def status(library: Library, failures: int) -> Status:
    """Report the state of a library with at most `failures` failed files; an empty one if nothing was indexed yet."""
    settings = library.settings
    disk = {part.name: _size(part) for part in (settings.database, settings.vectors, settings.models)}
    if not library.database.exists():
        return Status(settings.home, Counts({}, 0), [], [], [], disk)
    with library.database.open(reading=True) as store:
        runs = with_dead_runs_marked(partial(store.runs, 5), library.database.current_writers)
        with store.snapshot():
            models = [(model, store.image_count(model.id)) for model in store.models()]
            return Status(settings.home, store.counts(), models, runs, store.failures(failures), disk, store.count_hidden())


def _size(part: Path) -> int:
    if part.is_dir():
        return sum(map(_file_size, part.rglob("*")))
    return sum(map(_file_size, (part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm"))))


def _file_size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it is not a regular file or no longer exists, because writers replace files."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if S_ISREG(status.st_mode) else 0
