"""The tree of indexed folders, and image types by their first bytes."""

from __future__ import annotations

import pytest

from indexer.domain.errors import NotIndexed
from indexer.imaging.media_types import OTHER, media_type
from indexer.search.folders import FolderTree, path_id


def shape(tree: FolderTree, path: bytes) -> dict[bytes, object]:
    return {child: shape(tree, child) for child in tree.node(path).children}


def test_folders_between_a_root_and_its_images_are_part_of_the_tree() -> None:
    tree = FolderTree({b"/a/b/c": 2, b"/a/b/d": 3, b"/a": 1}, [b"/a"])
    assert tree.roots == [b"/a"]
    assert shape(tree, b"/a") == {b"/a/b": {b"/a/b/c": {}, b"/a/b/d": {}}}
    assert [tree.node(path).files for path in (b"/a", b"/a/b", b"/a/b/c", b"/a/b/d")] == [6, 5, 2, 3]


def test_a_root_inside_a_root_belongs_to_the_outer_one() -> None:
    tree = FolderTree({b"/a/b": 2, b"/a/c": 1}, [b"/a", b"/a/b"])
    assert tree.roots == [b"/a"]
    assert tree.node(b"/a").children == [b"/a/b", b"/a/c"]


def test_folders_outside_of_all_roots_are_roots() -> None:
    tree = FolderTree({b"/x": 1, b"/x/y/z": 1, b"/q": 4}, [b"/x/single.png"])
    assert tree.roots == [b"/q", b"/x"]
    assert tree.node(b"/x").files == 2


def test_the_root_of_the_file_system() -> None:
    tree = FolderTree({b"/": 1, b"/a/b": 1}, [b"/"])
    assert tree.roots == [b"/"]
    assert shape(tree, b"/") == {b"/a": {b"/a/b": {}}}


def test_folders_are_found_by_id_with_the_way_to_them() -> None:
    tree = FolderTree({b"/a/b/c": 1}, [b"/a"])
    node = tree.find(path_id(b"/a/b/c"))
    assert [one.path for one in tree.way_to(node)] == [b"/a", b"/a/b", b"/a/b/c"]
    with pytest.raises(NotIndexed):
        tree.find(path_id(b"/etc"))


def test_an_empty_library_has_no_folders() -> None:
    assert FolderTree({}, []).roots == []


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM\x00\x00", "image/bmp"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"<svg xmlns=", OTHER),
        (b"<!doctype html>", OTHER),
        (b"%PDF-1.7", OTHER),
        (b"II*\x00", OTHER),
        (b"", OTHER),
    ],
)
def test_only_images_that_browsers_show_have_a_type(head: bytes, expected: str) -> None:
    assert media_type(head) == expected
