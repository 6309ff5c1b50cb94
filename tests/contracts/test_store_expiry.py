"""The contract of stores for files that are missing for a long time."""

from __future__ import annotations

import time

from indexer.domain.files import FileState
from indexer.ports.store_writer import CommitBatch
from tests.support.builders import card, image
from tests.support.scene import Scene


def mark_missing(scene: Scene, *paths: bytes) -> None:
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        scene.store.mark_missing([scene.store.known_files(folder, scene.run)[name].id])


def test_missing_files_are_kept_until_they_expire(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/copy.png")
    scene.add("two", b"/c/2.png")
    mark_missing(scene, b"/a/1.png", b"/c/2.png")
    assert scene.store.expire(time.time() - 60) == 0
    assert scene.store.counts().files[FileState.GONE] == 2
    assert scene.store.expire(time.time() + 60) == 2
    assert scene.store.counts().files == {FileState.DONE: 1}
    assert scene.paths() == [b"/b/copy.png"]
    assert scene.store.known_folders([b"/"]) == [b"/b"]
    assert scene.store.counts().images == 1
    assert not scene.store.unpredicted(image("one").digest, scene.run)
    assert scene.store.unpredicted(image("two").digest, scene.run)


def test_files_that_reappeared_do_not_expire(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    mark_missing(scene, b"/a/1.png")
    (file,) = scene.record_scan(b"/a/1.png")
    assert scene.store.expire(time.time() + 60) == 0
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.store.expire(time.time() + 60) == 0
    assert scene.paths() == [b"/a/1.png"]


def test_expiry_changes_the_generation_of_affected_models_and_ids_are_not_reused(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png", seed=2)
    other = scene.begin_run(scene.store.register_model(card("other", digest="22")))
    other.add("one", b"/a/1.png")
    before, other_generation = scene.store.generation(scene.model), scene.store.generation(other.model)
    last_id = max(int(number) for rows in scene.store.vectors(other.model) for number in rows.ids)
    mark_missing(scene, b"/a/2.png")
    scene.store.expire(time.time() + 60)
    after = scene.store.generation(scene.model)
    assert before is not None and after is not None
    assert (after.last_id, after.token != before.token) == (before.last_id, True)
    assert scene.store.had_generation(scene.model, before)
    assert scene.store.generation(other.model) == other_generation
    assert scene.store.regions(scene.model) == 1
    mark_missing(scene, b"/a/1.png")
    scene.store.expire(time.time() + 60)
    assert scene.store.regions(scene.model) == scene.store.regions(other.model) == scene.store.counts().images == 0
    scene.add("three", b"/a/3.png", seed=3)
    (rows,) = scene.store.vectors(scene.model)
    assert rows.ids[0] > last_id


def test_a_labeled_image_is_kept_when_its_files_expire(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png", b"/a/3.png")
    scene.store.label({image("one").digest: "crying"})
    mark_missing(scene, b"/a/1.png", b"/a/2.png")
    assert scene.store.expire(time.time() + 60) == 2
    assert [(labeled.image_id, labeled.path) for labeled in scene.store.labeled_images()] == [(image("one").digest.hex(), None)]
    assert scene.store.counts().images == 2
    assert scene.store.image_count(scene.model) == 2
