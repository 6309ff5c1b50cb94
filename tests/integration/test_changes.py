"""Changes that keep the size and the time of a file are noticed; files that only look changed cost no inference."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from indexer.domain.files import FileStamp, stamp_of
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library, counts
from tests.support.quiet import Remembered


def write_at(path: Path, seed: int) -> None:
    """Write an image of always the same size and time."""
    path.write_bytes(encoded(draw_blocks(seed), "BMP"))
    os.utime(path, (1_795_950_500, 1_795_950_500))


def forget_changes(library: Library) -> None:
    """Leave the stamps in the library as an older version wrote them."""
    with closing(sqlite3.connect(library.settings.database)) as database, database:
        database.execute("UPDATE files SET change = NULL")
        database.execute("UPDATE folders SET listing = NULL")


def deep_findings(library: Library) -> list[str]:
    from indexer.maintenance import service

    report = service.check(library.opened, deep=True, progress=Remembered())
    return [finding.kind for finding in report.found.findings]


def test_a_change_that_keeps_size_and_time_is_read(library: Library) -> None:
    path = library.folder / "a.bmp"
    write_at(path, 1)
    library.index()
    write_at(path, 2)
    assert "files_rotten" not in deep_findings(library)
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}
    assert counts(library.index()) == {"scanned": 1, "unchanged": 1}
    assert not {"files_rotten", "files_changed"} & set(deep_findings(library))


def test_a_touched_file_costs_no_inference(library: Library) -> None:
    (path,) = write_images(library.folder, 1)
    library.index()
    path.chmod(0o600)
    os.link(path, library.folder.with_name("link"))
    assert counts(library.index()) == {"scanned": 1, "reused": 1}
    assert library.classifier.classified == 1


def test_stamps_of_an_older_version_are_completed_without_reading(library: Library) -> None:
    path = library.folder / "a.bmp"
    write_at(path, 1)
    library.index()
    forget_changes(library)
    assert counts(library.index()) == {"scanned": 1, "unchanged": 1}
    write_at(path, 2)
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}


def test_verify_reads_every_file_and_analyzes_only_changed_ones(library: Library) -> None:
    path = library.folder / "a.bmp"
    write_at(path, 1)
    write_images(library.folder, 2, first_seed=20)
    library.index()
    write_at(path, 2)
    with closing(sqlite3.connect(library.settings.database)) as database, database:  # as if nothing had noted the change
        database.execute("UPDATE files SET change = ? WHERE name = ?", (stamp_of(path.stat()).change, b"a.bmp"))
    assert "files_rotten" in deep_findings(library)
    assert counts(library.index(verify=True)) == {"scanned": 3, "indexed": 1, "reused": 2}
    assert library.classifier.classified == 4


def test_stamps_match_as_far_as_they_are_known() -> None:
    assert FileStamp(1, 2, 3).matches(FileStamp(1, 2)) and FileStamp(1, 2).matches(FileStamp(1, 2, 3))
    assert not FileStamp(1, 2, 3).matches(FileStamp(1, 2, 4)) and not FileStamp(1, 2).matches(FileStamp(1, 3))


def test_coarse_times_are_completed_by_the_inode_except_where_both_times_are_one() -> None:
    def stamp(changed: float, inode: int, modified: float = 1.0) -> FileStamp:
        times = {"st_mtime_ns": int(modified * 1e9), "st_ctime_ns": int(changed * 1e9)}
        return stamp_of(cast(os.stat_result, SimpleNamespace(st_size=5, st_ino=inode, **times)))

    assert stamp(7.0, 1) != stamp(7.0, 2)
    assert stamp(7.5, 1) == stamp(7.5, 2)
    assert stamp(7.0, 1, modified=7.0) == stamp(7.0, 2, modified=7.0)
