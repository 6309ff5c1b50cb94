from __future__ import annotations

import pytest

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.ingest.survey import plan_folder
from indexer.ports.sources import ScannedFolder
from indexer.ports.store_writer import KnownFile

STAMP = FileStamp(10, 1)


def known_file(
    state: FileState = FileState.DONE, stamp: FileStamp = STAMP, predicted: bool = True, kind: str = "damaged"
) -> KnownFile:
    failure = Failure(kind, "why") if state is FileState.FAILED else None
    return KnownFile(7, stamp, state, failure, predicted)


@pytest.mark.parametrize(
    ("file", "is_read"),
    [
        (None, True),
        (known_file(), False),
        (known_file(stamp=FileStamp(11, 1)), True),
        (known_file(stamp=FileStamp(10, 2)), True),
        (known_file(predicted=False), True),
        (known_file(FileState.PENDING), True),
        (known_file(FileState.GONE), True),
        (known_file(FileState.FAILED), False),
        (known_file(FileState.FAILED, stamp=FileStamp(11, 1)), True),
        (known_file(FileState.FAILED, kind="unreadable"), True),
        (known_file(FileState.FAILED, kind="unsupported"), True),
    ],
)
def test_new_changed_and_unpredicted_files_are_read(file: KnownFile | None, is_read: bool) -> None:
    folder = ScannedFolder(b"/a", ((b"x.png", STAMP.size, STAMP.version),))
    before = {b"x.png": file} if file else {}
    plan = plan_folder(folder, before, force=False)
    assert bool(plan.result.pending) is is_read
    assert plan.scanned == 1
    still_failed = bool(file and file.state is FileState.FAILED and not is_read)
    assert plan.still_failed == still_failed
    assert plan.unchanged == (not is_read and not still_failed)
    assert plan_folder(folder, before, force=True).result.pending == {b"x.png": STAMP}


def test_known_files_that_were_not_scanned_are_missing_once() -> None:
    before = {b"a.png": known_file(), b"b.png": known_file(FileState.GONE), b"c.png": known_file(FileState.FAILED)}
    plan = plan_folder(ScannedFolder(b"/a", ((b"c.png", STAMP.size, STAMP.version),)), before, force=False)
    assert plan.missing == (b"a.png",)


def test_a_partly_scanned_folder_has_no_missing_files() -> None:
    plan = plan_folder(ScannedFolder(b"/a", (), whole=False), {b"a.png": known_file()}, force=False)
    assert plan.missing == ()


def test_a_file_that_cannot_be_an_image_fails_and_is_not_missing() -> None:
    problem = Failure("damaged", "it is a folder, not an image")
    plan = plan_folder(
        ScannedFolder(b"/a", ((b"x.png", STAMP.size, STAMP.version),), {b"x.png": problem}), {b"x.png": known_file()}, force=False
    )
    assert plan.result.failed == {b"x.png": (STAMP, problem)}
    assert (plan.result.pending, plan.missing) == ({}, ())
