"""Which folders have changed: as the system tells, or as a clock says, when it tells nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from indexer.sources.folder_watcher import POLL_SECONDS, FolderWatcher, file_system, matters


class Told:
    """A listener that is told by tests. Implements `indexer.sources.folder_watcher.Listener`."""

    def __init__(self, roots: Sequence[bytes], heard: Callable[[set[bytes]], None]) -> None:
        self.problem: str | None = None
        self.ready = True
        self.roots = list(roots)
        self.heard = heard
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class World:
    def __init__(self, folder: Path, poll: float | None = None, silent: bool = False) -> None:
        self.now = 1000.0
        self.listeners: list[Told] = []
        self.said: list[str] = []
        self.woken = 0
        self.a, self.b = (os.fsencode(folder / name) for name in ("a", "b"))
        os.mkdir(self.a)
        self.ear = FolderWatcher(
            [self.a, self.b], b"/home", poll, self.wake, self.said.append, lambda: self.now, self.listen, lambda root: silent
        )

    def wake(self) -> None:
        self.woken += 1

    def listen(self, roots: Sequence[bytes], heard: Callable[[set[bytes]], None], counts: Callable[[bytes], bool]) -> Told:
        assert counts(b"/a/x.png") and not counts(b"/home/x.png")
        self.listeners.append(Told(roots, heard))
        return self.listeners[-1]


def test_what_the_system_tells_is_passed_on_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.ear as ear:
        (listener,) = world.listeners
        assert (listener.roots, ear.changed(), world.said) == ([world.a], set(), [])
        listener.heard({world.a})
        assert world.woken == 1
        assert ear.changed() == {world.a}
        assert ear.changed() == set()
        assert 0 < ear.wait() <= 5
        world.now += 10 * POLL_SECONDS
        assert ear.changed() == set()
    assert listener.stopped


def test_a_folder_that_comes_or_goes_has_changed_and_is_listened_to_anew(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.ear as ear:
        os.mkdir(world.b)
        assert ear.changed() == set()  # not looked at every time
        world.now += 6
        assert ear.changed() == {world.b}
        assert [listener.roots for listener in world.listeners] == [[world.a], [world.a, world.b]]
        assert world.listeners[0].stopped
        os.rename(world.a, world.a + b"-away")
        world.now += 6
        assert ear.changed() == {world.a}
        assert world.listeners[-1].roots == [world.b]


def test_another_disk_in_the_same_place_is_another_folder(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.ear as ear:
        os.rename(world.a, world.a + b"-unmounted")
        os.mkdir(world.a)
        world.now += 6
        assert ear.changed() == {world.a}
        assert len(world.listeners) == 2


def test_where_the_system_cannot_be_heard_the_clock_decides_and_it_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.ear as ear:
        world.listeners[0].problem = "no more watches"
        assert ear.changed() == set()
        assert world.said == ["File-system events are not available (no more watches); polling every 60 s instead."]
        world.now += POLL_SECONDS
        assert ear.changed() == {world.a, world.b}
        assert ear.changed() == set()
        assert len(world.said) == 1


def test_a_network_disk_is_looked_at(tmp_path: Path) -> None:
    world = World(tmp_path, silent=True)
    with world.ear as ear:
        assert world.listeners == [] and ear.ready
        assert "does not report changes; polling every 60 s" in world.said[0]
        world.now += POLL_SECONDS
        assert ear.changed() == {world.a}


def test_a_wish_to_look_is_granted_without_a_word(tmp_path: Path) -> None:
    world = World(tmp_path, poll=2)
    with world.ear as ear:
        assert (world.listeners, world.said) == ([], [])
        assert ear.wait() == 2
        world.now += 2
        assert ear.changed() == {world.a, world.b}


@pytest.mark.parametrize(
    ("path", "wanted"),
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
def test_what_matters(tmp_path: Path, path: bytes, wanted: bool) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.d").mkdir()
    folder = os.fsencode(tmp_path)
    assert matters(os.path.join(folder, path), os.path.join(folder, b"home")) is wanted


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
