"""What every store promises of what people say."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.ports.store_reader import HitFilter, ImageFile
from indexer.ports.vectors import NOT_THE_MODELS
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, STAMP, Scene


def test_a_label_goes_before_what_models_say(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png", p=(0.1, 0.8, 0.1))
    before = scene.store.prediction_ids(scene.model, ANY).tolist()
    old = scene.store.generation(scene.model)
    scene.store.label({image("one").digest: "crying"})
    found = {ranked.hit.path: ranked.hit for ranked in scene.store.ranked(scene.model, ANY, 10, 0)}
    for path in (b"/a/1.png", b"/a/copy.png"):
        assert (found[path].emotion, found[path].score, found[path].label) == ("crying", 1.0, "crying")
        assert found[path].emotions["happy"] == pytest.approx(0.7)
    assert (found[b"/a/2.png"].emotion, found[b"/a/2.png"].label) == ("sad", None)
    assert scene.paths(HitFilter(frozenset({"crying"}), min_score=1.0)) == [b"/a/1.png", b"/a/copy.png"]
    assert scene.paths(HitFilter(frozenset({"happy"}))) == []
    # What follows the store by ids sees the change as a new row.
    (changed,) = set(scene.store.prediction_ids(scene.model, ANY).tolist()) - set(before)
    assert changed > max(before)
    (rows,) = scene.store.vectors(scene.model, after=max(before))
    assert (rows.ids.tolist(), rows.emotions.tolist(), rows.scores.tolist()) == ([changed], [2], [1.0])
    assert np.array_equal(rows.vectors[0], prediction(0.7, 0.2, 0.1).embedding)
    now = scene.store.generation(scene.model)
    assert now is not None
    assert now != old
    assert now.last_id == changed


def test_a_label_taken_back_leaves_the_models_word(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.store.label({image("one").digest: "sad"})
    scene.store.label({image("one").digest: "crying"})
    assert [one.emotion for one in scene.store.labeled_images()] == ["crying"]
    scene.store.label({image("one").digest: None})
    (ranked,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (ranked.hit.emotion, ranked.hit.label) == ("happy", None)
    assert ranked.hit.score == pytest.approx(0.7)
    assert scene.store.labeled_images() == []


def test_labels_last_through_new_predictions_other_models_and_lost_files(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.store.label({image("one").digest: "sad"})
    scene.add("one", b"/a/1.png", p=(0.9, 0.05, 0.05))
    assert [ranked.hit.emotion for ranked in scene.store.ranked(scene.model, ANY, 10, 0)] == ["sad"]
    other = scene.store.register_model(card("other", digest="22"))
    run = scene.by(other)
    run.add("one", b"/a/1.png", p=(0.2, 0.1, 0.7))
    assert [ranked.hit.emotion for ranked in scene.store.ranked(other, ANY, 10, 0)] == ["sad"]
    scene.store.forget_model(scene.model)
    scene.store.mark_missing([file.id for file in scene.store.known_files(b"/a", run.run).values()])
    (kept,) = scene.store.labeled_images()
    assert (kept.image_id, kept.emotion, kept.path) == (image("one").digest.hex(), "sad", None)


def test_emotions_of_peoples_own_are_found_beside_the_models(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("two").digest: "smug", image("never seen").digest: "sleepy"})
    assert scene.store.user_emotions() == ("smug",)
    assert scene.paths(HitFilter(frozenset({"smug"}))) == [b"/a/2.png"]
    assert scene.paths() == [b"/a/2.png", b"/a/1.png"]
    assert len(scene.store.prediction_ids(scene.model, HitFilter(frozenset({"smug"})))) == 1
    (rows,) = scene.store.vectors(scene.model)
    assert sorted(rows.emotions.tolist()) == [0, NOT_THE_MODELS]


def test_labels_are_listed_by_path_and_pictures_by_folder(scene: Scene) -> None:
    scene.add("one", b"/b/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("one").digest: "sad", image("two").digest: "happy"})
    assert [(one.path, one.emotion) for one in scene.store.labeled_images()] == [(b"/a/2.png", "happy"), (b"/b/1.png", "sad")]
    assert [one.path for one in scene.store.image_files_at(b"/")] == [b"/a/2.png", b"/a/copy.png", b"/b/1.png"]
    assert scene.store.image_files_at(b"/b") == [ImageFile(b"/b/1.png", image("one").digest, STAMP)]
    assert [one.digest for one in scene.store.image_files_at(b"/a/2.png")] == [image("two").digest]
    assert scene.store.image_files_at(b"/c") == []
    known = [image("one").digest, image("two").digest]
    assert scene.store.known_digests([*known, bytes(32)]) == set(known) and scene.store.known_digests([]) == set()
