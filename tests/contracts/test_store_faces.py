"""The contract of stores for images with faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from indexer.domain.images import Face
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, Scene

HAPPY, SAD, CRYING = (0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.0, 0.1, 0.9)


def test_an_image_is_found_once_by_its_best_matching_face(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", SAD, HAPPY)
    scene.add("one", b"/a/one.png", p=(0.75, 0.2, 0.05))
    happy = scene.store.ranked(scene.model, HitFilter(frozenset({"happy"})), 10, 0)
    assert [(ranked.hit.path, ranked.hit.box) for ranked in happy] == [
        (b"/a/pair.png", (24, 10, 48, 30)),
        (b"/a/one.png", None),
    ]
    (sad,) = scene.store.ranked(scene.model, HitFilter(frozenset({"sad"})), 10, 0)
    assert (sad.hit.path, sad.hit.box) == (b"/a/pair.png", (0, 10, 24, 30))
    everything = scene.store.ranked(scene.model, ANY, 10, 0)
    assert [(ranked.hit.path, ranked.hit.emotion) for ranked in everything] == [
        (b"/a/pair.png", "happy"),
        (b"/a/one.png", "happy"),
    ]
    assert scene.store.image_count(scene.model) == scene.store.counts().images == 2


def test_equal_faces_give_one_hit(scene: Scene) -> None:
    scene.add_faces("equal", b"/a/equal.png", HAPPY, HAPPY)
    (only,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert only.hit.box == (0, 10, 24, 30)


def test_an_excluded_face_excludes_its_image(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", CRYING, HAPPY)
    scene.add_faces("glad", b"/a/glad.png", HAPPY)
    chosen = HitFilter(frozenset({"happy", "sad"}), excluded=frozenset({"crying"}))
    assert scene.paths(chosen) == [b"/a/glad.png"]
    ids = [int(number) for chunk in scene.store.vectors(scene.model) for number in chunk.ids]
    assert len(ids) == 3
    hits = scene.store.hits(scene.model, ids, chosen)
    assert [hit.path for file_hits in hits.values() for hit in file_hits] == [b"/a/glad.png"]


def test_the_faces_of_an_image_are_ordered_and_the_first_represents_it(scene: Scene) -> None:
    scene.add_faces("trio", b"/a/trio.png", SAD, HAPPY, CRYING)
    faces = scene.store.predicted_at(scene.model, b"/a/trio.png")
    assert [ranked.hit.emotion for ranked in faces] == ["sad", "happy", "crying"]
    assert scene.store.predicted_as(scene.model, image("trio").digest) == faces[0].prediction_id
    assert scene.store.predictions_by_digest(scene.model, image("trio").digest.hex()) == [faces[0].prediction_id]
    assert scene.store.sample(scene.model, 10).ids.tolist() == [faces[0].prediction_id]
    (rows,) = scene.store.vectors(scene.model)
    assert rows.emotions.tolist() == [1, 0, 2]
    assert np.array_equal(rows.vectors[2], prediction(seed=2).embedding)


def test_another_face_detector_needs_new_predictions(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    with_detector = scene.begin_run(detector="f1")
    assert scene.file_state(b"/a/1.png")[1] and not with_detector.file_state(b"/a/1.png")[1]
    assert scene.store.unpredicted(image("one").digest, with_detector.run)
    with_detector.add_faces("one", b"/a/1.png", SAD, HAPPY)
    assert with_detector.file_state(b"/a/1.png")[1] and not scene.file_state(b"/a/1.png")[1]
    assert len(scene.store.predicted_at(scene.model, b"/a/1.png")) == 2
    assert not scene.begin_run(detector="f2").file_state(b"/a/1.png")[1]
    scene.add("one", b"/a/1.png", p=CRYING)
    (whole,) = scene.store.predicted_at(scene.model, b"/a/1.png")
    assert (whole.hit.emotion, whole.hit.box) == ("crying", None)
    (rows,) = scene.store.vectors(scene.model)
    assert len(rows.ids) == 1


def test_models_that_share_embeddings_share_regions(scene: Scene) -> None:
    shared = {"backbone_digest": "bb"}
    first, second = (scene.store.register_model(replace(card(digest=digest), **shared)) for digest in ("aa", "ab"))
    scene.begin_run(first, "f1").add_faces("one", b"/a/1.png", SAD, HAPPY)
    scene.store.rescore(first, second, lambda vectors: np.tile(np.float32([0, 0, 1]), (len(vectors), 1)), lambda done: None)
    rescored = scene.store.predicted_at(second, b"/a/1.png")
    assert [(ranked.hit.emotion, ranked.hit.box) for ranked in rescored] == [
        ("crying", (0, 10, 24, 30)),
        ("crying", (24, 10, 48, 30)),
    ]
    scene.begin_run(second, "f1").add_faces("one", b"/a/1.png", SAD, HAPPY)
    assert len(scene.store.predicted_at(first, b"/a/1.png")) == 2
    scene.begin_run(second).add("one", b"/a/1.png")
    assert scene.store.predicted_at(first, b"/a/1.png") == []
    assert len(scene.store.predicted_at(second, b"/a/1.png")) == 1


def test_a_label_applies_to_all_faces(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", SAD, HAPPY)
    scene.store.label({image("pair").digest: "crying"})
    assert [ranked.hit.emotion for ranked in scene.store.predicted_at(scene.model, b"/a/pair.png")] == ["crying", "crying"]
    (only,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (only.hit.box, only.hit.score) == ((0, 10, 24, 30), 1)


def test_the_frame_of_an_animation_and_an_incomplete_file_are_kept(scene: Scene) -> None:
    cut = replace(image("cut"), incomplete=True)
    (file,) = scene.record_scan(b"/a/cut.gif")
    entry = AnalyzedFileSet(cut, {0: (replace(prediction(*HAPPY), frame=7),)}, (file,))
    scene.store.commit(scene.run, CommitBatch(predicted=(entry,)))
    scene.add("whole", b"/a/whole.png")

    def facts() -> list[tuple[bytes, int | None, bool]]:
        found = [ranked.hit for ranked in scene.store.ranked(scene.model, ANY, 10, 0)]
        return [(hit.path, hit.frame, hit.incomplete) for hit in found]

    expected = [(b"/a/cut.gif", 7, True), (b"/a/whole.png", None, False)]
    assert facts() == expected
    scene.store.label({cut.digest: "happy"})
    assert facts() == expected
    other = scene.store.register_model(card("other", digest="01"))
    assert scene.store.predicted_at(other, b"/a/cut.gif") == []


def test_the_fingerprint_of_an_image_is_that_of_each_of_its_faces(scene: Scene) -> None:
    for name, fingerprint in (("one", b"1" * 1024), ("two", b"")):
        (file,) = scene.record_scan(b"/a/%s.png" % name.encode())
        faces = tuple(
            replace(prediction(*p, seed=n), face=Face(n / 2, 0, n / 2 + 0.5, 1), fingerprint=b"" if n else fingerprint)
            for n, p in enumerate((HAPPY, SAD))
        )
        scene.store.commit(scene.run, CommitBatch(predicted=(AnalyzedFileSet(image(name), {0: faces}, (file,)),)))
    first = [ranked.prediction_id for ranked in scene.store.predicted_at(scene.model, b"/a/one.png")]
    second = [ranked.prediction_id for ranked in scene.store.predicted_at(scene.model, b"/a/two.png")]
    assert scene.store.fingerprints_of([*first, *second, 99]) == dict.fromkeys(first, b"1" * 1024)
    scene.store.label({image("one").digest: "sad"})
    renamed = [ranked.prediction_id for ranked in scene.store.predicted_at(scene.model, b"/a/one.png")]
    assert renamed != first and scene.store.fingerprints_of(renamed) == dict.fromkeys(renamed, b"1" * 1024)
    assert scene.store.fingerprints_of([]) == {}


def test_hits_are_counted(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", HAPPY, HAPPY)
    scene.add("one", b"/a/one.png", b"/b/one.png")
    assert scene.store.count_hits(scene.model, ANY) == 3
    assert scene.store.count_hits(scene.model, ANY, most=3) == 3
    assert scene.store.count_hits(scene.model, ANY, most=1) == 2
    assert scene.store.count_hits(scene.model, HitFilter(under=(b"/b",))) == 1
    assert scene.store.count_hits(scene.model, HitFilter(frozenset({"sad"}))) == 0
    assert scene.store.count_hits(scene.model, HitFilter(frozenset({"happy"}), min_score=0.75)) == 1


def test_digests_are_found_by_their_first_digits(scene: Scene) -> None:
    for name in ("abc", "abd", "xyz"):
        scene.add(name, b"/a/%s.png" % name.encode())
    assert scene.store.digests_with_prefix(image("xyz").digest.hex()[:5]) == [image("xyz").digest]
    assert len(scene.store.digests_with_prefix(image("abc").digest.hex()[:3])) == 2
    assert scene.store.digests_with_prefix("ffff") == []
