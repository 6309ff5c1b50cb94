"""Index runs over new, changed, renamed, copied, touched, missing and reappeared files."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from indexer.domain.errors import UsageError
from indexer.domain.predictions import Scores
from indexer.sources.filesystem import FileSystemSource
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library, counts

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


def test_new_images_are_indexed_and_found(library: Library) -> None:
    write_images(library.folder / "a", 13)
    summary = library.index()
    assert counts(summary) == {"scanned": 13, "indexed": 13}
    assert (summary.exit_code, summary.device, summary.model) == (0, "cpu", "fake")
    assert (library.progress.total, library.progress.done, library.progress.finished) == (13, 13, True)
    assert len(library.paths()) == 13


def test_an_unchanged_folder_is_neither_read_nor_classified(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder, 9)
    library.index()
    monkeypatch.setattr(FileSystemSource, "read", lambda _, path: pytest.fail(f"{path} was read"))
    assert counts(library.index()) == {"scanned": 9, "unchanged": 9}
    assert library.classifier.classified == 9


def test_an_unchanged_folder_is_not_compared_file_by_file(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder / "a", 3)
    write_images(library.folder / "b", 3, 3)
    library.index()
    compared_folders: list[bytes] = []
    monkeypatch.setattr(
        "db.sqlite.store.SqliteStore.known_files",
        lambda _store, folder, _run, names=None: {} if names else compared_folders.append(folder) or {},
    )
    assert counts(library.index()) == {"scanned": 6, "unchanged": 6}
    assert compared_folders == []


def test_a_folder_that_may_have_changed_is_compared(library: Library) -> None:
    paths = write_images(library.folder, 3)
    library.index()
    os.utime(paths[0], ns=(1, 1))
    assert counts(library.index()) == {"scanned": 3, "unchanged": 2, "reused": 1}
    paths[1].unlink()
    assert counts(library.index(prune=False)) == {"scanned": 2, "unchanged": 2, "kept": 1}
    assert counts(library.index()) == {"scanned": 2, "unchanged": 2, "removed": 1}
    assert counts(library.index(force=True)) == {"scanned": 2, "indexed": 2}


def test_deleted_predictions_are_computed_again(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    with library.store() as store:
        store.forget_model(store.models()[0].id)
    assert counts(library.index()) == {"scanned": 3, "indexed": 3}


def test_renamed_files_are_moved_without_inference(library: Library) -> None:
    paths = write_images(library.folder, 10)
    library.index()
    before = {hit.image_id: (hit.emotion, hit.score) for hit in library.everything()}
    for path in paths[:5]:
        path.rename(path.with_name("renamed-" + path.name))
    assert counts(library.index()) == {"scanned": 10, "unchanged": 5, "moved": 5}
    assert library.classifier.classified == 10
    assert {hit.image_id: (hit.emotion, hit.score) for hit in library.everything()} == before
    assert {path for path in library.paths() if path.startswith("renamed-")} == {f"renamed-{i:03d}.png" for i in range(5)}
    assert counts(library.index()) == {"scanned": 10, "unchanged": 10}


def test_a_renamed_folder_counts_as_moved(library: Library) -> None:
    write_images(library.folder / "a/b", 4)
    library.index()
    (library.folder / "a").rename(library.folder / "z")
    assert counts(library.index()) == {"scanned": 4, "moved": 4}
    assert library.classifier.classified == 4
    assert library.paths() == {f"z/b/{i:03d}.png" for i in range(4)}


def test_a_folder_renamed_back_is_found_again(library: Library) -> None:
    write_images(library.folder / "a", 4)
    library.index()
    for old, new in (("a", "b"), ("b", "a")):
        (library.folder / old).rename(library.folder / new)
        assert counts(library.index()) == {"scanned": 4, "moved": 4}
    assert library.classifier.classified == 4
    assert library.paths() == {f"a/{i:03d}.png" for i in range(4)}


def test_copies_are_reused_and_all_are_found(library: Library) -> None:
    (path,) = write_images(library.folder, 1)
    library.index()
    shutil.copy(path, library.folder / "copy.png")
    assert counts(library.index()) == {"scanned": 2, "unchanged": 1, "reused": 1}
    assert library.classifier.classified == 1
    assert library.paths() == {"000.png", "copy.png"}


def test_equal_bytes_in_one_run_are_classified_once(library: Library) -> None:
    data = encoded(draw_blocks(1))
    for i in range(40):
        (library.folder / f"{i}.png").write_bytes(data)
    assert counts(library.index()) == {"scanned": 40, "indexed": 1, "reused": 39}
    assert library.classifier.classified == 1
    assert len(library.paths()) == 40


def test_a_touched_file_is_hashed_and_not_classified(library: Library) -> None:
    paths = write_images(library.folder, 3)
    library.index()
    os.utime(paths[0], ns=(1, 1))
    assert counts(library.index()) == {"scanned": 3, "unchanged": 2, "reused": 1}
    assert library.classifier.classified == 3
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3}


def test_a_changed_file_is_analyzed_again(library: Library) -> None:
    paths = write_images(library.folder, 3)
    library.index()
    paths[1].write_bytes(encoded(draw_blocks(99)))
    os.utime(paths[1], ns=(5, 5))
    assert counts(library.index()) == {"scanned": 3, "unchanged": 2, "indexed": 1}
    (hit,) = [hit for hit in library.everything() if hit.path.endswith(b"001.png")]
    assert hit.image_id == analyzed_id(library.with_model("fake"), paths[1])


def analyzed_id(library: Library, path: Path) -> str:
    """Return the image id of a file that is analyzed now."""
    from indexer.search.resolve import analyze_file

    return analyze_file(os.fsencode(path), library.analyzer)[0].image_id


def test_missing_files_reappear_without_inference(library: Library) -> None:
    paths = write_images(library.folder, 6)
    library.index()
    aside = library.folder.parent / "aside"
    aside.mkdir()
    for path in paths[:2]:
        path.rename(aside / path.name)
    assert counts(library.index()) == {"scanned": 4, "unchanged": 4, "removed": 2}
    assert len(library.paths()) == 4
    assert counts(library.index()) == {"scanned": 4, "unchanged": 4}
    for path in paths[:2]:
        (aside / path.name).rename(path)
    assert counts(library.index()) == {"scanned": 6, "unchanged": 4, "reused": 2}
    assert library.classifier.classified == 6
    assert len(library.paths()) == 6


def test_an_emptied_root_is_pruned_only_with_prune(library: Library) -> None:
    paths = write_images(library.folder, 6)
    library.index()
    for path in paths:
        path.unlink()
    summary = library.index()
    assert counts(summary) == {"kept": 6}
    assert "6 of 6 known files are missing" in library.progress.warnings[0]
    assert len(library.paths()) == 6
    assert counts(library.index(prune=True)) == {"removed": 6}
    assert library.paths() == set()


def test_many_missing_files_are_kept_and_a_few_are_pruned(library: Library) -> None:
    paths = write_images(library.folder / "sub", 10)
    library.index()
    shutil.move(paths[0], library.folder.parent / "moved.png")
    assert counts(library.index(prune=False)) == {"scanned": 9, "unchanged": 9, "kept": 1}
    assert library.progress.warnings == []
    for path in paths[1:7]:
        path.unlink()
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3, "kept": 7}
    assert counts(library.index(prune=True)) == {"scanned": 3, "unchanged": 3, "removed": 7}


def test_a_missing_subfolder_is_removed_and_others_stay(library: Library) -> None:
    write_images(library.folder / "a", 3)
    write_images(library.folder / "b/c", 2, first_seed=50)
    library.index()
    shutil.rmtree(library.folder / "b")
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3, "removed": 2}


def test_indexing_one_root_does_not_change_the_others(library: Library) -> None:
    write_images(library.folder / "a", 3)
    write_images(library.folder / "b", 3, first_seed=50)
    library.index()
    shutil.rmtree(library.folder / "b")
    assert counts(library.index(library.folder / "a")) == {"scanned": 3, "unchanged": 3}
    assert len(library.paths()) == 6


def test_workers_share_the_last_images(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder, 14)
    original, batches = library.classifier.classify, []

    def classify(pixels: Pixels) -> Scores:
        batches.append(len(pixels))
        return original(pixels)

    monkeypatch.setattr(library.classifier, "classify", classify)
    library.settings = replace(library.settings, workers=2)
    library.index()
    assert sum(batches) == 14 and max(batches) < 8 <= library.classifier.batch_size


def test_force_reanalyzes_everything_but_equal_bytes_once(library: Library) -> None:
    paths = write_images(library.folder, 4)
    shutil.copy(paths[0], library.folder / "copy.png")
    library.index()
    assert counts(library.index(force=True)) == {"scanned": 5, "indexed": 4, "reused": 1}
    assert library.classifier.classified == 8
    assert len(library.paths()) == 5


def test_two_models_keep_separate_predictions(library: Library) -> None:
    write_images(library.folder, 5)
    library.index()
    other = library.with_model("other")
    assert counts(other.index()) == {"scanned": 5, "indexed": 5}
    assert len(other.everything()) == len(library.everything()) == 5
    assert [hit.score for hit in other.everything()] != [hit.score for hit in library.everything()]
    assert counts(library.index()) == {"scanned": 5, "unchanged": 5}


def test_several_roots_single_files_and_nested_roots_can_be_indexed(library: Library) -> None:
    write_images(library.folder / "a/deep", 2)
    (single,) = write_images(library.folder / "b", 1, first_seed=50)
    write_images(library.folder / "c", 1, first_seed=60)
    summary = library.index(library.folder / "a", library.folder / "a/deep", single)
    assert counts(summary) == {"scanned": 3, "indexed": 3}
    assert library.paths() == {"a/deep/000.png", "a/deep/001.png", "b/050.png"}


def test_an_empty_folder_is_accepted_and_a_missing_one_is_refused(library: Library) -> None:
    assert counts(library.index()) == {}
    with pytest.raises(UsageError, match="does not exist; nothing was indexed"):
        library.index(library.folder / "none")


def test_excluded_files_are_not_indexed(library: Library) -> None:
    write_images(library.folder / "thumbs", 2)
    write_images(library.folder / "keep", 2, first_seed=50)
    assert counts(library.index(exclude=("thumbs/",))) == {"scanned": 2, "indexed": 2}


def test_a_data_folder_inside_a_root_is_not_indexed(library: Library) -> None:
    write_images(library.folder, 2)
    library.settings = type(library.settings)(home=library.folder / "data", model="fake")
    library.settings.home.mkdir()
    write_images(library.settings.home / "inside", 1, first_seed=50)
    assert counts(library.index()) == {"scanned": 2, "indexed": 2}


def test_image_files_are_never_changed(library: Library) -> None:
    paths = write_images(library.folder, 3)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    library.index()
    library.index(force=True)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before
