"""The same pictures from every kind of source: the predictions are equal, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from backports import zstd

from indexer.sources.remote.buckets import open_bucket
from tests.support.archives import tarred, zipped
from tests.support.bucket import bucket, new_processes
from tests.support.builders import draw_blocks, encoded
from tests.support.datasets import arrow_stream, images, parquet, url_csv
from tests.support.library import Library
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

NUMBER = 500
PICTURES = {f"set {number % 7}/{number:04d}.png": encoded(draw_blocks(number)) for number in range(NUMBER)}
SHARDS = 4

Pictures = Mapping[str, bytes]
Place = tuple[Path, Callable[[str], str]]
"""The root to index, and the function that returns the name of a picture by its path below the root."""


def shards(pictures: Pictures) -> list[Pictures]:
    return [dict(list(pictures.items())[start::SHARDS]) for start in range(SHARDS)]


def below_first_folder(path: str) -> str:
    return path.partition("/")[2]


def unchanged(path: str) -> str:
    return path


def in_archive(folder: Path, name: str, data: bytes) -> Place:
    folder.mkdir()
    (folder / name).write_bytes(data)
    return folder, below_first_folder


def in_shards(folder: Path, name: str, make: Callable[[Pictures], bytes]) -> Place:
    folder.mkdir()
    for number, members in enumerate(shards(PICTURES)):
        (folder / name.format(number)).write_bytes(make(members))
    return folder, below_first_folder


@contextmanager
def place_of(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with ExitStack() as stack:
        stack.enter_context(new_processes(monkeypatch))
        open_bucket.cache_clear()
        stack.callback(open_bucket.cache_clear)
        yield _opened(kind, folder, monkeypatch, stack)


def _opened(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> Place:
    local: dict[str, Callable[[], Place]] = {
        "zip": lambda: in_archive(folder, "a.zip", zipped(PICTURES)),
        "tar.zst": lambda: in_archive(folder, "a.tar.zst", zstd.compress(tarred(PICTURES))),
        "webdataset": lambda: in_shards(folder, "{:06d}.tar", tarred),
        "save_to_disk": lambda: in_shards(
            folder, "data-{:05d}-of-00004.arrow", lambda members: arrow_stream(images(members), 50)
        ),
        "parquet": lambda: in_shards(folder, "train-{:05d}-of-00004.parquet", lambda members: parquet(images(members), 50)),
    }
    if kind in local:
        return local[kind]()
    if kind == "s3":
        made = stack.enter_context(bucket(monkeypatch))
        made.put(PICTURES)
        return Path(f"{made.address}"), unchanged
    servers = {"gs": GoogleBuckets, "az": AzureContainers, "pages": IndexPages, "webdav": WebDAV, "urls": FileServer}
    server = stack.enter_context(serving(servers.get(kind, GoogleBuckets)()))
    use_google(monkeypatch, server.address)
    use_azure(monkeypatch, server.address)
    if kind == "archives in a bucket":
        first, second, *_ = shards(PICTURES)
        rest = {name: data for name, data in PICTURES.items() if name not in first and name not in second}
        server.put({"b/a.zip": zipped(first), "b/b.tar": tarred(second), "b/c.parquet": parquet(images(rest))})
        return Path("gs://b"), below_first_folder
    server.put({f"b/{name}": data for name, data in PICTURES.items()})
    if kind == "urls":
        folder.mkdir()
        table = folder / "urls.csv"
        table.write_bytes(url_csv([{"url": f"{server.address}/b/{quote(name)}", "caption": ""} for name in PICTURES]))
        return table / server.address.removeprefix("http://") / "b", unchanged
    return Path(f"{kind}://b" if kind in ("gs", "az") else f"{server.address}/b"), unchanged


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("plain")
    for name, data in PICTURES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    library = Library(folder, tmp_path_factory.mktemp("home"))
    assert library.index().indexed == NUMBER
    return predictions(library, folder, unchanged)


def predictions(library: Library, root: Path, name_of: Callable[[str], str]) -> dict[str, object]:
    """Return every prediction with all of its numbers, by the name of its picture."""
    start = f"{root}".replace(":/", "://") if ":/" in f"{root}" else f"{root}"
    hits = library.search(min_score=1e-9, limit=10 * NUMBER)
    return {name_of(os.fsdecode(hit.path).removeprefix(f"{start}/")): replace(hit, path=b"") for hit in hits}


@pytest.mark.heavy
@pytest.mark.parametrize(
    "kind",
    [
        "zip",
        "tar.zst",
        "webdataset",
        "save_to_disk",
        "parquet",
        "s3",
        "gs",
        "az",
        "pages",
        "webdav",
        "urls",
        "archives in a bucket",
    ],
)
def test_the_predictions_are_those_of_the_folder(
    kind: str, expected: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place_of(kind, tmp_path / "pictures", monkeypatch) as (root, name_of):
        library = Library(tmp_path, tmp_path / "home")
        library.settings = replace(library.settings, private_urls=True)
        assert library.index(root).indexed == NUMBER
        assert len(expected) == NUMBER
        assert predictions(library, root, name_of) == expected
