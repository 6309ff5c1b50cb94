"""What the program is doing when it is killed: libraries as they are before, and the command lines that run then."""

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
from tests.crash.victim import FAKE, Place
from tests.support import drawn
from tests.support.builders import draw_blocks, encoded, write_images, write_special_files
from tests.support.fake_models import FakeFaceDetector
from tests.support.library import Library, opened

EXAMPLES = Path(__file__).parents[2] / "examples/images"
_SMALL = 7
_LONG_AGO = 1.0

Commands = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that the program does. `prepare` makes the library and says the command lines.

    `whole`: each of them is one step, done or not. `anew`: what was computed is computed again, on purpose. `damaged`: there is
    no sound library until the end. `ends`: the state it comes to is the same however often it was killed. `codes` are exit codes
    that a command line may have when run again. `smaller`, `model`: see `Run`. `everyday`: steps that nearly every scenario
    has are killed here at every moment, and not at one alone. `most` is how many kills at steps are enough. `broke` are moments
    at which something broke once: they are never left out.
    """

    name: str
    prepare: Callable[[Place], Commands]
    whole: bool = False
    anew: bool = False
    damaged: bool = False
    ends: bool = True
    codes: Collection[int] = ()
    smaller: Mapping[str, object] = field(default_factory=dict)
    model: str | None = FAKE
    everyday: bool = False
    most: int = 1000
    broke: Sequence[str] = ()


def _library(place: Place) -> Library:
    library = Library(place.pictures, place.home)
    library.detector = FakeFaceDetector()
    return library


def _some(place: Place) -> Library:
    """Pictures in two folders, one with faces, one twice, one that is none."""
    library = _library(place)
    write_images(place.pictures / "a", 18)
    write_images(place.pictures / "b", 9, first_seed=100)
    write_special_files(place.pictures)
    return library


def _say(library: Library, emotion: str, *names: str) -> None:
    paths = [os.fsencode(library.folder / name) for name in names]
    labels_service.label(library.opened, parse_assignments(paths, emotion, False), False)


def _index(place: Place, *words: str) -> tuple[str, ...]:
    return ("index", str(place.pictures), "--workers", "2", *words)


def _sql(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            connection.execute(statement)


def first(place: Place) -> Commands:
    _some(place)
    return (_index(place),)


def again(place: Place) -> Commands:
    """Files were added, changed, touched, renamed, copied and deleted since."""
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png", "b/faces.png", "a/010.png")
    folder = place.pictures
    write_images(folder / "c", 7, first_seed=200)
    write_images(folder / "a", 3, first_seed=300)
    (folder / "a/001.png").write_bytes(encoded(draw_blocks(901)))
    (folder / "b/broken.png").write_bytes(encoded(draw_blocks(902)))
    (folder / "a/002.png").write_bytes(b"a picture no more")
    os.utime(folder / "a/004.png", ns=(10**18, 10**18))
    (folder / "a/003.png").rename(folder / "c/moved.png")
    shutil.copyfile(folder / "a/005.png", folder / "c/copy.png")
    (folder / "b/103.png").unlink()
    return (_index(place),)


def switch(place: Place) -> Commands:
    library = _some(place)
    library.index()
    _say(library, "angry", "a/003.png", "b/faces.png")
    return (_index(place, "--model", "second"),)


def force(place: Place) -> Commands:
    library = _some(place)
    library.index()
    _say(library, "angry", "a/003.png", "b/faces.png")
    return (_index(place, "--force"),)


def prune(place: Place) -> Commands:
    """Most files vanish; others have been gone for long, and are forgotten."""
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png", "a/015.png")
    for name in ("a/014.png", "a/015.png", "a/016.png", "a/017.png"):
        (place.pictures / name).unlink()
    library.index(prune=True)
    _sql(library.settings.database, f"UPDATE files SET gone_at = {_LONG_AGO} WHERE state = 'gone'")
    for path in sorted(place.pictures.glob("?/*.png"))[::2]:
        path.unlink()
    return (_index(place, "--prune", "--yes"),)


def merge(place: Place) -> Commands:
    """The vector index grows by segments, which are merged: 30, 30 + 4, 30 + 8, 60."""
    library = _some(place)
    library.index()
    parts = {"c": 4, "d": 4, "e": 22}
    for number, (name, count) in enumerate(parts.items()):
        write_images(place.pictures / name, count, first_seed=1000 * (number + 1))
    return tuple(("index", str(place.pictures / name)) for name in parts)


def mend_vectors(place: Place) -> Commands:
    """A search finds the vector index gone and makes it anew; later it finds it behind, and adds to it."""
    library = _some(place)
    library.index()
    shutil.rmtree(library.settings.vectors)
    like = ("search", "--like", str(place.pictures / "a/001.png"))
    table = place.out / "labels.csv"
    table.write_text(f"path,label\n{place.pictures}/a/007.png,sad\n")
    return (like, ("import", str(table)), like)


def label(place: Place) -> Commands:
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png", "a/004.png")
    pictures = place.pictures
    return (
        ("label", str(pictures / "a"), "--emotion", "happy"),
        ("label", str(pictures / "b/faces.png"), "--emotion", "smug", "--new"),
        ("label", str(pictures / "a/003.png"), "--remove"),
    )


def forget(place: Place) -> Commands:
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png")
    library.with_model("second").index()
    return (("models", "remove", "second", "--predictions"),)


def schedule(place: Place) -> Commands:
    library = _some(place)
    library.index()
    job = ("schedule", "add", "nightly", str(place.pictures), "--every", "1h")
    return (job, ("schedule", "remove", "nightly"))


def save(place: Place) -> Commands:
    library = _some(place)
    library.index()
    _own_model(library)
    return (
        ("backup", str(place.out / "backup.zip"), "--force"),
        ("export", str(place.out / "all.csv"), "--force"),
    )


def restore(place: Place) -> Commands:
    """A backup in the place of a library that was begun anew since: the same numbers mean other pictures there."""
    library = _some(place)
    library.index()
    _own_model(library)
    _say(library, "sad", "a/003.png")
    from indexer.transfer import backup as transfer_backup
    from tests.support.quiet import Remembered

    saved = place.out / "backup.zip"
    transfer_backup.backup(library.opened, saved, False, Remembered())
    for path in place.home.glob("moodex.sqlite*"):
        path.unlink()
    shutil.rmtree(library.settings.vectors)
    write_images(place.pictures / "c", 5, first_seed=500)
    library.index(place.pictures / "c")
    library.index()
    _say(library, "angry", "a/004.png")
    (library.settings.models / "other.json").write_bytes(b"another")
    return (("restore", str(saved), "--yes"),)


def _own_model(library: Library) -> None:
    """Files of models; without weights, since it is about files."""
    library.settings.models.mkdir()
    for name in ("mine.json", "notes.txt"):
        (library.settings.models / name).write_bytes(name.encode() * 1000)


def mend(place: Place) -> Commands:
    """Rows that break invariants, and a vector index that is no longer true."""
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png")
    _sql(
        library.settings.database,
        "UPDATE predictions SET emotion = 'happy', score = 0.01 WHERE id % 5 = 1",
        "DELETE FROM embeddings WHERE id % 7 = 1",
        "DELETE FROM images WHERE id % 6 = 2",
    )
    return (("doctor", "--repair"), _index(place))


def recover(place: Place) -> Commands:
    """The database's header is gone: it is written anew."""
    library = _some(place)
    library.index()
    _say(library, "sad", "a/003.png")
    with library.settings.database.open("r+b") as file:
        file.write(b"\xff" * 100)
    return (("doctor", "--repair"), _index(place))


