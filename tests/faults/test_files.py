"""Files that change between the scan and the reading, or while they are read: one failure, or a later look; never another
picture's answer, never an endless wait.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from indexer.analysis.analyzer import Analyzer
from indexer.domain.errors import ImageError, Unreadable
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.system.safe_read import read
from tests.faults.conftest import HANGS, PICTURES, Program, state
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.library import Library, counts
from tests.support.quiet import Remembered


class Meddler(Remembered):
    """A progress during which somebody does something to the files, when all are scanned and none is read."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act

    def start(self, total: int) -> None:
        super().start(total)
        self._act()


def index_while(library: Library, act: Callable[[], object]) -> dict[str, int]:
    roots = [os.fsencode(library.folder)]
    return counts(ingest_service.index(library.opened, roots, IndexRequest(), Meddler(act)))


def replaced(path: Path) -> None:
    path.write_bytes(encoded(draw_blocks(700)))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(100_000))


def swapped(path: Path) -> None:
    """With another picture that is indexed in the same run."""
    other = path.with_name("007.png")
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    aside.rename(other)


def deleted(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def a_device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices can be made here")


def a_link_in_circles(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def without_its_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def below_a_file(path: Path) -> None:
    without_its_folder(path)
    path.parent.write_bytes(b"")


STILL_ONE = (replaced, grown, swapped)
NO_PICTURE = (truncated, emptied, a_folder, a_pipe, a_socket, a_device, a_link_in_circles)
NOT_THERE = (deleted, without_its_folder)


def check_answers(library: Library) -> None:
    """Every answer is of the bytes that its picture is known by, wherever those are now."""
    known = {blake3(path.read_bytes()).hexdigest(): path for path in library.folder.parent.rglob("*.png") if path.is_file()}
    reader = Analyzer(FakeClassifier())
    for hit in library.everything():
        (prediction,) = reader.predict([reader.decode(known[hit.image_id].read_bytes())])[0] or ()
        assert hit.score == pytest.approx(max(prediction.probabilities), abs=1e-5)


@pytest.mark.parametrize("act", [*STILL_ONE, *NO_PICTURE, *NOT_THERE, below_a_file], ids=lambda act: act.__name__)
def test_a_file_that_changes_between_scan_and_reading(
    library: Library, undisturbed: list[tuple[object, ...]], act: Callable[[Path], None]
) -> None:
    sub = library.folder / "sub"
    sub.mkdir()
    for name in ("003.png", "007.png"):
        (library.folder / name).rename(sub / name)
    path, aside = sub / "003.png", library.folder.parent / "aside.png"
    shutil.copy2(path, aside)
    shutil.copy2(sub / "007.png", library.folder.parent / "other.png")
    came = index_while(library, lambda: act(path))
    failed = came.get("failed", 0)
    assert came["scanned"] == PICTURES
    if act in STILL_ONE:
        assert (came["indexed"], failed) == (PICTURES, 0)
    elif act in NO_PICTURE:
        assert (came["indexed"], failed) == (PICTURES - 1, 1)
    else:
        assert came["indexed"] == PICTURES - (1 if act is deleted else 2)
    check_answers(library)
    if sub.is_file():
        sub.unlink()
    shutil.rmtree(sub, ignore_errors=True)
    shutil.rmtree(sub.with_name("elsewhere"), ignore_errors=True)
    shutil.copy2(aside, library.folder / "003.png")
    shutil.copy2(library.folder.parent / "other.png", library.folder / "007.png")
    after = library.index()
    assert (after.failed, after.scanned) == (0, PICTURES)
    check_answers(library)
    assert [row[:2] for row in state(library)] == [row[:2] for row in undisturbed]
    assert state(library) == undisturbed


def test_a_right_that_is_taken_away_between_scan_and_reading(library: Library, program: Program) -> None:
    (library.folder / "sub").mkdir()
    (library.folder / "039.png").rename(library.folder / "sub/039.png")
    shut = [library.folder / "003.png", library.folder / "sub"]
    bound = program.bound()
    with bound.start("index", library.folder, at="decoding", signals=signal.SIGSTOP.value) as run:  # scanned, and nothing read
        os.waitid(os.P_PID, run.pid, os.WSTOPPED)
        for path in shut:
            path.chmod(0)
        os.kill(run.pid, signal.SIGCONT)
        out, error = run.communicate(timeout=HANGS)
    assert run.returncode == 3, error
    assert "2 failed" in out
    assert "it cannot be read: Permission denied" in bound.run("status").stdout
    shut[0].chmod(0o644)
    shut[1].chmod(0o755)
    assert bound.run("index", library.folder).returncode == 0
    assert len(library.everything()) == PICTURES


@pytest.mark.parametrize("change", [replaced, grown, truncated], ids=lambda act: act.__name__)
def test_a_file_that_changes_while_it_is_read_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(draw_blocks(1)))
    looked = os.fstat
    waiting = [change]

    def look(descriptor: int) -> os.stat_result:
        found = looked(descriptor)
        if stat.S_ISREG(found.st_mode) and waiting:
            waiting.pop()(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr("indexer.system.safe_read.os.fstat", look)
        with pytest.raises(Unreadable, match="it changed while it was read"):
            read(os.fsencode(path))
    assert read(os.fsencode(path))[0] == path.read_bytes()


def test_a_file_that_becomes_huge_while_it_is_read_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.png"
    path.write_bytes(bytes(1000))
    looked = os.fstat

    def look(descriptor: int) -> os.stat_result:
        found = looked(descriptor)
        os.truncate(path, 1 << 28)
        return found

    monkeypatch.setattr("indexer.system.safe_read.os.fstat", look)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="it changed while it was read"):
            read(os.fsencode(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_what_cannot_be_read_leaves_nothing_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read_end = os.open(tmp_path, os.O_RDONLY)
    os.close(read_end)
    for name in ("", "pipe", "none"):
        with pytest.raises((ImageError, FileNotFoundError)):
            read(os.fsencode(tmp_path / name))
    again = os.open(tmp_path, os.O_RDONLY)
    os.close(again)
    assert again == read_end
