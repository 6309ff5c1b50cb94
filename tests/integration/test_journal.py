"""A data folder whose file system has no shared memory, or that is on a network share, works with a rollback journal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from db.sqlite import engine, journal
from db.sqlite.store import SqliteStore
from tests.support.builders import card

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /mnt/nas rw - cifs //nas/share rw
31 22 0:51 / /mnt/nas/local rw - ext4 /dev/sdb1 rw
32 22 0:52 / /mnt/two\040words rw - nfs4 host:/x rw
33 22 0:53 / /mnt/ssh rw - fuse.sshfs me@host: rw
34 22 0:54 / /proc rw - proc proc rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/mnt/nas", "cifs"),
        ("/mnt/nas/home/moodex", "cifs"),
        ("/mnt/nas2", "ext4"),
        ("/mnt/nas/local/x", "ext4"),
        ("/mnt/two words/x", "nfs4"),
        ("/mnt/ssh/x", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert journal.file_system_of(path, MOUNTS) == kind
    assert journal.file_system_of(path, "") == ""


def journal_mode(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def is_write_ahead(path: Path) -> bool:
    return path.read_bytes()[18:20] == b"\x02\x02"


def test_a_library_on_a_local_disk_has_a_write_ahead_log(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "library.sqlite"):
        assert is_write_ahead(tmp_path / "library.sqlite")


@pytest.mark.parametrize("fault", ["_can_share_memory", "_is_on_network"])
def test_a_library_without_shared_memory_has_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(journal, fault, lambda folder: fault == "_is_on_network")
    path = tmp_path / "library.sqlite"
    for _ in range(2):
        with SqliteStore(path) as store:
            store.register_model(card())
            assert not is_write_ahead(path)
        with SqliteStore(path, reading=True) as store:
            assert len(store.models()) == 1


def test_a_library_with_a_log_that_lost_its_shared_memory_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "library.sqlite"
    with SqliteStore(path) as store:
        store.register_model(card())
    prepared = engine._prepared

    def without_shared_memory(path: Path) -> object:
        if is_write_ahead(path):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMMAP
            raise OperationalError("PRAGMA", {}, error)
        return prepared(path)

    monkeypatch.setattr(engine, "_prepared", without_shared_memory)
    monkeypatch.setattr(journal, "_can_share_memory", lambda folder: False)
    with SqliteStore(path) as store:
        assert len(store.models()) == 1
        assert not is_write_ahead(path)


def test_a_folder_that_cannot_be_mapped_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal._can_share_memory(tmp_path)
    assert journal._can_share_memory(tmp_path / "missing")

    def unable(*_: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(journal.mmap, "mmap", unable)
    assert not journal._can_share_memory(tmp_path)
