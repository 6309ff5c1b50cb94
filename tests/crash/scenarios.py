"""Scenarios of the crash harness: a prepared library, and the commands that the harness runs on it and kills."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from db.sql.tuning import StoreTuning
from db.sqlite.migrations import STEPS
from indexer.ingest import service as ingest_service
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from tests.crash.traced_program import FAKE_MODEL, Workspace
from tests.support import drawn
from tests.support.builders import draw_blocks, encoded, write_images, write_special_files
from tests.support.fake_models import FakeFaceDetector
from tests.support.library import Library, opened

EXAMPLES = Path(__file__).parents[2] / "examples/images"
_DELETE_CHUNK_ROWS = 7
_EXPIRED_TIME = 1.0
"""Seconds since 1970: before every grace period."""

Commands = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One use of the program. `prepare` builds the library and returns the command lines.

    - `atomic`: each command line is done completely or not at all.
    - `recomputes`: images that have predictions are classified again, on purpose.
    - `damaged`: the library is invalid until the end.
    - `deterministic`: the final state does not depend on the kills.
    - `retry_codes`: exit codes that a command line may also have when it runs again.
    - `smaller_constants`, `model`: see `CommandRun`.
    - `kills_common_steps`: steps that nearly every scenario has are killed here at every moment, not at only one.
    - `max_step_kills`: maximum number of kills at steps.
    - `broke`: kills that found a violation once. They are always included.
    """

    name: str
    prepare: Callable[[Workspace], Commands]
    atomic: bool = False
    recomputes: bool = False
    damaged: bool = False
    deterministic: bool = True
    retry_codes: Collection[int] = ()
    smaller_constants: Mapping[str, object] = field(default_factory=dict)
    model: str | None = FAKE_MODEL
    kills_common_steps: bool = False
    max_step_kills: int = 1000
    broke: Sequence[str] = ()


def _library(workspace: Workspace) -> Library:
    library = Library(workspace.images, workspace.home)
    library.detector = FakeFaceDetector()
    return library


def _with_images(workspace: Workspace) -> Library:
    """Write images to two folders: one image with faces, one duplicate, and one file that is not an image."""
    library = _library(workspace)
    write_images(workspace.images / "a", 18)
    write_images(workspace.images / "b", 9, first_seed=100)
    write_special_files(workspace.images)
    return library


def _label(library: Library, emotion: str, *names: str) -> None:
    paths = [os.fsencode(library.folder / name) for name in names]
    labels_service.label(library.opened, parse_assignments(paths, emotion, False), False)


def _index(workspace: Workspace, *words: str) -> tuple[str, ...]:
    return ("index", str(workspace.images), "--workers", "2", *words)


