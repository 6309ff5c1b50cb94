"""Missing files: their entries are kept, they reappear without inference, and they are forgotten after the grace period."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.domain.errors import UsageError
from indexer.domain.files import FileState
from indexer.domain.predictions import LabelAssignment
from indexer.domain.runs import RunCounts, RunRecord
from indexer.labels import service as labels_service
from tests.support.builders import write_images
from tests.support.library import Library, counts


def last_run(library: Library) -> RunRecord:
    with library.store() as store:
        return store.runs(1)[0]


def age_missing_files(library: Library, days: float) -> None:
    """Date the disappearance of missing files back by a number of days."""
    with closing(sqlite3.connect(library.settings.database)) as database, database:
        database.execute("UPDATE files SET gone_at = gone_at - ?", (days * 86400,))


def test_a_missing_folder_keeps_its_entries_and_reappears(library: Library) -> None:
    write_images(library.folder, 6)
    library.index()
    hits = library.everything()
    moved = library.folder.rename(library.folder.with_name("moved"))
    for _ in range(2):
        summary = library.index()
        assert counts(summary) == {"kept": 6}
        assert (summary.exit_code, summary.away) == (3, (str(library.folder),))
        assert "it is missing. Nothing was removed" in library.progress.warnings[0]
        assert library.everything() == hits
    assert (last_run(library).outcome, last_run(library).counts) == ("done", RunCounts(kept=6))
    assert "--prune --yes" in (last_run(library).reason or "")
    moved.rename(library.folder)
    summary = library.index()
    assert (counts(summary), summary.exit_code) == ({"scanned": 6, "unchanged": 6}, 0)
    assert library.classifier.classified == 6
    assert library.everything() == hits


def test_an_empty_mount_point_is_reported(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    moved = library.folder.rename(library.folder.with_name("moved"))
    library.folder.mkdir()
    summary = library.index()
    assert (counts(summary), summary.exit_code, summary.away) == ({"kept": 3}, 3, (str(library.folder),))
    library.folder.rmdir()
    moved.rename(library.folder)
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3}


def test_a_missing_folder_is_pruned_only_with_prune(library: Library) -> None:
    write_images(library.folder, 4)
    library.index()
    moved = library.folder.rename(library.folder.with_name("moved"))
    summary = library.index(prune=False)
    assert (counts(summary), summary.exit_code) == ({"kept": 4}, 3)
    assert counts(library.index(prune=True)) == {"removed": 4}
    assert library.paths() == set()
    with pytest.raises(UsageError, match="does not exist"):
        library.index()
    moved.rename(library.folder)
    assert counts(library.index()) == {"scanned": 4, "reused": 4}
    assert library.classifier.classified == 4


def test_other_roots_are_indexed_while_one_is_missing(library: Library) -> None:
    folder, other = library.folder / "folder", library.folder / "other"
    write_images(folder, 2)
    (single,) = write_images(other, 1, first_seed=50)
    library.index(folder, single)
    single.unlink()
    write_images(folder, 1, first_seed=60)
    summary = library.index(folder, single)
    assert (counts(summary), summary.away) == ({"scanned": 3, "unchanged": 2, "indexed": 1, "kept": 1}, (str(single),))


def test_a_folder_moved_into_another_root_counts_as_moved(library: Library) -> None:
    first, second = library.folder / "first", library.folder / "second"
    write_images(first, 3)
    write_images(second, 1, first_seed=50)
    library.index(first, second)
    first.rename(second / "first")
    summary = library.index(first, second)
    assert (counts(summary), summary.away) == ({"scanned": 4, "unchanged": 1, "moved": 3}, ())


def test_a_nested_root_is_scanned_as_part_of_the_outer_one(library: Library) -> None:
    write_images(library.folder, 9)
    inner = library.folder / "inner"
    write_images(inner, 2, first_seed=50)
    library.index()
    shutil.rmtree(inner)
    assert counts(library.index(library.folder, inner)) == {"scanned": 9, "unchanged": 9, "removed": 2}


def test_files_missing_beyond_the_grace_period_are_forgotten(library: Library) -> None:
    paths = write_images(library.folder, 9)
    duplicate = shutil.copy(paths[0], library.folder / "copy.png")
    library.index()
    label(library, paths[1])
    for path in paths[:3]:
        path.unlink()
    assert counts(library.index()) == {"scanned": 7, "unchanged": 7, "removed": 3}
    age_missing_files(library, 29)
    assert counts(library.index()) == {"scanned": 7, "unchanged": 7}
    age_missing_files(library, 2)
    summary = library.index()
    assert (counts(summary), summary.expired) == ({"scanned": 7, "unchanged": 7}, 3)
    with library.store() as store:
        stored = store.counts()
        assert (stored.files, stored.images) == ({FileState.DONE: 7}, 8)  # six others, the duplicate, and the labeled one
        assert [(image.emotion, image.path) for image in store.labeled_images()] == [("crying", None)]
    assert len(library.search(like=os.fsencode(duplicate))) == 7
    write_images(library.folder, 3)
    assert counts(library.index()) == {"scanned": 10, "unchanged": 7, "indexed": 1, "reused": 2}
    assert library.classifier.classified == 10
    assert len(library.search(like=os.fsencode(duplicate))) == 10


def label(library: Library, path: Path) -> None:
    labels_service.label(library.opened, [LabelAssignment(os.fsencode(path), "crying")], new=False)


def test_the_grace_period_is_a_setting(library: Library) -> None:
    paths = write_images(library.folder, 4)
    library.settings = replace(library.settings, grace_days=3)
    library.index()
    paths[0].unlink()
    library.index()
    age_missing_files(library, 4)
    assert library.index().expired == 1


def test_the_vector_index_shrinks_when_files_are_forgotten(library: Library) -> None:
    paths = write_images(library.folder, 30)
    library.index()
    for path in paths[10:]:
        path.unlink()
    library.index(prune=True)
    age_missing_files(library, 31)
    assert library.index().expired == 20
    from db.vectors.files import FaissFiles
    from db.vectors.sync import is_index_current

    with library.store() as store:
        (model,) = store.models()
        files = FaissFiles(library.settings.vectors)
        assert is_index_current(store, files, model)
        assert sum(len(segment.vectors) for segment in files.load(model.card)) == store.regions(model.id) == 10
    assert len(library.search(like=os.fsencode(paths[0]))) == 10
    for path in paths[:10]:
        path.unlink()
    library.index(prune=True)
    age_missing_files(library, 31)
    assert library.index().expired == 10
    assert library.everything() == []
    write_images(library.folder, 2)
    assert counts(library.index()) == {"scanned": 2, "indexed": 2}
    assert len(library.search(like=os.fsencode(paths[0]))) == 2


def test_a_failed_run_records_its_reason(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder, 1)

    def fail(pixels: object) -> object:
        raise RuntimeError("the model broke")

    monkeypatch.setattr(library.classifier, "classify", fail)
    with pytest.raises(RuntimeError):
        library.index()
    assert (last_run(library).outcome, last_run(library).reason) == ("failed", "RuntimeError: the model broke")


def test_idle_runs_leave_no_record_on_request(library: Library) -> None:
    write_images(library.folder, 2)
    (library.folder / "broken.png").write_bytes(b"not an image")
    library.index(record_idle=False)
    library.index(record_idle=False)
    first = last_run(library)
    assert first.counts == RunCounts(scanned=3, indexed=2, failed=1)
    library.index()
    assert last_run(library).id > first.id
