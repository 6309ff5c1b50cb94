"""The contract of stores for files: pending, done, failed, missing and moved files."""

from __future__ import annotations

import pytest

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.runs import DONE, INTERRUPTED, RunCounts
from indexer.ports.store_reader import ImageFile
from indexer.ports.store_writer import CommitBatch, FolderScanResult
from tests.support.builders import card, image
from tests.support.scene import ANY, OTHER_STAMP, STAMP, Scene


def test_a_scanned_file_is_pending_and_not_found(scene: Scene) -> None:
    (file,) = scene.record_scan(b"/a/1.png")
    assert (file.path, file.stamp) == (b"/a/1.png", STAMP)
    assert scene.file_state(b"/a/1.png") == (FileState.PENDING, False)
    assert scene.paths() == []


def test_a_committed_file_is_done_and_found(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    assert scene.file_state(b"/a/1.png") == (FileState.DONE, True)
    assert scene.store.count_pending([b"/a"]) == 0
    (ranked,) = scene.store.ranked(scene.model, ANY, 10, 0)
    hit = ranked.hit
    assert (hit.path, hit.emotion, hit.image_id) == (b"/a/1.png", "happy", image("one").digest.hex())
    assert hit.score == hit.emotions["happy"] == pytest.approx(0.7)
    assert list(hit.emotions) == ["happy", "sad", "crying"]
    assert hit.similarity is None


def test_several_files_may_have_the_same_image(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/copy.png")
    (file,) = scene.record_scan(b"/a/later.png")
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png", b"/a/later.png", b"/b/copy.png"]
    assert scene.store.counts().images == 1
    assert scene.store.models()[0].used and scene.store.image_count(scene.model) == 1


def test_a_failed_file_has_a_reason_and_is_not_found(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    (file,) = scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
    scene.store.commit(scene.run, CommitBatch(failed=((file, Failure("damaged", "it is empty")),)))
    assert scene.paths() == []
    assert scene.store.failures(10) == [(b"/a/1.png", Failure("damaged", "it is empty"))]
    assert scene.store.failures(10, b"/a/0.png") == scene.store.failures(10)
    assert scene.store.failures(10, b"/a/1.png") == scene.store.failures(10, b"/b/0.png") == []
    stored = scene.store.known_files(b"/a", scene.run)[b"1.png"]
    assert (stored.state, stored.stamp, stored.failure) == (FileState.FAILED, OTHER_STAMP, Failure("damaged", "it is empty"))


def test_without_a_run_no_known_file_counts_as_predicted(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    assert scene.store.known_files(b"/a", scene.run)[b"1.png"].predicted
    assert not scene.store.known_files(b"/a", None)[b"1.png"].predicted


def test_an_image_file_has_the_stamp_of_its_image_until_the_file_changes(scene: Scene) -> None:
    assert scene.store.image_files_at([b"/a/1.png"])[b"/a/1.png"] == []
    scene.add("one", b"/a/1.png")
    assert scene.store.image_files_at([b"/a/1.png"])[b"/a/1.png"] == [ImageFile(b"/a/1.png", image("one").digest, STAMP)]
    scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
    assert scene.store.image_files_at([b"/a/1.png"])[b"/a/1.png"] == [ImageFile(b"/a/1.png", image("one").digest, None)]


def test_a_file_that_failed_in_the_scan_is_failed_at_once(scene: Scene) -> None:
    scene.add("one", b"/a/x.png")
    failure = Failure("damaged", "it is a folder")
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {b"x.png": (FileStamp(0, 0), failure)})])
    assert scene.file_state(b"/a/x.png") == (FileState.FAILED, False)
    assert scene.paths() == []


def test_a_pending_file_with_an_earlier_prediction_is_found(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    scene.record_scan(b"/a/1.png", stamp=OTHER_STAMP)
    assert scene.file_state(b"/a/1.png") == (FileState.PENDING, True)
    assert scene.paths() == [b"/a/1.png"]


def test_missing_files_are_not_found_until_they_reappear(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    file_id = scene.store.known_files(b"/a", scene.run)[b"1.png"].id
    scene.store.mark_missing([file_id])
    assert scene.paths() == []
    assert scene.store.count_files([b"/a"])[b"/a"] == 0
    assert not scene.store.unpredicted(image("one").digest, scene.run)
    (file,) = scene.record_scan(b"/a/1.png")
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("one").digest),)))
    assert scene.paths() == [b"/a/1.png"]


def test_a_folder_without_pending_files_is_skipped_for_the_same_analyzer(scene: Scene) -> None:
    def unchanged(scene: Scene) -> dict[bytes, bytes]:
        return scene.store.unchanged_folder_digests([b"/a"], scene.run)

    scene.add("zero", b"/a/0.png")
    scene.store.record_scan(
        scene.run, [FolderScanResult(b"/a", {b"1.png": STAMP}, {}, b"listing"), FolderScanResult(b"/b", {}, {}, b"other listing")]
    )
    assert unchanged(scene) == {}
    (file,) = scene.store.pending([b"/a"], 0, 10)
    scene.store.commit(scene.run, CommitBatch(linked=((file, image("zero").digest),)))
    assert unchanged(scene) == unchanged(scene.begin_run()) == {b"/a": b"listing"}
    assert (
        unchanged(scene.begin_run(detector="faces"))
        == unchanged(scene.begin_run(scene.store.register_model(card(digest="11"))))
        == {}
    )


