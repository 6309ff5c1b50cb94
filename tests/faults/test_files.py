"""Files that change between scan and reading, or while moodex reads them.

They fail alone, or a later run retries them. A result never belongs to another image, and moodex never waits without end.
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
from tests.faults.conftest import HANG_SECONDS, IMAGES, Program, library_state
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.library import Library, counts
from tests.support.quiet import Remembered


class ActingProgress(Remembered):
    """A progress that changes files after the scan, before moodex reads any."""

    def __init__(self, change: Callable[[], object]) -> None:
        super().__init__()
        self._change = change

    def start(self, total: int) -> None:
        super().start(total)
        self._change()


def index_with_change(library: Library, change: Callable[[], object]) -> dict[str, int]:
    roots = [os.fsencode(library.folder)]
    return counts(ingest_service.index(library.opened, roots, IndexRequest(), ActingProgress(change)))


def replaced(path: Path) -> None:
    path.write_bytes(encoded(draw_blocks(700)))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(100_000))


def swapped(path: Path) -> None:
    """Exchange the file with another image that the same run indexes."""
    other = path.with_name("007.png")
    temporary = path.with_name("aside")
    path.rename(temporary)
    other.rename(path)
    temporary.rename(other)


def deleted(path: Path) -> None:
    path.unlink()


def becomes_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def becomes_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def becomes_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def becomes_device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("device files cannot be created here")


def becomes_circular_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def folder_becomes_file(path: Path) -> None:
    folder_moved(path)
    path.parent.write_bytes(b"")


STILL_VALID = (replaced, grown, swapped)
INVALID = (
    truncated,
    emptied,
    becomes_folder,
    becomes_pipe,
    becomes_socket,
    becomes_device,
    becomes_circular_link,
)
MISSING = (deleted, folder_moved)


def check_results(library: Library) -> None:
    """Check every result against the bytes with the digest of its image, in any file."""
    paths = {blake3(path.read_bytes()).hexdigest(): path for path in library.folder.parent.rglob("*.png") if path.is_file()}
    analyzer = Analyzer(FakeClassifier())
    for hit in library.everything():
        (prediction,) = analyzer.predict([analyzer.decode(paths[hit.image_id].read_bytes())])[0] or ()
        assert hit.score == pytest.approx(max(prediction.probabilities), abs=1e-5)


@pytest.mark.parametrize("change", [*STILL_VALID, *INVALID, *MISSING, folder_becomes_file], ids=lambda change: change.__name__)
def test_a_file_that_changes_between_scan_and_reading(
    library: Library, expected_state: list[tuple[object, ...]], change: Callable[[Path], None]
) -> None:
    sub = library.folder / "sub"
    sub.mkdir()
    for name in ("003.png", "007.png"):
        (library.folder / name).rename(sub / name)
    path, copy = sub / "003.png", library.folder.parent / "aside.png"
    shutil.copy2(path, copy)
    shutil.copy2(sub / "007.png", library.folder.parent / "other.png")
    result = index_with_change(library, lambda: change(path))
    failed = result.get("failed", 0)
    assert result["scanned"] == IMAGES
    if change in STILL_VALID:
        assert (result["indexed"], failed) == (IMAGES, 0)
    elif change in INVALID:
        assert (result["indexed"], failed) == (IMAGES - 1, 1)
    else:
        assert result["indexed"] == IMAGES - (1 if change is deleted else 2)
    check_results(library)
    if sub.is_file():
        sub.unlink()
    shutil.rmtree(sub, ignore_errors=True)
    shutil.rmtree(sub.with_name("elsewhere"), ignore_errors=True)
    shutil.copy2(copy, library.folder / "003.png")
    shutil.copy2(library.folder.parent / "other.png", library.folder / "007.png")
    summary = library.index()
    assert (summary.failed, summary.scanned) == (0, IMAGES)
    check_results(library)
    assert [row[:2] for row in library_state(library)] == [row[:2] for row in expected_state]
    assert library_state(library) == expected_state


def test_a_permission_lost_between_scan_and_reading_fails_one_file(library: Library, program: Program) -> None:
    (library.folder / "sub").mkdir()
    (library.folder / "039.png").rename(library.folder / "sub/039.png")
    file, folder = library.folder / "003.png", library.folder / "sub"
    restricted = program.with_enforced_permissions()
    # The process stops after the scan, before it reads a file.
    with restricted.start("index", library.folder, at="decode", signals=signal.SIGSTOP.value) as run:
        os.waitid(os.P_PID, run.pid, os.WSTOPPED)
        for path in (file, folder):
            path.chmod(0)
        os.kill(run.pid, signal.SIGCONT)
        out, error = run.communicate(timeout=HANG_SECONDS)
    assert run.returncode == 3, error
    assert "2 failed" in out
    assert "it cannot be read: Permission denied" in restricted.run("status").stdout
    file.chmod(0o644)
    folder.chmod(0o755)
    assert restricted.run("index", library.folder).returncode == 0
    assert len(library.everything()) == IMAGES


@pytest.mark.parametrize("change", [replaced, grown, truncated], ids=lambda change: change.__name__)
def test_a_file_that_changes_while_it_is_read_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(draw_blocks(1)))
    fstat = os.fstat
    pending_changes = [change]

    def fstat_then_change(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and pending_changes:
            pending_changes.pop()(path)
        return status

    with monkeypatch.context() as patch:
        patch.setattr("indexer.system.safe_read.os.fstat", fstat_then_change)
        with pytest.raises(Unreadable, match="it changed while it was read"):
            read(os.fsencode(path))
    assert read(os.fsencode(path))[0] == path.read_bytes()


def test_a_file_that_becomes_huge_while_it_is_read_is_refused_with_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.png"
    path.write_bytes(bytes(1000))
    fstat = os.fstat

    def fstat_then_grow(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        os.truncate(path, 1 << 28)
        return status

    monkeypatch.setattr("indexer.system.safe_read.os.fstat", fstat_then_grow)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match="it changed while it was read"):
            read(os.fsencode(path))
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()


def test_a_file_that_cannot_be_read_leaves_no_open_descriptor(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    lowest_free = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest_free)
    for name in ("", "pipe", "none"):
        with pytest.raises((ImageError, FileNotFoundError)):
            read(os.fsencode(tmp_path / name))
    lowest_free_after = os.open(tmp_path, os.O_RDONLY)
    os.close(lowest_free_after)
    assert lowest_free_after == lowest_free
