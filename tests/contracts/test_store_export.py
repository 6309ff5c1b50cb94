"""The rows of an export, and the files that a health check compares with the disk."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.domain.export import ExportChunk, ExportFilter
from indexer.domain.files import FileState, IndexedFile
from indexer.domain.maps import region_keys
from tests.support.builders import card, image, prediction
from tests.support.scene import OTHER_STAMP, STAMP, Scene

EVERYTHING = ExportFilter()


def exported(scene: Scene, chosen: ExportFilter = EVERYTHING) -> ExportChunk:
    """Return the only chunk of an export of the scene's model."""
    (model,) = [model for model in scene.store.models() if model.id == scene.model]
    (chunk,) = scene.store.export_rows(model, chosen)
    return chunk


def test_an_export_has_a_row_for_each_face_of_each_file_and_for_each_whole_image(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/copy.png", p=(0.7, 0.2, 0.1), seed=3)
    scene.add_faces("duo", b"/a/2.png", (0.1, 0.8, 0.1), (0.2, 0.2, 0.6))
    scene.store.label({image("one").digest: "sad"})
    chunk = exported(scene)
    assert chunk.paths[:2] == [b"/a/1.png", b"/b/copy.png"]
    assert (list(chunk.paths[2:]), list(chunk.regions)) == ([b"/a/2.png"] * 2, [0, 0, 1, 2])
    assert list(chunk.digests) == [image("one").digest.hex()] * 2 + [image("duo").digest.hex()] * 2
    assert list(chunk.emotions) == ["sad", "sad", "sad", "crying"]
    assert list(chunk.labels) == ["sad", "sad", None, None]
    assert list(chunk.scores) == pytest.approx([1.0, 1.0, 0.8, 0.6])
    assert list(chunk.boxes) == [None, None, (0, 10, 24, 30), (24, 10, 48, 30)]
    assert set(chunk.sizes) == {(image("one").width, image("one").height)}
    assert chunk.probabilities.dtype == np.float32 and chunk.embeddings.dtype == np.float16
    assert chunk.probabilities[0].tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert np.array_equal(chunk.embeddings[1], prediction(1.0, seed=3).embedding)


def test_regions_have_keys_that_outlast_a_label(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add_faces("duo", b"/a/2.png", (0.1, 0.8, 0.1), (0.2, 0.2, 0.6))
    before = scene.store.region_ids(scene.model)
    expected = region_keys([image("one").digest, image("duo").digest, image("duo").digest], [0, 1, 2])
    assert sorted(before.keys) == sorted(expected)
    assert np.all(np.diff(before.ids) > 0)
    scene.store.label({image("one").digest: "sad"})
    after = scene.store.region_ids(scene.model)
    assert set(after.ids) != set(before.ids)
    assert sorted(after.keys) == sorted(expected)
    for chunk in scene.store.vectors(scene.model):
        assert set(chunk.ids) <= set(after.ids)


def test_an_export_has_a_labeled_image_without_a_prediction_and_no_other(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("one").digest: "smug"})
    other = scene.begin_run(scene.store.register_model(card("other", digest="22")))
    chunk = exported(other)
    assert (list(chunk.paths), list(chunk.emotions), list(chunk.labels)) == ([b"/a/1.png"], ["smug"], ["smug"])
    assert (list(chunk.scores), list(chunk.regions), list(chunk.boxes)) == ([1.0], [0], [None])
    assert np.isnan(chunk.probabilities).all() and np.isnan(chunk.embeddings).all()


@pytest.mark.parametrize(
    ("chosen", "paths"),
    [
        (ExportFilter(frozenset({"happy"})), [b"/a/1.png"]),
        (ExportFilter(frozenset({"happy", "sad"})), [b"/a/1.png", b"/a/sub/2.png"]),
        (ExportFilter(under=(b"/a/sub",)), [b"/a/sub/2.png"]),
        (ExportFilter(under=(b"/a/1.png",)), [b"/a/1.png"]),
        (ExportFilter(frozenset({"sad"}), (b"/",)), [b"/a/sub/2.png"]),
    ],
)
def test_an_export_can_be_limited_to_emotions_and_a_folder(scene: Scene, chosen: ExportFilter, paths: list[bytes]) -> None:
    scene.add("one", b"/a/1.png", p=(0.7, 0.2, 0.1))
    scene.add("two", b"/a/sub/2.png", p=(0.2, 0.7, 0.1))
    scene.add("three", b"/a/sub-3/3.png", p=(0.2, 0.1, 0.7))
    assert list(exported(scene, chosen).paths) == paths


def test_an_export_leaves_out_missing_and_failed_files(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.store.mark_missing([scene.store.known_files(b"/a", scene.run)[b"1.png"].id])
    assert list(exported(scene).paths) == [b"/a/2.png"]


def test_indexed_files_are_read_oldest_first_and_page_by_page(scene: Scene) -> None:
    scene.add("one", b"/b/1.png")
    scene.add("two", b"/a/2.png", b"/a/copy.png")
    scene.record_scan(b"/a/pending.png")
    first = scene.store.indexed_files(0, 2)
    rest = scene.store.indexed_files(first[-1].id, 2)
    assert [file.path for file in first] == [b"/b/1.png", b"/a/2.png"]
    assert [(file.path, file.stamp, file.digest) for file in rest] == [(b"/a/copy.png", STAMP, image("two").digest)]
    assert scene.store.indexed_files(rest[-1].id, 2) == []


def test_a_file_that_changed_or_waits_is_no_longer_the_indexed_one(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.add("three", b"/a/3.png")
    files = scene.store.indexed_files(0, 10)
    assert scene.store.still_indexed(files) == set(files)
    scene.record_scan(b"/a/2.png", stamp=OTHER_STAMP)
    stale = IndexedFile(files[2].id, files[2].path, OTHER_STAMP, files[2].digest)
    assert scene.store.still_indexed([files[0], files[1], stale]) == {files[0]}


def test_requeued_files_wait_and_stay_in_searches(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    (first, _) = scene.store.indexed_files(0, 10)
    scene.store.requeue([first])
    assert scene.file_state(b"/a/1.png") == (FileState.PENDING, True)
    assert [file.path for file in scene.store.pending([b"/"], 0, 10)] == [b"/a/1.png"]
    assert scene.paths() == [b"/a/1.png", b"/a/2.png"]
