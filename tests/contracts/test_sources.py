"""The port for image sources, for every implementation: memory, folders, and archives of each format."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from indexer.ports.sources import ImageSource, ScanOptions
from indexer.sources.filesystem import FileSystemSource
from indexer.sources.objects import ObjectSource
from tests.support.archives import FORMATS, zipped
from tests.support.bucket import bucket
from tests.support.memory_library import MemorySource

MEMBERS = {
    "page 01.png": b"one",
    "page 02.jpg": b"two, longer",
    "ch 2/page 01.png": b"three",
    "ch 2/ü.png": b"",
    "b/c/d.gif": b"4",
}


class Place(NamedTuple):
    """A source, and the root in it that holds MEMBERS."""

    source: ImageSource
    root: bytes


@pytest.fixture(params=["memory", "folder", "nested", "bucket", *FORMATS])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    kind = request.param
    root = tmp_path / (kind if kind in FORMATS else "images")
    if kind == "memory":
        yield Place(MemorySource({os.fsencode(root / name): data for name, data in MEMBERS.items()}), os.fsencode(root))
        return
    if kind in FORMATS:
        root.write_bytes(FORMATS[kind](MEMBERS))
    elif kind == "bucket":
        with bucket(request.getfixturevalue("monkeypatch")) as made:
            made.put({f"images/{name}": data for name, data in MEMBERS.items()})
            yield Place(ObjectSource(), f"{made.address}/images".encode())
        return
    elif kind == "nested":
        (tmp_path / "set.zip").write_bytes(zipped({"in/a.cbz": zipped(MEMBERS)}))
        root = tmp_path / "set.zip/in/a.cbz"
    else:
        for name, data in MEMBERS.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
    yield Place(FileSystemSource(tmp_path / "kept"), os.fsencode(root))


def paths(place: Place) -> dict[bytes, bytes]:
    return {os.path.join(place.root, os.fsencode(name)): data for name, data in MEMBERS.items()}


def test_a_scan_finds_every_image_once_and_reading_it_gives_its_bytes_and_its_stamp(place: Place) -> None:
    found = {}
    for folder in place.source.scan(place.root, ScanOptions()):
        assert folder.problem is None
        for file in folder.files:
            data, stamp = place.source.read(os.path.join(folder.path, file.name))
            assert stamp.matches(file.stamp)
            assert place.source.stamp(os.path.join(folder.path, file.name)).matches(file.stamp)
            assert os.path.join(folder.path, file.name) not in found
            found[os.path.join(folder.path, file.name)] = data
    assert found == paths(place)


def test_folders_come_before_their_subfolders_and_two_scans_are_equal(place: Place) -> None:
    scans = [list(place.source.scan(place.root, ScanOptions())) for _ in range(2)]
    assert [folder.listing() for folder in scans[0]] == [folder.listing() for folder in scans[1]]
    seen: set[bytes] = set()
    for folder in scans[0]:
        assert not any(other.startswith(folder.path + b"/") for other in seen)
        seen.add(folder.path)


def test_files_exist_and_folders_are_no_files(place: Place) -> None:
    for path in paths(place):
        assert place.source.exists(path) and place.source.has_file(path) and not place.source.is_folder(path)
        assert place.source.is_folder(os.path.dirname(path))
        with place.source.open(path).file as file:
            assert file.read() == paths(place)[path]
    missing = os.path.join(place.root, b"none.png")
    assert not place.source.exists(missing) and not place.source.has_file(missing) and not place.source.is_folder(missing)


def test_a_missing_file_is_reported_as_such(place: Place) -> None:
    for path in (os.path.join(place.root, b"none.png"), os.path.join(place.root, b"ch 2/none.png")):
        for read in (place.source.read, place.source.open, place.source.stamp):
            with pytest.raises(FileNotFoundError):
                read(path)
        assert place.source.local_path(path) is None


def test_a_real_path_stays(place: Place) -> None:
    for path in paths(place):
        assert place.source.real_path(path) == path
