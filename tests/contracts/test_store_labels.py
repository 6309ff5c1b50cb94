"""The contract of stores for user labels."""

from __future__ import annotations

import time

import numpy as np
import pytest

from indexer.domain.export import ExportFilter
from indexer.ports.store_reader import HitFilter, ImageFile
from indexer.ports.vectors import NOT_THE_MODELS
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, STAMP, Scene


def test_a_label_overrides_predictions(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png", p=(0.1, 0.8, 0.1))
    before = scene.store.prediction_ids(scene.model, ANY).tolist()
    old_generation = scene.store.generation(scene.model)
    scene.store.label({image("one").digest: "crying"})
    hits = {ranked.hit.path: ranked.hit for ranked in scene.store.ranked(scene.model, ANY, 10, 0)}
    for path in (b"/a/1.png", b"/a/copy.png"):
        assert (hits[path].emotion, hits[path].score, hits[path].label) == ("crying", 1.0, "crying")
        assert hits[path].emotions["happy"] == pytest.approx(0.7)
    assert (hits[b"/a/2.png"].emotion, hits[b"/a/2.png"].label) == ("sad", None)
    assert scene.paths(HitFilter(frozenset({"crying"}), min_score=1.0)) == [b"/a/1.png", b"/a/copy.png"]
    assert scene.paths(HitFilter(frozenset({"happy"}))) == []
    # An index that follows the store by ids sees the change as a new row.
    (changed,) = set(scene.store.prediction_ids(scene.model, ANY).tolist()) - set(before)
    assert changed > max(before)
    (rows,) = scene.store.vectors(scene.model, after=max(before))
    assert (rows.ids.tolist(), rows.emotions.tolist(), rows.scores.tolist()) == ([changed], [2], [1.0])
    assert np.array_equal(rows.vectors[0], prediction(0.7, 0.2, 0.1).embedding)
    new_generation = scene.store.generation(scene.model)
    assert new_generation is not None
    assert new_generation != old_generation
    assert new_generation.last_id == changed


def test_a_removed_label_restores_the_prediction(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.store.label({image("one").digest: "sad"})
    scene.store.label({image("one").digest: "crying"})
    assert [labeled.emotion for labeled in scene.store.labeled_images()] == ["crying"]
    scene.store.label({image("one").digest: None})
    (ranked,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (ranked.hit.emotion, ranked.hit.label) == ("happy", None)
    assert ranked.hit.score == pytest.approx(0.7)
    assert scene.store.labeled_images() == []


def test_labels_survive_new_predictions_other_models_and_missing_files(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.store.label({image("one").digest: "sad"})
    scene.add("one", b"/a/1.png", p=(0.9, 0.05, 0.05))
    assert [ranked.hit.emotion for ranked in scene.store.ranked(scene.model, ANY, 10, 0)] == ["sad"]
    other = scene.store.register_model(card("other", digest="22"))
    with_other = scene.begin_run(other)
    with_other.add("one", b"/a/1.png", p=(0.2, 0.1, 0.7))
    assert [ranked.hit.emotion for ranked in scene.store.ranked(other, ANY, 10, 0)] == ["sad"]
    scene.store.forget_model(scene.model)
    scene.store.mark_missing([file.id for file in scene.store.known_files(b"/a", with_other.run).values()])
    (labeled,) = scene.store.labeled_images()
    assert (labeled.image_id, labeled.emotion, labeled.path) == (image("one").digest.hex(), "sad", None)


def test_user_emotions_are_found_like_the_emotions_of_the_model(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("two").digest: "smug", image("never seen").digest: "sleepy"})
    assert scene.store.user_emotions() == ("smug",)
    assert scene.paths(HitFilter(frozenset({"smug"}))) == [b"/a/2.png"]
    assert scene.paths() == [b"/a/2.png", b"/a/1.png"]
    assert len(scene.store.prediction_ids(scene.model, HitFilter(frozenset({"smug"})))) == 1
    assert scene.store.prediction_ids(scene.model, HitFilter(), most=1) is None
    assert len(scene.store.prediction_ids(scene.model, HitFilter(), most=2)) == 2
    (rows,) = scene.store.vectors(scene.model)
    assert sorted(rows.emotions.tolist()) == [0, NOT_THE_MODELS]


def test_labels_are_listed_by_path_and_image_files_by_folder(scene: Scene) -> None:
    scene.add("one", b"/b/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("one").digest: "sad", image("two").digest: "happy"})
    assert [(labeled.path, labeled.emotion) for labeled in scene.store.labeled_images()] == [
        (b"/a/2.png", "happy"),
        (b"/b/1.png", "sad"),
    ]
    files = scene.store.image_files_at([b"/", b"/b", b"/a/2.png", b"/c"])
    assert [file.path for file in files[b"/"]] == [b"/a/2.png", b"/a/copy.png", b"/b/1.png"]
    assert files[b"/b"] == [ImageFile(b"/b/1.png", image("one").digest, STAMP)]
    assert [file.digest for file in files[b"/a/2.png"]] == [image("two").digest]
    assert files[b"/c"] == []
    assert scene.store.known_paths([b"/", b"/b", b"/a/2.png", b"/c"]) == {b"/", b"/b", b"/a/2.png"}
    assert scene.store.known_paths([]) == set() and scene.store.image_files_at([]) == {}
    assert scene.store.labels_of([image("one").digest, bytes(32)]) == {image("one").digest: "sad"}
    digests = [image("one").digest, image("two").digest]
    assert scene.store.known_digests([*digests, bytes(32)]) == set(digests) and scene.store.known_digests([]) == set()


def test_hidden_images_are_shown_only_on_request(scene: Scene) -> None:
    scene.add("one", b"/a/one.png")
    scene.add("two", b"/a/two.png", b"/b/two.png")
    two = image("two").digest
    scene.store.label({two: "happy"})
    scene.store.hide({two: True, b"unknown".ljust(32): True})
    assert scene.paths() == [b"/a/one.png"]
    assert len(scene.paths(HitFilter(hidden=True))) == 3
    assert scene.store.count_hits(scene.model, HitFilter()) == 1
    assert (scene.store.hidden_of([two, image("one").digest]), scene.store.count_hidden()) == ({two}, 1)
    (ranked,) = scene.store.predicted_at(scene.model, b"/b/two.png")
    assert ranked.hit.label == "happy"
    assert scene.store.hits(scene.model, [ranked.prediction_id], HitFilter()) == {}
    assert len(scene.store.hits(scene.model, [ranked.prediction_id], HitFilter(hidden=True))[ranked.prediction_id]) == 2
    (model,) = scene.store.models()
    for hidden, count in ((False, 1), (True, 3)):
        rows = scene.store.export_rows(model, ExportFilter(hidden=hidden))
        assert sum(len(chunk.paths) for chunk in rows) == count
    scene.store.hide({two: False})
    assert len(scene.paths()) == 3 and scene.store.count_hidden() == 0


def test_a_hidden_image_outlives_its_files(scene: Scene) -> None:
    scene.add("one", b"/a/one.png")
    scene.store.hide({image("one").digest: True})
    file = scene.store.known_files(b"/a", scene.run)[b"one.png"]
    scene.store.mark_missing([file.id])
    assert scene.store.expire(time.time() + 10) == 1
    assert scene.store.hidden_of([image("one").digest]) == {image("one").digest}
