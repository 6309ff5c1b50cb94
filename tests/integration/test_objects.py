"""Libraries over buckets: the same answers as from a folder, and nothing is lost because a bucket does not answer."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from indexer.bootstrap import open_analyzer, open_input_decoder
from indexer.domain.errors import UsageError
from indexer.ports.sources import ScanOptions
from indexer.search.collect import collect
from indexer.settings import Settings
from indexer.sources.remote.buckets import open_bucket
from indexer.sources.remote.source import RemoteSource
from tests.support.bucket import Bucket, bucket, use_endpoint
from tests.support.builders import draw_blocks, encoded
from tests.support.library import Library, counts

PAGES = {f"ch {number % 2}/page {number:02d}.png": encoded(draw_blocks(number)) for number in range(6)}


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as made:
        made.put(
            {
                **{f"comics/{page}": data for page, data in PAGES.items()},
                "notes.txt": b"x",
                "other/0.png": PAGES["ch 0/page 00.png"],
            }
        )
        yield made


def root(pictures: Bucket) -> Path:
    return Path(f"{pictures.address}/comics")  # with one slash after the scheme, as the command line hands it on


def answers(library: Library, prefix: str) -> dict[str, object]:
    return {os.fsdecode(hit.path).removeprefix(prefix): replace(hit, path=b"") for hit in library.search(min_score=1e-9)}


def test_a_bucket_gives_the_answers_of_a_folder(library: Library, pictures: Bucket) -> None:
    folder = library.folder / "plain"
    for page, data in PAGES.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_bytes(data)
    library.index()
    expected = answers(library, f"{folder}/")
    assert len(expected) == 6
    shutil.rmtree(folder)
    library.index(prune=True)
    assert counts(library.index(root(pictures), force=True)) == {"scanned": 6, "indexed": 6}
    assert answers(library, f"{pictures.address}/comics/") == expected
    assert counts(library.index(root(pictures))) == {"scanned": 6, "unchanged": 6}


def test_objects_that_changed_or_vanished_are_noticed(library: Library, pictures: Bucket) -> None:
    library.index(root(pictures))
    pictures.put({"comics/ch 0/page 00.png": encoded(draw_blocks(70)), "comics/new.png": encoded(draw_blocks(71))})
    pictures.delete("comics/ch 1/page 01.png")
    assert counts(library.index(root(pictures))) == {"scanned": 6, "indexed": 2, "unchanged": 4, "removed": 1}


def test_objects_of_a_bucket_with_versions_are_read_once(library: Library, pictures: Bucket) -> None:
    pictures.keep_versions()
    pictures.put({f"comics/{page}": data for page, data in PAGES.items()})
    assert counts(library.index(root(pictures))) == {"scanned": 6, "indexed": 6}
    assert counts(library.index(root(pictures))) == {"scanned": 6, "unchanged": 6}


def test_an_empty_listing_loses_nothing_without_prune(library: Library, pictures: Bucket) -> None:
    library.index(root(pictures))
    pictures.delete(*(f"comics/{page}" for page in PAGES))
    assert counts(library.index(root(pictures))) == {"kept": 6}
    assert len(answers(library, "")) == 6
    assert counts(library.index(root(pictures), prune=True)) == {"removed": 6}


def test_pages_are_shown_searched_and_copied_out(library: Library, pictures: Bucket, tmp_path: Path) -> None:
    library.index(Path(f"{pictures.address}/"))
    page = Path(f"{pictures.address}/comics/ch 1/page 01.png")
    assert library.show(page)[0].path == f"{pictures.address}/comics/ch 1/page 01.png".encode()
    hits = library.search(under=(os.fsencode(root(pictures)),))
    assert len(hits) == 6
    assert library.search(image=os.fsencode(page))[0].path == library.show(page)[0].path
    source = library.opened.source
    assert collect(hits, os.fsencode(tmp_path / "out"), source, link=False).done == 6
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == set(PAGES.values())
    with pytest.raises(UsageError, match="where no link can point"):
        collect(hits, os.fsencode(tmp_path / "links"), source, link=True)


def test_patterns_and_single_objects(library: Library, pictures: Bucket) -> None:
    assert counts(library.index(Path(pictures.address), exclude=("comics/",))) == {"scanned": 1, "indexed": 1}
    assert counts(library.index(Path(f"{pictures.address}/comics/ch 0/page 02.png"))) == {"scanned": 1, "indexed": 1}


@contextmanager
def answering(answer: Callable[[int], tuple[int, bytes]]) -> Iterator[str]:
    """Start a server that answers each request, by its number, with a status and a body; yield its address."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            status, body = answer(len(requests))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  # the name that http.server gives it

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_bucket_that_denies_access_loses_nothing(library: Library, pictures: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    library.index(root(pictures))
    library.index(Path(f"{pictures.address}/other/0.png"))
    with answering(lambda _: (403, b"")) as endpoint:
        open_bucket.cache_clear()
        use_endpoint(monkeypatch, endpoint)
        summary = library.index(root(pictures), prune=True)
        assert (summary.removed, summary.left_out, summary.failed) == (0, 0, 1)
        assert "denies access" in next(iter(summary.unlisted.values()))
        library.index(Path(f"{pictures.address}/other/0.png"), prune=True)
        assert RemoteSource().has_file(f"{pictures.address}/comics/none.png".encode())
        open_bucket.cache_clear()
    assert len(answers(library, "")) == 7


def test_a_request_that_fails_for_the_moment_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        b'<?xml version="1.0"?><ListBucketResult><Name>b</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents>'
        b"<Key>a.png</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;1&quot;</ETag><Size>3</Size></Contents>"
        b"</ListBucketResult>"
    )
    with answering(lambda number: (503, b"") if number < 3 else (200, listing)) as endpoint:
        use_endpoint(monkeypatch, endpoint)
        (folder,) = RemoteSource().scan(b"s3://retried", ScanOptions())
    assert [name for name, *_ in folder.entries] == [b"a.png"]


def test_a_missing_object_and_a_missing_bucket_differ(pictures: Bucket) -> None:
    with pytest.raises(FileNotFoundError):
        RemoteSource().read(f"{pictures.address}/none.png".encode())
    (folder,) = RemoteSource().scan(b"s3://no-such-bucket-here", ScanOptions())
    assert folder.problem is not None
    assert folder.problem.reason == "the server has no bucket of this name; check the name, the region and the endpoint"


@pytest.mark.torch
def test_a_page_is_read_for_an_explanation(pictures: Bucket, tmp_path: Path) -> None:
    page = next(iter(PAGES))
    (tmp_path / "page.png").write_bytes(PAGES[page])
    settings = Settings(home=tmp_path / "home", faces="off")
    decoder, classifier = open_input_decoder(settings), open_analyzer(settings).classifier
    inside, alone = (decoder.main_view(path, classifier).pixels for path in (root(pictures) / page, tmp_path / "page.png"))
    assert (inside == alone).all()
