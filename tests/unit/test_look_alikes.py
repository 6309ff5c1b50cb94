"""The reading of a face beside its look-alikes, and the comparison of a whole library in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.analysis import look_alikes
from indexer.domain.errors import Interrupted
from indexer.domain.look_alikes import LEAST_SIMILARITY, PRIOR_FACES, SHARPENING, SPREAD, read_beside, weights
from indexer.domain.predictions import LabelAssignment
from indexer.domain.queries import SearchRequest
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.library import Library
from indexer.ports.store_reader import HitFilter
from indexer.search import service as search_service
from indexer.teaching import service as teaching_service
from tests.support.builders import draw_character, encoded
from tests.support.effort import examples
from tests.support.fake_models import FakeClassifier
from tests.support.memory_library import MemoryDatabase, MemorySource, memory_library
from tests.support.memory_store import MemoryStore
from tests.support.quiet import Remembered

FILES = {
    b"/images/%d/%02d.png" % (character, expression): encoded(draw_character(character, expression))
    for character in range(3)
    for expression in range(6)
}
ALONE = {b"/images/alone.png": encoded(draw_character(77, 0))}


Arrays = tuple[np.ndarray[Any, Any], ...]


@st.composite
def groups(draw: st.DrawFn) -> Arrays:
    """Return logits of faces, logits of their look-alikes, their weights, the face that each belongs to, and mean logits."""
    faces, others, labels = draw(st.integers(1, 5)), draw(st.integers(0, 12)), draw(st.integers(2, 6))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    logits, theirs, mean = (random.normal(0, 3, (count, labels)).astype(np.float32) for count in (faces, others, 1))
    counted = random.uniform(0.1, 1, others).astype(np.float32)
    return logits, theirs, counted, random.integers(0, faces, others), mean[0]


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


@given(groups())
@examples(60)
def test_a_face_is_read_relative_to_its_group(case: Arrays) -> None:
    logits, others, counted, owners, mean = case
    read = read_beside(logits, others, counted, owners, mean)
    assert read.dtype == np.float32
    for row, own in enumerate(logits):
        own_others = owners == row
        group, weight = [own, *others[own_others]], [1, *counted[own_others]]
        total = sum(weight) + PRIOR_FACES
        relative = own - np.average(np.array(group) - mean, axis=0, weights=weight) * sum(weight) / total
        sharper = (1 + SHARPENING * (sum(weight) - 1) / total) * relative
        expected = own if len(group) == 1 else sharper
        np.testing.assert_allclose(read[row], softmax(expected.astype(np.float64)), atol=1e-6)


@given(groups(), st.floats(-5, 5))
@examples(30)
def test_offsets_of_logits_and_the_order_of_look_alikes_change_nothing(case: Arrays, offset: float) -> None:
    logits, others, counted, owners, mean = case
    read = read_beside(logits, others, counted, owners, mean)
    order = np.random.default_rng(0).permutation(len(owners))
    moved, offset_mean = others[order] + np.float32(offset), mean + np.float32(offset)
    np.testing.assert_allclose(read_beside(logits, moved, counted[order], owners[order], offset_mean), read, atol=1e-5)


def test_a_bias_that_all_look_alikes_share_shrinks() -> None:
    bias, mean = np.array([4.0, 0.0], dtype=np.float32), np.zeros(2, dtype=np.float32)
    expressions = np.array([[-1.0, 1.0], *[[1.0, -1.0], [-1.0, 1.0]] * 5], dtype=np.float32)
    face, others = (expressions + bias)[:1], (expressions + bias)[1:]
    assert softmax(face)[0].argmax() == 0
    assert read_beside(face, others, np.ones(10, dtype=np.float32), np.zeros(10, dtype=np.int64), mean)[0].argmax() == 1


def test_the_more_similar_a_look_alike_the_more_it_counts() -> None:
    counted = weights(np.array([1.0, 0.9, 0.8, LEAST_SIMILARITY], dtype=np.float32))
    assert counted[0] == 1 and (np.diff(counted) < 0).all() and counted[-1] < 0.1
    face, other, mean = (
        np.array([[1.0, 0.0]], dtype=np.float32),
        np.array([[3.0, 0.0]], dtype=np.float32),
        np.zeros(2, np.float32),
    )
    owners = np.zeros(1, dtype=np.int64)
    read = [float(read_beside(face, other, counted[n : n + 1], owners, mean)[0, 0]) for n in range(4)]
    assert read == sorted(read) and len(set(read)) == 4


def open_memory(tmp_path: Path, files: dict[bytes, bytes], **settings: object) -> Library:
    library = memory_library(files, tmp_path / "home", FakeClassifier(spaces=True))
    return replace(library, settings=replace(library.settings, **settings))  # type: ignore[arg-type]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(look_alikes, "_BATCH_ROWS", 4)
    return open_memory(tmp_path, FILES | ALONE)


def index(library: Library, **request: object) -> None:
    ingest_service.index(library, [b"/images"], IndexRequest(**request), Remembered())  # type: ignore[arg-type]


def store_of(library: Library) -> MemoryStore:
    assert isinstance(library.database, MemoryDatabase)
    return library.database.store


def probabilities(library: Library) -> dict[bytes, list[float]]:
    hits = search_service.search(library, SearchRequest(under=(b"/images",), limit=100))
    return {hit.path: list(hit.emotions.values()) for hit in hits}


def assert_same(first: dict[bytes, list[float]], second: dict[bytes, list[float]], atol: float = 1e-5) -> None:
    assert first.keys() == second.keys()
    for path, numbers in first.items():
        np.testing.assert_allclose(numbers, second[path], atol=atol, err_msg=repr(path))


def test_a_run_reads_faces_beside_their_look_alikes(library: Library, tmp_path: Path) -> None:
    index(library)
    plain_library = open_memory(tmp_path, FILES | ALONE, look_alikes="off")
    index(plain_library)
    plain, read = probabilities(plain_library), probabilities(library)
    assert read[b"/images/alone.png"] == plain[b"/images/alone.png"]
    changed = [path for path in FILES if not np.allclose(read[path], plain[path], atol=1e-3)]
    assert set(changed) == set(FILES)
    store = store_of(library)
    assert store.count_uncompared(1) == 0 and store_of(plain_library).count_uncompared(1) == len(FILES | ALONE)
    # The face without look-alikes was not predicted from its stored embedding, which is rounded.
    assert_same(read, _read_by_hand(store_of(plain_library)), atol=1e-3)


def _read_by_hand(store: MemoryStore) -> dict[bytes, list[float]]:
    """Return the predictions of a library of whole images beside their look-alikes, computed one by one."""
    classifier = FakeClassifier(spaces=True)
    rows = store.next_uncompared(1, 0, 100)
    looks = rows.vectors[:, classifier.card.space_slice("look")].astype(np.float32)
    logits, mean = classifier.scorer().logits(rows.vectors), classifier.scorer().mean_logits
    whole = rows.vectors.astype(np.float32)
    result = {}
    for row, (number, look) in enumerate(zip(rows.ids.tolist(), looks, strict=True)):
        near = [other for other in np.argsort(-looks @ look) if other != row and looks[other] @ look >= 0.65]
        near = [other for other in near if whole[other] @ whole[row] / 2 < 0.965][:16]
        weight = np.exp((looks[near] @ look - 1) / SPREAD)
        total = weight.sum() + 1 + PRIOR_FACES
        sums = logits[row] - mean + weight @ (logits[near] - mean)
        relative = logits[row] - sums / total
        read = (1 + SHARPENING * weight.sum() / total) * relative if near else logits[row]
        (hit,) = store.hits(1, [number], HitFilter())[number]
        result[hit.path] = softmax(read).tolist()
    return result


def test_one_run_and_several_runs_give_the_same_predictions(library: Library, tmp_path: Path) -> None:
    index(library)
    names = sorted(FILES | ALONE)
    several = open_memory(tmp_path, {})
    for part in (names[::3], names[1::3], names[2::3]):
        assert isinstance(several.source, MemorySource)
        several.source.files.update({name: (FILES | ALONE)[name] for name in part})
        index(several)
    assert_same(probabilities(several), probabilities(library))


def test_another_run_changes_nothing(library: Library) -> None:
    index(library)
    before, generation = probabilities(library), store_of(library).generation(1)
    index(library)
    assert probabilities(library) == before and store_of(library).generation(1) == generation
    index(library, force=True)
    assert_same(probabilities(library), before)


def test_an_interrupted_comparison_is_finished_by_an_idle_run(library: Library, tmp_path: Path) -> None:
    complete = open_memory(tmp_path, FILES | ALONE)
    index(complete)
    store, stops = store_of(library), iter(range(100))
    apply = store.apply_comparison

    def apply_twice(*arguments: Any) -> dict[int, int]:
        if next(stops) == 2:
            raise Interrupted("stopped", 2)
        return apply(*arguments)

    store.apply_comparison = apply_twice  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        index(library)
    assert store.runs(1)[0].outcome == "interrupted"
    assert 0 < store.count_uncompared(1) < len(FILES | ALONE)
    index(library)
    assert store.count_uncompared(1) == 0
    assert_same(probabilities(library), probabilities(complete))


def test_labels_stay_and_do_not_affect_look_alikes(library: Library, tmp_path: Path) -> None:
    first = {name: data for name, data in FILES.items() if not name.endswith(b"5.png")}
    labeled = open_memory(tmp_path, dict(first))
    index(labeled)
    labels_service.label(labeled, [LabelAssignment(b"/images/0/00.png", "crying")], new=False)
    assert isinstance(labeled.source, MemorySource)
    labeled.source.files.update(FILES | ALONE)
    index(labeled)
    (hit,) = search_service.show(labeled, b"/images/0/00.png")
    assert (hit.emotion, hit.score, hit.label) == ("crying", 1.0, "crying")
    index(library)
    assert_same(probabilities(labeled), probabilities(library))


def test_copies_of_an_image_are_not_its_look_alikes(tmp_path: Path) -> None:
    picture = draw_character(1, 1)
    files = {b"/images/%d.png" % n: encoded(picture, "PNG", compress_level=n) for n in (1, 5, 9)}
    assert len(set(files.values())) == 3
    read, plain = open_memory(tmp_path, files), open_memory(tmp_path, files, look_alikes="off")
    for library in (read, plain):
        index(library)
    assert probabilities(read) == probabilities(plain)
    assert store_of(read).count_uncompared(1) == 0


def test_a_model_without_spaces_is_left_alone(tmp_path: Path) -> None:
    library = memory_library(FILES, tmp_path / "home", FakeClassifier())
    index(library)
    assert store_of(library).count_uncompared(1) == len(FILES)


def test_taught_versions_are_read_beside_look_alikes(library: Library) -> None:
    index(library)
    labels = [LabelAssignment(path, "happy" if number else "sad") for number, path in enumerate(sorted(FILES)[:5])]
    labels_service.label(library, labels, new=False)
    assert teaching_service.teach(library, None, Remembered()).rescored == len(FILES | ALONE)
    store = store_of(library)
    assert store.count_uncompared(2) == 0
    rows = store.compared_rows(2, [row.id for row in store._all_predictions(2)])
    assert len({round(float(p), 4) for p in rows.probabilities.max(axis=1)}) > 1


def test_damaged_embeddings_do_not_spread(library: Library) -> None:
    index(library)
    store = store_of(library)
    digest, (row,) = next(iter(store._predictions[1].items()))
    broken = np.full_like(row.prediction.embedding, np.nan)
    store._predictions[1][digest] = [replace(row, prediction=replace(row.prediction, embedding=broken), compared_to=-1)]
    index(library)
    assert store.count_uncompared(1) == 0
    assert all(np.isfinite(numbers).all() for numbers in probabilities(library).values())
