"""A store with a model and a run, for tests of stores."""

from __future__ import annotations

from dataclasses import replace

from indexer.domain.files import FileStamp, FileState
from indexer.domain.images import Face
from indexer.ports.store import Store
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, FolderScanResult, PendingFile
from tests.support.builders import card, image, prediction

STAMP = FileStamp(10, 1_000)
OTHER_STAMP = FileStamp(11, 2_000)
ANY = HitFilter()


class Scene:
    """A store with a model and a run, and the operations that tests need."""

    def __init__(self, store: Store, model: int = 0, detector: str | None = None) -> None:
        self.store = store
        self.model = model or store.register_model(card())
        self.run = store.begin_run([b"/a"], self.model, detector)

    def begin_run(self, model: int = 0, detector: str | None = None) -> Scene:
        """Begin another run over the same store."""
        return Scene(self.store, model or self.model, detector)

    def add_faces(self, name: str, path: bytes, *faces: tuple[float, ...]) -> None:
        """Add an image whose faces, from left to right, have these probabilities."""
        boxes = [Face(n / len(faces), 0.25, (n + 1) / len(faces), 0.75) for n in range(len(faces))]
        regions = tuple(replace(prediction(*p, seed=n), face=box) for n, (p, box) in enumerate(zip(faces, boxes, strict=True)))
        entry = AnalyzedFileSet(image(name), {0: regions}, tuple(self.record_scan(path)))
        self.store.commit(self.run, CommitBatch(predicted=(entry,)))

    def record_scan(self, *paths: bytes, stamp: FileStamp = STAMP) -> list[PendingFile]:
        """Record files as found by a scan; return them as pending files."""
        for path in paths:
            folder, _, name = path.rpartition(b"/")
            self.store.record_scan(self.run, [FolderScanResult(folder, {name: stamp}, {})])
        pending = {file.path: file for file in self.store.pending([b"/"], 0, 100)}
        return [pending[path] for path in paths]

    def add(self, name: str, *paths: bytes, p: tuple[float, ...] = (0.7, 0.2, 0.1), seed: int = 0) -> None:
        """Add an image without faces, with its files."""
        entry = AnalyzedFileSet(image(name), {0: (prediction(*p, seed=seed),)}, tuple(self.record_scan(*paths)))
        self.store.commit(self.run, CommitBatch(predicted=(entry,)))

    def file_state(self, path: bytes) -> tuple[FileState, bool]:
        """Return the state of a file, and whether this run's analyzer has predictions of its image."""
        folder, _, name = path.rpartition(b"/")
        file = self.store.known_files(folder, self.run)[name]
        return file.state, file.predicted

    def paths(self, chosen: HitFilter = ANY, limit: int = 100, offset: int = 0) -> list[bytes]:
        """Return the paths of one page of ranked hits."""
        return [ranked.hit.path for ranked in self.store.ranked(self.model, chosen, limit, offset)]
