"""Backup and restore: one complete file, a snapshot despite writers, restored only if every byte is intact."""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from db.sqlite.database_files import copy_database
from db.sqlite.store import SqliteStore
from db.writer_lock import writer_lock
from indexer.domain.errors import MoodexError, NotIndexed, StoreDamaged, UsageError, WriterBusy
from indexer.domain.queries import Hit
from indexer.settings import Settings
from indexer.transfer import backup as transfer_backup
from indexer.transfer import restore as transfer_restore
from indexer.transfer.backup_file import extract, read_manifest
from tests.support import damage
from tests.support.builders import write_images
from tests.support.damage import rows
from tests.support.library import Library, opened
from tests.support.quiet import Remembered


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Library:
    library = damage.build(tmp_path_factory.mktemp("intact"))
    library.settings.models.mkdir()
    (library.settings.models / "mine.safetensors").write_bytes(b"weights" * 1000)
    (library.settings.models / "mine.json").write_text("{}")
    (library.settings.models / "default.txt").write_text("mine\n")
    (library.settings.models / ".mine.json.1.tmp").write_text("{")
    return library


@pytest.fixture
def library(intact: Library, tmp_path: Path) -> Library:
    return damage.copy(intact, tmp_path)


def backup(library: Library, target: Path, force: bool = False) -> Path:
    transfer_backup.backup(library.opened, target, force, Remembered())
    return target


def restore(settings: Settings, source: Path, yes: bool = False) -> tuple[Path, ...]:
    return transfer_restore.restore(opened(settings), source, yes, Remembered()).kept


def everything(library: Library) -> list[Hit]:
    return sorted(library.everything(), key=lambda hit: (hit.path, hit.box or ()))


