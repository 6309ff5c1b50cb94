"""A complete library on disk: images, a store and a classifier without weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from db.sqlite.store import SqliteStore
from indexer import library
from indexer.analysis.analyzer import Analyzer
from indexer.bootstrap import open_library
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.reports import Summary
from indexer.imaging.decoder_pool import DecoderPool
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.ports.teaching import Scorer, Teacher
from indexer.search import service as search_service
from indexer.settings import Settings
from models.teaching.teacher import ModelTeacher
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.quiet import Remembered


class FakeTeacher(ModelTeacher):
    """A teacher whose model in use is a fake classifier."""

    def __init__(self, classifier: FakeClassifier) -> None:
        self._classifier = classifier

    def scorer(self) -> Scorer:
        return self._classifier.scorer()


def opened(settings: Settings, open_analyzer: Callable[[Settings], Analyzer] | None = None) -> library.Library:
    """Open the library of a data folder as commands do; `open_analyzer` replaces the analyzer, if given.

    If its classifier has spaces, it is a fake one, and also replaces the scorer of the model in use.
    """
    real_library = open_library(settings)
    if open_analyzer is None:
        return real_library
    open_fake = partial(open_analyzer, settings)

    def open_teacher() -> Teacher:
        classifier = open_fake().classifier
        return FakeTeacher(classifier) if isinstance(classifier, FakeClassifier) else real_library.teacher()

    return replace(
        real_library,
        open_analyzer=open_fake,
        open_batch_analyzer=open_fake,
        teacher=open_teacher,
        reopen=lambda new_settings: opened(new_settings, open_analyzer),
    )


class Library:
    """A folder of images and a data folder, with the operations that tests need."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.settings = Settings(home=home, model="fake")
        self.classifier = FakeClassifier()
        self.detector: FakeFaceDetector | None = None
        self.decoders: DecoderPool | None = None
        self.progress = Remembered()

    @property
    def analyzer(self) -> Analyzer:
        return Analyzer(self.classifier, self.detector, self.decoders)

    @property
    def opened(self) -> library.Library:
        """The library for services, with the current analyzer."""
        return opened(self.settings, lambda _: self.analyzer)

    def index(self, *paths: Path, record_idle: bool = True, **request: Any) -> Summary:
        self.progress = Remembered()
        roots = [os.fsencode(path) for path in paths or (self.folder,)]
        return ingest_service.index(self.opened, roots, IndexRequest(**request), self.progress, record_idle)

    def search(self, **criteria: Any) -> list[Hit]:
        return search_service.search(self.opened, SearchRequest(**{"limit": 1000, **criteria}))

    def show(self, path: Path) -> list[Hit]:
        return search_service.show(self.opened, os.fsencode(path))

    def everything(self, **criteria: Any) -> list[Hit]:
        return self.search(under=(b"/",), **criteria)

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
    """Return the counts of a run that are not zero."""
    names: Sequence[str] = ("scanned", "indexed", "reused", "unchanged", "moved", "removed", "failed", "kept")
    return {name: getattr(summary, name) for name in names if getattr(summary, name)}
