"""Archives as folders: what is scanned, what is refused, and what is opened again."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from indexer.domain.errors import Damaged, ImageError, Unreadable
from indexer.domain.files import FileStamp, stamp_of
from indexer.ports.sources import ScannedFolder, ScanOptions
from indexer.sources.archives import kept_contents, opened, spool
from indexer.sources.archives.contents import Contents, inner_path
from indexer.sources.archives.opened import OpenedArchive
from indexer.sources.archives.processes import ArchiveProcesses
from indexer.sources.entries import Member
from indexer.sources.filesystem import FileSystemSource
from tests.support.archives import FORMATS, encrypted_zip, rarred, sevenzipped, tarred, zipped

Open = Callable[[bytes], OpenedArchive]


@pytest.fixture
def source(tmp_path: Path) -> FileSystemSource:
    return FileSystemSource(tmp_path / "kept")


def scan(source: FileSystemSource, root: Path, **options: object) -> dict[str, ScannedFolder]:
    """Return the scanned folders by path below the parent of the root."""
    folders = source.scan(os.fsencode(root), ScanOptions(**options))  # type: ignore[arg-type]
    return {os.path.relpath(os.fsdecode(folder.path), root.parent): folder for folder in folders}


def names(folder: ScannedFolder) -> list[bytes]:
    return [name for name, *_ in folder.entries]


@pytest.fixture
def open_archive(tmp_path: Path) -> Iterator[Open]:
    """A function that opens the bytes of an archive in this process."""
    with ExitStack() as stack:

        def open_bytes(data: bytes) -> OpenedArchive:
            path = tmp_path / "archive"
            path.write_bytes(data)
            archive = OpenedArchive(stack.enter_context(path.open("rb")), b"archive", stamp_of(path.stat()))
            stack.callback(archive.close)
            return archive

        yield open_bytes


def test_archives_in_a_folder_are_folders_and_their_other_members_are_not_mentioned(
    source: FileSystemSource, tmp_path: Path
) -> None:
    root = tmp_path / "comics"
    root.mkdir()
    (root / "b.cbz").write_bytes(zipped({"p.png": b"1", "ComicInfo.xml": b"<x/>", "__MACOSX/p.png": b"x", ".h/p.png": b"x"}))
    (root / "a.png").write_bytes(b"2")
    folders = scan(source, root)
    assert set(folders) == {"comics", "comics/b.cbz"}
    assert (names(folders["comics"]), names(folders["comics/b.cbz"])) == ([b"a.png"], [b"p.png"])
    assert folders["comics"].skipped == ()


def test_exclude_patterns_leave_out_archives_and_members(source: FileSystemSource, tmp_path: Path) -> None:
    root = tmp_path / "comics"
    root.mkdir()
    (root / "a.cbz").write_bytes(zipped({"p.png": b"1", "drafts/q.png": b"2", "r.gif": b"3"}))
    (root / "b.zip").write_bytes(zipped({"p.png": b"1"}))
    folders = scan(source, root, exclude=("*.zip", "drafts/", "*.gif"))
    assert {path: names(folder) for path, folder in folders.items()} == {"comics": [], "comics/a.cbz": [b"p.png"]}


def test_a_member_and_a_folder_of_an_archive_are_roots(source: FileSystemSource, tmp_path: Path) -> None:
    book = tmp_path / "book.cbz"
    book.write_bytes(zipped({"p.png": b"1", "ch/q.png": b"2"}))
    assert names(scan(source, book / "ch")["ch"]) == [b"q.png"]
    (alone,) = source.scan(os.fsencode(book / "p.png"), ScanOptions())
    assert names(alone) == [b"p.png"] and not alone.whole


def test_archives_in_archives_are_opened_once(source: FileSystemSource, tmp_path: Path) -> None:
    deepest = zipped({"no.png": b"0"})
    outer = tmp_path / "set.zip"
    outer.write_bytes(zipped({"vol1.cbz": zipped({"p.png": b"1", "deep.zip": deepest}), "vol2.tar": b"damaged"}))
    folders = scan(source, outer)
    assert names(folders["set.zip/vol1.cbz"]) == [b"p.png"]
    assert "set.zip/vol1.cbz/deep.zip" not in folders
    problem = folders["set.zip/vol2.tar"].problem
    assert problem is not None and problem.reason == "its bytes are not an archive in a supported format"


ENCRYPTED = "it is encrypted; unpack it with its password and index the folder"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.cbz", b"not an archive", "its bytes are not an archive in a supported format"),
        ("a.zip", b"", "its bytes are not an archive in a supported format"),
        ("a.zip", zipped({"p.png": b"1" * 1000})[:-30], "the archive is damaged"),
        ("a.tgz", tarred({"p.png": b"1" * 1000}, "w:gz")[:-20], "the archive is damaged"),
        ("a.tar", tarred({"p.png": b"1", "q.png": b"2"})[:1024] + b"\xff" * 2048, "a header in it is damaged"),
        ("a.7z", sevenzipped({"p.png": b"1" * 1000})[:-10], "the archive is damaged"),
        ("a.rar", rarred({"p.png": b"1" * 1000, "q.png": b"2" * 1000})[:-1500], "its end is missing"),
        ("a.zip", encrypted_zip({"p.png": b"1", "q.png": b"2"}), ENCRYPTED),
        ("a.7z", sevenzipped({"p.png": b"1"}, "secret"), ENCRYPTED),
        ("a.7z", sevenzipped({"p.png": b"1"}, "secret", header_encryption=True), ENCRYPTED),
    ],
    # The bytes contain the time.
    ids=["text", "nothing", "cut zip", "cut tgz", "damaged tar", "cut 7z", "cut rar", "secret zip", "secret 7z", "hidden 7z"],
)
def test_an_archive_that_cannot_be_read_is_one_problem(
    source: FileSystemSource, tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (folder,) = source.scan(os.fsencode(tmp_path / name), ScanOptions())
    assert folder.problem is not None and folder.problem.reason.startswith(reason)
    # Nothing that was in it counts as missing.
    assert source.is_folder(os.fsencode(tmp_path / name)) and source.has_file(os.fsencode(tmp_path / name / "p.png"))


def test_an_encrypted_member_beside_readable_ones_is_one_problem(source: FileSystemSource, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.zip"
    mixed.write_bytes(encrypted_zip({"p.png": b"1", "q.png": b"2"}, only="p.png"))
    (folder,) = source.scan(os.fsencode(mixed), ScanOptions())
    assert {name: problem.reason for name, problem in folder.problems.items()} == {b"p.png": ENCRYPTED}
    assert source.read(os.fsencode(mixed / "q.png"))[0] == b"2"
    with pytest.raises(Damaged, match="encrypted"):
        source.read(os.fsencode(mixed / "p.png"))


@pytest.mark.parametrize(
    "name", [b"../p.png", b"/etc/p.png", b"a/../../p.png", b"C:/p.png", b"a\0.png", b"", b"./", b"x" * 5000 + b".png"]
)
def test_names_that_lead_out_of_the_archive_are_refused(name: bytes) -> None:
    assert inner_path(name) is None


def test_names_are_brought_into_one_form() -> None:
    assert inner_path(b"./a//b/./p.png") == b"a/b/p.png"


def test_unsafe_names_links_and_devices_are_passed_over(source: FileSystemSource, tmp_path: Path) -> None:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, kind in (
            ("l.png", tarfile.SYMTYPE),
            ("h.png", tarfile.LNKTYPE),
            ("d.png", tarfile.CHRTYPE),
            ("../e.png", b"0"),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            archive.addfile(header, BytesIO())
    (tmp_path / "a.tar").write_bytes(file.getvalue())
    (folder,) = source.scan(os.fsencode(tmp_path / "a.tar"), ScanOptions())
    assert not folder.entries
    assert sorted(kind for _, kind in folder.skipped) == ["device or pipe", "link", "link", "unsafe name in an archive"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_the_last_of_several_members_with_one_name_counts(open_archive: Open) -> None:
    file = BytesIO()
    with ZipFile(file, "w") as archive:
        archive.writestr("p.png", b"first")
        archive.writestr("p.png", b"second")
    assert open_archive(file.getvalue()).read(b"p.png") == b"second"
    assert open_archive(tarred({"p.png": b"first"})[:1024] + tarred({"p.png": b"second"})).read(b"p.png") == b"second"


def test_names_in_other_encodings_are_read(open_archive: Open) -> None:
    data = zipped({"x1.png": b"1", "y.png": b"2"}).replace(b"x1.png", "ü.png".encode()).replace(b"y.png", b"\x81.png")
    assert set(open_archive(data).contents.files) == {"ü.png".encode()}  # \x81 is ü in code page 437: the same name
    windows = zipped({"ch1_p.png": b"1"}).replace(b"ch1_p.png", b"ch1\\p.png")
    assert set(open_archive(windows).contents.files) == {b"ch1/p.png"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_bomb_is_stopped_at_the_limit_and_costs_itself(open_archive: Open, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "_MIN_UNPACKED_BYTES", 1 << 20)
    monkeypatch.setattr(opened, "_MAX_UNPACKED_RATIO", 1)
    monkeypatch.setattr(spool, "MAX_FILE_BYTES", 1 << 18)
    archive = open_archive(FORMATS[name]({"a.png": b"small", "b.png": bytes(1 << 19), "c.png": bytes(1 << 17)}))
    assert archive.read(b"a.png") == b"small"
    with pytest.raises(Damaged, match="exceeds the limit"):
        archive.read(b"b.png")
    assert len(archive.read(b"c.png")) == 1 << 17


def test_an_archive_of_too_many_members_is_refused(open_archive: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "MAX_ENTRIES", 10)
    with pytest.raises(Damaged, match="more than 10 members"):
        open_archive(zipped({f"{number}.png": b"" for number in range(11)}))


@pytest.mark.parametrize("name", ["a.zip", "a.7z", "a.cbr"])
def test_one_damaged_member_costs_at_most_itself_and_those_after_it(open_archive: Open, name: str) -> None:
    pages = {f"{number}.png": os.urandom(5000) for number in range(3)}
    data = bytearray(FORMATS[name](pages))
    data[len(data) // 2] ^= 0xFF
    archive = open_archive(bytes(data))
    assert archive.read(b"0.png") == pages["0.png"]
    with pytest.raises(Damaged):
        archive.read(b"1.png")


def test_an_unchanged_archive_is_not_opened_again(
    source: FileSystemSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "comics"
    root.mkdir()
    for name, data in {"good.cbz": zipped({"p.png": b"1"}), "bad.zip": b"bad"}.items():
        (root / name).write_bytes(data)
    first = scan(source, root)
    monkeypatch.setattr(ArchiveProcesses, "contents", lambda *_: pytest.fail("an archive was opened"))
    assert scan(FileSystemSource(tmp_path / "kept"), root) == first
    os.unlink(root / "good.cbz")
    assert not source.has_file(os.fsencode(root / "good.cbz/p.png"))
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_archives_with_many_members_do_not_stay_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_contents, "_MAX_MEMBERS_IN_MEMORY", 5)
    kept = kept_contents.KeptContents(None)
    contents = Contents({b"%d.png" % number: Member(1, 1, None) for number in range(3)})
    for name in (b"a.zip", b"b.zip"):
        kept.keep(name, FileStamp(1, 1), contents)
    assert kept.get(b"a.zip", FileStamp(1, 1)) is None
    assert kept.get(b"b.zip", FileStamp(1, 1)) is contents


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 1}', "\0", '{"format": 1, "archive": "x", "stamp": [1, 2, 3]}'])
def test_damaged_kept_contents_are_made_again(source: FileSystemSource, tmp_path: Path, text: str) -> None:
    book = tmp_path / "a.cbz"
    book.write_bytes(zipped({"p.png": b"1"}))
    first = scan(source, book)
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_text(text)
    assert scan(FileSystemSource(tmp_path / "kept"), book) == first


def test_members_with_checksums_keep_their_stamps_when_their_archive_is_written_again(
    source: FileSystemSource, tmp_path: Path
) -> None:
    book = tmp_path / "a.cbz"
    book.write_bytes(zipped({"p.png": b"1", "q.png": b"2"}))
    before = scan(source, book)["a.cbz"]
    book.write_bytes(zipped({"q.png": b"2", "p.png": b"one"}))
    after = scan(source, book)["a.cbz"]
    assert [old == new for old, new in zip(before.entries, after.entries, strict=True)] == [False, True]


def test_an_archive_that_changes_while_it_is_read_is_read_again_later(tmp_path: Path) -> None:
    book = tmp_path / "a.cbz"
    book.write_bytes(zipped({"p.png": b"1"}))
    processes = ArchiveProcesses()
    try:
        with pytest.raises(Unreadable, match="changed"):
            processes.read(os.fsencode(book), FileStamp(1, 2, 3), b"p.png")
    finally:
        processes.end()


def test_a_hanging_reader_is_ended_and_costs_its_archive(tmp_path: Path) -> None:
    book = tmp_path / "a.cbz"
    book.write_bytes(zipped({"p.png": b"1"}))
    stamp = FileSystemSource().stamp(os.fsencode(book))
    processes = ArchiveProcesses(seconds=0)
    try:
        with pytest.raises(ImageError, match="takes more than 0 seconds"):
            processes.contents(os.fsencode(book), stamp)
    finally:
        processes.end()


def test_contents_survive_their_file() -> None:
    contents = Contents({b"a/\xff.png": Member(1, 2, None, "broken")}, {b"l": "link"}, {b"x.zip": "damaged"})
    assert Contents.from_json(contents.to_json()) == contents
