from __future__ import annotations

import pytest

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.ingest.survey import plan_folder
from indexer.ports.sources import ScannedFolder
from indexer.ports.store_writer import KnownFile

STAMP = FileStamp(10, 1)


def known(
    state: FileState = FileState.DONE, stamp: FileStamp = STAMP, predicted: bool = True, kind: str = "damaged"
) -> KnownFile:
    failure = Failure(kind, "why") if state is FileState.FAILED else None
    return KnownFile(7, stamp, state, failure, predicted)


@pytest.mark.parametrize(
    ("file", "looked_at"),
    [
        (None, True),
        (known(), False),
        (known(stamp=FileStamp(11, 1)), True),
        (known(stamp=FileStamp(10, 2)), True),
        (known(predicted=False), True),
        (known(FileState.PENDING), True),
        (known(FileState.GONE), True),
        (known(FileState.FAILED), False),
        (known(FileState.FAILED, stamp=FileStamp(11, 1)), True),
        (known(FileState.FAILED, kind="unreadable"), True),
        (known(FileState.FAILED, kind="unsupported"), True),
    ],
)
def test_what_is_looked_at(file: KnownFile | None, looked_at: bool) -> None:
    folder = ScannedFolder(b"/a", ((b"x.png", STAMP.size, STAMP.version),))
    before = {b"x.png": file} if file else {}
    plan = plan_folder(folder, before, force=False)
    assert bool(plan.note.pending) is looked_at
    assert plan.scanned == 1
    still_failed = bool(file and file.state is FileState.FAILED and not looked_at)
    assert plan.still_failed == still_failed
    assert plan.unchanged == (not looked_at and not still_failed)
    assert plan_folder(folder, before, force=True).note.pending == {b"x.png": STAMP}


def test_known_files_that_are_not_there_are_missing_unless_already_gone() -> None:
    before = {b"a.png": known(), b"b.png": known(FileState.GONE), b"c.png": known(FileState.FAILED)}
    plan = plan_folder(ScannedFolder(b"/a", ((b"c.png", STAMP.size, STAMP.version),)), before, force=False)
    assert plan.missing == (7,)


def test_a_folder_seen_in_part_misses_nothing() -> None:
    plan = plan_folder(ScannedFolder(b"/a", (), whole=False), {b"a.png": known()}, force=False)
    assert plan.missing == ()


def test_a_file_that_cannot_be_a_picture_fails_and_is_not_missing() -> None:
    problem = Failure("damaged", "it is a folder, not an image")
    plan = plan_folder(
        ScannedFolder(b"/a", ((b"x.png", STAMP.size, STAMP.version),), {b"x.png": problem}), {b"x.png": known()}, force=False
    )
    assert plan.note.failed == {b"x.png": (STAMP, problem)}
    assert (plan.note.pending, plan.missing) == ({}, ())
