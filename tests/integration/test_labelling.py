"""User labels apply in every search and survive every change; moodex finds those that conflict with the model."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from db.sql.transactions import connect_for_writing
from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError, WriterBusy
from indexer.domain.files import FileStamp
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from indexer.labels.conflicts import find_conflicts
from indexer.labels.hide import hide
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, FolderScanResult
from tests.support.builders import card, draw_blocks, encoded, image, prediction, write_images
from tests.support.drawn_faces import draw_face
from tests.support.library import Library
from tests.support.memory_store import MemoryStore


@pytest.fixture
def indexed(library: Library) -> Library:
    write_images(library.folder / "a", 40)
    write_images(library.folder / "b", 20, first_seed=100)
    library.index()
    return library


def label(library: Library, *paths: Path, emotion: str | None = None, new: bool = False, remove: bool = False) -> tuple[int, int]:
    """Label paths; return the numbers of changed and unchanged images."""
    assignments = parse_assignments([os.fsencode(path) for path in paths], emotion, remove)
    report = labels_service.label(library.opened, assignments, new)
    return report.changed, report.unchanged


def found_paths(library: Library, **criteria: object) -> set[str]:
    """Return the paths that a search finds, below the folder of the library."""
    return {os.path.relpath(os.fsdecode(hit.path), library.folder) for hit in library.search(**criteria)}


def test_a_label_overrides_the_model_in_every_search(indexed: Library) -> None:
    labeled = indexed.folder / "a/007.png"
    other = indexed.folder / "b/100.png"
    assert label(indexed, labeled, emotion="furious") == (1, 0)
    assert label(indexed, labeled, emotion="angry") == (0, 1)
    assert indexed.search(emotions=("angry",), min_score=1.0)[0].path == os.fsencode(labeled)
    assert "a/007.png" in found_paths(indexed, emotions=("angry",), like=os.fsencode(other))
    for emotion in {hit.emotion for hit in indexed.everything()} - {"angry"}:
        assert "a/007.png" not in found_paths(indexed, emotions=(emotion,), exact_label=True)
        assert "a/007.png" not in found_paths(indexed, emotions=(emotion,), exact_label=True, like=os.fsencode(other))
    assert "a/007.png" not in found_paths(indexed, excluded=("angry",))
    before = indexed.search(like=os.fsencode(labeled))[0]
    assert (before.path, before.similarity, before.label) == (os.fsencode(labeled), 1.0, "angry")


def test_labels_change_during_a_run_and_not_while_another_writer_needs_the_library_alone(
    indexed: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.writer_lock._LABEL_PATIENCE_SECONDS", 0.0)
    database, path = indexed.opened.database, indexed.folder / "a/007.png"
    with database.lock_writer(admits_labels=True):
        assert label(indexed, path, emotion="sad") == (1, 0)
    with database.lock_writer(), pytest.raises(WriterBusy, match="Labels cannot change while another moodex teaches"):
        label(indexed, path, emotion="happy")
    with database.lock_labels(), pytest.raises(WriterBusy), database.lock_writer():
        pass
    assert label(indexed, path, emotion="happy") == (1, 0)


def test_a_label_between_the_reading_and_the_writing_of_a_transaction_waits(indexed: Library) -> None:
    with indexed.store() as store, connect_for_writing(store._engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM files")).scalar_one() == 60
        other = closing(sqlite3.connect(indexed.settings.database, timeout=0))
        with other as writer, pytest.raises(sqlite3.OperationalError, match="locked"):
            writer.execute("DELETE FROM labels")
        connection.execute(text("UPDATE files SET size = size"))


def test_a_label_survives_renaming_and_reanalysis(indexed: Library) -> None:
    labeled = indexed.folder / "a/007.png"
    label(indexed, labeled, emotion="fear")
    moved = labeled.rename(indexed.folder / "b/moved.png")
    indexed.index()
    indexed.index(force=True)
    assert found_paths(indexed, emotions=("fear",), min_score=1.0) == {"b/moved.png"}
    indexed.with_model("second").index()
    assert "b/moved.png" in found_paths(indexed.with_model("second"), emotions=("fear",), min_score=1.0)
    assert label(indexed, moved, remove=True) == (1, 0)
    assert labels_service.list_labels(indexed.opened) == []


def test_folders_and_the_images_of_tables_are_labeled_at_once(indexed: Library, tmp_path: Path) -> None:
    assert label(indexed, indexed.folder / "b", emotion="sad") == (20, 0)
    table = tmp_path / "labels.csv"
    relative = os.path.relpath(indexed.folder, tmp_path)
    table.write_text(f"Path,Label\n{relative}/a/001.png,joy\n{indexed.folder}/b/100.png,crying\n")
    assert label(indexed, table) == (2, 0)
    labels = {
        os.path.relpath(os.fsdecode(image.path or b""), indexed.folder): image.emotion
        for image in labels_service.list_labels(indexed.opened)
    }
    assert labels["a/001.png"] == "happy" and labels["b/100.png"] == "crying" and labels["b/101.png"] == "sad"
    assert len(labels) == 21


def test_user_emotions_are_searched_like_the_others(indexed: Library) -> None:
    labeled, other = indexed.folder / "a/007.png", indexed.folder / "a/008.png"
    with pytest.raises(UnknownEmotion, match="--new"):
        label(indexed, labeled, emotion="Smug")
    label(indexed, labeled, emotion=" Smug ", new=True)
    label(indexed, other, emotion="smug")
    assert found_paths(indexed, emotions=("SMUG",)) == {"a/007.png", "a/008.png"}
    assert found_paths(indexed, emotions=("smug",), like=os.fsencode(other)) == {"a/007.png", "a/008.png"}
    all_paths = found_paths(indexed, under=(b"/",))
    assert found_paths(indexed, excluded=("smug",)) == all_paths - {"a/007.png", "a/008.png"}
    assert found_paths(indexed, excluded=("smug",), like=os.fsencode(other)) == all_paths - {"a/007.png", "a/008.png"}
    assert found_paths(indexed, like=os.fsencode(other)) == all_paths
    label(indexed, labeled, other, remove=True)
    with pytest.raises(UnknownEmotion):
        indexed.search(emotions=("smug",))


def test_one_invalid_assignment_changes_nothing(indexed: Library, tmp_path: Path) -> None:
    path = indexed.folder / "a/001.png"
    with pytest.raises(NotIndexed, match="nowhere"):
        label(indexed, path, indexed.folder / "nowhere.png", emotion="sad")
    table = tmp_path / "labels.csv"
    for content, error, sentence in (
        (f"path,label\n{path},sad\n{path},hungryish\n", UnknownEmotion, "hungryish.*row 3 of"),
        (f"path,label\n{path},sad\nmissing.png,sad\n", NotIndexed, "missing.png.*row 3 of"),
        (f"path,label\n{path},sad\n{path},joy\n", UsageError, "sad and happy; remove one of them.*row 3 of"),
        (f"path,digest,label\n{path},{'00' * 32},sad\n", NotIndexed, "000000000000 is not indexed.*row 2 of"),
        ("file,emotion\n1,2\n", UsageError, "lacks the column path and label"),
        ("", UsageError, "its columns are: none"),
        (f"path,label,Label\n{path},sad,joy\n", UsageError, "two columns named label"),
        (f"path,label\n\n\n{path},hungryish\n", UnknownEmotion, "row 4 of"),
    ):
        table.write_text(content)
        with pytest.raises(error, match=sentence):
            label(indexed, table)
    with pytest.raises(UsageError, match="Invalid emotion name"):
        label(indexed, path, emotion="12 34", new=True)
    assert labels_service.list_labels(indexed.opened) == []


def test_a_table_may_repeat_an_assignment(indexed: Library, tmp_path: Path) -> None:
    path, table = indexed.folder / "a/001.png", tmp_path / "labels.csv"
    table.write_text(f"path,label\n{path},joy\n{path},happy\n")
    assert label(indexed, table) == (1, 0)


def test_a_folder_with_a_changed_image_is_not_labeled(indexed: Library) -> None:
    (indexed.folder / "b/103.png").write_bytes((indexed.folder / "a/001.png").read_bytes())
    with pytest.raises(NotIndexed, match=r"103\.png' has changed"):
        label(indexed, indexed.folder, emotion="sad")
    assert labels_service.list_labels(indexed.opened) == []
    assignments = parse_assignments([os.fsencode(indexed.folder)], "sad", False)
    report = labels_service.label(indexed.opened, assignments, new=False, skip_unknown=True)
    assert (report.changed, report.skipped) == (59, 1)


def labeled(images: Sequence[tuple[tuple[float, float, float], str]]) -> MemoryStore:
    """Return a store of images with their probabilities of happy, sad and crying, and their labels."""
    store = MemoryStore()
    model = store.register_model(card())
    run = store.begin_run([b"/a"], model)
    for number, (probabilities, emotion) in enumerate(images):
        name = f"{number}"
        store.record_scan(run, [FolderScanResult(b"/a", {name.encode(): FileStamp(1, 1)}, {})])
        entry = AnalyzedFileSet(image(name), {0: (prediction(*probabilities, seed=number),)}, tuple(store.pending([b"/"], 0, 9)))
        store.commit(run, CommitBatch(predicted=(entry,)))
        store.label({image(name).digest: emotion})
    return store


def test_conflicts_are_ordered_by_strength() -> None:
    # Probabilities of happy, sad and crying, and the label: the fourth and the sixth are mislabeled.
    images = [
        ((0.9, 0.05, 0.05), "happy"), ((0.7, 0.2, 0.1), "happy"), ((0.1, 0.8, 0.1), "sad"),
        ((0.05, 0.9, 0.05), "happy"), ((0.2, 0.7, 0.1), "sad"), ((0.75, 0.15, 0.1), "sad"), ((0.4, 0.35, 0.25), "sad"),
        ((0.1, 0.2, 0.7), "sleepy"),
    ]  # fmt: skip
    store = labeled(images)
    conflicts = find_conflicts(store, store.models()[0], 10)
    assert [(conflict.path, conflict.label, conflict.predicted) for conflict in conflicts] == [
        (b"/a/3", "happy", "sad"),
        (b"/a/5", "sad", "happy"),
    ]
    assert conflicts[0].predicted_score == pytest.approx(0.9) and conflicts[0].label_score == pytest.approx(0.05)
    assert find_conflicts(store, store.models()[0], 1) == conflicts[:1]


@pytest.mark.parametrize(("label", "probabilities"), [("sad", (0.05, 0.05, 0.9)), ("crying", (0.05, 0.9, 0.05))])
def test_an_emotion_and_its_sub_emotion_are_no_conflict(label: str, probabilities: tuple[float, float, float]) -> None:
    store = labeled([(probabilities, label), ((0.9, 0.05, 0.05), label)])
    conflicts = find_conflicts(store, store.models()[0], 10)
    assert [(conflict.path, conflict.predicted) for conflict in conflicts] == [(b"/a/1", "happy")]


@pytest.mark.parametrize(
    "content", [b"path,label\na\0.png,happy\n", b"\0" * 1000, b"path,label\n" + b'"' * 300_000, b"\xff\xfe\0x"]
)
def test_a_malformed_table_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(UsageError, match="[Tt]he table"):
        parse_assignments([os.fsencode(table)], None, False)


def test_a_pipe_is_not_a_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(UsageError, match="not a regular file"):
        parse_assignments([os.fsencode(tmp_path / "labels.csv")], None, False)


def test_hiding_a_path_does_not_hide_what_was_there_before(indexed: Library) -> None:
    path = indexed.folder / "a/007.png"
    label(indexed, path, emotion="sad")
    path.write_bytes(encoded(draw_blocks(700)))
    indexed.index()
    assert [image.path for image in labels_service.list_labels(indexed.opened, orphans=True)] == [os.fsencode(path)]
    assert hide(indexed.opened, [os.fsencode(path)], True).changed == 1


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_LEFT_RIGHT])
def test_the_label_of_a_file_follows_a_turn_and_a_crop(indexed: Library, turn: Image.Transpose) -> None:
    path, other = indexed.folder / "a/face.png", indexed.folder / "a/other.png"
    face = draw_face("wink", "teeth", 400)
    face.save(path)
    draw_face("open", "smile", 400).save(other)
    indexed.index()
    label(indexed, path, emotion="crying")
    label(indexed, other, emotion="happy")
    turned = face.transpose(turn)
    turned.save(path)
    assert indexed.index().indexed == 1
    turned.crop((4, 0, 392, 396)).save(path)
    draw_face("closed", "smile", 400).save(other)
    assert indexed.index().indexed == 2
    found = {image.path: image.emotion for image in labels_service.list_labels(indexed.opened)}
    assert found[os.fsencode(path)] == "crying"
    assert [image.emotion for image in labels_service.list_labels(indexed.opened, orphans=True)] == ["happy"]