def test_backup_and_restore_preserve_everything(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    manifest = read_manifest(saved)
    assert sorted(manifest.members) == ["models/default.txt", "models/mine.json", "models/mine.safetensors", "moodex.sqlite"]
    assert manifest.rows["labels"] == 3 and manifest.rows["files"] == 42
    assert list(tmp_path.glob(".*")) == []
    other = Library(library.folder, tmp_path / "other")
    other.detector = library.detector
    assert restore(other.settings, saved) == ()
    assert everything(other) == everything(library)
    assert (other.settings.models / "mine.safetensors").read_bytes() == b"weights" * 1000
    assert not (other.settings.models / ".mine.json.1.tmp").exists()
    assert other.index().indexed == 0
    assert len(other.search(like=bytes(library.folder / "a/003.png"))) == 40
    assert sorted(path.name for path in other.settings.home.iterdir() if path.name.startswith(".")) == []


def test_restore_keeps_the_replaced_library(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    write_images(library.folder / "later", 2, first_seed=900)
    library.index()
    (library.settings.models / "later.json").write_text("{}")
    before = rows(library, "SELECT id, digest FROM images")
    with pytest.raises(UsageError, match="--yes"):
        restore(library.settings, saved)
    assert rows(library, "SELECT id, digest FROM images") == before
    aside = restore(library.settings, saved, yes=True)
    assert {path.name.partition(".before-restore-")[0] for path in aside} == {"moodex.sqlite", "models"}
    with closing(sqlite3.connect(aside[0])) as connection:
        assert connection.execute("SELECT id, digest FROM images").fetchall() == before
    assert (aside[1] / "later.json").exists() and not (library.settings.models / "later.json").exists()
    assert len(everything(library)) == 40 and not library.settings.vectors.exists()
    assert len(library.search(like=bytes(library.folder / "a/003.png"))) == 40
    shutil.rmtree(library.folder / "later")


def test_restore_replaces_a_damaged_library(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    library.settings.database.write_bytes(b"not a database " * 1000)
    aside = restore(library.settings, saved, yes=True)
    assert aside[0].read_bytes() == b"not a database " * 1000
    assert len(everything(library)) == 40


def test_open_readers_see_the_restored_library(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    with library.store() as store:
        store.label({bytes.fromhex(image.image_id): None for image in store.labeled_images()})
        assert store.labeled_images() == []
        restore(library.settings, saved, yes=True)
        assert len(store.labeled_images()) == 3


def test_nothing_is_replaced_without_permission(library: Library, tmp_path: Path) -> None:
    target = tmp_path / "backup.zip"
    target.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        backup(library, target)
    assert target.read_text() == "precious"
    assert read_manifest(backup(library, target, force=True)).rows["labels"] == 3
    for target, sentence in (
        (tmp_path, "is a folder"),
        (tmp_path / "none/x.zip", "does not exist"),
        (library.settings.database, "the library itself"),
    ):
        with pytest.raises(UsageError, match=sentence):
            backup(library, target, force=True)
    with pytest.raises(NotIndexed):
        transfer_backup.backup(opened(Settings(tmp_path / "empty")), tmp_path / "x.zip", False, Remembered())


def test_a_writer_blocks_restore_but_not_backup(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    with writer_lock(library.settings.home), pytest.raises(WriterBusy):
        restore(library.settings, saved, yes=True)
    with writer_lock(library.settings.home):
        assert backup(library, tmp_path / "other.zip").exists()


def test_a_copy_is_a_snapshot_despite_a_concurrent_writer(library: Library, tmp_path: Path) -> None:
    """A writer repeatedly changes two rows in one transaction; no copy has only one of the changes."""
    damage.sql(library, "UPDATE files SET size = 0 WHERE id = 1", "UPDATE runs SET pid = 0")
    done = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(library.settings.database, isolation_level=None)) as connection:
            number = 0
            while not done.is_set():
                number += 1
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE files SET size = ? WHERE id = 1", (number,))
                connection.execute("UPDATE runs SET pid = ?", (number,))
                connection.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            copy = tmp_path / f"{number}.sqlite"
            copy_database(library.settings.database, copy, lambda done, total: None, lambda: None)
            with closing(sqlite3.connect(copy)) as connection:
                (size,), (pid,) = connection.execute("SELECT size FROM files WHERE id = 1 UNION ALL SELECT max(pid) FROM runs")
            assert size == pid
    finally:
        done.set()
        writer.join()


def forge_size(saved: Path, size: float) -> None:
    """Write a wrong size of the database to the manifest."""
    with zipfile.ZipFile(saved) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(files["manifest.json"])
    facts["members"]["moodex.sqlite"]["bytes"] = size
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in {**files, "manifest.json": json.dumps(facts).encode()}.items():
            archive.writestr(name, content)


def forge_manifest(saved: Path, text: bytes, compression: int, broken: bool = False) -> None:
    """Write a backup that contains only a manifest, with a compression method; damage its bytes if `broken`."""
    with zipfile.ZipFile(saved, "w", compression) as archive:
        archive.writestr("manifest.json", text)
    if broken:
        data = saved.read_bytes()
        saved.write_bytes(data[:43] + b"\xff" * 20 + data[63:])


FORGERIES: dict[str, Callable[[Path], None]] = {
    "an endless size": lambda saved: forge_size(saved, float("inf")),
    "a larger size": lambda saved: forge_size(saved, 10**15),
    "a negative size": lambda saved: forge_size(saved, -1),
    "a deeply nested manifest": lambda saved: forge_manifest(saved, b"[" * 100_000, zipfile.ZIP_STORED),
    "an inflating manifest": lambda saved: forge_manifest(saved, b" " * (1 << 26), zipfile.ZIP_DEFLATED),
    "a damaged compressed manifest": lambda saved: forge_manifest(saved, b"{}" * 100, zipfile.ZIP_DEFLATED, broken=True),
}


def alter(saved: Path, alteration: str) -> None:
    """Alter a backup in the way that a parameter of the test names."""
    data = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        facts = json.loads(archive.read("manifest.json"))
        files = {name: archive.read(name) for name in archive.namelist()}
    match alteration:
        case "a flipped bit":
            data[len(data) // 2] ^= 1
        case "truncated":
            del data[len(data) * 2 // 3 :]
        case _:
            if alteration == "an extra file":
                files["extra.txt"] = b"x"
            elif alteration == "a path outside the folder":
                files["../../evil.json"] = b"{}"
                facts["members"]["../../evil.json"] = {"bytes": 2, "blake3": "00"}
            elif alteration == "a pickle":
                files["models/evil.pt"] = b"x"
                facts["members"]["models/evil.pt"] = {"bytes": 1, "blake3": "00"}
            elif alteration == "a missing file":
                del files["models/mine.json"]
            elif alteration == "changed bytes":
                files["models/mine.json"] = b"[]"
            elif alteration == "text instead of the database":
                files["moodex.sqlite"] = b"hello"
                from blake3 import blake3

                facts["members"]["moodex.sqlite"] = {"bytes": 5, "blake3": blake3(b"hello").hexdigest()}
            elif alteration == "a malformed manifest":
                facts["members"] = 3
            files["manifest.json"] = json.dumps(facts).encode()
            with zipfile.ZipFile(saved, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
            return
    saved.write_bytes(data)


@pytest.mark.parametrize(
    "alteration",
    [
        "a flipped bit",
        "truncated",
        "an extra file",
        "a path outside the folder",
        "a pickle",
        "a missing file",
        "changed bytes",
        "text instead of the database",
        "a malformed manifest",
        *FORGERIES,
    ],
)
def test_an_altered_backup_is_refused_and_changes_nothing(library: Library, tmp_path: Path, alteration: str) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    FORGERIES.get(alteration, lambda saved: alter(saved, alteration))(saved)
    before = {path: path.read_bytes() for path in library.settings.home.rglob("*") if path.is_file()}
    with pytest.raises(StoreDamaged, match=r"[Bb]ackup .* is damaged.*nothing was restored"):
        restore(library.settings, saved, yes=True)
    after = {path: path.read_bytes() for path in library.settings.home.rglob("*") if path.is_file()}
    assert {path: data for path, data in after.items() if path.suffix != ".lock"} == {
        path: data for path, data in before.items() if path.suffix != ".lock"
    }
    assert not list(tmp_path.rglob("evil*"))


def test_a_folder_is_no_backup(library: Library, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a file; give the file that moodex backup wrote"):
        restore(library.settings, tmp_path, yes=True)


@pytest.mark.parametrize("content", [None, b"", b"hello", "zip", "newer"])
def test_a_file_that_is_not_a_backup_is_refused(library: Library, tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "x.zip"
    if content == "newer":
        backup(library, path)
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(archive.read("manifest.json"))
            database = archive.read("moodex.sqlite")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("moodex.sqlite", database)
            archive.writestr("manifest.json", json.dumps({**facts, "version": 99}))
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(UsageError):
        restore(library.settings, path, yes=True)


def test_a_backup_of_a_newer_version_is_not_restored(library: Library, tmp_path: Path) -> None:
    damage.sql(library, "INSERT INTO migrations VALUES ('0999_mind_reading', 0)")
    with pytest.raises(MoodexError, match="newer moodex"):
        library.everything()
    saved = backup(library, tmp_path / "backup.zip")
    other = replace(library.settings, home=tmp_path / "other")
    with pytest.raises(MoodexError, match="newer moodex"):
        restore(other, saved)
    assert not other.database.exists()


def test_a_backup_of_a_damaged_database_is_refused(library: Library, tmp_path: Path) -> None:
    data = bytearray(library.settings.database.read_bytes())
    data[5 * 4096 : 6 * 4096] = bytes(4096)
    library.settings.database.write_bytes(data)
    with pytest.raises(StoreDamaged, match="doctor --repair"):
        backup(library, tmp_path / "backup.zip")
    assert not (tmp_path / "backup.zip").exists() and list(tmp_path.glob(".*")) == []


def test_extraction_never_overwrites(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    folder = tmp_path / "into"
    folder.mkdir()
    (folder / "moodex.sqlite").write_text("mine")
    with pytest.raises(StoreDamaged):
        extract(saved, read_manifest(saved), folder, lambda size: None)
    assert (folder / "moodex.sqlite").read_text() == "mine"


def test_a_full_disk_is_not_a_damaged_backup(library: Library, tmp_path: Path) -> None:
    saved = backup(library, tmp_path / "backup.zip")
    folder = tmp_path / "into"
    folder.mkdir()

    def fail(_size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MoodexError, match="the disk is full") as caught:
        extract(saved, read_manifest(saved), folder, fail)
    assert not isinstance(caught.value, StoreDamaged)


def test_a_copy_that_cannot_be_created_is_no_error_of_the_database(library: Library, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_database(library.settings.database, tmp_path / "missing" / "copy.sqlite", lambda *_: None, lambda: None)


def test_a_folder_in_place_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "moodex.sqlite").mkdir()
    with pytest.raises(MoodexError, match="is a folder"):
        SqliteStore(tmp_path / "moodex.sqlite")
