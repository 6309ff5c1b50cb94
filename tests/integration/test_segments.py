"""The saved vector index grows by segments: a small update writes little, and deleted predictions leave the index."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from db.vectors.files import FaissFiles
from indexer.ports.vectors import Segment
from tests.support.builders import write_images
from tests.support.library import Library


def segments(library: Library) -> list[Segment]:
    with library.store() as store:
        (model,) = store.models()
    return FaissFiles(library.settings.vectors).load(model.card)


def segment_sizes(library: Library) -> list[int]:
    return [len(segment.vectors) for segment in segments(library)]


def row_file_inodes(library: Library) -> dict[str, int]:
    """Return the inode of each file of rows by name; an unchanged file keeps its inode."""
    return {path.name: path.stat().st_ino for path in library.settings.vectors.iterdir() if path.suffix == ".rows"}


def similar_paths(library: Library, name: str) -> list[str]:
    """Return the paths of all images, ranked by similarity to one of them."""
    return [os.fsdecode(hit.path) for hit in library.search(like=os.fsencode(library.folder / name), limit=1000)]


def test_a_few_new_images_leave_saved_segments_unchanged(library: Library) -> None:
    write_images(library.folder / "a", 60)
    library.index()
    (base,) = row_file_inodes(library).items()
    write_images(library.folder / "b", 5, first_seed=100)
    library.index()
    assert segment_sizes(library) == [60, 5] and base in row_file_inodes(library).items()
    write_images(library.folder / "c", 5, first_seed=200)
    library.index()
    assert segment_sizes(library) == [60, 10] and base in row_file_inodes(library).items()
    write_images(library.folder / "d", 20, first_seed=300)
    library.index()
    assert segment_sizes(library) == [90]
    assert len(list(library.settings.vectors.iterdir())) == 2
    paths = similar_paths(library, "c/202.png")
    assert len(paths) == len(set(paths)) == 90 and paths[0].endswith("c/202.png")


def test_reanalyzed_images_do_not_accumulate(library: Library) -> None:
    write_images(library.folder, 30)
    library.index()
    library.index(force=True)
    assert segment_sizes(library) == [30]


def test_a_damaged_segment_is_rebuilt_alone(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder / "a", 60)
    library.index()
    write_images(library.folder / "b", 5, first_seed=100)
    library.index()
    before = similar_paths(library, "b/103.png")
    (newest,) = library.settings.vectors.glob(f"*.{segments(library)[0].generation.last_id + 1}-*.rows")
    newest.write_bytes(newest.read_bytes()[:-1])
    assert segment_sizes(library) == [60]
    assert similar_paths(library, "b/103.png") == before
    assert segment_sizes(library) == [60, 5]


def test_a_contradictory_manifest_falls_back_to_the_database(library: Library) -> None:
    write_images(library.folder / "a", 60)
    library.index()
    (manifest,) = library.settings.vectors.glob("*.json")
    facts = json.loads(manifest.read_text())
    facts["segments"][0]["files"] *= 2
    manifest.write_text(json.dumps(facts))
    with library.store() as store:
        (model,) = store.models()
    assert FaissFiles(library.settings.vectors).damage(model.card) == "whose manifest cannot be read"
    assert len(similar_paths(library, "a/000.png")) == 60


def test_a_segment_replaced_while_opened_is_not_damage(library: Library, tmp_path: Path) -> None:
    write_images(library.folder / "a", 20)
    library.index()
    with library.store() as store:
        (model,) = store.models()
    storage = FaissFiles(library.settings.vectors)
    earlier = storage._manifest(model.card)
    write_images(library.folder / "b", 20, first_seed=100)
    library.index()
    current = storage._manifest(model.card)
    manifests = iter([earlier, current, current])
    storage._manifest = lambda _card: next(manifests)  # type: ignore[method-assign]
    assert [len(segment.vectors) for segment in storage.load(model.card)] == [40]
