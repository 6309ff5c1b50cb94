"""Watching: ordinary runs index changes within seconds, and other processes can write between them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator

import pytest

from indexer.domain.errors import Interrupted, UsageError
from indexer.domain.predictions import LabelAssignment
from indexer.domain.reports import Summary
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.scheduling.watch import watch
from tests.support.builders import write_images
from tests.support.events import LoggedEvents
from tests.support.library import Library, counts
from tests.support.quiet import Remembered

_TIMEOUT_SECONDS = 600
"""A change that no run indexes within this time fails its test."""


@pytest.fixture(autouse=True)
def _fail_after_timeout() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError("no run followed the change")

    before = signal.signal(signal.SIGALRM, give_up)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class Watched:
    """A watched library: after each run the next step of a script changes files, and a signal stops it at the end."""

    def __init__(self, library: Library, poll: float | None = None) -> None:
        self.library = library
        self.poll = poll
        self.summaries: list[dict[str, int]] = []
        self.logged: list[str] = []
        self.progress: list[Remembered] = []

    def run(self, *steps: Callable[[], object]) -> None:
        remaining: Iterator[Callable[[], object]] = iter(steps)

        def after_run(summary: Summary) -> None:
            self.summaries.append(counts(summary))
            signal.alarm(_TIMEOUT_SECONDS)
            next(remaining, lambda: os.kill(os.getpid(), signal.SIGTERM))()

        def begin() -> Remembered:
            self.progress.append(Remembered())
            return self.progress[-1]

        folder = os.fsencode(self.library.folder)
        signal.alarm(_TIMEOUT_SECONDS)
        with LoggedEvents() as events, pytest.raises(Interrupted) as caught:
            watch(self.library.opened, [folder], IndexRequest(), self.poll, begin, after_run)
        self.logged = events.sentences
        assert caught.value.exit_code == 143


@pytest.mark.parametrize("poll", [None, 0.05], ids=["events", "polling"])
def test_changes_are_indexed_as_they_happen(library: Library, poll: float | None) -> None:
    write_images(library.folder, 5)
    watched = Watched(library, poll)
    aside = library.folder.parent / "aside"
    watched.run(
        lambda: write_images(library.folder / "new/deep", 2, first_seed=50),
        lambda: shutil.move(library.folder / "new", aside),
        lambda: shutil.move(aside, library.folder / "back"),
    )
    assert watched.summaries == [
        {"scanned": 5, "indexed": 5},
        {"scanned": 7, "unchanged": 5, "indexed": 2},
        {"scanned": 5, "unchanged": 5, "removed": 2},
        {"scanned": 7, "unchanged": 5, "reused": 2},
    ]
    assert library.classifier.classified == 7
    with library.store() as store:
        runs = store.runs(100)
    assert len(runs) == 4  # idle runs leave no record
    assert {run.outcome for run in runs} == {"done"}


def test_other_processes_may_write_between_runs(library: Library) -> None:
    paths = write_images(library.folder, 2)
    watched = Watched(library)

    def write() -> None:
        labels_service.label(library.opened, [LabelAssignment(os.fsencode(paths[0]), "crying")], new=False)
        write_images(library.folder, 1, first_seed=50)

    watched.run(write)
    assert watched.summaries[1] == {"scanned": 3, "unchanged": 2, "indexed": 1}


def test_a_watched_folder_that_disappears_warns_once(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    moved = library.folder.rename(library.folder.with_name("moved"))

    def move_back() -> None:
        moved.rename(library.folder)
        write_images(library.folder, 1, first_seed=50)

    watched = Watched(library, 0.05)
    watched.run(move_back)
    assert watched.summaries == [{"kept": 3}, {"scanned": 4, "unchanged": 3, "indexed": 1}]
    assert sum(len(progress.warnings) for progress in watched.progress) == 1


def test_watching_an_unknown_path_is_an_error(library: Library) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        watch(library.opened, [b"/no/such/folder"], IndexRequest(), None, Remembered, lambda _: None)


def test_without_events_watching_polls_with_a_warning(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*paths: object, **options: object) -> Iterator[set[object]]:
        raise OSError("no more watches")

    monkeypatch.setattr("watchfiles.watch", refuse)
    monkeypatch.setattr("indexer.sources.folder_watcher.POLL_SECONDS", 0.05)
    write_images(library.folder, 1)
    watched = Watched(library)
    watched.run(lambda: write_images(library.folder, 1, first_seed=50))
    assert watched.summaries[1] == {"scanned": 2, "unchanged": 1, "indexed": 1}
    assert any("no more watches" in sentence for sentence in watched.logged)