def migrate(place: Place) -> Commands:
    """A database of the first schema, with what an earlier moodex wrote into it."""
    library = _some(place)
    library.detector = None
    library.index()
    new, old = library.settings.database, place.out / "old.sqlite"
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
    for end in ("", "-wal", "-shm"):
        new.with_name(new.name + end).unlink(missing_ok=True)
    old.rename(new)
    return (("status",), _index(place, "--faces", "off"))


def _first_schema() -> str:
    from db.sqlite.migrations import FIRST_SCHEMA

    return ";".join(FIRST_SCHEMA)


def teach(place: Place) -> Commands:
    """The shipped model, labels that teach it something, and back."""
    drawn.two_artists(place.pictures, count=8)
    settings = Library(place.pictures, place.home).settings
    from dataclasses import replace

    from indexer.ingest.run import IndexRequest
    from tests.support.quiet import Remembered

    library = opened(replace(settings, model=None, faces="off"))
    ingest_service.index(library, [os.fsencode(place.pictures)], IndexRequest(), Remembered())
    for kind, word in (("happy", "happy"), ("sad", "smug")):
        paths = [os.fsencode(path) for path in sorted(place.pictures.rglob(f"{kind}/*.png"))[::2]]
        labels_service.label(library, parse_assignments(paths, word, False), True)
    return (("teach", "--name", "mine"), ("teach", "--undo"))


def shipped(place: Place) -> Commands:
    """The model that comes with the program, over some of its example pictures."""
    for path in sorted(EXAMPLES.glob("*/*"))[::4]:
        (place.pictures / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place.pictures / path.parent.name / path.name)
    return (_index(place, "--batch-size", "4"),)


_COMMIT = "commit home/moodex.sqlite in"
_FAST_TEACHING = {
    "models.teaching.linear_head._STEPS": 12,
    "models.teaching.fit._FOLDS": 2,
    "models.teaching.fit._NEW_WEIGHTS": (0.6,),
    "models.teaching.fit._ANCHORS": (0.01,),
}

SCENARIOS: Sequence[Scenario] = (
    Scenario("teach", teach, ends=False, codes=(2,), model=None, smaller=_FAST_TEACHING, most=24),
    Scenario("shipped", shipped, model=None, most=10),
    Scenario("first", first, everyday=True),
    Scenario("again", again, broke=(f"before {_COMMIT} db.sqlite.writer.SqliteWriter.detect_moves #1",)),
    Scenario("switch", switch),
    Scenario("force", force, anew=True),
    Scenario("prune", prune, broke=(f"after {_COMMIT} db.sqlite.retention.expire #1",)),
    Scenario("merge", merge, everyday=True),
    Scenario("mend-vectors", mend_vectors),
    Scenario("label", label, whole=True),
    Scenario(
        "forget",
        forget,
        codes=(6,),
        smaller={"db.sqlite.store.DEFAULT_TUNING": StoreTuning(delete_chunk_rows=_SMALL)},
        broke=[f"after {_COMMIT} db.sqlite.writer.SqliteWriter.forget_model #{number}" for number in (1, 4)],
    ),
    Scenario("schedule", schedule, whole=True, codes=(2,)),
    Scenario("save", save, whole=True),
    Scenario("restore", restore, whole=True),
    Scenario("mend", mend, damaged=True),
    Scenario("recover", recover, damaged=True),
    Scenario("migrate", migrate),
)
"""Every scenario, the slow ones first."""
