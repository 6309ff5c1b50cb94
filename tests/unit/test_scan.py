from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.domain.errors import UsageError
from indexer.ingest.roots import normalize_roots
from indexer.ports.sources import ScannedFolder, ScanOptions
from indexer.sources import walk
from indexer.sources.filesystem import FileSystemSource
from indexer.system.paths import is_under


def scan(root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
    return FileSystemSource().scan(root, options)


def scan_problems(root: Path, **options: object) -> dict[str, str | None]:
    """Scan a folder; return the reason why each file fails, or None, by path below the root."""
    problems = {}
    for folder in scan(os.fsencode(root), ScanOptions(**options)):  # type: ignore[arg-type]
        for file in folder.files:
            path = os.path.relpath(os.path.join(folder.path, file.name), os.fsencode(root))
            problems[os.fsdecode(path)] = file.problem.reason if file.problem else None
    return problems


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_images_are_recognized_by_extension_in_any_case(tmp_path: Path) -> None:
    for name in ("a.png", "b.JPG", "sub/c.WebP", "sub/deep/d.avif", "notes.txt", "png", "e.png.bak"):
        touch(tmp_path / name)
    assert scan_problems(tmp_path) == dict.fromkeys(["a.png", "b.JPG", "sub/c.WebP", "sub/deep/d.avif"])


def test_a_stamp_is_size_and_modification_time(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.png", b"12345")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    (folder,) = scan(os.fsencode(tmp_path), ScanOptions())
    assert (folder.files[0].stamp.size, folder.files[0].stamp.version) == (5, 1_234_567_890_123_456_789)


def test_hidden_files_and_folders_are_skipped_but_not_a_hidden_root(tmp_path: Path) -> None:
    root = tmp_path / ".hidden"
    for name in ("a.png", ".b.png", ".cache/c.png"):
        touch(root / name)
    assert scan_problems(root) == {"a.png": None}


def test_the_data_folder_is_skipped(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    touch(tmp_path / "home/b.png")
    assert scan_problems(tmp_path, own_folder=os.fsencode(tmp_path / "home")) == {"a.png": None}


def test_excludes_are_gitignore_patterns_below_the_root(tmp_path: Path) -> None:
    for name in ("a.png", "a.gif", "thumbs/b.png", "x/thumbs/c.png", "x/keep/d.png", "only/here/e.png", "y/only/here/f.png"):
        touch(tmp_path / name)
    assert set(scan_problems(tmp_path, exclude=("thumbs/", "*.gif", "/only/here"))) == {
        "a.png",
        "x/keep/d.png",
        "y/only/here/f.png",
    }


def test_links_are_skipped_unless_followed(tmp_path: Path) -> None:
    touch(tmp_path / "real/a.png")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "b.png").symlink_to("real/a.png")
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    assert set(scan_problems(tmp_path)) == {"real/a.png"}
    followed = scan_problems(tmp_path, follow_symlinks=True)
    assert followed["b.png"] is None
    assert "status cannot be read" in str(followed["dangling.png"])
    assert len([path for path in followed if path.endswith("/a.png")]) == 1


def test_circular_links_end_the_scan(tmp_path: Path) -> None:
    touch(tmp_path / "a/b/c.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to(tmp_path / "a/self")
    assert set(scan_problems(tmp_path, follow_symlinks=True)) == {"a/b/c.png"}


def test_a_pipe_with_an_image_name_fails_and_such_folders_are_only_scanned(tmp_path: Path) -> None:
    touch(tmp_path / "x.png/inside.png")
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    assert scan_problems(tmp_path) == {
        "x.png/inside.png": None,
        "pipe.png": "it is a pipe, socket or device, not an image",
        "socket.png": "it is a pipe, socket or device, not an image",
    }


def test_names_of_any_bytes_are_scanned(tmp_path: Path) -> None:
    names = [
        b"new\nline.png",
        b"\xff\xfe.png",
        "\U0001f600.png".encode(),
        b"-rf.png",
        b"x" * 251 + b".png",
        b" .png",
        b"a\x1b[31m.png",
    ]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    (folder,) = scan(os.fsencode(tmp_path), ScanOptions())
    assert [file.name for file in folder.files] == sorted(names)


def test_a_deep_tree_is_scanned(tmp_path: Path) -> None:
    touch(tmp_path.joinpath(*["d"] * 300) / "a.png")
    assert len(scan_problems(tmp_path)) == 1


def test_an_unreadable_folder_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a/b.png")
    touch(tmp_path / "c/d.png")
    real_scandir = os.scandir

    def scandir(folder: bytes) -> os._ScandirIterator[bytes]:
        if folder.endswith(b"/a"):
            raise PermissionError(13, "Permission denied")
        return real_scandir(folder)

    monkeypatch.setattr("os.scandir", scandir)
    folders = {os.path.basename(folder.path): folder for folder in scan(os.fsencode(tmp_path), ScanOptions())}
    problem = folders[b"a"].problem
    assert problem is not None
    assert (problem.kind, problem.reason) == ("unreadable", "the folder cannot be listed: Permission denied")
    assert len(folders[b"c"].files) == 1


def test_a_single_file_is_a_root_whatever_its_name(tmp_path: Path) -> None:
    path = touch(tmp_path / ".odd name")
    touch(tmp_path / "other.png")
    (folder,) = scan(os.fsencode(path), ScanOptions())
    assert [file.name for file in folder.files] == [b".odd name"]
    assert not folder.whole


def test_roots_are_real_paths_without_nested_roots(tmp_path: Path) -> None:
    touch(tmp_path / "a/b/c.png")
    touch(tmp_path / "ab/d.png")
    (tmp_path / "link").symlink_to("a")
    paths = [os.fsencode(tmp_path / name) for name in ("a/b", "link", "a", "ab", "a/../ab")]
    assert normalize_roots(paths, FileSystemSource()) == [os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "ab")]


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'.*/none' does not exist"):
        normalize_roots([os.fsencode(tmp_path), os.fsencode(tmp_path / "none")], FileSystemSource())


def test_is_under_compares_path_components() -> None:
    assert is_under(b"/a/b", b"/a")
    assert is_under(b"/a", b"/a")
    assert is_under(b"/a", b"/")
    assert not is_under(b"/ab", b"/a")


def test_files_that_are_passed_over_are_named_with_their_kind(tmp_path: Path) -> None:
    for name in (
        "a.png",
        "b.svg",
        "c.TGS",
        "no extension",
        ".hidden",
        "x/d.jpg_large",
        "x/e.out",
        "long.extensionofmany",
        "end.",
    ):
        touch(tmp_path / name)
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "folder link").symlink_to("x")
    folders = list(scan(os.fsencode(tmp_path), ScanOptions(exclude=("*.out",))))
    assert [folder.skipped for folder in folders] == [
        (
            (b".hidden", "hidden"),
            (b"b.svg", ".svg"),
            (b"c.TGS", ".tgs"),
            (b"end.", "without extension"),
            (b"folder link", "link"),
            (b"link.png", "link"),
            (b"long.extensionofmany", "without extension"),
            (b"no extension", "without extension"),
        ),
        ((b"d.jpg_large", ".jpg_large"), (b"e.out", "excluded")),
    ]
    followed = next(scan(os.fsencode(tmp_path), ScanOptions(follow_symlinks=True)))
    assert "link" not in {kind for _, kind in followed.skipped}


def test_other_file_systems_can_be_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "mounted/b.png", "x/c.png"):
        touch(tmp_path / name)
    status = walk._identity

    def on_two_disks(folder: bytes) -> tuple[int, int] | None:
        identity = status(folder)
        return identity and (identity[0] + folder.endswith(b"mounted"), identity[1])

    monkeypatch.setattr(walk, "_identity", on_two_disks)
    assert scan_problems(tmp_path, one_file_system=True) == {"a.png": None, "x/c.png": None}
    first = next(scan(os.fsencode(tmp_path), ScanOptions(one_file_system=True)))
    assert first.skipped == ((b"mounted", "on another file system"),)
    assert "mounted/b.png" in scan_problems(tmp_path)
