"""The contract of stores for the labels of files whose content changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from indexer.domain.files import Failure
from indexer.domain.fingerprints import FINGERPRINT_BYTES, SIDE
from indexer.domain.models import APPEARANCE, EXPRESSION
from indexer.ports.store import Store
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, LabelMoves
from tests.support.builders import card, image, prediction
from tests.support.scene import OTHER_STAMP, Scene

LOOK = bytes(100 + cell % 50 for cell in range(FINGERPRINT_BYTES))
SAME_LOOK = bytes(value + 1 for value in LOOK)
MIDDLE = FINGERPRINT_BYTES // 2 + SIDE // 2
OTHER_LOOK = LOOK[:MIDDLE] + bytes(4) + LOOK[MIDDLE + 4 :]


def write(
    scene: Scene, name: str, look: bytes, *paths: bytes, p: tuple[float, ...] = (0.7, 0.2, 0.1), expression: float | None = None
) -> LabelMoves:
    """Write an image; `expression` is an angle, by which the embeddings of a model with spaces differ."""
    files = tuple(scene.record_scan(*paths, stamp=OTHER_STAMP))
    one = replace(prediction(*p), fingerprint=look)
    if expression is not None:
        parts = [np.cos(expression), np.sin(expression), 0, 0, *[0.5] * 4]
        one = replace(one, embedding=np.array(parts, dtype=np.float16))
    return scene.store.commit(scene.run, CommitBatch(predicted=(AnalyzedFileSet(image(name), {0: (one,)}, files),)))


def labels(scene: Scene) -> dict[bytes | None, str]:
    return {one.path: one.emotion for one in scene.store.labeled_images()}


def label(scene: Scene, name: str, emotion: str = "crying") -> None:
    scene.store.label({image(name).digest: emotion})


def test_a_label_follows_a_change_that_hardly_shows(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png")
    label(scene, "one")
    assert write(scene, "two", SAME_LOOK, b"/a/1.png") == LabelMoves(followed=1)
    assert labels(scene) == {b"/a/1.png": "crying"}
    (ranked,) = scene.store.predicted_at(scene.model, b"/a/1.png")
    assert (ranked.hit.emotion, ranked.hit.score, ranked.hit.label) == ("crying", 1.0, "crying")


@pytest.mark.parametrize("way", ["another look", "unknown look", "another emotion", "a failure"])
def test_another_label_is_kept_with_its_last_path(scene: Scene, way: str) -> None:
    write(scene, "one", b"" if way == "unknown look" else LOOK, b"/a/1.png")
    label(scene, "one")
    if way == "a failure":
        (file,) = scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
        moves = scene.store.commit(scene.run, CommitBatch(failed=((file, Failure("damaged", "it is empty")),)))
    else:
        look = OTHER_LOOK if way == "another look" else SAME_LOOK
        moves = write(scene, "two", look, b"/a/1.png", p=(0.1, 0.8, 0.1) if way == "another emotion" else (0.7, 0.2, 0.1))
    assert moves == LabelMoves(orphaned=1)
    (orphan,) = scene.store.labeled_images()
    assert (orphan.path, orphan.last_path, orphan.emotion) == (None, b"/a/1.png", "crying")
    assert all(ranked.hit.label is None for ranked in scene.store.predicted_at(scene.model, b"/a/1.png"))


def test_a_label_follows_a_picture_that_was_turned_whatever_the_model_sees(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png")
    label(scene, "one")
    turned = np.rot90(np.frombuffer(LOOK, np.uint8).reshape(SIDE, SIDE)).tobytes()
    assert write(scene, "two", turned, b"/a/1.png", p=(0.1, 0.8, 0.1)) == LabelMoves(followed=1)


def test_of_a_model_with_spaces_the_expression_decides(store: Store) -> None:
    scene = Scene(store, store.register_model(replace(card(), spaces=((EXPRESSION, 4), (APPEARANCE, 4)))))
    write(scene, "one", LOOK, b"/a/1.png", expression=0.0)
    label(scene, "one")
    assert write(scene, "two", SAME_LOOK, b"/a/1.png", p=(0.1, 0.8, 0.1), expression=0.4) == LabelMoves(followed=1)
    (file,) = scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
    write(scene, "three", LOOK, b"/a/3.png", expression=1.2)
    assert scene.store.commit(scene.run, CommitBatch(linked=((file, image("three").digest),))) == LabelMoves(orphaned=1)


def test_a_label_stays_with_the_other_files_of_its_image(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png", b"/a/copy.png", b"/a/third.png")
    label(scene, "one")
    assert write(scene, "two", SAME_LOOK, b"/a/1.png") == LabelMoves(followed=1)
    assert labels(scene) == {b"/a/1.png": "crying", b"/a/copy.png": "crying"}
    assert write(scene, "three", OTHER_LOOK, b"/a/copy.png") == LabelMoves()


def test_a_known_image_keeps_its_own_label_or_gets_the_one_of_the_file(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png")
    write(scene, "two", SAME_LOOK, b"/a/2.png")
    label(scene, "one")
    (file,) = scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
    assert scene.store.commit(scene.run, CommitBatch(linked=((file, image("two").digest),))) == LabelMoves(followed=1)
    assert {ranked.hit.label for ranked in scene.store.predicted_at(scene.model, b"/a/2.png")} == {"crying"}
    write(scene, "three", LOOK, b"/a/3.png")
    label(scene, "three", "sad")
    (file,) = scene.record_scan(b"/a/2.png", stamp=OTHER_STAMP)
    assert scene.store.commit(scene.run, CommitBatch(linked=((file, image("three").digest),))) == LabelMoves()


def test_the_last_path_of_a_label_outlives_its_file(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png")
    label(scene, "one")
    scene.store.mark_missing([scene.store.known_files(b"/a", scene.run)[b"1.png"].id])
    assert [(one.path, one.last_path) for one in scene.store.labeled_images()] == [(None, b"/a/1.png")]
    assert scene.store.expire(2e10) == 1
    assert [(one.path, one.last_path) for one in scene.store.labeled_images()] == [(None, b"/a/1.png")]


def test_a_hidden_file_stays_hidden_however_it_changes(scene: Scene) -> None:
    write(scene, "one", LOOK, b"/a/1.png", b"/a/copy.png")
    write(scene, "shown", LOOK, b"/a/2.png")
    scene.store.hide({image("one").digest: True})
    write(scene, "two", OTHER_LOOK, b"/a/1.png")
    assert scene.store.hidden_of([image("one").digest, image("two").digest]) == {image("one").digest, image("two").digest}
    assert scene.paths() == [b"/a/2.png"]
    (file,) = scene.record_scan(b"/a/copy.png", stamp=OTHER_STAMP)
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("two").digest),)))
    assert scene.store.count_hidden() == 1 and scene.paths() == [b"/a/2.png"]