def test_a_folder_with_a_failed_file_or_a_deleted_prediction_is_not_skipped(scene: Scene) -> None:
    for name in ("1", "2"):
        scene.add(name, f"/{name}/x.png".encode())
        scene.store.record_scan(scene.run, [FolderScanResult(f"/{name}".encode(), {}, {}, b"listing")])
    scene.store.record_scan(scene.run, [FolderScanResult(b"/3", {}, {b"x.png": (STAMP, Failure("damaged", "why"))}, b"listing")])
    assert set(scene.store.unchanged_folder_digests([b"/"], scene.run)) == {b"/1", b"/2"}
    scene.store.forget_model(scene.model)
    assert scene.store.unchanged_folder_digests([b"/"], scene.run) == {}


def test_a_folder_with_a_missing_file_is_not_skipped(scene: Scene) -> None:
    scene.add("1", b"/a/1.png")
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {}, b"listing")])
    scene.store.mark_missing([file.id for file in scene.store.known_files(b"/a", scene.run).values()])
    assert scene.store.unchanged_folder_digests([b"/a"], scene.run) == {}


def test_known_folders_are_the_root_and_the_folders_below_it(scene: Scene) -> None:
    scene.record_scan(b"/a/1.png", b"/a/b/2.png", b"/ab/3.png")
    assert sorted(scene.store.known_folders([b"/a"])) == [b"/a", b"/a/b"]
    assert scene.store.count_pending([b"/a/b", b"/ab"]) == 2
    assert [file.path for file in scene.store.pending([b"/a"], 0, 1)] == [b"/a/1.png"]


def test_names_of_any_bytes_are_returned_unchanged(scene: Scene) -> None:
    names = [b"/a/new\nline.png", b"/a/\xff\xfe.png", "/a/\U0001f600.png".encode(), b"/a/-rf.png", b"/a/" + b"x" * 251 + b".png"]
    for i, name in enumerate(names):
        scene.add(f"n{i}", name, seed=i)
    assert scene.paths() == names


def test_files_are_counted_by_state(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.record_scan(b"/a/3.png")
    assert scene.store.counts().files == {FileState.DONE: 2, FileState.PENDING: 1}


def test_an_image_under_a_new_path_in_this_run_has_moved(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.add("two", b"/a/3.png")
    old = {name: file.id for name, file in scene.store.known_files(b"/a", scene.run).items()}
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.record_scan(b"/a/new.png")
    scene.store.commit(scene.run, CommitBatch(linked=((new, image("one").digest),)))
    moved = scene.store.detect_moves(scene.run, sorted(old.values()))
    assert moved == [old[b"1.png"]]  # one new path explains one missing file
    assert sorted(scene.paths()) == [b"/a/2.png", b"/a/3.png", b"/a/new.png"]
    assert b"1.png" not in scene.store.known_files(b"/a", scene.run)


def test_a_copy_from_an_earlier_run_is_not_a_move(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    first = scene.store.known_files(b"/a", scene.run)[b"1.png"].id
    later = scene.store.begin_run([b"/a"], scene.model)
    assert scene.store.detect_moves(later, [first]) == []


@pytest.mark.parametrize(("outcome", "moves"), [(DONE, 0), (INTERRUPTED, 1), (None, 1)])
def test_a_move_found_by_an_unfinished_run_is_still_a_move(scene: Scene, outcome: str | None, moves: int) -> None:
    scene.add("one", b"/a/1.png", b"/a/2.png")
    scene.store.finish_run(scene.run, DONE, RunCounts())
    missing = [file.id for file in scene.store.known_files(b"/a", scene.run).values()]
    scene.run = scene.store.begin_run([b"/a"], scene.model)
    (new,) = scene.record_scan(b"/a/new.png")
    scene.store.commit(scene.run, CommitBatch(linked=((new, image("one").digest),)))
    if outcome is not None:
        scene.store.finish_run(scene.run, outcome, RunCounts())
    resumed = scene.store.begin_run([b"/a"], scene.model)
    assert len(scene.store.detect_moves(resumed, missing)) == moves


def test_a_folder_keeps_the_name_of_its_source(scene: Scene) -> None:
    run = scene.run
    local = FolderScanResult(b"/a", {b"1.png": STAMP}, {})
    results = [local, FolderScanResult(b"bucket/b", {b"2.png": STAMP}, {}, None, "bucket")]
    scene.store.record_scan(run, results)
    scene.store.record_scan(run, results[1:])
    pending = scene.store.pending([b"/a", b"bucket"], 0, 10)
    assert [(file.path, file.source) for file in pending] == [(b"/a/1.png", "file"), (b"bucket/b/2.png", "bucket")]
