"""Two models over the same images: in one run, and in one search."""

from __future__ import annotations

from dataclasses import replace

import pytest

from indexer.domain.images import Face
from indexer.domain.predictions import Prediction
from indexer.domain.runs import RunCounts
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, FolderScanResult, RunModel
from tests.support.builders import card, image, prediction
from tests.support.scene import Scene

HAPPY, SAD = (0.8, 0.1, 0.1), (0.1, 0.8, 0.1)
LEFT, RIGHT = Face(0.0, 0.25, 0.5, 0.75), Face(0.5, 0.25, 1.0, 0.75)
LABELS = card().labels


@pytest.fixture
def other(scene: Scene) -> int:
    """A second model; the scene has a run with both, of which the first detects faces."""
    other = scene.store.register_model(card("other", digest="22"))
    scene.run = scene.store.begin_run([b"/a"], scene.model, "d", [RunModel(other)])
    return other


def faces(*regions: tuple[Face, tuple[float, ...]]) -> tuple[Prediction, ...]:
    return tuple(replace(prediction(*p, seed=number), face=face) for number, (face, p) in enumerate(regions))


def commit(scene: Scene, name: str, path: bytes, predictions: dict[int, tuple[Prediction, ...]]) -> None:
    """Store an image with predictions by position."""
    entry = AnalyzedFileSet(image(name), predictions, tuple(scene.record_scan(path)))
    scene.store.commit(scene.run, CommitBatch(predicted=(entry,)))


def test_a_run_with_two_models_asks_for_each(scene: Scene, other: int) -> None:
    assert scene.store.unpredicted(image("one").digest, scene.run) == [0, 1]
    commit(scene, "one", b"/a/1.png", {0: faces((LEFT, HAPPY))})
    assert scene.store.unpredicted(image("one").digest, scene.run) == [1]
    assert not scene.store.known_files(b"/a", scene.run)[b"1.png"].predicted
    commit(scene, "one", b"/a/1.png", {1: (prediction(*SAD),)})
    assert scene.store.unpredicted(image("one").digest, scene.run) == []
    assert scene.store.known_files(b"/a", scene.run)[b"1.png"].predicted
    emotions = [scene.store.predicted_at(model, b"/a/1.png")[0].hit.emotion for model in (scene.model, other)]
    assert emotions == list(LABELS[:2])


def test_a_folder_is_unchanged_only_for_the_same_models(scene: Scene, other: int) -> None:
    commit(scene, "one", b"/a/1.png", {0: faces((LEFT, HAPPY)), 1: (prediction(*SAD),)})
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {}, b"listing")])

    def is_unchanged(*analyzers: RunModel) -> bool:
        first, *further = analyzers
        run = scene.store.begin_run([b"/a"], first.model_id, first.detector, further)
        return bool(scene.store.unchanged_folder_digests([b"/a"], run))

    first = RunModel(scene.model, "d")
    assert is_unchanged(first, RunModel(other))
    assert not is_unchanged(first)
    assert not is_unchanged(RunModel(other))
    assert not is_unchanged(first, RunModel(other, "d"))


def test_the_record_of_a_run_names_its_models(scene: Scene, other: int) -> None:
    scene.store.finish_run(scene.run, "done", RunCounts())
    name = card().name
    assert scene.store.runs(1)[0].models == (name, "other")
    single = scene.store.begin_run([b"/a"], other)
    assert [run.models for run in scene.store.runs(2)] == [("other",), (name, "other")]
    scene.store.forget_run(single)
    scene.store.forget_run(scene.run)
    assert scene.store.runs(2)[0].models == (name,)


def test_hits_of_one_model_are_found_by_predictions_of_the_other(scene: Scene, other: int) -> None:
    commit(scene, "one", b"/a/1.png", {0: faces((LEFT, HAPPY), (RIGHT, SAD)), 1: (prediction(*SAD),)})
    commit(scene, "two", b"/a/2.png", {0: faces((LEFT, SAD)), 1: (prediction(*SAD),)})
    commit(scene, "three", b"/a/3.png", {0: faces((LEFT, HAPPY))})
    first, second = (scene.store.predicted_at(other, path)[0].prediction_id for path in (b"/a/1.png", b"/a/2.png"))
    happy = HitFilter(emotions=frozenset(LABELS[:1]), also_by=other)
    found = scene.store.hits_of_images(scene.model, [first, second], happy)
    assert {number: [(hit.path, hit.emotion) for hit in hits] for number, hits in found.items()} == {
        first: [(b"/a/1.png", LABELS[0])]
    }
    assert scene.store.prediction_ids_of_other(scene.model, happy).tolist() == [first]
    everything = HitFilter(also_by=other)
    assert scene.store.prediction_ids_of_other(scene.model, everything).tolist() == [first, second]
    assert scene.paths(everything) == [b"/a/1.png", b"/a/2.png"], "the second model does not know the third image"
    assert scene.store.count_hits(scene.model, everything) == 2


def test_the_same_face_is_shown_where_both_models_detected_it(scene: Scene, other: int) -> None:
    scene.run = scene.store.begin_run([b"/a"], scene.model, "d", [RunModel(other, "d")])
    commit(scene, "one", b"/a/1.png", {0: faces((LEFT, HAPPY), (RIGHT, SAD)), 1: faces((RIGHT, HAPPY))})
    (right,) = (hit.prediction_id for hit in scene.store.predicted_at(other, b"/a/1.png"))
    shown = scene.store.hits_of_images(scene.model, [right], HitFilter(also_by=other))[right]
    assert [hit.emotion for hit in shown] == [LABELS[1]]
    assert scene.store.hits_of_images(scene.model, [right], HitFilter(frozenset(LABELS[:1]), also_by=other)) == {}


def test_tags_of_either_model_count(scene: Scene, other: int) -> None:
    tagged = replace(prediction(*SAD), tags={"smile": 0.9})
    commit(scene, "one", b"/a/1.png", {0: faces((LEFT, HAPPY)), 1: (tagged,)})
    commit(scene, "two", b"/a/2.png", {0: faces((LEFT, HAPPY)), 1: (prediction(*SAD),)})
    assert scene.paths(HitFilter(tags=frozenset({"smile"}))) == []
    assert scene.paths(HitFilter(tags=frozenset({"smile"}), also_by=other)) == [b"/a/1.png"]
    assert scene.paths(HitFilter(excluded_tags=frozenset({"smile"}), also_by=other)) == [b"/a/2.png"]
