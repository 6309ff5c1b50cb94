"""Searches give the same results with a damaged, outdated, foreign or missing vector index."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import short_paths
from tests.support.builders import write_images
from tests.support.library import Library

Damage = Callable[[Path, Path], None]
"""Damages the files of vectors and rows of an index."""


def _delete(vectors: Path, rows: Path) -> None:
    vectors.unlink()
    rows.unlink()


def _delete_vectors(vectors: Path, rows: Path) -> None:
    vectors.unlink()


def _delete_rows(vectors: Path, rows: Path) -> None:
    rows.unlink()


def _truncate_vectors(vectors: Path, rows: Path) -> None:
    os.truncate(vectors, vectors.stat().st_size // 2)


def _truncate_rows(vectors: Path, rows: Path) -> None:
    os.truncate(rows, rows.stat().st_size // 2)


def _empty(vectors: Path, rows: Path) -> None:
    vectors.write_bytes(b"")
    rows.write_bytes(b"")


def _flip_bits(vectors: Path, rows: Path) -> None:
    data = bytearray(vectors.read_bytes())
    for position in range(200, len(data), 97):
        data[position] ^= 0x55
    vectors.write_bytes(data)


def _overwrite(vectors: Path, rows: Path) -> None:
    vectors.write_bytes(os.urandom(5000))
    rows.write_bytes(os.urandom(5000))


@pytest.mark.parametrize(
    "damage", [_delete, _delete_vectors, _delete_rows, _truncate_vectors, _truncate_rows, _empty, _flip_bits, _overwrite]
)
@pytest.mark.parametrize("repaired", [True, False], ids=["repaired by the search", "read only"])
def test_a_damaged_index_changes_no_result(
    clustered: Library, damage: Damage, repaired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = _searches(clustered)
    before = [clustered.search(**criteria) for criteria in searches]
    (vectors,) = clustered.settings.vectors.glob("*.faiss")
    (rows,) = clustered.settings.vectors.glob("*.rows")
    damage(vectors, rows)
    if not repaired:
        monkeypatch.setattr("db.vectors.sync.sync_index", _refuse_to_write)
    assert [clustered.search(**criteria) for criteria in searches] == before
    assert vectors.exists() is (repaired or damage not in (_delete, _delete_vectors))


def _refuse_to_write(*_: object) -> bool:
    raise PermissionError(13, "Permission denied")


def _searches(library: Library) -> list[dict[str, object]]:
    like = os.fsencode(library.folder / "a/005.png")
    return [
        {"like": like, "limit": 30},
        {"like": like, "emotions": ("happy",), "limit": 5},
        {"like": like, "excluded": ("happy",), "min_score": 0.2},
        {"like": like, "under": (os.fsencode(library.folder / "b"),), "dedupe": True},
    ]


def test_an_outdated_index_changes_no_result(clustered: Library, tmp_path: Path) -> None:
    old = shutil.copytree(clustered.settings.vectors, tmp_path / "old")
    write_images(clustered.folder / "c", 30, first_seed=400)
    os.unlink(clustered.folder / "a/006.png")
    clustered.index()
    searches = [*_searches(clustered), {"like": os.fsencode(clustered.folder / "c/410.png"), "limit": 12}]
    before = [clustered.search(**criteria) for criteria in searches]
    both_files, vectors_only = list(old.iterdir()), list(old.glob("*.faiss"))
    for files in (both_files, vectors_only):
        for file in files:
            shutil.copy(file, clustered.settings.vectors / file.name)
        assert [clustered.search(**criteria) for criteria in searches] == before


def test_an_index_of_another_history_is_rejected(clustered: Library, tmp_path: Path) -> None:
    """The database is replaced by an older copy and grows again, so that the same ids mean other images."""
    saved = shutil.copytree(clustered.settings.home, tmp_path / "saved")
    write_images(clustered.folder / "c", 20, first_seed=400)
    clustered.index()
    later = shutil.copytree(clustered.settings.vectors, tmp_path / "later")
    shutil.rmtree(clustered.settings.home)
    shutil.copytree(saved, clustered.settings.home)
    shutil.rmtree(clustered.folder / "c")
    write_images(clustered.folder / "d", 20, first_seed=600)
    clustered.index()
    criteria = {"like": os.fsencode(clustered.folder / "d/610.png"), "limit": 30}
    before = clustered.search(**criteria)
    for file in later.iterdir():
        shutil.copy(file, clustered.settings.vectors / file.name)
    assert clustered.search(**criteria) == before


def test_a_new_image_is_found_before_the_index_is_updated(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(clustered.folder / "c", 5, first_seed=400)
    with monkeypatch.context() as patch:
        patch.setattr("db.vectors.sync.sync_index", lambda *_: False)
        clustered.index()
    monkeypatch.setattr("db.vectors.sync.sync_index", _refuse_to_write)
    hits = clustered.search(like=os.fsencode(clustered.folder / "c/402.png"), limit=3)
    assert short_paths(hits)[0] == "c/402.png"
    assert len(clustered.search(like=os.fsencode(clustered.folder / "c/402.png"), limit=500)) == 126


def test_reanalyzed_images_are_found_once(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("db.vectors.sync.sync_index", lambda *_: False)
        clustered.index(force=True)
    monkeypatch.setattr("db.vectors.sync.sync_index", _refuse_to_write)
    hits = clustered.search(like=os.fsencode(clustered.folder / "a/005.png"), limit=500)
    assert Counter(hit.path for hit in hits).most_common(1)[0][1] == 1
    assert len(hits) == 121
