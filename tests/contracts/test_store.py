"""What every store promises, whichever it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from db.store import SqliteStore
from indexer.domain import Face, Failure, FileStamp, FileState
from indexer.errors import NotIndexed
from indexer.history import DONE, INTERRUPTED
from indexer.ports import NOT_THE_MODELS, Batch, Filter, FolderNote, Generation, PendingFile, Predicted, Store
from tests.support.builders import card, image, prediction
from tests.support.memory_store import MemoryStore

STAMP = FileStamp(10, 1_000)
OTHER = FileStamp(11, 2_000)
ANY = Filter()


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        sqlite = SqliteStore(tmp_path / "moodex.sqlite")
        yield sqlite
        sqlite.close()


class Scene:
    """A store with a model and a run, and words for what tests do to it."""

    def __init__(self, store: Store, model: int = 0, finder: str | None = None) -> None:
        self.store = store
        self.model = model or store.register_model(card())
        self.run = store.begin_run([b"/a"], self.model, finder)

    def by(self, model: int = 0, finder: str | None = None) -> Scene:
        """Another run over the same store."""
        return Scene(self.store, model or self.model, finder)

    def add_faces(self, name: str, path: bytes, *faces: tuple[float, ...]) -> None:
        """A picture with faces, given by their probabilities, from left to right."""
        places = [Face(n / len(faces), 0.25, (n + 1) / len(faces), 0.75) for n in range(len(faces))]
        regions = tuple(
            replace(prediction(*p, seed=n), face=place) for n, (p, place) in enumerate(zip(faces, places, strict=True))
        )
        self.store.commit(self.run, Batch(predicted=(Predicted(image(name), regions, tuple(self.note(path))),)))

    def note(self, *paths: bytes, stamp: FileStamp = STAMP) -> list[PendingFile]:
        for path in paths:
            folder, _, name = path.rpartition(b"/")
            self.store.note_scan(self.run, [FolderNote(folder, {name: stamp}, {})])
        waiting = {file.path: file for file in self.store.pending([b"/"], 0, 100)}
        return [waiting[path] for path in paths]

    def add(self, name: str, *paths: bytes, p: tuple[float, ...] = (0.7, 0.2, 0.1), seed: int = 0) -> None:
        entry = Predicted(image(name), (prediction(*p, seed=seed),), tuple(self.note(*paths)))
        self.store.commit(self.run, Batch(predicted=(entry,)))

    def known(self, path: bytes) -> tuple[FileState, bool]:
        folder, _, name = path.rpartition(b"/")
        file = self.store.known_files(folder, self.run)[name]
        return file.state, file.predicted

    def paths(self, chosen: Filter = ANY, limit: int = 100, offset: int = 0) -> list[bytes]:
        return [ranked.hit.path for ranked in self.store.ranked(self.model, chosen, limit, offset)]


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


def test_a_model_is_registered_once(scene: Scene) -> None:
    assert scene.store.register_model(card()) == scene.model
    assert scene.store.register_model(card(digest="11")) != scene.model
    assert [model.card.key for model in scene.store.models()] == [card().key, card(digest="11").key]


def test_a_noted_file_waits_and_is_not_found(scene: Scene) -> None:
    (file,) = scene.note(b"/a/1.png")
    assert (file.path, file.stamp) == (b"/a/1.png", STAMP)
    assert scene.known(b"/a/1.png") == (FileState.PENDING, False)
    assert scene.paths() == []


def test_committing_makes_a_file_done_and_found(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    assert scene.known(b"/a/1.png") == (FileState.DONE, True)
    assert scene.store.count_pending([b"/a"]) == 0
    (ranked,) = scene.store.ranked(scene.model, ANY, 10, 0)
    hit = ranked.hit
    assert (hit.path, hit.emotion, hit.image_id) == (b"/a/1.png", "happy", image("one").digest.hex())
    assert hit.score == hit.emotions["happy"] == pytest.approx(0.7)
    assert list(hit.emotions) == ["happy", "sad", "crying"]
    assert hit.similarity is None


def test_several_files_may_hold_one_picture(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/copy.png")
    (file,) = scene.note(b"/a/later.png")
    scene.store.commit(scene.run, Batch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png", b"/b/copy.png", b"/a/later.png"]
    assert scene.store.counts().images == 1
    assert scene.store.models()[0].used and scene.store.pictures(scene.model) == 1


def test_a_failure_keeps_its_reason_and_hides_the_file(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    (file,) = scene.note(b"/a/1.png", stamp=OTHER)
    scene.store.commit(scene.run, Batch(failed=((file, Failure("damaged", "it is empty")),)))
    assert scene.paths() == []
    assert scene.store.failures(10) == [(b"/a/1.png", Failure("damaged", "it is empty"))]
    known = scene.store.known_files(b"/a", scene.run)[b"1.png"]
    assert (known.state, known.stamp, known.failure) == (FileState.FAILED, OTHER, Failure("damaged", "it is empty"))


def test_a_file_that_failed_in_the_scan_is_failed_at_once(scene: Scene) -> None:
    scene.add("one", b"/a/x.png")
    failure = Failure("damaged", "it is a folder")
    scene.store.note_scan(scene.run, [FolderNote(b"/a", {}, {b"x.png": (FileStamp(0, 0), failure)})])
    assert scene.known(b"/a/x.png") == (FileState.FAILED, False)
    assert scene.paths() == []


def test_a_file_that_waits_again_is_still_found(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.note(b"/a/1.png", stamp=OTHER)
    assert scene.known(b"/a/1.png") == (FileState.PENDING, True)
    assert scene.paths() == [b"/a/1.png"]


def test_gone_files_are_not_found_and_come_back(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    file_id = scene.store.known_files(b"/a", scene.run)[b"1.png"].id
    scene.store.mark_gone([file_id])
    assert scene.paths() == []
    assert scene.store.count_files(b"/a") == 0
    assert scene.store.is_predicted(image("one").digest, scene.run)
    (file,) = scene.note(b"/a/1.png")
    scene.store.commit(scene.run, Batch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png"]


def test_a_picture_that_reappears_elsewhere_in_this_run_has_moved(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.add("two", b"/a/3.png")
    old = {name: known.id for name, known in scene.store.known_files(b"/a", scene.run).items()}
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.note(b"/a/new.png")
    scene.store.commit(scene.run, Batch(linked=((new, image("one").digest),)))
    moved = scene.store.settle_moves(scene.run, sorted(old.values()))
    assert moved == [old[b"1.png"]]  # one new path explains one missing file
    assert sorted(scene.paths()) == [b"/a/2.png", b"/a/3.png", b"/a/new.png"]
    assert b"1.png" not in scene.store.known_files(b"/a", scene.run)


def test_a_copy_of_an_earlier_run_is_no_move(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    first = scene.store.known_files(b"/a", scene.run)[b"1.png"].id
    later = scene.store.begin_run([b"/a"], scene.model)
    assert scene.store.settle_moves(later, [first]) == []


@pytest.mark.parametrize(("outcome", "moves"), [(DONE, 0), (INTERRUPTED, 1), (None, 1)])
def test_a_move_is_one_though_the_run_that_met_it_came_to_no_end(scene: Scene, outcome: str | None, moves: int) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.store.finish_run(scene.run, DONE, {})
    lost = [known.id for known in scene.store.known_files(b"/a", scene.run).values()]
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.note(b"/a/new.png")
    scene.store.commit(scene.run, Batch(linked=((new, image("one").digest),)))
    if outcome is not None:
        scene.store.finish_run(scene.run, outcome, {})
    resumed = scene.store.begin_run([b"/a"], scene.model)
    assert len(scene.store.settle_moves(resumed, lost)) == moves


def test_predictions_of_models_do_not_mix(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    other = scene.store.register_model(card("other", digest="22"))
    run = scene.store.begin_run([b"/a"], other)
    assert not scene.store.known_files(b"/a", run)[b"1.png"].predicted
    assert not scene.store.is_predicted(image("one").digest, run)
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


def test_ranking_filters_and_pages(scene: Scene) -> None:
    for i in range(9):
        high, low = 0.5 + i / 20, (0.5 - i / 20) / 2
        p = [(high, low, low), (low, high, low), (low, low, high)][i % 3]
        scene.add(f"n{i}", b"/a/%d.png" % i, p=p, seed=i)
    assert scene.paths() == [b"/a/%d.png" % i for i in reversed(range(9))]
    assert scene.paths(limit=2, offset=3) == [b"/a/5.png", b"/a/4.png"]
    assert scene.paths(limit=5, offset=9) == []
    sad = Filter(emotions=frozenset({"sad", "crying"}))
    assert scene.paths(sad) == [b"/a/%d.png" % i for i in (8, 7, 5, 4, 2, 1)]
    assert scene.paths(sad, limit=2, offset=1) == [b"/a/7.png", b"/a/5.png"]
    assert scene.paths(Filter(min_score=0.84)) == [b"/a/8.png", b"/a/7.png"]
    assert scene.paths(Filter(emotions=frozenset())) == []


def test_equal_scores_are_ordered_by_age(scene: Scene) -> None:
    for i in (3, 1, 2):
        scene.add(f"n{i}", b"/a/%d.png" % i)
    assert scene.paths() == [b"/a/3.png", b"/a/1.png", b"/a/2.png"]


@pytest.mark.parametrize(
    ("under", "found"),
    [
        (b"/a", [b"/a/1.png", b"/a/b/2.png"]),
        (b"/a/b", [b"/a/b/2.png"]),
        (b"/a/b/2.png", [b"/a/b/2.png"]),
        (b"/", [b"/a/1.png", b"/a/b/2.png", b"/a-c/3.png", b"/a0/4.png", b"/\xff/5.png"]),
        (b"/\xff", [b"/\xff/5.png"]),
        (b"/none", []),
    ],
)
def test_under_means_the_folder_and_what_is_below_it(scene: Scene, under: bytes, found: list[bytes]) -> None:
    for i, path in enumerate([b"/a/1.png", b"/a/b/2.png", b"/a-c/3.png", b"/a0/4.png", b"/\xff/5.png"]):
        scene.add(f"n{i}", path, seed=i)
    assert scene.paths(Filter(under=under)) == found
    assert scene.store.count_files(under) == len(found)
    ids = scene.store.prediction_ids(scene.model, Filter(under=under))
    assert sorted(
        path for hits in scene.store.hits(scene.model, ids.tolist(), Filter(under=under)).values() for path in [hits[0].path]
    ) == sorted(found)


def test_a_listing_is_settled_once_nothing_waits_for_whoever_looks_the_same_way(scene: Scene) -> None:
    def settled(by: Scene) -> dict[bytes, bytes]:
        return by.store.settled_listings(b"/a", by.run)

    scene.add("zero", b"/a/0.png")
    scene.store.note_scan(scene.run, [FolderNote(b"/a", {b"1.png": STAMP}, {}, b"seen"), FolderNote(b"/b", {}, {}, b"elsewhere")])
    assert settled(scene) == {}
    (file,) = scene.store.pending([b"/a"], 0, 10)
    scene.store.commit(scene.run, Batch(linked=((file, image("zero").digest),)))
    assert settled(scene) == settled(scene.by()) == {b"/a": b"seen"}
    assert settled(scene.by(finder="faces")) == settled(scene.by(scene.store.register_model(card(digest="11")))) == {}


def test_a_listing_is_not_settled_where_a_file_failed_or_a_prediction_went(scene: Scene) -> None:
    for name in ("1", "2"):
        scene.add(name, f"/{name}/x.png".encode())
        scene.store.note_scan(scene.run, [FolderNote(f"/{name}".encode(), {}, {}, b"seen")])
    scene.store.note_scan(scene.run, [FolderNote(b"/3", {}, {b"x.png": (STAMP, Failure("damaged", "why"))}, b"seen")])
    assert set(scene.store.settled_listings(b"/", scene.run)) == {b"/1", b"/2"}
    scene.store.forget_model(scene.model)
    assert scene.store.settled_listings(b"/", scene.run) == {}


def test_a_listing_is_not_settled_once_a_file_in_it_is_gone(scene: Scene) -> None:
    scene.add("1", b"/a/1.png")
    scene.store.note_scan(scene.run, [FolderNote(b"/a", {}, {}, b"seen")])
    scene.store.mark_gone([file.id for file in scene.store.known_files(b"/a", scene.run).values()])
    assert scene.store.settled_listings(b"/a", scene.run) == {}


def test_known_folders_lie_at_or_below_the_root(scene: Scene) -> None:
    scene.note(b"/a/1.png", b"/a/b/2.png", b"/ab/3.png")
    assert sorted(scene.store.known_folders(b"/a")) == [b"/a", b"/a/b"]
    assert scene.store.count_pending([b"/a/b", b"/ab"]) == 2
    assert [file.path for file in scene.store.pending([b"/a"], 0, 1)] == [b"/a/1.png"]


def test_names_of_any_bytes_come_back_as_they_were(scene: Scene) -> None:
    names = [b"/a/new\nline.png", b"/a/\xff\xfe.png", "/a/\U0001f600.png".encode(), b"/a/-rf.png", b"/a/" + b"x" * 251 + b".png"]
    for i, name in enumerate(names):
        scene.add(f"n{i}", name, seed=i)
    assert scene.paths() == names


def test_vectors_come_by_id_and_only_the_newer_ones(scene: Scene) -> None:
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
    assert np.array_equal(scene.store.vectors_of([int(both.ids[1])])[int(both.ids[1])], both.vectors[1])


def test_hits_of_predictions_leave_out_the_dead(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png")
    files = scene.store.known_files(b"/a", scene.run)
    scene.store.mark_gone([files[b"2.png"].id])
    ids = [int(i) for chunk in scene.store.vectors(scene.model) for i in chunk.ids]
    hits = scene.store.hits(scene.model, [*ids, 999], ANY)
    assert {i: [hit.path for hit in found] for i, found in hits.items()} == {ids[0]: [b"/a/1.png", b"/a/copy.png"]}
    assert scene.store.prediction_ids(scene.model, ANY).tolist() == [ids[0]]


def test_pictures_are_found_by_path_digest_and_id_prefix(scene: Scene) -> None:
    scene.add("ant", b"/a/1.png")
    scene.add("ape", b"/a/2.png")
    (ranked,) = scene.store.predicted_at(scene.model, b"/a/2.png")
    assert ranked.hit.image_id == image("ape").digest.hex()
    assert scene.store.predicted_as(scene.model, image("ape").digest) == ranked.prediction_id
    assert scene.store.find(scene.model, image("ape").digest.hex()[:5]) == [ranked.prediction_id]
    assert len(scene.store.find(scene.model, b"a".hex())) == 2
    assert scene.store.find(scene.model, "ffff") == []
    assert scene.store.predicted_at(scene.model, b"/a/none.png") == []
    assert scene.store.predicted_as(scene.model, b"\x00" * 32) is None


def test_every_commit_of_predictions_is_a_generation(scene: Scene) -> None:
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
    (file,) = scene.note(b"/a/3.png")
    scene.store.commit(scene.run, Batch(linked=((file, image("one").digest),)))
    assert scene.store.generation(scene.model) == second


def test_runs_are_remembered_newest_first(scene: Scene) -> None:
    scene.store.finish_run(scene.run, "done", {"indexed": 3})
    later = scene.store.begin_run([b"/b", b"/\xff"], scene.model)
    newest, oldest = scene.store.runs(5)
    assert (newest.id, newest.outcome, newest.roots, newest.ended_at) == (later, "running", (b"/b", b"/\xff"), None)
    assert (oldest.outcome, oldest.counts) == ("done", {"indexed": 3})


def test_counts_by_state(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.note(b"/a/3.png")
    assert scene.store.counts().files == {FileState.DONE: 2, FileState.PENDING: 1}


def test_asking_for_an_unknown_model_is_an_error(store: Store) -> None:
    with pytest.raises(NotIndexed):
        store.ranked(7, ANY, 1, 0)


def test_a_forgotten_model_has_no_predictions_left(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png", seed=2)
    ids = scene.store.prediction_ids(scene.model, ANY).tolist()
    assert scene.store.forget_model(scene.model) == 2
    assert scene.paths() == []
    assert list(scene.store.vectors(scene.model)) == []
    assert scene.store.vectors_of(ids) == {}
    assert scene.store.find(scene.model, "") == []
    assert not scene.store.models()[0].used and scene.store.pictures(scene.model) == 0
    assert scene.store.forget_model(scene.model) == 0


def test_forgetting_a_model_keeps_files_pictures_runs_and_other_models(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    other = scene.store.register_model(card("other", digest="22"))
    scene.by(other).add("one", b"/a/1.png", p=(0.2, 0.7, 0.1))
    before = scene.store.generation(other)
    assert scene.store.forget_model(scene.model) == 1
    assert scene.known(b"/a/1.png") == (FileState.DONE, False)
    assert scene.store.counts().images == 1
    assert len(scene.store.runs(5)) == 2
    assert [ranked.hit.emotion for ranked in scene.store.ranked(other, ANY, 10, 0)] == ["sad"]
    assert scene.store.generation(other) == before
    assert scene.store.register_model(card()) == scene.model


def test_a_generation_from_before_forgetting_is_never_trusted_again(scene: Scene) -> None:
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


def test_a_model_larger_than_a_transaction_is_forgotten_whole(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.catalog._DELETED_AT_ONCE", 2)
    for i in range(5):
        scene.add(f"n{i}", b"/a/%d.png" % i, seed=i)
    assert scene.store.forget_model(scene.model) == 5
    assert scene.paths() == []


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
    assert scene.paths(Filter(frozenset({"crying"}), min_score=1.0)) == [b"/a/1.png", b"/a/copy.png"]
    assert scene.paths(Filter(frozenset({"happy"}))) == []
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
    assert [one.emotion for one in scene.store.labelled()] == ["crying"]
    scene.store.label({image("one").digest: None})
    (ranked,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (ranked.hit.emotion, ranked.hit.label) == ("happy", None)
    assert ranked.hit.score == pytest.approx(0.7)
    assert scene.store.labelled() == []


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
    scene.store.mark_gone([file.id for file in scene.store.known_files(b"/a", run.run).values()])
    (kept,) = scene.store.labelled()
    assert (kept.image_id, kept.emotion, kept.path) == (image("one").digest.hex(), "sad", None)


def test_emotions_of_peoples_own_are_found_beside_the_models(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("two").digest: "smug", image("never seen").digest: "sleepy"})
    assert scene.store.emotions_said() == ("smug",)
    assert scene.paths(Filter(frozenset({"smug"}))) == [b"/a/2.png"]
    assert scene.paths() == [b"/a/2.png", b"/a/1.png"]
    assert len(scene.store.prediction_ids(scene.model, Filter(frozenset({"smug"})))) == 1
    (rows,) = scene.store.vectors(scene.model)
    assert sorted(rows.emotions.tolist()) == [0, NOT_THE_MODELS]


def test_labels_are_listed_by_path_and_pictures_by_folder(scene: Scene) -> None:
    scene.add("one", b"/b/1.png", b"/a/copy.png")
    scene.add("two", b"/a/2.png")
    scene.store.label({image("one").digest: "sad", image("two").digest: "happy"})
    assert [(one.path, one.emotion) for one in scene.store.labelled()] == [(b"/a/2.png", "happy"), (b"/b/1.png", "sad")]
    assert scene.store.digests_at(b"/b") == [image("one").digest]
    assert scene.store.digests_at(b"/a/2.png") == [image("two").digest]
    assert scene.store.digests_at(b"/") == sorted([image("one").digest, image("two").digest])
    assert scene.store.digests_at(b"/c") == []
    known = [image("one").digest, image("two").digest]
    assert scene.store.known_digests([*known, bytes(32)]) == set(known) and scene.store.known_digests([]) == set()


def with_backbone(store: Store, digest: str) -> int:
    """A model whose embeddings are those of every other model with this backbone."""
    return store.register_model(replace(card(digest=digest), backbone_digest="same"))


def test_models_with_one_backbone_predict_from_the_same_embeddings(scene: Scene) -> None:
    scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png", seed=1)
    scene.add("two", b"/a/2.png", seed=2)
    scene.store.label({image("two").digest: "angry"})
    taught = with_backbone(scene.store, "11")
    seen: list[np.ndarray[Any, Any]] = []
    portions: list[int] = []

    def score(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(vectors)
        return np.tile(np.array([[0.1, 0.1, 0.8]], dtype=np.float32), (len(vectors), 1))

    assert scene.store.rescore(scene.model, taught, score, portions.append) == sum(portions) == 2
    (given,) = seen
    assert given.dtype == np.float16 and np.array_equal(given[0], prediction(1.0, seed=1).embedding)
    ranked = {found.hit.path: found.hit for found in scene.store.ranked(taught, ANY, 10, 0)}
    assert (ranked[b"/a/1.png"].emotion, ranked[b"/a/2.png"].emotion) == ("crying", "angry")
    (rows,) = scene.store.vectors(taught)
    assert np.array_equal(rows.vectors, given)
    assert scene.store.generation(taught) is not None
    # What is new since then is predicted, and what was there is left alone.
    scene.add("three", b"/a/3.png", seed=3)
    assert scene.store.rescore(scene.model, taught, score, portions.append) == 1
    assert scene.store.rescore(scene.model, taught, score, portions.append) == 0


def test_an_interrupted_rescoring_leaves_nothing(scene: Scene) -> None:
    scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png")
    taught = with_backbone(scene.store, "11")

    def stop(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scene.store.rescore(scene.model, taught, lambda vectors: np.ones((len(vectors), 3), dtype=np.float32) / 3, stop)
    assert scene.store.ranked(taught, ANY, 10, 0) == []
    assert scene.store.generation(taught) is None


def test_embeddings_stay_while_a_model_needs_them(scene: Scene) -> None:
    first = scene.model = with_backbone(scene.store, "00")
    scene.add("one", b"/a/1.png", seed=4)
    second = with_backbone(scene.store, "11")
    scene.store.rescore(first, second, lambda vectors: np.ones((len(vectors), 3), dtype=np.float32) / 3, lambda _: None)
    assert scene.store.forget_model(first) == 1
    (rows,) = scene.store.vectors(second)
    assert np.array_equal(rows.vectors[0], prediction(1.0, seed=4).embedding)
    assert scene.store.forget_model(second) == 1
    assert list(scene.store.vectors(second)) == []


def test_a_sample_is_even_and_complete_where_all_are_wanted(scene: Scene) -> None:
    for number in range(10):
        scene.add(f"{number}", b"/a/%d.png" % number, p=(0.5, 0.3, 0.2), seed=number)
    every = scene.store.sample(scene.model, 100)
    assert len(every.ids) == 10 and every.vectors.shape == (10, 8) and every.vectors.dtype == np.float16
    np.testing.assert_allclose(every.probabilities, np.tile([[0.5, 0.3, 0.2]], (10, 1)), atol=1e-6)
    some = scene.store.sample(scene.model, 5)
    assert list(some.ids) == list(every.ids[1::2])
    assert np.array_equal(some.vectors, every.vectors[1::2])
    assert scene.store.sample(scene.store.register_model(card(digest="22")), 5).vectors.shape == (0, 8)


HAPPY, SAD, CRYING = (0.8, 0.1, 0.1), (0.2, 0.7, 0.1), (0.0, 0.1, 0.9)


def test_a_picture_is_found_once_by_the_face_that_answers_best(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", SAD, HAPPY)
    scene.add("one", b"/a/one.png", p=(0.75, 0.2, 0.05))
    found = scene.store.ranked(scene.model, Filter(frozenset({"happy"})), 10, 0)
    assert [(ranked.hit.path, ranked.hit.box) for ranked in found] == [
        (b"/a/pair.png", (24, 10, 48, 30)),
        (b"/a/one.png", None),
    ]
    (sad,) = scene.store.ranked(scene.model, Filter(frozenset({"sad"})), 10, 0)
    assert (sad.hit.path, sad.hit.box) == (b"/a/pair.png", (0, 10, 24, 30))
    everything = scene.store.ranked(scene.model, ANY, 10, 0)
    assert [(ranked.hit.path, ranked.hit.emotion) for ranked in everything] == [
        (b"/a/pair.png", "happy"),
        (b"/a/one.png", "happy"),
    ]
    assert scene.store.pictures(scene.model) == scene.store.counts().images == 2


def test_equal_faces_answer_once(scene: Scene) -> None:
    scene.add_faces("twins", b"/a/twins.png", HAPPY, HAPPY)
    (found,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert found.hit.box == (0, 10, 24, 30)


def test_a_face_that_is_excluded_keeps_its_picture_out(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", CRYING, HAPPY)
    scene.add_faces("glad", b"/a/glad.png", HAPPY)
    chosen = Filter(frozenset({"happy", "sad"}), excluded=frozenset({"crying"}))
    assert scene.paths(chosen) == [b"/a/glad.png"]
    ids = [int(number) for chunk in scene.store.vectors(scene.model) for number in chunk.ids]
    assert len(ids) == 3
    hits = scene.store.hits(scene.model, ids, chosen)
    assert [hit.path for found in hits.values() for hit in found] == [b"/a/glad.png"]


def test_all_faces_of_a_picture_come_in_order_and_the_first_stands_for_it(scene: Scene) -> None:
    scene.add_faces("trio", b"/a/trio.png", SAD, HAPPY, CRYING)
    at = scene.store.predicted_at(scene.model, b"/a/trio.png")
    assert [ranked.hit.emotion for ranked in at] == ["sad", "happy", "crying"]
    assert scene.store.predicted_as(scene.model, image("trio").digest) == at[0].prediction_id
    assert scene.store.find(scene.model, image("trio").digest.hex()) == [at[0].prediction_id]
    assert scene.store.sample(scene.model, 10).ids.tolist() == [at[0].prediction_id]
    (rows,) = scene.store.vectors(scene.model)
    assert rows.emotions.tolist() == [1, 0, 2]
    assert np.array_equal(rows.vectors[2], prediction(seed=2).embedding)


def test_pictures_are_looked_at_anew_where_faces_are_found_in_another_way(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    finding = scene.by(finder="f1")
    assert scene.known(b"/a/1.png")[1] and not finding.known(b"/a/1.png")[1]
    assert not scene.store.is_predicted(image("one").digest, finding.run)
    finding.add_faces("one", b"/a/1.png", SAD, HAPPY)
    assert finding.known(b"/a/1.png")[1] and not scene.known(b"/a/1.png")[1]
    assert len(scene.store.predicted_at(scene.model, b"/a/1.png")) == 2
    assert not scene.by(finder="f2").known(b"/a/1.png")[1]
    scene.add("one", b"/a/1.png", p=CRYING)
    (whole,) = scene.store.predicted_at(scene.model, b"/a/1.png")
    assert (whole.hit.emotion, whole.hit.box) == ("crying", None)
    (rows,) = scene.store.vectors(scene.model)
    assert len(rows.ids) == 1


def test_models_that_share_embeddings_share_regions(scene: Scene) -> None:
    shared = {"backbone_digest": "bb"}
    first, second = (scene.store.register_model(replace(card(digest=digest), **shared)) for digest in ("aa", "ab"))
    scene.by(first, "f1").add_faces("one", b"/a/1.png", SAD, HAPPY)
    scene.store.rescore(first, second, lambda vectors: np.tile(np.float32([0, 0, 1]), (len(vectors), 1)), lambda done: None)
    rescored = scene.store.predicted_at(second, b"/a/1.png")
    assert [(ranked.hit.emotion, ranked.hit.box) for ranked in rescored] == [
        ("crying", (0, 10, 24, 30)),
        ("crying", (24, 10, 48, 30)),
    ]
    scene.by(second, "f1").add_faces("one", b"/a/1.png", SAD, HAPPY)
    assert len(scene.store.predicted_at(first, b"/a/1.png")) == 2
    scene.by(second).add("one", b"/a/1.png")
    assert scene.store.predicted_at(first, b"/a/1.png") == []
    assert len(scene.store.predicted_at(second, b"/a/1.png")) == 1


def test_a_label_is_about_all_faces(scene: Scene) -> None:
    scene.add_faces("pair", b"/a/pair.png", SAD, HAPPY)
    scene.store.label({image("pair").digest: "crying"})
    assert [ranked.hit.emotion for ranked in scene.store.predicted_at(scene.model, b"/a/pair.png")] == ["crying", "crying"]
    (only,) = scene.store.ranked(scene.model, ANY, 10, 0)
    assert (only.hit.box, only.hit.score) == ((0, 10, 24, 30), 1)


def test_a_run_says_why_it_ended_and_by_whom(scene: Scene) -> None:
    scene.store.finish_run(scene.run, "failed", {}, "the disk is full")
    (run,) = scene.store.runs(5)
    assert (run.outcome, run.reason, run.pid) == ("failed", "the disk is full", os.getpid())


def test_a_run_that_never_ended_has_died_once_another_begins(scene: Scene) -> None:
    scene.store.begin_run([b"/a"], scene.model)
    newer, older = scene.store.runs(5)
    assert (newer.outcome, older.outcome, older.ended_at) == ("running", "died", None)
    assert older.reason and "killed" in older.reason


def test_a_forgotten_run_leaves_no_trace(scene: Scene) -> None:
    later = scene.store.begin_run([b"/a"], scene.model)
    scene.store.forget_run(later)
    assert [run.id for run in scene.store.runs(5)] == [scene.run]


def test_totals_are_of_all_runs(scene: Scene) -> None:
    assert (scene.store.totals().indexed, scene.store.totals().outcomes) == (0, {"running": 1})
    scene.store.finish_run(scene.run, "done", {"indexed": 3, "failed": 1})
    scene.store.finish_run(scene.store.begin_run([b"/a"], scene.model), "done", {"indexed": 4})
    scene.store.begin_run([b"/a"], scene.model)
    totals = scene.store.totals()
    assert (totals.indexed, totals.failed, totals.outcomes) == (7, 1, {"done": 2, "running": 1})


def gone(scene: Scene, *paths: bytes) -> None:
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        scene.store.mark_gone([scene.store.known_files(folder, scene.run)[name].id])


def test_what_is_gone_is_remembered_until_it_expires(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/copy.png")
    scene.add("two", b"/c/2.png")
    gone(scene, b"/a/1.png", b"/c/2.png")
    assert scene.store.expire(time.time() - 60) == 0
    assert scene.store.counts().files[FileState.GONE] == 2
    assert scene.store.expire(time.time() + 60) == 2
    assert scene.store.counts().files == {FileState.DONE: 1}
    assert scene.paths() == [b"/b/copy.png"]
    assert scene.store.known_folders(b"/") == [b"/b"]
    assert scene.store.counts().images == 1
    assert scene.store.is_predicted(image("one").digest, scene.run)
    assert not scene.store.is_predicted(image("two").digest, scene.run)


def test_what_came_back_does_not_expire(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    gone(scene, b"/a/1.png")
    (file,) = scene.note(b"/a/1.png")
    assert scene.store.expire(time.time() + 60) == 0
    scene.store.commit(scene.run, Batch(linked=((file, image("one").digest),)))
    assert scene.store.expire(time.time() + 60) == 0
    assert scene.paths() == [b"/a/1.png"]


def test_a_labelled_picture_outlives_its_files(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png", b"/a/3.png")
    scene.store.label({image("one").digest: "crying"})
    gone(scene, b"/a/1.png", b"/a/2.png")
    assert scene.store.expire(time.time() + 60) == 2
    assert [(one.image_id, one.path) for one in scene.store.labelled()] == [(image("one").digest.hex(), None)]
    assert scene.store.counts().images == 2
    assert scene.store.pictures(scene.model) == 2


def test_expiring_changes_the_state_of_the_models_that_lose_by_it_and_ids_are_not_used_again(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.add("two", b"/a/2.png", seed=2)
    other = scene.by(scene.store.register_model(card("other", digest="22")))
    other.add("one", b"/a/1.png")
    before, others = scene.store.generation(scene.model), scene.store.generation(other.model)
    last = max(int(number) for rows in scene.store.vectors(other.model) for number in rows.ids)
    gone(scene, b"/a/2.png")
    scene.store.expire(time.time() + 60)
    after = scene.store.generation(scene.model)
    assert before is not None and after is not None
    assert (after.last_id, after.token != before.token) == (before.last_id, True)
    assert scene.store.had_generation(scene.model, before)
    assert scene.store.generation(other.model) == others
    assert scene.store.regions(scene.model) == 1
    gone(scene, b"/a/1.png")
    scene.store.expire(time.time() + 60)
    assert scene.store.regions(scene.model) == scene.store.regions(other.model) == scene.store.counts().images == 0
    scene.add("three", b"/a/3.png", seed=3)
    (rows,) = scene.store.vectors(scene.model)
    assert rows.ids[0] > last
