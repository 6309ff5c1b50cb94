"""The folders that changed, by events of the system, or by polling if the system reports none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from indexer.sources.folder_watcher import POLL_SECONDS, FolderWatcher, file_system, is_relevant_change


class FakeListener:
    """Implements `indexer.sources.folder_watcher.Listener`. Tests report changes through `report`."""

    def __init__(self, roots: Sequence[bytes], report: Callable[[set[bytes]], None]) -> None:
        self.problem: str | None = None
        self.ready = True
        self.roots = list(roots)
        self.report = report
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class WatcherHarness:
    """A watcher of the folders "a" and "b", of which "a" exists, with a clock that tests set."""

    def __init__(self, folder: Path, poll: float | None = None, reports_no_events: bool = False) -> None:
        self.now = 1000.0
        self.listeners: list[FakeListener] = []
        self.warnings: list[str] = []
        self.wake_count = 0
        self.a, self.b = (os.fsencode(folder / name) for name in ("a", "b"))
        os.mkdir(self.a)
        self.watcher = FolderWatcher(
            [self.a, self.b],
            b"/home",
            poll,
            self.wake,
            self.warnings.append,
            lambda: self.now,
            self.listen,
            lambda root: reports_no_events,
        )

    def wake(self) -> None:
        self.wake_count += 1

    def listen(
        self, roots: Sequence[bytes], report: Callable[[set[bytes]], None], is_relevant: Callable[[bytes], bool]
    ) -> FakeListener:
        assert is_relevant(b"/a/x.png") and not is_relevant(b"/home/x.png")
        self.listeners.append(FakeListener(roots, report))
        return self.listeners[-1]


def test_each_change_of_the_system_is_reported_once(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path)
    with harness.watcher as watcher:
        (listener,) = harness.listeners
        assert (listener.roots, watcher.changed(), harness.warnings) == ([harness.a], set(), [])
        listener.report({harness.a})
        assert harness.wake_count == 1
        assert watcher.changed() == {harness.a}
        assert watcher.changed() == set()
        assert 0 < watcher.wait() <= 5
        harness.now += 10 * POLL_SECONDS
        assert watcher.changed() == set()
    assert listener.stopped


def test_a_folder_that_appears_or_disappears_has_changed_and_restarts_the_listener(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path)
    with harness.watcher as watcher:
        os.mkdir(harness.b)
        assert watcher.changed() == set()  # roots are checked only every few seconds
        harness.now += 6
        assert watcher.changed() == {harness.b}
        assert [listener.roots for listener in harness.listeners] == [[harness.a], [harness.a, harness.b]]
        assert harness.listeners[0].stopped
        os.rename(harness.a, harness.a + b"-away")
        harness.now += 6
        assert watcher.changed() == {harness.a}
        assert harness.listeners[-1].roots == [harness.b]


def test_another_folder_at_the_same_path_has_changed(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path)
    with harness.watcher as watcher:
        os.rename(harness.a, harness.a + b"-unmounted")
        os.mkdir(harness.a)
        harness.now += 6
        assert watcher.changed() == {harness.a}
        assert len(harness.listeners) == 2


def test_polling_replaces_unavailable_events_with_one_warning(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path)
    with harness.watcher as watcher:
        harness.listeners[0].problem = "no more watches"
        assert watcher.changed() == set()
        assert harness.warnings == ["File-system events are not available (no more watches); polling every 60 s instead."]
        harness.now += POLL_SECONDS
        assert watcher.changed() == {harness.a, harness.b}
        assert watcher.changed() == set()
        assert len(harness.warnings) == 1


def test_a_network_disk_is_polled(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path, reports_no_events=True)
    with harness.watcher as watcher:
        assert harness.listeners == [] and watcher.ready
        assert "does not report changes; polling every 60 s" in harness.warnings[0]
        harness.now += POLL_SECONDS
        assert watcher.changed() == {harness.a}


def test_requested_polling_gives_no_warning(tmp_path: Path) -> None:
    harness = WatcherHarness(tmp_path, poll=2)
    with harness.watcher as watcher:
        assert (harness.listeners, harness.warnings) == ([], [])
        assert watcher.wait() == 2
        harness.now += 2
        assert watcher.changed() == {harness.a, harness.b}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"a.png", True),
        (b"A.JPEG", True),
        (b"notes.txt", False),
        (b"gone.txt", True),  # may have been a folder
        (b"folder.d", True),
        (b"folder", True),
        (b"home/moodex.sqlite", False),
        (b"home/a.png", False),
    ],
)
def test_only_images_and_possible_folders_matter(tmp_path: Path, path: bytes, expected: bool) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.d").mkdir()
    folder = os.fsencode(tmp_path)
    assert is_relevant_change(os.path.join(folder, path), os.path.join(folder, b"home")) is expected


def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:40 / /mnt/my\\040nas rw - nfs4 server:/export rw\n"
        "41 22 0:41 / /mnt rw master:2 - tmpfs none rw\n"
    )
    assert [file_system(path, mounts) for path in (b"/x", b"/mnt/my nas/a", b"/mnt/my", b"/mnt")] == [
        "ext4",
        "nfs4",
        "tmpfs",
        "tmpfs",
    ]
    assert file_system(b"/", tmp_path / "none") is None
