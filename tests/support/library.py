"""A whole library on disk: pictures, a store, a classifier without weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from db.sqlite.store import SqliteStore
from indexer.analysis.analyzer import Analyzer
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.reports import Summary
from indexer.imaging.decoder_pool import DecoderPool
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexOptions
from indexer.ports.sources import ScanOptions
from indexer.search import service as search_service
from indexer.settings import Settings
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.quiet import Remembered


class Library:
    """A folder of pictures and a data folder, with words for what tests do to them."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.settings = Settings(home=home, model="fake")
        self.classifier = FakeClassifier()
        self.detector: FakeFaceDetector | None = None
        self.decoders: DecoderPool | None = None
        self.progress = Remembered()

    @property
    def reader(self) -> Analyzer:
        return Analyzer(self.classifier, self.detector, self.decoders)

    def index(self, *paths: Path, scan: ScanOptions | None = None, **options: Any) -> Summary:
        self.progress = Remembered()
        return ingest_service.index(
            self.settings,
            [os.fsencode(path) for path in paths or (self.folder,)],
            IndexOptions(scan=scan or ScanOptions(), **options),
            self.progress,
            lambda settings: self.reader,
        )

    def search(self, **question: Any) -> list[Hit]:
        asked = SearchRequest(**{"limit": 1000, **question})
        return search_service.search(self.settings, asked, lambda settings: self.reader)

    def everything(self, **question: Any) -> list[Hit]:
        return self.search(under=b"/", **question)

    def paths(self) -> set[str]:
        return {os.path.relpath(os.fsdecode(hit.path), self.folder) for hit in self.everything()}

    def store(self) -> SqliteStore:
        return SqliteStore(self.settings.database)

    def with_model(self, name: str) -> Library:
        other = Library(self.folder, self.settings.home)
        other.settings = replace(self.settings, model=name)
        other.classifier = FakeClassifier(name=name)
        return other


def counts(summary: Summary) -> dict[str, int]:
    """The counts of a run that are not zero."""
    names: Sequence[str] = ("scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed", "kept")
    return {name: getattr(summary, name) for name in names if getattr(summary, name)}
