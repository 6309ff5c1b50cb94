"""The contract of stores for tags, and for predictions that follow from those of other models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, Scene

if TYPE_CHECKING:
    from indexer.domain.types import Floats

GIRL, COMIC = frozenset({"1girl"}), frozenset({"comic"})


def add_tagged(scene: Scene, name: str, path: bytes, tags: dict[str, float], p: tuple[float, ...] = (0.7, 0.2, 0.1)) -> None:
    """Store an image with tags."""
    (file,) = scene.record_scan(path)
    tagged = replace(prediction(*p), tags=tags)
    scene.store.commit(scene.run, CommitBatch(predicted=(AnalyzedFileSet(image(name), {0: (tagged,)}, (file,)),)))


def test_images_are_found_by_their_tags(scene: Scene) -> None:
    add_tagged(scene, "one", b"/a/1.png", {"1girl": 0.9, "smile": 0.8})
    add_tagged(scene, "two", b"/a/2.png", {"1girl": 0.7, "comic": 0.6}, (0.1, 0.8, 0.1))
    scene.add("three", b"/a/3.png")
    assert scene.paths(HitFilter(tags=GIRL)) == [b"/a/2.png", b"/a/1.png"]
    assert scene.paths(HitFilter(tags=GIRL, excluded_tags=COMIC)) == [b"/a/1.png"]
    assert scene.paths(HitFilter(frozenset({"sad"}), tags=GIRL)) == [b"/a/2.png"]
    assert scene.paths(HitFilter(tags=GIRL | {"smile"})) == [b"/a/1.png"]
    assert scene.paths(HitFilter(excluded_tags=COMIC)) == [b"/a/1.png", b"/a/3.png"]
    assert scene.store.count_hits(scene.model, HitFilter(tags=GIRL)) == 2
    assert len(scene.store.prediction_ids(scene.model, HitFilter(tags=COMIC))) == 1


def test_tags_are_returned_with_their_probabilities_the_most_probable_first(scene: Scene) -> None:
    add_tagged(scene, "one", b"/a/1.png", {"smile": 0.5, "1girl": 0.75})
    tags = scene.store.tags_of(scene.model, [image("one").digest, image("two").digest])
    assert tags == {image("one").digest: {"1girl": 0.75, "smile": 0.5}}
    assert list(tags[image("one").digest]) == ["1girl", "smile"]
    assert scene.store.known_tags(scene.model, ["smile", "comic"]) == {"smile"}


def test_new_predictions_replace_tags_and_models_with_one_embedder_share_them(scene: Scene) -> None:
    add_tagged(scene, "one", b"/a/1.png", {"1girl": 0.9})
    add_tagged(scene, "one", b"/a/1.png", {"comic": 0.9})
    assert scene.paths(HitFilter(tags=GIRL)) == []
    other = scene.store.register_model(card("other", digest="22"))
    assert scene.store.known_tags(other, ["comic"]) == set()
    scene.store.forget_model(scene.model)
    assert scene.store.known_tags(scene.model, ["comic"]) == set()


def mean(probabilities: Sequence[Floats]) -> Floats:
    return np.mean(probabilities, axis=0, dtype=np.float32)


def test_predictions_are_derived_from_those_of_other_models(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png", p=(0.1, 0.8, 0.1))
    other = scene.store.register_model(card("other", digest="22"))
    scene.begin_run(other).add("one", b"/a/1.png", p=(0.1, 0.0, 0.9))
    target = scene.store.register_model(replace(card("blend", digest="33"), backbone_digest="shared"))
    advanced: list[int] = []
    assert scene.store.derive(target, [scene.model, other], mean, advanced.append) == 1
    (ranked,) = scene.store.ranked(target, ANY, 10, 0)
    assert (ranked.hit.path, ranked.hit.emotion) == (b"/a/1.png", "crying")
    assert ranked.hit.emotions == pytest.approx({"happy": 0.4, "sad": 0.1, "crying": 0.5})
    assert scene.store.derive(target, [scene.model, other], mean, advanced.append) == 0, "it is there already"


def test_tags_are_those_of_the_model_that_is_searched(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    tagger = scene.begin_run(scene.store.register_model(replace(card("tagger", digest="22"), backbone_digest="b")))
    add_tagged(tagger, "one", b"/a/1.png", {"1girl": 0.9})
    assert tagger.paths(HitFilter(tags=GIRL)) == [b"/a/1.png"]
    assert scene.paths(HitFilter(tags=GIRL)) == []
