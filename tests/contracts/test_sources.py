"""The port for image sources, for every implementation: memory, folders, archives, data sets, tables and servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from indexer.ports.sources import ImageSource, ScanOptions
from indexer.sources.filesystem import FileSystemSource
from indexer.sources.remote.buckets import open_bucket
from indexer.sources.remote.source import RemoteSource
from tests.support.archives import FORMATS, tarred, zipped
from tests.support.bucket import bucket, new_processes
from tests.support.datasets import arrow_file, arrow_stream, images, parquet, url_csv
from tests.support.memory_library import MemorySource
from tests.support.remote_servers import (
    AzureContainers,
    FileServer,
    GoogleBuckets,
    IndexPages,
    WebDAV,
    serving,
    use_azure,
    use_google,
)

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


DATASETS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "train-00000-of-00001.parquet": lambda members: parquet(images(members)),
    "data-00000-of-00001.arrow": lambda members: arrow_stream(images(members)),
    "images.arrow": lambda members: arrow_file(images(members)),
}

SERVERS = {"google": GoogleBuckets, "azure": AzureContainers, "pages": IndexPages, "webdav": WebDAV}


@pytest.fixture(
    params=["memory", "folder", "nested", "bucket", "bucket archive", "page archive", "url table", *SERVERS, *FORMATS, *DATASETS]
)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    kind = request.param
    open_place = {
        "memory": in_memory,
        "folder": in_folder,
        "nested": nested,
        "bucket": in_bucket,
        "bucket archive": in_bucket_archive,
        "page archive": in_page_archive,
        "url table": in_url_table,
    }.get(kind)
    if open_place is not None:
        with open_place(tmp_path, monkeypatch) as place:
            yield place
    elif kind in SERVERS:
        with on_server(kind, monkeypatch) as place:
            yield place
    else:
        (tmp_path / kind).write_bytes({**FORMATS, **DATASETS}[kind](MEMBERS))
        yield Place(FileSystemSource(tmp_path / "kept"), os.fsencode(tmp_path / kind))


@contextmanager
def in_memory(tmp_path: Path, _: pytest.MonkeyPatch) -> Iterator[Place]:
    root = tmp_path / "images"
    yield Place(MemorySource({os.fsencode(root / name): data for name, data in MEMBERS.items()}), os.fsencode(root))


@contextmanager
def in_folder(tmp_path: Path, _: pytest.MonkeyPatch) -> Iterator[Place]:
    for name, data in MEMBERS.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(data)
    yield Place(FileSystemSource(), os.fsencode(tmp_path / "images"))


@contextmanager
def nested(tmp_path: Path, _: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "set.zip").write_bytes(zipped({"in/a.cbz": zipped(MEMBERS)}))
    yield Place(FileSystemSource(tmp_path / "kept"), os.fsencode(tmp_path / "set.zip/in/a.cbz"))


@contextmanager
def in_bucket(_: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with bucket(monkeypatch) as made:
        made.put({f"images/{name}": data for name, data in MEMBERS.items()})
        yield Place(RemoteSource(), f"{made.address}/images".encode())


@contextmanager
def in_bucket_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with bucket(monkeypatch) as made, new_processes(monkeypatch):
        made.put({"books/a.cbz": zipped(MEMBERS)})
        yield Place(RemoteSource(tmp_path / "kept"), f"{made.address}/books/a.cbz".encode())


@contextmanager
def in_page_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with serving(IndexPages()) as server, new_processes(monkeypatch):
        server.put({"books/a.tar": tarred(MEMBERS)})
        yield Place(RemoteSource(tmp_path / "kept"), f"{server.address}/books/a.tar".encode())


@contextmanager
def in_url_table(tmp_path: Path, _: pytest.MonkeyPatch) -> Iterator[Place]:
    with serving(FileServer()) as server:
        server.put({f"images/{name}": data for name, data in MEMBERS.items()})
        rows = [{"url": f"{server.address}/images/{quote(name)}", "caption": "x"} for name in MEMBERS]
        (tmp_path / "urls.csv").write_bytes(url_csv(rows))
        host = server.address.removeprefix("http://")
        yield Place(FileSystemSource(reaches_private=True), os.fsencode(tmp_path / "urls.csv" / host / "images"))


@contextmanager
def on_server(kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with serving(SERVERS[kind]()) as server:
        server.put({f"pictures/images/{name}": data for name, data in MEMBERS.items()})
        use_google(monkeypatch, server.address)
        use_azure(monkeypatch, server.address)
        open_bucket.cache_clear()
        address = {"google": "gs:/", "azure": "az:/"}.get(kind, server.address)
        yield Place(RemoteSource(), f"{address}/pictures/images".encode())
        open_bucket.cache_clear()


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