def _sql(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def first(workspace: Workspace) -> Commands:
    _with_images(workspace)
    return (_index(workspace),)


def again(workspace: Workspace) -> Commands:
    """Add, change, touch, rename, copy and delete files after a run."""
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png", "b/faces.png", "a/010.png")
    folder = workspace.images
    write_images(folder / "c", 7, first_seed=200)
    write_images(folder / "a", 3, first_seed=300)
    (folder / "a/001.png").write_bytes(encoded(draw_blocks(901)))
    (folder / "b/broken.png").write_bytes(encoded(draw_blocks(902)))
    (folder / "a/002.png").write_bytes(b"not an image")
    os.utime(folder / "a/004.png", ns=(10**18, 10**18))
    (folder / "a/003.png").rename(folder / "c/moved.png")
    shutil.copyfile(folder / "a/005.png", folder / "c/copy.png")
    (folder / "b/103.png").unlink()
    return (_index(workspace),)


def switch(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    _label(library, "angry", "a/003.png", "b/faces.png")
    return (_index(workspace, "--model", "second"),)


def force(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    _label(library, "angry", "a/003.png", "b/faces.png")
    return (_index(workspace, "--force"),)


def prune(workspace: Workspace) -> Commands:
    """Delete most files; entries of files that have long been missing expire."""
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png", "a/015.png")
    for name in ("a/014.png", "a/015.png", "a/016.png", "a/017.png"):
        (workspace.images / name).unlink()
    library.index(prune=True)
    _sql(library.settings.database, f"UPDATE files SET gone_at = {_EXPIRED_TIME} WHERE state = 'gone'")
    for path in sorted(workspace.images.glob("?/*.png"))[::2]:
        path.unlink()
    return (_index(workspace, "--prune", "--yes"),)


def merge(workspace: Workspace) -> Commands:
    """Add segments to the vector index, which merges them: 30, 30 + 4, 30 + 8, 60 rows."""
    library = _with_images(workspace)
    library.index()
    folder_sizes = {"c": 4, "d": 4, "e": 22}
    for number, (name, count) in enumerate(folder_sizes.items()):
        write_images(workspace.images / name, count, first_seed=1000 * (number + 1))
    return tuple(("index", str(workspace.images / name)) for name in folder_sizes)


def rebuild_vectors(workspace: Workspace) -> Commands:
    """Search without a vector index, which rebuilds it; later with an outdated one, which extends it."""
    library = _with_images(workspace)
    library.index()
    shutil.rmtree(library.settings.vectors)
    search = ("search", "--like", str(workspace.images / "a/001.png"))
    table = workspace.out / "labels.csv"
    table.write_text(f"path,label\n{workspace.images}/a/007.png,sad\n")
    return (search, ("import", str(table)), search)


def label(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png", "a/004.png")
    images = workspace.images
    return (
        ("label", str(images / "a"), "--emotion", "happy"),
        ("label", str(images / "b/faces.png"), "--emotion", "smug", "--new"),
        ("label", str(images / "a/003.png"), "--remove"),
    )


def forget(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png")
    library.with_model("second").index()
    return (("models", "remove", "second", "--predictions"),)


def schedule(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    add_job = ("schedule", "add", "nightly", str(workspace.images), "--every", "1h")
    return (add_job, ("schedule", "remove", "nightly"))


def save(workspace: Workspace) -> Commands:
    library = _with_images(workspace)
    library.index()
    _write_user_models(library)
    return (
        ("backup", str(workspace.out / "backup.zip"), "--force"),
        ("export", str(workspace.out / "all.csv"), "--force"),
    )


def restore(workspace: Workspace) -> Commands:
    """Restore a backup over a newer library, in which the same row ids belong to other images."""
    library = _with_images(workspace)
    library.index()
    _write_user_models(library)
    _label(library, "sad", "a/003.png")
    from indexer.transfer import backup as transfer_backup
    from tests.support.quiet import Remembered

    backup_file = workspace.out / "backup.zip"
    transfer_backup.backup(library.opened, backup_file, False, Remembered())
    for path in workspace.home.glob("moodex.sqlite*"):
        path.unlink()
    shutil.rmtree(library.settings.vectors)
    write_images(workspace.images / "c", 5, first_seed=500)
    library.index(workspace.images / "c")
    library.index()
    _label(library, "angry", "a/004.png")
    (library.settings.models / "other.json").write_bytes(b"another")
    return (("restore", str(backup_file), "--yes"),)


def _write_user_models(library: Library) -> None:
    """Write model files without weights: the scenarios are about files."""
    library.settings.models.mkdir()
    for name in ("mine.json", "notes.txt"):
        (library.settings.models / name).write_bytes(name.encode() * 1000)


def repair(workspace: Workspace) -> Commands:
    """Damage rows so that they break invariants and contradict the vector index."""
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png")
    _sql(
        library.settings.database,
        "UPDATE predictions SET emotion = 'happy', score = 0.01 WHERE id % 5 = 1",
        "DELETE FROM embeddings WHERE id % 7 = 1",
        "DELETE FROM images WHERE id % 6 = 2",
    )
    return (("doctor", "--repair"), _index(workspace))


def salvage(workspace: Workspace) -> Commands:
    """Overwrite the header of the database; the repair writes a new database."""
    library = _with_images(workspace)
    library.index()
    _label(library, "sad", "a/003.png")
    with library.settings.database.open("r+b") as file:
        file.write(b"\xff" * 100)
    return (("doctor", "--repair"), _index(workspace))


def migrate(workspace: Workspace) -> Commands:
    """Build a database of the first schema, with the rows that an earlier moodex wrote."""
    library = _with_images(workspace)
    library.detector = None
    library.index()
    new, old = library.settings.database, workspace.out / "old.sqlite"
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at REAL NOT NULL)")
        connection.executescript(_first_schema())
        connection.execute("INSERT INTO migrations VALUES (?, ?)", (STEPS[0][0], time.time()))
        connection.execute("ATTACH ? AS new", (str(new),))
        for table in ("folders", "images", "models", "runs", "files", "predictions", "generations"):
            columns = ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA main.table_info({table})"))
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")
        connection.execute(
            "INSERT INTO main.embeddings SELECT p.id, e.vector FROM new.predictions p JOIN new.embeddings e "
            "ON e.image_id = p.image_id AND e.region = p.region"
        )
    for suffix in ("", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    old.rename(new)
    return (("status",), _index(workspace, "--faces", "off"))


def _first_schema() -> str:
    from db.sqlite.migrations import FIRST_SCHEMA

    return ";".join(FIRST_SCHEMA)


def teach(workspace: Workspace) -> Commands:
    """Teach the shipped model with labels that contradict it, then undo that."""
    drawn.two_artists(workspace.images, count=8)
    settings = Library(workspace.images, workspace.home).settings
    from dataclasses import replace

    from indexer.ingest.run import IndexRequest
    from tests.support.quiet import Remembered

    library = opened(replace(settings, model=None, faces="off"))
    ingest_service.index(library, [os.fsencode(workspace.images)], IndexRequest(), Remembered())
    for drawn_emotion, emotion in (("happy", "happy"), ("sad", "smug")):
        paths = [os.fsencode(path) for path in sorted(workspace.images.rglob(f"{drawn_emotion}/*.png"))[::2]]
        labels_service.label(library, parse_assignments(paths, emotion, False), True)
    return (("teach", "--name", "mine"), ("teach", "--undo"))


def shipped(workspace: Workspace) -> Commands:
    """Index some of the example images with the shipped model."""
    for path in sorted(EXAMPLES.glob("*/*"))[::4]:
        (workspace.images / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, workspace.images / path.parent.name / path.name)
    return (_index(workspace, "--batch-size", "4"),)


_COMMIT = "commit home/moodex.sqlite in"
_FAST_TEACHING = {
    "models.teaching.linear_head._STEPS": 12,
    "models.teaching.fit._FOLDS": 2,
    "models.teaching.fit._NEW_WEIGHTS": (0.6,),
    "models.teaching.fit._ANCHORS": (0.01,),
}

SCENARIOS: Sequence[Scenario] = (
    Scenario(
        "teach",
        teach,
        deterministic=False,
        retry_codes=(2,),
        model=None,
        smaller_constants=_FAST_TEACHING,
        max_step_kills=24,
    ),
    Scenario("shipped", shipped, model=None, max_step_kills=10),
    Scenario("first", first, kills_common_steps=True),
    Scenario("again", again, broke=(f"before {_COMMIT} db.sql.writer.SqlWriter.detect_moves #1",)),
    Scenario("switch", switch),
    Scenario("force", force, recomputes=True),
    Scenario("prune", prune, broke=(f"after {_COMMIT} db.sql.retention.expire #1",)),
    Scenario("merge", merge, kills_common_steps=True),
    Scenario("rebuild-vectors", rebuild_vectors),
    Scenario("label", label, atomic=True),
    Scenario(
        "forget",
        forget,
        retry_codes=(6,),
        smaller_constants={"db.sqlite.store.DEFAULT_TUNING": StoreTuning(delete_chunk_rows=_DELETE_CHUNK_ROWS)},
        broke=[f"after {_COMMIT} db.sql.writer.SqlWriter.forget_model #{number}" for number in (1, 4)],
    ),
    Scenario("schedule", schedule, atomic=True, retry_codes=(2,)),
    Scenario("save", save, atomic=True),
    Scenario("restore", restore, atomic=True),
    Scenario("repair", repair, damaged=True),
    Scenario("salvage", salvage, damaged=True),
    Scenario("migrate", migrate),
)
"""Every scenario, the slow ones first."""
