"""The contract of stores for models: predictions, generations, and embeddings that several models share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from indexer.domain.files import FileState
from indexer.ports.store import Store
from indexer.ports.store_writer import CommitBatch
from indexer.ports.vectors import Generation
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, Scene


def test_a_model_is_registered_once(scene: Scene) -> None:
    assert scene.store.register_model(card()) == scene.model
    assert scene.store.register_model(card(digest="11")) != scene.model
    assert [model.card.key for model in scene.store.models()] == [card().key, card(digest="11").key]


def test_models_have_separate_predictions(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    other = scene.store.register_model(card("other", digest="22"))
    run = scene.store.begin_run([b"/a"], other)
    assert not scene.store.known_files(b"/a", run)[b"1.png"].predicted
    assert scene.store.unpredicted(image("one").digest, run)
    assert scene.store.ranked(other, ANY, 10, 0) == []
    assert list(scene.store.vectors(other)) == []
    assert scene.store.generation(other) is None


def test_a_new_prediction_replaces_the_old_one(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    (old,) = scene.store.ranked(scene.model, ANY, 10, 0)
    scene.add("one", b"/a/1.png", p=(0.1, 0.8, 0.1), seed=5)
    (new,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (new.hit.emotion, new.prediction_id > old.prediction_id) == ("sad", True)
    assert scene.store.vectors_of([old.prediction_id]) == {}


def test_every_commit_of_predictions_begins_a_generation(scene: Scene) -> None:
    assert scene.store.generation(scene.model) is None
    scene.add("one", b"/a/1.png")
    first = scene.store.generation(scene.model)
    scene.add("two", b"/a/2.png")
    second = scene.store.generation(scene.model)
    assert first is not None
    assert second is not None
    assert first.last_id < second.last_id
    assert scene.store.had_generation(scene.model, first)
    assert scene.store.had_generation(scene.model, second)
    assert not scene.store.had_generation(scene.model, Generation(first.last_id, second.token))
    (file,) = scene.record_scan(b"/a/3.png")
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.store.generation(scene.model) == second


def test_a_forgotten_model_has_no_predictions(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png", seed=2)
    ids = scene.store.prediction_ids(scene.model, ANY).tolist()
    assert scene.store.forget_model(scene.model) == 2
    assert scene.paths() == []
    assert list(scene.store.vectors(scene.model)) == []
    assert scene.store.vectors_of(ids) == {}
    assert scene.store.predictions_by_digest(scene.model, "") == []
    assert not scene.store.models()[0].used and scene.store.image_count(scene.model) == 0
    assert scene.store.forget_model(scene.model) == 0


def test_forgetting_a_model_keeps_files_images_runs_and_other_models(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    other = scene.store.register_model(card("other", digest="22"))
    scene.begin_run(other).add("one", b"/a/1.png", p=(0.2, 0.7, 0.1))
    before = scene.store.generation(other)
    assert scene.store.forget_model(scene.model) == 1
    assert scene.file_state(b"/a/1.png") == (FileState.DONE, False)
    assert scene.store.counts().images == 1
    assert len(scene.store.runs(5)) == 2
    assert [ranked.hit.emotion for ranked in scene.store.ranked(other, ANY, 10, 0)] == ["sad"]
    assert scene.store.generation(other) == before
    assert scene.store.register_model(card()) == scene.model


def test_a_generation_of_a_forgotten_model_stays_invalid(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    old_ids = scene.store.prediction_ids(scene.model, ANY).tolist()
    old = scene.store.generation(scene.model)
    assert old is not None
    scene.store.forget_model(scene.model)
    assert scene.store.generation(scene.model) is None
    assert not scene.store.had_generation(scene.model, old)
    scene.add("one", b"/a/1.png", seed=1)
    new = scene.store.generation(scene.model)
    assert new is not None
    assert new.token != old.token
    assert not scene.store.had_generation(scene.model, old)
    assert set(old_ids).isdisjoint(scene.store.prediction_ids(scene.model, ANY).tolist())


def test_a_model_with_more_rows_than_a_transaction_is_forgotten_completely(scene: Scene) -> None:
    for i in range(5):
        scene.add(f"n{i}", b"/a/%d.png" % i, seed=i)
    assert scene.store.forget_model(scene.model) == 5
    assert scene.paths() == []


def with_backbone(store: Store, digest: str) -> int:
    """Register a model that shares its embeddings with the other models of this backbone."""
    return store.register_model(replace(card(digest=digest), backbone_digest="same"))


def test_models_with_the_same_backbone_share_embeddings(scene: Scene) -> None:
    scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png", seed=1)
    scene.add("two", b"/a/2.png", seed=2)
    scene.store.label({image("two").digest: "angry"})
    taught = with_backbone(scene.store, "11")
    scored: list[np.ndarray[Any, Any]] = []
    progress: list[int] = []

    def score(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        scored.append(vectors)
        return np.tile(np.array([[0.1, 0.1, 0.8]], dtype=np.float32), (len(vectors), 1))

    assert scene.store.rescore(scene.model, taught, score, progress.append) == sum(progress) == 2
    (embeddings,) = scored
    assert embeddings.dtype == np.float16 and np.array_equal(embeddings[0], prediction(1.0, seed=1).embedding)
    hits = {ranked.hit.path: ranked.hit for ranked in scene.store.ranked(taught, ANY, 10, 0)}
    assert (hits[b"/a/1.png"].emotion, hits[b"/a/2.png"].emotion) == ("crying", "angry")
    (rows,) = scene.store.vectors(taught)
    assert np.array_equal(rows.vectors, embeddings)
    assert scene.store.generation(taught) is not None
    # Another rescoring predicts only the images that are new since the last one.
    scene.add("three", b"/a/3.png", seed=3)
    assert scene.store.rescore(scene.model, taught, score, progress.append) == 1
    assert scene.store.rescore(scene.model, taught, score, progress.append) == 0


def test_an_interrupted_rescoring_stores_nothing(scene: Scene) -> None:
    scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png")
    taught = with_backbone(scene.store, "11")

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.store.rescore(scene.model, taught, lambda vectors: np.ones((len(vectors), 3), dtype=np.float32) / 3, stop)
    assert scene.store.ranked(taught, ANY, 10, 0) == []
    assert scene.store.generation(taught) is None


def test_shared_embeddings_are_kept_while_a_model_uses_them(scene: Scene) -> None:
    first = scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png", seed=4)
    second = with_backbone(scene.store, "11")
    scene.store.rescore(first, second, lambda vectors: np.ones((len(vectors), 3), dtype=np.float32) / 3, lambda _: None)
    assert scene.store.forget_model(first) == 1
    (rows,) = scene.store.vectors(second)
    assert np.array_equal(rows.vectors[0], prediction(1.0, seed=4).embedding)
    assert scene.store.forget_model(second) == 1
    assert list(scene.store.vectors(second)) == []
