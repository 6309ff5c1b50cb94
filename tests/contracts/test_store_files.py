"""What every store promises of files: what waits, is done, failed, gone or moved."""

from __future__ import annotations

import pytest

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.runs import DONE, INTERRUPTED
from indexer.ports.store_reader import ImageFile
from indexer.ports.store_writer import CommitBatch, FolderScanResult
from tests.support.builders import card, image
from tests.support.scene import ANY, OTHER, STAMP, Scene


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
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png", b"/b/copy.png", b"/a/later.png"]
    assert scene.store.counts().images == 1
    assert scene.store.models()[0].used and scene.store.image_count(scene.model) == 1


def test_a_failure_keeps_its_reason_and_hides_the_file(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    (file,) = scene.note(b"/a/1.png", stamp=OTHER)
    scene.store.commit(scene.run, CommitBatch(failed=((file, Failure("damaged", "it is empty")),)))
    assert scene.paths() == []
    assert scene.store.failures(10) == [(b"/a/1.png", Failure("damaged", "it is empty"))]
    known = scene.store.known_files(b"/a", scene.run)[b"1.png"]
    assert (known.state, known.stamp, known.failure) == (FileState.FAILED, OTHER, Failure("damaged", "it is empty"))


def test_a_stamp_is_that_of_the_picture_that_was_read(scene: Scene) -> None:
    assert scene.store.image_files_at(b"/a/1.png") == []
    scene.add("one", b"/a/1.png")
    assert scene.store.image_files_at(b"/a/1.png") == [ImageFile(b"/a/1.png", image("one").digest, STAMP)]
    scene.note(b"/a/1.png", stamp=OTHER)
    assert scene.store.image_files_at(b"/a/1.png") == [ImageFile(b"/a/1.png", image("one").digest, None)]


def test_a_file_that_failed_in_the_scan_is_failed_at_once(scene: Scene) -> None:
    scene.add("one", b"/a/x.png")
    failure = Failure("damaged", "it is a folder")
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {b"x.png": (FileStamp(0, 0), failure)})])
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
    scene.store.mark_missing([file_id])
    assert scene.paths() == []
    assert scene.store.count_files(b"/a") == 0
    assert scene.store.has_prediction(image("one").digest, scene.run)
    (file,) = scene.note(b"/a/1.png")
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png"]


def test_a_listing_is_settled_once_nothing_waits_for_whoever_looks_the_same_way(scene: Scene) -> None:
    def settled(by: Scene) -> dict[bytes, bytes]:
        return by.store.unchanged_folder_digests(b"/a", by.run)

    scene.add("zero", b"/a/0.png")
    scene.store.record_scan(
        scene.run, [FolderScanResult(b"/a", {b"1.png": STAMP}, {}, b"seen"), FolderScanResult(b"/b", {}, {}, b"elsewhere")]
    )
    assert settled(scene) == {}
    (file,) = scene.store.pending([b"/a"], 0, 10)
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("zero").digest),)))
    assert settled(scene) == settled(scene.by()) == {b"/a": b"seen"}
    assert settled(scene.by(detector="faces")) == settled(scene.by(scene.store.register_model(card(digest="11")))) == {}


def test_a_listing_is_not_settled_where_a_file_failed_or_a_prediction_went(scene: Scene) -> None:
    for name in ("1", "2"):
        scene.add(name, f"/{name}/x.png".encode())
        scene.store.record_scan(scene.run, [FolderScanResult(f"/{name}".encode(), {}, {}, b"seen")])
    scene.store.record_scan(scene.run, [FolderScanResult(b"/3", {}, {b"x.png": (STAMP, Failure("damaged", "why"))}, b"seen")])
    assert set(scene.store.unchanged_folder_digests(b"/", scene.run)) == {b"/1", b"/2"}
    scene.store.forget_model(scene.model)
    assert scene.store.unchanged_folder_digests(b"/", scene.run) == {}


def test_a_listing_is_not_settled_once_a_file_in_it_is_gone(scene: Scene) -> None:
    scene.add("1", b"/a/1.png")
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {}, b"seen")])
    scene.store.mark_missing([file.id for file in scene.store.known_files(b"/a", scene.run).values()])
    assert scene.store.unchanged_folder_digests(b"/a", scene.run) == {}


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


def test_counts_by_state(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.note(b"/a/3.png")
    assert scene.store.counts().files == {FileState.DONE: 2, FileState.PENDING: 1}


def test_a_picture_that_reappears_elsewhere_in_this_run_has_moved(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.add("two", b"/a/3.png")
    old = {name: known.id for name, known in scene.store.known_files(b"/a", scene.run).items()}
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.note(b"/a/new.png")
    scene.store.commit(scene.run, CommitBatch(linked=((new, image("one").digest),)))
    moved = scene.store.detect_moves(scene.run, sorted(old.values()))
    assert moved == [old[b"1.png"]]  # one new path explains one missing file
    assert sorted(scene.paths()) == [b"/a/2.png", b"/a/3.png", b"/a/new.png"]
    assert b"1.png" not in scene.store.known_files(b"/a", scene.run)


def test_a_copy_of_an_earlier_run_is_no_move(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    first = scene.store.known_files(b"/a", scene.run)[b"1.png"].id
    later = scene.store.begin_run([b"/a"], scene.model)
    assert scene.store.detect_moves(later, [first]) == []


@pytest.mark.parametrize(("outcome", "moves"), [(DONE, 0), (INTERRUPTED, 1), (None, 1)])
def test_a_move_is_one_though_the_run_that_met_it_came_to_no_end(scene: Scene, outcome: str | None, moves: int) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.store.finish_run(scene.run, DONE, {})
    lost = [known.id for known in scene.store.known_files(b"/a", scene.run).values()]
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.note(b"/a/new.png")
    scene.store.commit(scene.run, CommitBatch(linked=((new, image("one").digest),)))
    if outcome is not None:
        scene.store.finish_run(scene.run, outcome, {})
    resumed = scene.store.begin_run([b"/a"], scene.model)
    assert len(scene.store.detect_moves(resumed, lost)) == moves


def test_a_folder_keeps_the_source_that_it_was_found_in(scene: Scene) -> None:
    run = scene.run
    here = FolderScanResult(b"/a", {b"1.png": STAMP}, {})
    notes = [here, FolderScanResult(b"bucket/b", {b"2.png": STAMP}, {}, None, "bucket")]
    scene.store.record_scan(run, notes)
    scene.store.record_scan(run, notes[1:])
    found = scene.store.pending([b"/a", b"bucket"], 0, 10)
    assert [(file.path, file.source) for file in found] == [(b"/a/1.png", "file"), (b"bucket/b/2.png", "bucket")]
