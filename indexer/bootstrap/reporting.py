"""The composition root of the report on what is indexed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap.opening import open_store
from indexer.messages import Status

if TYPE_CHECKING:
    from indexer.settings import Settings


def status(settings: Settings, failures: int) -> Status:
    """The state of the database; an empty one where nothing was indexed yet."""
    from db.lock import writer
    from indexer.history import as_they_ended
    from indexer.ports import Counts

    disk = {part.name: _size(part) for part in (settings.database, settings.vectors, settings.models)}
    if not settings.database.exists():
        return Status(settings.home, Counts(), [], [], [], disk)
    with open_store(settings) as store:
        models = [(model, store.pictures(model.id)) for model in store.models()]
        runs = as_they_ended(store.runs(5), partial(writer, settings.home))
        return Status(settings.home, store.counts(), models, runs, store.failures(failures), disk)


def _size(part: Path) -> int:
    if part.is_dir():
        return sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
    beside = [part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm")]
    return sum(file.stat().st_size for file in beside if file.exists())
