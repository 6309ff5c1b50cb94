"""The doctor finds every kind of damage, and its repair loses no label and no file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from db.sqlite.raw_connection import reading
from db.vectors.tuning import IndexTuning
from db.writer_lock import writer_lock
from indexer.domain.errors import Interrupted, MoodexError, WriterBusy
from indexer.domain.files import stamp_of
from indexer.domain.health import FINDING_KINDS, DoctorReport, Severity
from indexer.domain.models import with_precision
from indexer.maintenance import service as maintenance_service
from indexer.settings import Settings
from tests.support import damage
from tests.support.damage import rows, sql
from tests.support.fake_models import FakeClassifier
from tests.support.library import Library, opened
from tests.support.quiet import Remembered

_NAN_PROBABILITIES = "x'" + "0000c07f" * 10 + "'"
_FIRST_ID = "SELECT min(id) FROM predictions"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Library:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("db.vectors.files.DEFAULT_TUNING", IndexTuning(clustered_min_rows=20))
        return damage.build(tmp_path_factory.mktemp("intact"))


@pytest.fixture
def library(intact: Library, tmp_path: Path) -> Iterator[Library]:
    yield damage.copy(intact, tmp_path)


def doctor(library: Library, deep: bool = False, repair: bool = False) -> DoctorReport:
    check = maintenance_service.check_and_repair if repair else maintenance_service.check
    return check(library.opened, deep, Remembered())


def finding_counts(report: DoctorReport) -> dict[str, int]:
    """Return the number of findings of each kind, without "weights_gone": the fake model has no file."""
    return {finding.kind: finding.count for finding in report.found.findings if finding.kind != "weights_gone"}


def files_and_labels(library: Library) -> tuple[object, ...]:
    """Return the files and labels, which must never be lost."""
    return (
        rows(library, "SELECT path, name FROM files JOIN folders ON folders.id = folder_id ORDER BY 1, 2"),
        rows(library, "SELECT emotion FROM labels ORDER BY image_id"),
    )


def test_a_sound_library_has_no_findings(library: Library) -> None:
    done = doctor(library, deep=True)
    assert finding_counts(done) == {} and done.exit_code == 0
    assert done.found.rows["files"] == 42 and done.found.rows["labels"] == 3
    before = library.settings.database.read_bytes()
    assert doctor(library, repair=True).repair is None
    assert library.settings.database.read_bytes() == before


_DONE_FILES = "id IN (SELECT id FROM files WHERE state = 'done' LIMIT {})"
_LABELED = "image_id = (SELECT min(image_id) FROM labels)"
_MAIN_FACE = "region = 1 AND image_id IN (SELECT image_id FROM predictions WHERE region = 2)"
_UPDATE = "UPDATE predictions SET "

PLANNED: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "a done file without its image": (
        "files_contradictory", 2, (f"UPDATE files SET image_id = NULL WHERE {_DONE_FILES.format(2)}",)
    ),
    "a failed file without a reason": (
        "files_contradictory", 1, ("UPDATE files SET failure_kind = NULL WHERE state = 'failed'",)
    ),
    "a file in an unknown state": ("files_contradictory", 1, ("UPDATE files SET state = 'odd' WHERE id = 3",)),
    "a truncated digest": ("pictures_broken", 1, ("UPDATE images SET digest = x'00ff' WHERE id = 4",)),
    "an image without a size": ("pictures_broken", 1, ("UPDATE images SET width = 0 WHERE id = 4",)),
    "predictions without their embedding": ("predictions_alone", 3, ("DELETE FROM embeddings WHERE image_id IN (1, 2, 3)",)),
    "embeddings without their prediction": ("embeddings_unused", 1, ("DELETE FROM predictions WHERE image_id = 5",)),
    "a whole image in addition to its faces": (
        "regions", 1,
        (
            "INSERT INTO predictions (image_id, model_id, region, emotion, score, probabilities, finder_id, digest_start) "
            "SELECT image_id, model_id, 0, emotion, score, probabilities, finder_id, digest_start FROM predictions "
            f"WHERE {_MAIN_FACE}",
            "INSERT INTO embeddings (embedder_id, image_id, region, vector) "
            f"SELECT embedder_id, image_id, 0, vector FROM embeddings WHERE {_MAIN_FACE}",
        ),
    ),
    "a face missing between others": (
        "regions", 1, ("DELETE FROM predictions WHERE region = 2", "DELETE FROM embeddings WHERE region = 2")
    ),
    "a label of a missing image": (
        "references", 1, ("INSERT INTO labels (image_id, emotion, said_at) VALUES (9999, 'happy', 0)",)
    ),
    "a label without an emotion": (
        "labels_broken", 1,
        (f"UPDATE labels SET emotion = ' ' WHERE {_LABELED}", f"{_UPDATE} emotion = ' ', score = 1 WHERE {_LABELED}"),
    ),
    "probabilities of NaN": (
        "predictions_broken", 1, (f"{_UPDATE} probabilities = {_NAN_PROBABILITIES} WHERE id = ({_FIRST_ID})",)
    ),
    "truncated probabilities": (
        "predictions_broken", 1, (f"{_UPDATE} probabilities = x'0000' WHERE id = ({_FIRST_ID})",)
    ),
    "probabilities above one": (
        "predictions_broken", 1, (f"{_UPDATE} probabilities = x'{'0000003f' * 10}' WHERE id = ({_FIRST_ID})",)
    ),
    "a face without a box": ("predictions_broken", 1, (f'{_UPDATE} "left" = NULL WHERE region = 2',)),
    "a face outside of its image": ("predictions_broken", 1, (f'{_UPDATE} "right" = 1.5 WHERE region = 2',)),
    "a score above one": ("emotions", 1, (f"{_UPDATE} score = 1.5 WHERE id = ({_FIRST_ID})",)),
    "an emotion that is not the most probable": (
        "emotions", 1, (f"{_UPDATE} emotion = iif(emotion = 'fear', 'sad', 'fear') WHERE id = ({_FIRST_ID})",)
    ),
    "predictions in a wrong place": ("predictions_misplaced", 2, (
        f"{_UPDATE} digest_start = NULL WHERE id = ({_FIRST_ID})", f"{_UPDATE} digest_start = x'00' WHERE region = 2",
    )),
    "a label that predictions do not follow": ("emotions", 1, (f"{_UPDATE} score = 0.5 WHERE {_LABELED}",)),
    "a truncated embedding": ("embeddings_broken", 1, ("UPDATE embeddings SET vector = x'00' WHERE id = 1",)),
    "an embedding of NaN": ("embeddings_broken", 1, (f"UPDATE embeddings SET vector = x'{'007e' * 64}' WHERE id = 1",)),
    "an embedding longer than one": ("embeddings_broken", 1, (f"UPDATE embeddings SET vector = x'{'003c' * 64}' WHERE id = 1",)),
    "an embedding of zeros": ("embeddings_broken", 1, ("UPDATE embeddings SET vector = zeroblob(128) WHERE id = 1",)),
    "a model without its labels": ("models_broken", 1, ("UPDATE models SET labels = 'oh'",)),
    "a model under another key": ("models_broken", 1, ("UPDATE models SET key = 'other'",)),
    "predictions after the last generation": ("generations", 1, ("DELETE FROM generations",)),
    "a run that was killed": ("runs_died", 1, ("UPDATE runs SET outcome = 'running', ended_at = NULL WHERE id = 1",)),
    "files in a missing folder": (
        "references", 3, (f"UPDATE files SET folder_id = 77 WHERE {_DONE_FILES.format(3)}",)
    ),
    "files of a missing image": ("references", 1, ("UPDATE files SET image_id = 8888 WHERE id = 6",)),
    "missing runs": ("references", 42, ("DELETE FROM runs",)),
    "a missing embedder": ("references", 43, ("DELETE FROM embedders",)),
    "a missing detector": ("references", 46, ("DELETE FROM finders",)),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANNED)
def test_planned_damage_is_found_and_repaired(library: Library, name: str) -> None:
    kind, count, statements = PLANNED[name]
    before = files_and_labels(library)
    sql(library, *statements)
    labels = files_and_labels(library)[1]
    first = doctor(library)
    assert finding_counts(first).get(kind) == count, (finding_counts(first), count)
    finding_kind = FINDING_KINDS[kind]
    assert first.exit_code == (5 if finding_kind.severity is Severity.PROBLEM else 0)
    done = doctor(library, repair=True)
    if not finding_kind.repairable:
        assert done.exit_code == 5
        return
    assert done.repair is not None and done.repair.saved is not None and done.repair.saved.exists()
    assert done.exit_code == 0, done.repair.after
    after = doctor(library)
    assert not after.found.problems and kind not in finding_counts(after)
    assert files_and_labels(library)[1] == labels and len(files_and_labels(library)[1]) >= len(before[1])
    names = [row[1] for row in before[0]]  # type: ignore[attr-defined]
    assert [row[1] for row in sorted(files_and_labels(library)[0], key=lambda row: row[1])] == sorted(names)  # type: ignore[attr-defined, index]
    _assert_searches_find_everything(library)


def _assert_searches_find_everything(library: Library) -> None:
    """After the next run, searches find everything again."""
    library.index()
    assert doctor(library).exit_code == 0
    assert len(library.paths()) == 40
    assert len(library.search(like=os.fsencode(library.folder / "a/007.png"))) == 40


def test_a_label_follows_its_image_if_the_file_identifies_it(library: Library) -> None:
    (image,) = rows(library, "SELECT image_id FROM files WHERE name = CAST('003.png' AS BLOB)")[0]
    sql(library, f"DELETE FROM images WHERE id = {image}")
    assert doctor(library, repair=True).exit_code == 0
    library.index()
    (hit,) = [hit for hit in library.everything() if hit.path.endswith(b"a/003.png")]
    assert hit.label == "sad" and not rows(library, "SELECT * FROM images WHERE width = 0")


def test_repaired_predictions_are_not_computed_again(library: Library) -> None:
    sql(library, "UPDATE predictions SET emotion = 'fear', score = 0.5")
    assert finding_counts(doctor(library))["emotions"] > 30
    assert doctor(library, repair=True).exit_code == 0
    assert library.index().indexed == 0


@pytest.mark.parametrize("part", [".faiss", ".rows"])
def test_a_flipped_bit_in_the_vector_index_is_found(library: Library, part: str) -> None:
    path = min(library.settings.vectors.glob(f"*{part}"))
    stamp = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert finding_counts(doctor(library)) == {"vectors_damaged": 1}
    assert doctor(library).exit_code == 5
    done = doctor(library, repair=True)
    assert done.exit_code == 0 and done.repair is not None and done.repair.saved is None
    assert finding_counts(doctor(library)) == {}


def test_a_vector_index_that_contradicts_the_database_is_found(library: Library) -> None:
    (manifest,) = library.settings.vectors.glob("*.json")
    facts = json.loads(manifest.read_text())
    parts = facts["segments"][0]["emotions"]
    parts[0][0], parts[1][0] = parts[1][0], parts[0][0]
    manifest.write_text(json.dumps(facts))
    assert set(finding_counts(doctor(library))) == {"vectors_wrong"}
    assert doctor(library, repair=True).exit_code == 0 and finding_counts(doctor(library)) == {}


def test_a_vector_index_with_missing_rows_is_found(library: Library) -> None:
    (newest,) = rows(library, "SELECT max(id) FROM predictions")[0]
    # No run wrote this row: its id is below the last generation, but it is in no index.
    sql(library, "DELETE FROM predictions WHERE id = 20", f"UPDATE predictions SET id = 20 WHERE id = {newest}")
    assert finding_counts(doctor(library))["vectors_wrong"] == 1


@pytest.mark.parametrize("state", ["missing", "garbage", "outdated"])
def test_a_missing_or_outdated_vector_index_is_repaired(library: Library, state: str) -> None:
    (manifest,) = library.settings.vectors.glob("*.json")
    if state == "missing":
        for path in library.settings.vectors.iterdir():
            path.unlink()
    elif state == "garbage":
        manifest.write_text("{")
    else:
        sql(library, "UPDATE generations SET token = 'x'")
    kinds = finding_counts(doctor(library))
    assert set(kinds) <= {"vectors_damaged", "vectors_behind", "temporaries"} and kinds
    assert doctor(library).exit_code == (5 if state == "garbage" else 0)
    assert doctor(library, repair=True).exit_code == 0 and finding_counts(doctor(library)) == {}


def test_changed_files_are_found_by_stamp_and_deep_by_digest(tmp_path: Path) -> None:
    library = damage.build(tmp_path)
    (library.folder / "a/001.png").unlink()
    changed = library.folder / "a/002.png"
    changed.write_bytes(changed.read_bytes() + b" ")
    rotten = library.folder / "a/005.png"
    stamp = rotten.stat()
    data = bytearray(rotten.read_bytes())
    data[-20] ^= 1
    rotten.write_bytes(data)
    os.utime(rotten, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    # A fault of the disk changes no time; this test did.
    sql(library, f"UPDATE files SET change = {stamp_of(rotten.stat()).change} WHERE name = CAST('005.png' AS BLOB)")
    assert finding_counts(doctor(library)) == {"files_missing": 1, "files_changed": 1}
    deep = doctor(library, deep=True)
    assert finding_counts(deep) == {"files_missing": 1, "files_changed": 1, "files_rotten": 1} and deep.exit_code == 5
    (example,) = [finding.example for finding in deep.found.findings if finding.kind == "files_rotten"]
    assert example == str(rotten)
    assert doctor(library, deep=True, repair=True).exit_code == 0
    assert library.index().scanned == 40
    assert doctor(library, deep=True).exit_code == 0


def test_leftovers_of_killed_processes_are_noted_and_removed(library: Library) -> None:
    home = library.settings.home
    dead = 2**22 + 1  # larger than any process id
    stale = [home / f".moodex.sqlite.{dead}.tmp", library.settings.vectors / f".x.faiss.{dead}.tmp"]
    alive = home / f".x.{os.getppid()}.tmp"
    orphan = library.settings.vectors / "0123.4-5-6.faiss"
    for path in (*stale, alive, orphan):
        path.write_bytes(b"part")
    (home / f".restore.{dead}.tmp").mkdir()
    assert finding_counts(doctor(library)) == {"temporaries": 4} and doctor(library).exit_code == 0
    assert doctor(library, repair=True).exit_code == 0
    assert not any(path.exists() for path in (*stale, orphan)) and alive.exists()
    assert finding_counts(doctor(library)) == {}


def test_changed_weights_are_found(library: Library) -> None:
    from dataclasses import replace

    from blake3 import blake3

    from models.model_card import card_text

    folder = library.settings.models
    folder.mkdir()
    weights = folder / "mine.safetensors"
    weights.write_bytes(b"weights")
    card = replace(library.classifier.card, name="mine", weights_digest=blake3(b"weights").hexdigest())
    (folder / "mine.json").write_text(card_text(card))
    library.classifier.card = card
    library.index()
    assert finding_counts(doctor(library)) == {}
    weights.write_bytes(b"weightz")
    done = doctor(library, repair=True)
    assert finding_counts(done) == {"weights_changed": 1} and done.exit_code == 5


def test_a_writer_blocks_repair_but_not_check(library: Library) -> None:
    sql(library, "UPDATE runs SET outcome = 'running', pid = 1 WHERE id = 1")
    sql(library, f"UPDATE runs SET outcome = 'running', pid = {os.getpid()} WHERE id = 2")
    with writer_lock(library.settings.home):
        assert finding_counts(doctor(library)) == {"runs_died": 1}
        with pytest.raises(WriterBusy):
            doctor(library, repair=True)


def test_a_check_reads_a_snapshot(library: Library) -> None:
    with reading(library.settings.database) as connection:
        sql(library, "DELETE FROM embeddings", "DELETE FROM predictions")
        assert connection.execute("SELECT count(*) FROM predictions").fetchone()[0] > 30
        with pytest.raises(Exception, match="readonly"):
            connection.execute("DELETE FROM labels")


@pytest.mark.parametrize("repair", [False, True])
def test_a_stopped_check_reports_no_finding(library: Library, monkeypatch: pytest.MonkeyPatch, repair: bool) -> None:
    """Stop the check at many points: a statement that SQLite interrupted must not count as damage, nor be repaired."""
    monkeypatch.setattr("db.sqlite.raw_connection._PROGRESS_OPCODES", 200)
    before = library.settings.database.read_bytes()
    stopped = 0
    for allowed_calls in range(0, 150, 5):
        calls = 0

        @contextmanager
        def stop_early(result: str, allowed_calls: int = allowed_calls) -> Iterator[Callable[[], None]]:
            def check_stop() -> None:
                nonlocal calls
                calls += 1
                if calls > allowed_calls:
                    raise Interrupted(f"Stopped; {result}.", 2)

            yield check_stop

        monkeypatch.setattr(maintenance_service, "graceful_stop", stop_early)
        try:
            done = doctor(library, repair=repair)
            assert finding_counts(done) == {}
        except Interrupted:
            stopped += 1
    assert stopped > 10
    assert library.settings.database.read_bytes() == before


def test_a_model_in_another_precision_is_sound(library: Library) -> None:
    half = library.with_model("fake@bf16")
    half.classifier = FakeClassifier(name="fake")
    half.classifier.card = with_precision(half.classifier.card, "bf16")
    half.index()
    assert doctor(library).exit_code == 0


def test_a_check_reports_progress(library: Library) -> None:
    progress = Remembered()
    maintenance_service.check(library.opened, False, progress)
    assert progress.finished and progress.total and 0 < progress.done <= progress.total


def test_no_library_and_foreign_databases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MoodexError, match="Nothing is indexed yet"):
        maintenance_service.check(opened(Settings(tmp_path)), False, Remembered())
    import sqlite3

    other = sqlite3.connect(tmp_path / "moodex.sqlite")
    other.execute("CREATE TABLE pets (name TEXT)")
    other.close()
    before = (tmp_path / "moodex.sqlite").read_bytes()
    for check in (maintenance_service.check, maintenance_service.check_and_repair):
        with pytest.raises(MoodexError, match="another program"):
            check(opened(Settings(tmp_path)), False, Remembered())
    assert (tmp_path / "moodex.sqlite").read_bytes() == before
