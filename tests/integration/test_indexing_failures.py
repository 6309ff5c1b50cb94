"""Index runs with failures: damaged and unreadable files, signals, a second writer, files that change during the run."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from indexer.domain.errors import Interrupted, WriterBusy
from indexer.domain.files import FileStamp, FileState
from indexer.domain.predictions import Scores
from indexer.sources.filesystem import FileSystemSource
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library, counts

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


def test_a_damaged_image_fails_alone(library: Library) -> None:
    paths = write_images(library.folder, 12)
    library.settings = replace(library.settings, workers=1)  # with several workers, batch sizes depend on chance
    second = library.with_model("fake")
    library.index()
    predictions = {hit.path: (hit.emotion, hit.score) for hit in library.everything()}
    shutil.rmtree(library.settings.home)
    (library.folder / "bad.png").write_bytes(b"not an image")
    (library.folder / "0-first.png").write_bytes(b"")
    summary = second.index()
    assert counts(summary) == {"scanned": 14, "indexed": 12, "failed": 2}
    assert summary.exit_code == 3
    assert {hit.path: (hit.emotion, hit.score) for hit in second.everything()} == predictions
    assert len(predictions) == len(paths)


def test_a_damaged_file_is_not_read_again_until_it_changes(library: Library) -> None:
    bad = library.folder / "bad.png"
    bad.write_bytes(b"not an image")
    assert counts(library.index()) == {"scanned": 1, "failed": 1}
    assert counts(library.index()) == {"scanned": 1, "failed": 1}
    assert library.progress.total == 0
    bad.write_bytes(encoded(draw_blocks(1)))
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}
    with library.store() as store:
        assert store.failures(5) == []


def test_an_unreadable_file_is_retried(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_images(library.folder, 1)
    opened = os.open

    def refuse(name: object, *arguments: object, **options: object) -> int:
        if name == os.fsencode(path):
            raise PermissionError(13, "Permission denied")
        return opened(name, *arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("indexer.system.safe_read.os.open", refuse)
        assert counts(library.index()) == {"scanned": 1, "failed": 1}
        with library.store() as store:
            assert [failure.reason for _, failure in store.failures(5)] == ["it cannot be read: Permission denied"]
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}


def test_an_unlistable_folder_loses_nothing(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder / "a/b", 3)
    write_images(library.folder / "c", 3, first_seed=50)
    library.index()
    scandir = os.scandir

    def refuse(folder: bytes) -> object:
        if folder == os.fsencode(library.folder / "a"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refuse)
        for _ in range(2):
            assert counts(library.index()) == {"scanned": 3, "unchanged": 3, "failed": 1}
            assert len(library.paths()) == 6
    assert counts(library.index()) == {"scanned": 6, "unchanged": 6}
    with library.store() as store:
        assert store.failures(5) == []
        assert store.counts().files == {FileState.DONE: 6}


class SignalingClassifier:
    """A classifier that sends a signal to this process during a later batch."""

    def __init__(self, library: Library, number: int) -> None:
        self._inner = library.classifier
        self._number: int | None = number
        self.card, self.device, self.batch_size, self.streams = self._inner.card, "cpu", 4, 0

    def classify(self, pixels: Pixels) -> Scores:
        if self._inner.classified >= 4 and self._number is not None:
            number, self._number = self._number, None
            os.kill(os.getpid(), number)
        return self._inner.classify(pixels)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_its_batches_and_resumes(library: Library, stop_signal: signal.Signals) -> None:
    write_images(library.folder, 30)
    classifier = library.classifier
    library.classifier = SignalingClassifier(library, stop_signal)  # type: ignore[assignment]
    with pytest.raises(Interrupted) as caught:
        library.index()
    assert caught.value.exit_code == 128 + stop_signal
    library.classifier = classifier
    finished = len(library.paths())
    assert finished == classifier.classified and finished in (8, 12, 16, 20)  # the started batches
    with library.store() as store:
        assert store.runs(1)[0].outcome == "interrupted"
        assert store.counts().files == {FileState.DONE: finished, FileState.PENDING: 30 - finished}
        assert [(root.path, root.files) for root in store.roots()] == [(os.fsencode(library.folder), 30)]
    assert counts(library.index()) == {"scanned": 30, "unchanged": finished, "indexed": 30 - finished}
    assert classifier.classified == 30
    assert len(library.paths()) == 30


def test_an_image_with_a_non_finite_result_fails_alone(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder, 5)
    original, batches = library.classifier.classify, count()

    def classify(pixels: Pixels) -> Scores:
        scores = original(pixels)
        if next(batches) == 0:
            scores.embeddings[0] = float("nan")
        return scores

    monkeypatch.setattr(library.classifier, "classify", classify)
    assert counts(library.index()) == {"scanned": 5, "indexed": 4, "failed": 1}


def test_a_second_writer_is_refused_with_the_first_named(library: Library) -> None:
    from db.writer_lock import writer_lock

    write_images(library.folder, 1)
    library.settings.home.mkdir()
    with writer_lock(library.settings.home), pytest.raises(WriterBusy, match=f"process {os.getpid()}, since"):
        library.index()
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}


def test_a_file_deleted_before_it_is_read_is_not_a_failure(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_images(library.folder, 4)

    def read_after_deletion(source: FileSystemSource, path: bytes) -> tuple[bytes, FileStamp]:
        if path == os.fsencode(paths[1]):
            paths[1].unlink(missing_ok=True)
        return original(source, path)

    original = FileSystemSource.read
    monkeypatch.setattr(FileSystemSource, "read", read_after_deletion)
    assert counts(library.index()) == {"scanned": 4, "indexed": 3}
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3, "removed": 1}


def test_a_folder_that_was_a_file_recovers_from_its_failure(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    aside = library.folder.rename(library.folder.with_name("aside"))
    library.folder.write_bytes(b"not an image")
    library.index()
    library.folder.unlink()
    aside.rename(library.folder)
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3, "removed": 1}
    with library.store() as store:
        assert FileState.FAILED not in store.counts().files
