"""The contract of stores for roots, and for everything at or below a path."""

from __future__ import annotations

from indexer.domain.files import Failure, FileStamp, FileState
from indexer.domain.jobs import Job, Trigger
from indexer.domain.runs import DONE, RunCounts
from indexer.ports.store_writer import FolderScanResult
from tests.support.builders import image
from tests.support.scene import Scene


def test_roots_are_listed_with_their_files(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/b/2.png")
    scene.add("two", b"/c/c.png")
    scene.store.record_roots([b"/a", b"/a/b", b"/c/c.png", b"/d"], [])
    assert [(root.path, root.files) for root in scene.store.roots()] == [(b"/a", 2), (b"/a/b", 1), (b"/c/c.png", 1), (b"/d", 0)]
    before = scene.store.roots()[0].indexed_at
    scene.store.record_roots([b"/a"], [b"/a/b", b"/unknown"])
    assert scene.store.root_paths() == [b"/a", b"/c/c.png", b"/d"]
    assert scene.store.roots()[0].indexed_at >= before


def test_what_is_known_of_many_paths_is_read_at_once(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/b/2.png", b"/ab/3.png")
    many = [b"/none/%d" % number for number in range(3000)]
    assert scene.store.count_files([b"/a", b"/ab/3.png", *many]) == {b"/a": 2, b"/ab/3.png": 1} | dict.fromkeys(many, 0)
    assert scene.store.known_folders([*many, b"/a"]) == [b"/a", b"/a/b"]
    assert scene.store.unchanged_folder_digests(many, scene.run) == {}
    assert set(scene.store.known_files(b"/a", scene.run, [b"1.png", *many])) == {b"1.png"}
    scene.record_scan(b"/a/new.png", b"/ab/new.png", b"/z/new.png")
    assert scene.store.count_pending([*many, b"/ab", b"/z/new.png"]) == 2
    assert [file.path for file in scene.store.pending([*many, b"/z/new.png"], 0, 1)] == [b"/z/new.png"]
    assert scene.store.pending(many, 0, 1) == []


def test_forgotten_files_are_not_found_and_expire_at_once(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/b/1.png")
    scene.add("two", b"/a/b/2.png")
    scene.add("three", b"/ab/3.png")
    scene.store.record_roots([b"/a/b", b"/ab"], [])
    assert scene.store.forget_files([b"/a", b"/none"]) == 2
    assert scene.paths() == [b"/b/1.png", b"/ab/3.png"]
    assert scene.store.root_paths() == [b"/ab"]
    assert scene.store.expire(1.0) == 2
    assert scene.store.counts().files == {FileState.DONE: 2}
    assert scene.store.known_digests([image("one").digest, image("two").digest]) == {image("one").digest}


def test_a_moved_folder_keeps_everything_but_its_path(scene: Scene) -> None:
    scene.add("one", b"/old/1.png", p=(0.9, 0.05, 0.05))
    scene.add("two", b"/old/sub/2.png", b"/older/3.png")
    scene.store.record_roots([b"/old", b"/older"], [])
    scene.store.add_job(Job("j", (b"/old/sub", b"/x"), Trigger(watch=True)))
    ids = {name: file.id for name, file in scene.store.known_files(b"/old", scene.run).items()}
    assert scene.store.move_files(b"/old", b"/new/place", {b"/old/sub": b"/new/place/sub"}) == 2
    assert scene.paths() == [b"/new/place/1.png", b"/new/place/sub/2.png", b"/older/3.png"]
    assert {name: file.id for name, file in scene.store.known_files(b"/new/place", scene.run).items()} == ids
    assert scene.store.root_paths() == [b"/new/place", b"/older"]
    assert scene.store.jobs()[0].roots == (b"/new/place/sub", b"/x")
    assert scene.store.move_files(b"/nowhere", b"/new", {}) == 0


def test_a_file_that_is_known_at_both_paths_keeps_the_entry_at_the_new_one(scene: Scene) -> None:
    scene.add("one", b"/old/1.png")
    scene.add("two", b"/new/1.png", b"/old/2.png")
    kept = scene.store.known_files(b"/new", scene.run)[b"1.png"].id
    assert scene.store.move_files(b"/old", b"/new", {}) == 1
    assert scene.paths() == [b"/new/1.png", b"/new/2.png"]
    assert scene.store.known_files(b"/new", scene.run)[b"1.png"].id == kept
    kept = scene.store.known_files(b"/new", scene.run)[b"2.png"].id
    assert scene.store.move_files(b"/new/1.png", b"/new/2.png", {}) == 0
    assert [(name, file.id) for name, file in scene.store.known_files(b"/new", scene.run).items()] == [(b"2.png", kept)]


def test_a_missing_file_gives_way_to_one_that_moves_to_its_path(scene: Scene) -> None:
    scene.add("one", b"/old/1.png", b"/old/2.png")
    scene.add("two", b"/new/1.png", b"/o/other.png")
    ids = {name: file.id for name, file in scene.store.known_files(b"/old", scene.run).items()}
    gone = [scene.store.known_files(b"/new", scene.run)[b"1.png"].id, scene.store.known_files(b"/o", scene.run)[b"other.png"].id]
    scene.store.mark_missing(gone)
    assert (scene.store.present_files(b"/new"), scene.store.present_files(b"/old/1.png")) == ([], [b"/old/1.png"])
    assert scene.store.move_files(b"/old", b"/new", {}) == 2
    assert {name: file.id for name, file in scene.store.known_files(b"/new", scene.run).items()} == ids
    assert scene.store.present_files(b"/new") == [b"/new/1.png", b"/new/2.png"]
    assert scene.store.move_files(b"/new/1.png", b"/o/other.png", {}) == 1
    assert scene.store.present_files(b"/o/other.png") == [b"/o/other.png"]


def test_what_moves_out_of_every_root_becomes_one(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/sub/2.png", b"/a/b/3.png", b"/r/x/4.png")
    scene.store.record_roots([b"/a", b"/r/x"], [])
    scene.store.move_files(b"/a/sub", b"/new", {})
    scene.store.move_files(b"/a/1.png", b"/one.png", {})
    scene.store.move_files(b"/a/b", b"/a/c", {})
    scene.store.move_files(b"/r", b"/s", {})
    assert scene.store.root_paths() == [b"/a", b"/new", b"/one.png", b"/s/x"]


def test_failures_without_an_image_are_deleted(scene: Scene) -> None:
    scene.add("one", b"/a/1.png")
    failed = {b"b": (FileStamp(0, 0), Failure("unreadable", "it cannot be listed"))}
    scene.store.record_scan(scene.run, [FolderScanResult(b"/a", {}, failed)])
    ids = [file.id for file in scene.store.known_files(b"/a", scene.run).values()]
    scene.store.delete_failures(ids)
    assert list(scene.store.known_files(b"/a", scene.run)) == [b"1.png"]


def test_nested_paths_are_forgotten_once(scene: Scene) -> None:
    scene.add("one", b"/a/1.png", b"/a/sub/2.png", b"/ab/1.png")
    assert scene.store.forget_files([b"/a/sub", b"/a", b"/a/sub/2.png"]) == 2
    assert scene.paths() == [b"/ab/1.png"]


def test_earlier_copies_are_the_files_whose_image_appeared_elsewhere(scene: Scene) -> None:
    scene.add("one", b"/old/1.png")
    scene.add("two", b"/old/2.png")
    scene.store.finish_run(scene.run, DONE, RunCounts())
    later = scene.begin_run()
    assert later.store.earlier_copies(later.run) == []
    later.add("one", b"/new/1.png")
    ((file_id, path),) = later.store.earlier_copies(later.run)
    assert path == b"/old/1.png"
    assert later.store.detect_moves(later.run, [file_id]) == [file_id]
    assert set(scene.paths()) == {b"/new/1.png", b"/old/2.png"}
