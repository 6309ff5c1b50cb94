"""The contract of stores for comparisons of predictions with their look-alikes."""

from __future__ import annotations

import numpy as np

from indexer.domain.predictions import GROUP_CHANGED, NEVER_COMPARED
from indexer.domain.runs import DONE, RunCounts
from indexer.ports.store_writer import CommitBatch, Comparison, FolderScanResult
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, Scene

SAD = np.array([[0.1, 0.7, 0.2]], dtype=np.float32)


def add(scene: Scene, *names: str) -> list[int]:
    """Add images, one for each name, and return the ids of their predictions."""
    for number, name in enumerate(names):
        scene.add(name, b"/a/%s.png" % name.encode(), seed=number)
    return [scene.store.predictions_by_digest(scene.model, image(name).digest.hex())[0] for name in names]


def comparison(
    changed: list[int], unchanged: list[int], compared_to: int, outdated: list[int] | None = None, to: np.ndarray = SAD
) -> Comparison:
    return Comparison(
        np.array(changed, dtype=np.int64), np.repeat(to, len(changed), axis=0), unchanged, outdated or [], compared_to
    )


def test_new_predictions_are_listed_until_they_are_compared(scene: Scene) -> None:
    one, two, three = add(scene, "one", "two", "three")
    rows = scene.store.next_uncompared(scene.model, 0, 2)
    assert (rows.ids.tolist(), rows.compared_to.tolist()) == ([one, two], [NEVER_COMPARED] * 2)
    assert len(set(rows.images.tolist())) == 2
    np.testing.assert_array_equal(rows.vectors[1], prediction(1.0, seed=1).embedding)
    np.testing.assert_allclose(rows.probabilities[0], [0.7, 0.2, 0.1], rtol=1e-6)
    assert scene.store.next_uncompared(scene.model, two, 9).ids.tolist() == [three]
    assert scene.store.apply_comparison(scene.model, comparison([], [one, two], three)) == {}
    assert scene.store.count_uncompared(scene.model) == 1
    rows = scene.store.compared_rows(scene.model, [three, one, three + 99])
    assert (rows.ids.tolist(), rows.compared_to.tolist()) == ([one, three], [three, NEVER_COMPARED])


def test_faces_of_one_image_share_its_number(scene: Scene) -> None:
    scene.add_faces("two faces", b"/a/1.png", (0.7, 0.2, 0.1), (0.1, 0.2, 0.7))
    scene.add("one", b"/a/2.png")
    first, second, other = scene.store.next_uncompared(scene.model, 0, 9).images.tolist()
    assert first == second != other


def test_a_changed_prediction_gets_a_new_id_and_a_generation(scene: Scene) -> None:
    one, two = add(scene, "one", "two")
    before = scene.store.generation(scene.model)
    (file, *_) = scene.store.indexed_files(0, 1)
    new_ids = scene.store.apply_comparison(scene.model, comparison([one], [two], two))
    assert list(new_ids) == [one] and new_ids[one] > two
    after = scene.store.generation(scene.model)
    assert before is not None and after is not None
    assert (after.last_id, scene.store.had_generation(scene.model, before)) == (new_ids[one], True)
    assert scene.store.compared_rows(scene.model, [one, two, new_ids[one]]).ids.tolist() == [two, new_ids[one]]
    hits = {ranked.prediction_id: ranked.hit for ranked in scene.store.ranked(scene.model, ANY, 9, 0)}
    assert (hits[new_ids[one]].emotion, round(hits[new_ids[one]].score, 6), hits[two].emotion) == ("sad", 0.7, "happy")
    assert scene.store.count_uncompared(scene.model) == 0
    np.testing.assert_array_equal(scene.store.vectors_of([new_ids[one]])[new_ids[one]], prediction(1.0, seed=0).embedding)
    assert scene.store.still_indexed([file]) == {file}


def test_a_new_id_is_not_used_again(scene: Scene) -> None:
    (one,) = add(scene, "one")
    new_id = scene.store.apply_comparison(scene.model, comparison([one], [], one))[one]
    scene.add("one", b"/a/one.png")
    (again,) = scene.store.next_uncompared(scene.model, 0, 9).ids.tolist()
    assert again > new_id


def test_outdated_predictions_are_listed_again(scene: Scene) -> None:
    one, two = add(scene, "one", "two")
    scene.store.apply_comparison(scene.model, comparison([], [one], one))
    scene.store.apply_comparison(scene.model, comparison([], [two], two, outdated=[one]))
    rows = scene.store.next_uncompared(scene.model, 0, 9)
    assert (rows.ids.tolist(), rows.compared_to.tolist()) == ([one], [GROUP_CHANGED])


def test_labels_override_changed_predictions_and_keep_them_compared(scene: Scene) -> None:
    one, two = add(scene, "one", "two")
    scene.store.finish_run(scene.run, DONE, RunCounts())
    scene.store.label({image("one").digest: "crying"})
    (labeled,) = scene.store.predictions_by_digest(scene.model, image("one").digest.hex())
    scene.store.apply_comparison(scene.model, comparison([labeled], [two], labeled))
    (hit,) = [ranked.hit for ranked in scene.store.predicted_at(scene.model, b"/a/one.png")]
    assert (hit.emotion, hit.score, round(hit.emotions["sad"], 6)) == ("crying", 1.0, 0.7)
    scene.store.label({image("one").digest: None, image("two").digest: "crying"})
    assert scene.store.count_uncompared(scene.model) == 0
    (hit,) = [ranked.hit for ranked in scene.store.predicted_at(scene.model, b"/a/one.png")]
    assert (hit.emotion, round(hit.score, 6)) == ("sad", 0.7)
    assert one != labeled


def test_labels_during_a_run_make_it_compare_again(scene: Scene) -> None:
    one, two = add(scene, "one", "two")
    scene.store.apply_comparison(scene.model, comparison([], [one, two], two))
    scene.store.label({image("one").digest: "crying"})
    assert scene.store.count_uncompared(scene.model) == 1
    scene.store.finish_run(scene.run, DONE, RunCounts())
    scene.store.label({image("two").digest: "crying"})
    assert scene.store.count_uncompared(scene.model) == 1


def test_listings_of_folders_stay_valid(scene: Scene) -> None:
    (file,) = scene.record_scan(b"/a/x.png")
    (one,) = add(scene, "one")
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {}, b"listing")])
    assert scene.store.unchanged_folder_digests([b"/a"], scene.run) == {b"/a": b"listing"}
    scene.store.apply_comparison(scene.model, comparison([one], [], one))
    assert scene.store.unchanged_folder_digests([b"/a"], scene.run) == {b"/a": b"listing"}


def test_models_are_compared_separately(scene: Scene) -> None:
    (one,) = add(scene, "one")
    other = scene.begin_run(scene.store.register_model(card("other", digest="22")))
    other.add("one", b"/a/one.png")
    scene.store.apply_comparison(scene.model, comparison([], [one], one))
    assert (scene.store.count_uncompared(scene.model), scene.store.count_uncompared(other.model)) == (0, 1)
    assert scene.store.compared_rows(other.model, [one]).ids.tolist() == []
    scene.store.restore_pages(scene.model)
