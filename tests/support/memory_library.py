"""A library in memory: every port without a disk. A mapping from paths to encoded bytes replaces the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db.vectors.layout import in_portions
from db.vectors.numpy_index import NumpyVectors
from indexer.analysis.analyzer import Analyzer
from indexer.domain.errors import ModelUnavailable, WriterBusy
from indexer.domain.files import FileStamp
from indexer.domain.maps import LibraryMap
from indexer.domain.models import InstalledModel, ModelCard
from indexer.domain.reports import DefaultModel, ExportedModel, TeachingSet
from indexer.domain.runs import WriterInfo
from indexer.executors.threads import ThreadExecutor
from indexer.library import Library
from indexer.ports.models import Blended, BlendExamples, HubOptions, TextEncoder
from indexer.ports.sources import ScannedFolder, ScanOptions, SourceFile, Watcher
from indexer.ports.store_writer import Combine
from indexer.ports.teaching import Candidates, FittedVersion, Scorer
from indexer.ports.vectors import Generation, Segment, VectorIndex, VectorRows
from indexer.settings import Settings
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Halves, Ids


class MemoryDatabase:
    """Implements `indexer.ports.database.Database`. It exists after it was opened once."""

    maintenance = None
    place = "memory"

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.opened = False
        self.writers = 0

    def exists(self) -> bool:
        return self.opened

    @contextmanager
    def open(self, reading: bool = False) -> Iterator[MemoryStore]:
        self.opened = True
        yield self.store

    @contextmanager
    def lock_writer(self, wait: bool = True, admits_labels: bool = False) -> Iterator[None]:
        if self.writers:
            raise WriterBusy("Another moodex is writing; wait for it or stop it.")
        self.writers += 1
        try:
            yield
        finally:
            self.writers -= 1

    @contextmanager
    def lock_labels(self) -> Iterator[None]:
        with self.lock_writer():
            yield

    def current_writers(self) -> list[WriterInfo]:
        return [WriterInfo(1, 0.0)] if self.writers else []


class MemorySource:
    """Implements `indexer.ports.sources.ImageSource` over a mapping from absolute paths to bytes."""

    def __init__(self, files: dict[bytes, bytes]) -> None:
        self.files = files
        self.reads: list[bytes] = []

    def name_of(self, path: bytes) -> str:
        return "memory"

    def exists(self, path: bytes) -> bool:
        return path in self.files or self.is_folder(path)

    def is_folder(self, path: bytes) -> bool:
        return any(file.startswith(path.rstrip(b"/") + b"/") for file in self.files)

    def has_file(self, path: bytes) -> bool:
        return path in self.files

    def real_path(self, path: bytes) -> bytes:
        return os.path.normpath(path)

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        folders: dict[bytes, list[tuple[bytes, int, int]]] = {}
        for path, data in sorted(self.files.items()):
            folder, name = os.path.split(path)
            if (folder + b"/").startswith(root.rstrip(b"/") + b"/"):
                folders.setdefault(folder, []).append((name, len(data), 1))
        for folder, entries in sorted(folders.items()):
            yield ScannedFolder(folder, tuple(entries))

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        self.reads.append(path)
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path], self.stamp(path)

    def open(self, path: bytes) -> SourceFile:
        data, stamp = self.read(path)
        return SourceFile(BytesIO(data), stamp, 0)

    def stamp(self, path: bytes) -> FileStamp:
        if path not in self.files:
            raise FileNotFoundError(path)
        return FileStamp(len(self.files[path]), 1)

    def local_path(self, path: bytes) -> bytes | None:
        return None

    @contextmanager
    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> Iterator[Watcher]:
        raise NotImplementedError("files in memory cannot be watched")
        yield


class MemoryVectors:
    """Implements `indexer.ports.vectors.VectorStorage`."""

    def __init__(self) -> None:
        self.segments: dict[str, list[Segment]] = {}

    def load(self, card: ModelCard) -> list[Segment]:
        return list(self.segments.get(card.key, ()))

    def save(
        self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows | Iterable[VectorRows], generation: Generation
    ) -> None:
        self.segments[card.key] = [
            *kept,
            Segment(NumpyVectors(VectorRows(*map(np.concatenate, zip(*in_portions(rows), strict=True)))), generation),
        ]

    def delete(self, card: ModelCard) -> None:
        self.segments.pop(card.key, None)

    def over(self, rows: VectorRows) -> VectorIndex:
        return NumpyVectors(rows)


class MemoryModels:
    """Implements `indexer.ports.models.ModelRegistry`. The first model is shipped; the others belong to the user."""

    def __init__(self, *cards: ModelCard) -> None:
        self.cards_by_name = {card.name: card for card in cards}
        self.default = self.shipped = cards[0].name
        self.text: ModelCard | None = None

    def cards(self) -> Iterator[tuple[InstalledModel, ModelCard]]:
        for name, card in list(self.cards_by_name.items()):
            yield InstalledModel(name, self.find(name), "shipped" if name == self.shipped else "yours"), card

    def find(self, name: str) -> Path:
        if name not in self.cards_by_name:
            raise ModelUnavailable(f"Unknown model {name!r}.")
        return Path(f"/models/{name}.safetensors")

    def in_use(self) -> DefaultModel:
        return DefaultModel(self.default, "moodex" if self.default == self.shipped else "home")

    def weights(self) -> Path:
        return self.find(self.default)

    def stored_name(self) -> str:
        return self.default

    def stored_key(self) -> str | None:
        card = self.cards_by_name.get(self.default)
        return card and card.key

    def text_card(self) -> ModelCard | None:
        return self.text

    def use(self, name: str) -> None:
        self.find(name)
        self.default = name

    def add(self, weights: Path, name: str | None = None, force: bool = False) -> ModelCard:
        raise NotImplementedError

    def add_from_hub(
        self, reference: str, options: HubOptions, announce: Callable[[str], None], name: str | None = None, force: bool = False
    ) -> ModelCard:
        raise NotImplementedError

    def blend(
        self,
        name: str,
        members: Sequence[ModelCard],
        examples: BlendExamples | None,
        weights: Sequence[float] | None,
        force: bool = False,
    ) -> Blended:
        raise NotImplementedError

    def blends(self) -> Iterator[tuple[ModelCard, Combine]]:
        yield from ()

    def remove(self, name: str) -> None:
        self.check_removable(name)
        del self.cards_by_name[name]

    def check_removable(self, name: str, gone: bool = False) -> None:
        if not gone:
            self.find(name)

    def export(self, kind: str, name: str, output: Path, force: bool) -> ExportedModel:
        raise NotImplementedError


class MemoryMaps:
    """Implements `indexer.ports.maps.MapStorage`."""

    def __init__(self) -> None:
        self.kept: dict[str, LibraryMap] = {}

    def load(self, card: ModelCard) -> LibraryMap | None:
        return self.kept.get(card.embedder_key)

    def is_current(self, made: LibraryMap) -> bool:
        return self.kept.get(made.embedder_key) is made

    def save(self, made: LibraryMap) -> None:
        self.kept[made.embedder_key] = made


class FirstTwoNumbers:
    """Implements `indexer.ports.maps.Projector` and `Projection`: the position of a vector are its first two numbers."""

    steps = 2
    positions: Floats

    def fit(self, vectors: Floats, advance: Callable[[int], None]) -> FirstTwoNumbers:
        advance(self.steps)
        self.positions = self.place(vectors)
        return self

    def place(self, vectors: Floats) -> Floats:
        return vectors[:, :2]


class MemoryTeacher:
    """Implements `indexer.ports.teaching.Teacher`. The new version always predicts the most frequent label."""

    def __init__(self, models: MemoryModels, version: ModelCard, classifier: FakeClassifier) -> None:
        self._models = models
        self._classifier = classifier
        self._version = version

    def learn(
        self, in_use: str, examples: TeachingSet, name: str | None, taken: Collection[str], check_stop: Callable[[], None]
    ) -> FittedVersion:
        check_stop()
        self._models.cards_by_name[self._version.name] = self._version
        most_frequent = max(examples.counts().items(), key=lambda entry: entry[1])[0]
        return FittedVersion(0.4, 0.6, len(examples.labels), ConstantScorer(self._version, most_frequent), False)

    def earlier(self, in_use: str) -> tuple[str, Scorer | None]:
        return self._models.shipped, None

    def scorer(self) -> Scorer:
        return self._classifier.scorer()

    def select_informative(self, card: ModelCard, candidates: Candidates, count: int) -> Ids:
        return candidates.unlabeled[:count]


class ConstantScorer:
    """Implements `indexer.ports.teaching.Scorer`. Always predicts one emotion."""

    def __init__(self, card: ModelCard, emotion: str) -> None:
        self.card = card
        self.mean_logits = np.zeros(len(card.labels), dtype=np.float32)
        self._emotion = emotion

    def score(self, embeddings: Halves) -> Floats:
        one_hot = np.array([label == self._emotion for label in self.card.labels], dtype=np.float32)
        return np.tile(one_hot, (len(embeddings), 1))

    def logits(self, embeddings: Halves) -> Floats:
        return 10 * self.score(embeddings)


def memory_library(
    files: Mapping[bytes, bytes], home: Path, classifier: FakeClassifier, detector: FakeFaceDetector | None = None
) -> Library:
    """Open a library of files in memory, with a fake model. Only the folder `home` is on a disk; it stays empty."""
    models = MemoryModels(classifier.card)
    taught_card = FakeClassifier(name="fake-taught", spaces=bool(classifier.card.spaces)).card
    vectors = MemoryVectors()
    maps = MemoryMaps()
    library = Library(
        settings=Settings(home, model=classifier.card.name),
        database=MemoryDatabase(),
        models=models,
        source=MemorySource(dict(files)),
        open_executor=ThreadExecutor,
        vector_storage=lambda: vectors,
        map_storage=lambda: maps,
        projector=FirstTwoNumbers,
        teacher=lambda: MemoryTeacher(models, taught_card, classifier),
        open_analyzer=lambda: Analyzer(classifier, detector),
        open_batch_analyzer=lambda: Analyzer(classifier, detector),
        open_text_encoder=_no_text_encoder,
        reopen=lambda _: library,
    )
    return library


def _no_text_encoder() -> TextEncoder:
    raise NotImplementedError
