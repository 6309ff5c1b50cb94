"""The contract of stores for searches."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.domain.errors import NotIndexed
from indexer.domain.export import ExportFilter
from indexer.ports.store import Store
from indexer.ports.store_reader import HitFilter
from tests.support.builders import card, image, prediction
from tests.support.scene import ANY, Scene


def test_hits_are_ranked_filtered_and_paged(scene: Scene) -> None:
    for i in range(9):
        high, low = 0.5 + i / 20, (0.5 - i / 20) / 2
        p = [(high, low, low), (low, high, low), (low, low, high)][i % 3]
        scene.add(f"n{i}", b"/a/%d.png" % i, p=p, seed=i)
    assert scene.paths() == [b"/a/%d.png" % i for i in reversed(range(9))]
    assert scene.paths(limit=2, offset=3) == [b"/a/5.png", b"/a/4.png"]
    assert scene.paths(limit=5, offset=9) == []
    sad = HitFilter(emotions=frozenset({"sad", "crying"}))
    assert scene.paths(sad) == [b"/a/%d.png" % i for i in (8, 7, 5, 4, 2, 1)]
    assert scene.paths(sad, limit=2, offset=1) == [b"/a/7.png", b"/a/5.png"]
    assert scene.paths(HitFilter(min_score=0.84)) == [b"/a/8.png", b"/a/7.png"]
    assert scene.paths(HitFilter(emotions=frozenset())) == []


def test_hits_with_equal_scores_are_ordered_by_digest(scene: Scene) -> None:
    for i in (3, 1, 2):
        scene.add(f"n{i}", b"/a/%d.png" % (9 - i))
    assert scene.paths() == [b"/a/8.png", b"/a/7.png", b"/a/6.png"]


@pytest.mark.parametrize(
    ("under", "expected"),
    [
        (b"/a", [b"/a/1.png", b"/a/b/2.png"]),
        (b"/a/b", [b"/a/b/2.png"]),
        (b"/a/b/2.png", [b"/a/b/2.png"]),
        (b"/", [b"/a/1.png", b"/a/b/2.png", b"/a-c/3.png", b"/a0/4.png", b"/\xff/5.png"]),
        (b"/\xff", [b"/\xff/5.png"]),
        (b"/none", []),
    ],
)
def test_under_selects_a_folder_and_everything_below_it(scene: Scene, under: bytes, expected: list[bytes]) -> None:
    for i, path in enumerate([b"/a/1.png", b"/a/b/2.png", b"/a-c/3.png", b"/a0/4.png", b"/\xff/5.png"]):
        scene.add(f"n{i}", path, seed=i)
    assert scene.paths(HitFilter(under=(under,))) == expected
    assert scene.store.count_files([under])[under] == len(expected)
    assert (scene.store.known_paths([under]) == {under}) is bool(expected)
    ids = scene.store.prediction_ids(scene.model, HitFilter(under=(under,)))
    assert sorted(
        path
        for hits in scene.store.hits(scene.model, ids.tolist(), HitFilter(under=(under,))).values()
        for path in [hits[0].path]
    ) == sorted(expected)


def test_under_selects_several_folders_and_files(scene: Scene) -> None:
    for i, path in enumerate([b"/a/1.png", b"/a/b/2.png", b"/c/3.png", b"/d/4.png"]):
        scene.add(f"n{i}", path, seed=i)
    for under, expected in (
        ((b"/a/b", b"/d"), [b"/a/b/2.png", b"/d/4.png"]),
        ((b"/a", b"/a/b", b"/c/3.png", b"/none"), [b"/a/1.png", b"/a/b/2.png", b"/c/3.png"]),
        ((b"/a/b", b"/d/4.png", *(b"/none/%d" % i for i in range(2000))), [b"/a/b/2.png", b"/d/4.png"]),
    ):
        assert scene.paths(HitFilter(under=under)) == expected
        ids = scene.store.prediction_ids(scene.model, HitFilter(under=under), 3)
        assert ids is not None and len(ids) == len(expected) == scene.store.count_hits(scene.model, HitFilter(under=under))
        assert scene.store.hits(scene.model, ids.tolist(), HitFilter(under=under)).keys() == set(ids.tolist())
        (model,) = scene.store.models()
        rows = scene.store.export_rows(model, ExportFilter(under=under))
        assert [path for chunk in rows for path in chunk.paths] == expected


def test_vectors_are_ordered_by_id_and_start_after_a_given_id(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", p=(0.2, 0.7, 0.1), seed=1)
    scene.add("two", b"/a/2.png", seed=2)
    (both,) = scene.store.vectors(scene.model)
    assert both.ids.dtype == np.int64
    assert both.vectors.dtype == np.float16
    assert both.emotions.tolist() == [1, 0]
    assert both.scores.tolist() == pytest.approx([0.7, 0.7])
    assert np.array_equal(both.vectors[0], prediction(seed=1).embedding)
    (newer,) = scene.store.vectors(scene.model, after=int(both.ids[0]))
    assert newer.ids.tolist() == [both.ids[1]]
    assert scene.store.regions(scene.model) == 2 and scene.store.regions(scene.model, after=int(both.ids[0])) == 1
    assert np.array_equal(scene.store.vectors_of([int(both.ids[1])])[int(both.ids[1])], both.vectors[1])


def test_hits_of_predictions_omit_missing_files_and_unknown_ids(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png")
    files = scene.store.known_files(b"/a", scene.run)
    scene.store.mark_missing([files[b"2.png"].id])
    ids = [int(i) for chunk in scene.store.vectors(scene.model) for i in chunk.ids]
    hits = scene.store.hits(scene.model, [*ids, 999], ANY)
    assert {i: [hit.path for hit in file_hits] for i, file_hits in hits.items()} == {ids[0]: [b"/a/1.png", b"/a/copy.png"]}
    assert scene.store.prediction_ids(scene.model, ANY).tolist() == [ids[0]]


def test_images_are_found_by_path_digest_and_id_prefix(scene: Scene) -> None:
    scene.add("ant", b"/a/1.png")
    scene.add("ape", b"/a/2.png")
    (ranked,) = scene.store.predicted_at(scene.model, b"/a/2.png")
    assert ranked.hit.image_id == image("ape").digest.hex()
    assert scene.store.predicted_as(scene.model, image("ape").digest) == ranked.prediction_id
    assert scene.store.predictions_by_digest(scene.model, image("ape").digest.hex()[:5]) == [ranked.prediction_id]
    assert len(scene.store.predictions_by_digest(scene.model, b"a".hex())) == 2
    assert scene.store.predictions_by_digest(scene.model, "ffff") == []
    assert scene.store.predicted_at(scene.model, b"/a/none.png") == []
    assert scene.store.predicted_as(scene.model, b"\x00" * 32) is None


def test_a_sample_is_evenly_spaced_and_a_large_one_is_complete(scene: Scene) -> None:
    for number in range(10):
        scene.add(f"{number}", b"/a/%d.png" % number, p=(0.5, 0.3, 0.2), seed=number)
    complete = scene.store.sample(scene.model, 100)
    assert len(complete.ids) == 10 and complete.vectors.shape == (10, 8) and complete.vectors.dtype == np.float16
    np.testing.assert_allclose(complete.probabilities, np.tile([[0.5, 0.3, 0.2]], (10, 1)), atol=1e-6)
    half = scene.store.sample(scene.model, 5)
    assert list(half.ids) == list(complete.ids[1::2])
    assert np.array_equal(half.vectors, complete.vectors[1::2])
    assert scene.store.sample(scene.store.register_model(card(digest="22")), 5).vectors.shape == (0, 8)


def test_an_unknown_model_is_an_error(store: Store) -> None:
    with pytest.raises(NotIndexed):
        store.ranked(7, ANY, 1, 0)
