"""A library: its settings and the ports that the services use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed

if TYPE_CHECKING:
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.cluster import OpenCluster
    from indexer.ports.database import Database
    from indexer.ports.executor import OpenExecutor
    from indexer.ports.maps import MapStorage, Projector
    from indexer.ports.models import ModelRegistry, TextEncoder
    from indexer.ports.sources import ImageSource
    from indexer.ports.teaching import Teacher
    from indexer.ports.vectors import VectorStorage
    from indexer.settings import Settings


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What an index run on a cluster needs. All functions but `connect` are sent to its machines.

    `open_analyzer` opens the analyzer of the library for "cpu" or "cuda" there, and `open_source` its source.
    """

    connect: OpenCluster
    open_analyzer: Callable[[str], Analyzer]
    open_source: Callable[[], ImageSource]


@dataclass(frozen=True, slots=True)
class Library:
    """The settings of a data folder, and the adapters that they choose.

    - `vector_storage`, `map_storage`, `projector`, `teacher`, `open_analyzer`, `open_batch_analyzer`: functions, because the
      imports take long, and a search by emotion does not need them. `open_analyzer` is for one or two images,
      `open_batch_analyzer` for many. `open_text_encoder` opens the one of the card `models.text_card()`.
    - `reopen`: opens the library that other settings describe.
    - `cluster`: the cluster whose machines analyze images; None if threads of this process do.
    """

    settings: Settings
    database: Database
    models: ModelRegistry
    source: ImageSource
    open_executor: OpenExecutor
    vector_storage: Callable[[], VectorStorage]
    map_storage: Callable[[], MapStorage]
    projector: Callable[[], Projector]
    teacher: Callable[[], Teacher]
    open_analyzer: Callable[[], Analyzer]
    open_batch_analyzer: Callable[[], Analyzer]
    open_text_encoder: Callable[[], TextEncoder]
    reopen: Callable[[Settings], Library]
    cluster: ClusterParts | None = None

    def require_database(self) -> None:
        """Raise NotIndexed if nothing was ever indexed here."""
        if not self.database.exists():
            raise NotIndexed(f"Nothing is indexed yet in {self.database.place}; run: moodex index FOLDER")

    def known(self, roots: Collection[bytes]) -> set[bytes]:
        """Return those roots at or below which there are indexed files that are not missing."""
        if not roots or not self.database.exists():
            return set()
        with self.database.open(reading=True) as store:
            return {root for root, files in store.count_files(roots).items() if files}
