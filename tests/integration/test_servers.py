"""Libraries over servers of every kind: a server that does not answer, or not fully, loses nothing; archives on them are read."""

from __future__ import annotations

import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from indexer.domain.errors import Damaged, Unreadable
from indexer.ports.sources import ScanOptions
from indexer.search import pictures
from indexer.search.collect import collect
from indexer.sources.remote import opened_file
from indexer.sources.remote.buckets import open_bucket
from indexer.sources.remote.source import RemoteSource
from indexer.sources.remote.web_client import WebClient
from tests.support.archives import tarred, zipped
from tests.support.bucket import new_processes
from tests.support.builders import draw_blocks, encoded
from tests.support.datasets import url_csv
from tests.support.library import Library, counts
from tests.support.remote_servers import (
    AzureContainers,
    FileServer,
    GoogleBuckets,
    IndexPages,
    Request,
    WebDAV,
    serving,
    use_azure,
    use_google,
)

PAGES = {f"ch {number % 2}/page {number:02d}.png": encoded(draw_blocks(number)) for number in range(6)}
SERVERS = {"gs:/": GoogleBuckets, "az:/": AzureContainers, "pages": IndexPages, "webdav": WebDAV}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat failing requests at once, and only once."""
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0)
    monkeypatch.setattr("indexer.sources.remote.buckets.RETRIES", 1)


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FileServer, Path]]:
    """Start a server with PAGES, and yield it with the root of them."""
    with serving(SERVERS[request.param]()) as server:
        server.put({f"pictures/comics/{name}": data for name, data in PAGES.items()})
        server.put(
            {"pictures/notes.txt": b"x", "pictures/comics/.moodexignore": b"left out/\n", "pictures/comics/left out/x.png": b"x"}
        )
        use_google(monkeypatch, server.address)
        use_azure(monkeypatch, server.address)
        open_bucket.cache_clear()
        address = request.param if request.param.endswith(":/") else server.address
        yield server, Path(f"{address}/pictures/comics")
        open_bucket.cache_clear()


def found(library: Library) -> set[str]:
    return {os.fsdecode(hit.path).partition("/comics/")[2] for hit in library.search(min_score=1e-9)}


def test_changes_are_noticed_and_images_are_copied_out(library: Library, place: tuple[FileServer, Path], tmp_path: Path) -> None:
    server, root = place
    assert counts(library.index(root)) == {"scanned": 6, "indexed": 6}
    assert found(library) == set(PAGES)
    assert counts(library.index(root)) == {"scanned": 6, "unchanged": 6}
    server.put({"pictures/comics/ch 0/page 00.png": encoded(draw_blocks(70))})
    server.delete("pictures/comics/ch 1/page 01.png")
    assert counts(library.index(root)) == {"scanned": 5, "indexed": 1, "unchanged": 4, "removed": 1}
    hits = library.search(under=(os.fsencode(root),))
    assert collect(hits, os.fsencode(tmp_path / "out"), library.opened.source, link=False).done == 5
    opened = pictures.open_unchanged(pictures.files_of(library.opened, hits[0].image_id), library.opened.source)
    with opened.file:
        assert len(opened.file.read()) == opened.size > 0


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_server_that_gives_no_listing_loses_nothing(library: Library, place: tuple[FileServer, Path], status: int) -> None:
    server, root = place
    library.index(root)
    server.failing = lambda method, path: status
    summary = library.index(root, prune=True)
    assert (summary.removed, summary.left_out, summary.failed) == (0, 0, 1)
    assert len(summary.unlisted) == 1
    assert found(library) == set(PAGES)
    server.failing = lambda method, path: None
    assert counts(library.index(root)) == {"scanned": 6, "unchanged": 6}


def test_a_subfolder_without_a_listing_loses_nothing(library: Library, place: tuple[FileServer, Path]) -> None:
    server, root = place
    library.index(root)
    server.failing = lambda method, path: 500 if "ch%201" in path or "ch+1" in path else None
    summary = library.index(root, prune=True)
    assert (summary.scanned, summary.unchanged, summary.removed, summary.failed) == (3, 3, 0, 1)
    assert found(library) == set(PAGES)


def test_an_empty_listing_loses_nothing_without_prune(library: Library, place: tuple[FileServer, Path]) -> None:
    server, root = place
    library.index(root)
    server.files = {"pictures/notes.txt": b"x"}
    assert counts(library.index(root)) == {"kept": 6}
    assert found(library) == set(PAGES)


@pytest.fixture
def pages() -> Iterator[IndexPages]:
    with serving(IndexPages()) as server:
        server.put({f"comics/{name}": data for name, data in PAGES.items()})
        yield server


def test_a_form_to_log_in_is_not_an_empty_listing(library: Library, pages: IndexPages) -> None:
    root = Path(f"{pages.address}/comics")
    library.index(root)
    pages.title = "Log in"
    summary = library.index(root, prune=True)
    assert (summary.removed, summary.left_out, summary.failed) == (0, 0, 1)
    assert found(library) == set(PAGES)


def test_an_image_that_the_server_does_not_give_is_a_failure_and_the_others_are_indexed(
    library: Library, pages: IndexPages
) -> None:
    root = Path(f"{pages.address}/comics")
    library.index(root)
    pages.put({"comics/ch 1/new.png": encoded(draw_blocks(90))})
    pages.failing = lambda method, path: 403 if path.endswith("01.png") else None
    summary = library.index(root, prune=True)
    assert (summary.scanned, summary.indexed, summary.removed, summary.failed) == (6, 1, 0, 1)
    assert "denies access to 1 of its files" in next(iter(summary.unlisted.values()))
    assert found(library) == {*PAGES, "ch 1/new.png"}


def test_links_out_of_the_folder_and_redirects_to_other_servers_are_not_followed(pages: IndexPages) -> None:
    with serving(FileServer()) as other:
        other.put({"x.png": b"x"})
        pages.put({"comics/sub/x.png": b"x"})
        normal = pages.answer
        pages.answer = lambda request: (  # type: ignore[method-assign]
            request.reply(302, headers={"Location": f"{other.address}/"}) if request.path == "/comics/sub/" else normal(request)
        )
        folders = list(RemoteSource().scan(f"{pages.address}/comics".encode(), ScanOptions()))
        assert [folder.problem.reason for folder in folders if folder.problem] == ["its server leads to another address"]
        assert other.requests == []
    assert not any("elsewhere" in path or ".." in path for _, path in pages.requests)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_archives_on_a_server_are_folders(
    library: Library, place: tuple[FileServer, Path], monkeypatch: pytest.MonkeyPatch, make: Callable[[object], bytes]
) -> None:
    server, root = place
    name = "book.cbz" if make is zipped else "book.cbt"
    server.files = {f"pictures/comics/{name}": make(PAGES)}
    with new_processes(monkeypatch):
        assert counts(library.index(root)) == {"scanned": 6, "indexed": 6}
        assert found(library) == {f"{name}/{page}" for page in PAGES}
        requests = len(server.requests)
        assert counts(library.index(root)) == {"scanned": 6, "unchanged": 6}
        assert not any(method == "GET" and name in path for method, path in server.requests[requests:])
        server.failing = lambda method, path: 403 if name in path else None
        summary = library.index(root, prune=True)
        assert (summary.removed, summary.left_out) == (0, 0)
        assert found(library) == {f"{name}/{page}" for page in PAGES}


def test_of_a_large_zip_archive_only_parts_are_read(pages: IndexPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_file, "_PART_BYTES", 1 << 14)
    noise = {f"{number}.bin": os.urandom(1 << 16) for number in range(8)}
    pages.put({"comics/book.cbz": zipped({**noise, "a.png": b"one", **{f"x{name}": data for name, data in noise.items()}})})
    path = f"{pages.address}/comics/book.cbz".encode()
    source = RemoteSource()
    file = opened_file.open_remote(path, source.stamp(path))
    with zipfile.ZipFile(file) as archive:
        assert archive.read("a.png") == b"one"
    parts = [path for method, path in pages.requests if method == "GET"]
    assert len(parts) < 6 < len(pages.files["comics/book.cbz"]) / (1 << 14)
    pages.ranges = False
    with opened_file.open_remote(path, source.stamp(path)) as file:
        assert file.read() == pages.files["comics/book.cbz"]


def test_an_archive_that_changes_while_it_is_read_is_unreadable(pages: IndexPages) -> None:
    pages.put({"comics/book.cbz": zipped(PAGES)})
    path = f"{pages.address}/comics/book.cbz".encode()
    file = opened_file.open_remote(path, RemoteSource().stamp(path))
    pages.put({"comics/book.cbz": zipped({"a.png": b"another"})})
    with pytest.raises(Unreadable, match="changed"):
        file.read()


def test_an_archive_beyond_the_limit_of_copies_is_one_failure(pages: IndexPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened_file, "MAX_COPIED_BYTES", 1 << 10)
    pages.put({"comics/book.cbt": tarred(PAGES)})
    path = f"{pages.address}/comics/book.cbt".encode()
    with pytest.raises(Damaged, match="copy it to a disk"):
        opened_file.open_remote(path, RemoteSource().stamp(path))


def test_a_large_object_is_read_in_parts_of_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.remote.buckets.PART_BYTES", 100)
    with serving(GoogleBuckets()) as server:
        server.put({"b/a.png": bytes(range(250))})
        use_google(monkeypatch, server.address)
        open_bucket.cache_clear()
        assert RemoteSource().read(b"gs://b/a.png")[0] == bytes(range(250))
        assert len([path for _, path in server.requests if path.startswith("/b/")]) == 4
        file, chunks = open_bucket(b"gs://b").stream(b"gs://b/a.png")
        next(chunks)
        server.put({"b/a.png": bytes(250)})
        with pytest.raises(Unreadable, match="changed"):
            list(chunks)
        assert file.size == 250
        open_bucket.cache_clear()


def test_a_download_that_ends_early_is_no_image() -> None:
    class Cut(FileServer):
        def answer(self, request: Request) -> None:
            request.send_response(200)
            request.send_header("Content-Length", "10")
            request.end_headers()
            request.wfile.write(b"half")
            request.close_connection = True

    with serving(Cut()) as server, pytest.raises(Unreadable):
        RemoteSource().read(f"{server.address}/a.png".encode())


def test_the_head_of_an_answer_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.remote.web_client.REQUEST_SECONDS", 0.05)
    asked = threading.Event()
    end = threading.Event()

    class Slow(FileServer):
        def answer(self, request: Request) -> None:
            asked.set()
            end.wait(60)

    with serving(Slow()) as server:
        try:
            with pytest.raises(Unreadable):
                WebClient(reaches_private=True, may_follow=lambda _, __: False, retries=0).request("GET", f"{server.address}/x")
            assert asked.is_set()
        finally:
            end.set()


def test_after_a_server_did_not_answer_its_files_count_as_present_without_a_request() -> None:
    with serving(FileServer()) as server:
        source = RemoteSource()
        server.failing = lambda method, path: 500
        assert source.has_file(f"{server.address}/a.png".encode())
        requests = len(server.requests)
        assert all(source.has_file(f"{server.address}/{number}.png".encode()) for number in range(9))
        assert len(server.requests) == requests


def test_a_table_of_urls_on_a_server_is_opened_if_it_is_named(
    library: Library, pages: IndexPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.put(
        {
            "tables/t.csv": url_csv(
                [{"key": f"{number}.png", "url": f"{pages.address}/comics/{quote(name)}"} for number, name in enumerate(PAGES)]
            )
        }
    )
    library.settings = replace(library.settings, private_urls=True)
    with new_processes(monkeypatch):
        assert counts(library.index(Path(f"{pages.address}/tables"))) == {}
        assert counts(library.index(Path(f"{pages.address}/tables/t.csv"))) == {"scanned": 6, "indexed": 6}
        assert counts(library.index(Path(f"{pages.address}/tables"), prune=True)) == {}
        assert len(library.search(min_score=1e-9)) == 6


def test_a_table_names_no_private_address_by_default(library: Library, pages: IndexPages) -> None:
    (library.folder / "t.csv").write_bytes(url_csv([{"url": f"{pages.address}/comics/{quote(name)}"} for name in PAGES]))
    assert counts(library.index(library.folder / "t.csv")) == {"scanned": 6, "failed": 6}
    assert pages.requests == []


def test_watching_a_server_that_begins_to_deny_access_loses_nothing(
    library: Library, pages: IndexPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.fsencode(f"{pages.address}/comics")
    library.index(Path(os.fsdecode(root)))
    pages.failing = lambda method, path: 403
    warnings: list[str] = []
    with library.opened.source.watch([root], b"/home", None, lambda: None, warnings.append) as watcher:
        assert "does not report changes" in warnings[0]
        watcher.clock = lambda: time.monotonic() + 1000  # type: ignore[attr-defined]
        changed = watcher.changed()
    assert changed == {root}
    library.index(*(Path(os.fsdecode(path)) for path in changed), record_idle=False)
    assert found(library) == set(PAGES)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_server_that_cannot_be_reached_is_one_plain_reason(retries: int) -> None:
    with serving(FileServer()) as server:
        address = server.address  # nothing listens there once the server has ended
    client = WebClient(reaches_private=True, may_follow=lambda _, __: False, retries=retries)
    with pytest.raises(Unreadable) as raised:
        client.request("GET", f"{address}/x.png")
    assert str(raised.value).startswith("its server cannot be reached: Failed to establish a new connection")
