"""Tables of URLs: the names of their rows, what is downloaded, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from indexer.domain.errors import Damaged, Unreadable
from indexer.ports.sources import ScannedFolder, ScanOptions
from indexer.sources.archives.archives import Archives
from indexer.sources.filesystem import FileSystemSource
from indexer.sources.remote.web_client import is_public
from tests.support.archives import zipped
from tests.support.datasets import url_csv, url_parquet
from tests.support.remote_servers import FileServer, serving

Rows = Sequence[Mapping[str, str]]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as made:
        made.put({"a.png": b"one", "dir/b.jpg": b"two"})
        yield made


def entries(path: Path) -> dict[str, ScannedFolder]:
    folders = FileSystemSource(reaches_private=True).scan(os.fsencode(path), ScanOptions())
    return {
        os.path.relpath(os.fsdecode(os.path.join(folder.path, name)), path): folder
        for folder in folders
        for name, *_ in folder.entries
    }


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://Example.com/a/b%20c.png", "example.com/a/b c.png"),
        ("https://example.com/picture", "example.com/picture.jpg"),
        ("https://example.com", "example.com/index.jpg"),
        ("http://example.com:8080/x.gif#top", "example.com:8080/x.gif"),
    ],
)
def test_a_row_is_named_by_its_host_and_path(tmp_path: Path, url: str, name: str) -> None:
    (tmp_path / "t.csv").write_bytes(url_csv([{"url": url, "caption": "a, b"}]))
    assert list(entries(tmp_path / "t.csv")) == [name]


@pytest.mark.parametrize(
    "url",
    ["https://example.com/../../etc/x.png", "https://example.com/a%2F..%2F..%2Fx.png", "https://[x/y.png", "https://h/%00.png"],
)
def test_no_name_leads_out_of_the_table(tmp_path: Path, url: str) -> None:
    (tmp_path / "t.csv").write_bytes(url_csv([{"url": url}]))
    (name,) = entries(tmp_path / "t.csv")
    assert ".." not in name.split("/") and "\0" not in name


@pytest.mark.parametrize(
    ("file", "make"),
    [
        ("t.csv", url_csv),
        ("t.tsv", lambda rows: url_csv(rows, "\t")),
        ("t.csv", lambda rows: url_csv(rows, ";")),
        ("t.parquet", url_parquet),
    ],
)
def test_keys_name_rows_and_queries_and_equal_keys_are_kept_apart(
    tmp_path: Path, file: str, make: Callable[[Rows], bytes]
) -> None:
    urls = ["https://h/1.webp", "https://h/2", "https://h/3", "https://h/4?q=1", "https://h/4?q=2", "https://h/1.webp", ""]
    keys = ["0001", "0002", "0002", "", "", "0001", "0009"]
    (tmp_path / file).write_bytes(make([{"key": key, "url": url} for key, url in zip(keys, urls, strict=True)]))
    found = list(entries(tmp_path / file))
    assert len(found) == 5
    assert {"0001.webp", "0002.jpg"} <= set(found)
    assert sum(name.endswith("-0002.jpg") for name in found) == 1
    assert sum(name.startswith("h/") and name.endswith("-4.jpg") for name in found) == 2


def test_only_a_user_who_names_a_table_opens_it(tmp_path: Path) -> None:
    for name, make in (("t.csv", url_csv), ("t.parquet", url_parquet)):
        (tmp_path / name).write_bytes(make([{"url": "https://example.com/a.png"}]))
    assert entries(tmp_path) == {}
    assert len(entries(tmp_path / "t.csv")) == len(entries(tmp_path / "t.parquet")) == 1
    assert len(entries(tmp_path / "t.parquet/example.com")) == 1


def test_a_table_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"t.parquet": url_parquet([{"url": "https://example.com/a.png"}])}))
    assert entries(tmp_path) == {}


def read(tmp_path: Path, url: str, reaches_private: bool = True) -> bytes:
    table = tmp_path / "t.csv"
    table.write_bytes(url_csv([{"key": "one.png", "url": url}]))
    return FileSystemSource(reaches_private=reaches_private).read(os.fsencode(table / "one.png"))[0]


def test_an_image_is_downloaded_also_over_redirects(tmp_path: Path, server: FileServer) -> None:
    server.answer = lambda request: request.reply(302, headers={"Location": "/dir/b.jpg"})  # type: ignore[method-assign]
    assert read(tmp_path, f"{server.address}/a.png") == b"one"
    assert read(tmp_path, f"{server.address}/moved") == b"two"


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [(404, Damaged, "leads to nothing"), (403, Unreadable, "answers 403"), (503, Unreadable, "answers 503")],
)
def test_an_answer_without_the_image_is_a_failure(
    tmp_path: Path, server: FileServer, status: int, error: type[Exception], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.util.retry.Retry.get_backoff_time", lambda _: 0)
    server.failing = lambda method, path: status
    with pytest.raises(error, match=reason):
        read(tmp_path, f"{server.address}/a.png")


def test_a_server_that_leads_in_circles_is_left(tmp_path: Path, server: FileServer) -> None:
    server.answer = lambda request: request.reply(302, headers={"Location": "/again"})  # type: ignore[method-assign]
    with pytest.raises(Unreadable, match="more than 5 times"):
        read(tmp_path, f"{server.address}/start")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/a.png", "https://user:secret@example.com/a.png", "a.png"]
)
def test_only_web_addresses_without_credentials_are_read(tmp_path: Path, url: str) -> None:
    with pytest.raises(Damaged, match="its address"):
        read(tmp_path, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "2130706433"])
def test_an_address_of_this_machine_is_refused_before_a_request(tmp_path: Path, server: FileServer, host: str) -> None:
    with pytest.raises(Unreadable):
        read(tmp_path, f"http://{host}:{server.address.rpartition(':')[2]}/a.png", reaches_private=False)
    assert server.requests == []


def test_a_public_name_with_a_private_address_is_refused(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(server.address.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Unreadable, match=r"public\.example is in a private network"):
        read(tmp_path, f"http://public.example:{port}/a.png", reaches_private=False)
    assert server.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "64:ff9b::7f00:1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "64:ff9b::5db8:d822"])
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_a_file_that_is_no_table_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name,size\na,1\n")
    (folder,) = FileSystemSource().scan(os.fsencode(tmp_path / "t.csv"), ScanOptions())
    assert folder.problem is not None and "no column with the name url" in folder.problem.reason


def test_images_larger_than_the_limit_are_refused(tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.remote.downloads.MAX_FILE_BYTES", 2)
    with pytest.raises(Damaged, match="exceeds the limit"):
        read(tmp_path, f"{server.address}/a.png")


def test_an_address_is_known_by_its_text_alone(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(url_csv([{"key": "one.png", "url": "https://example.com/a.png"}]))
    archives = Archives()
    place = archives.locate(os.fsencode(table / "one.png"))
    assert place is not None
    before = archives.member(place)
    table.write_bytes(url_csv([{"key": "one.png", "url": "https://example.com/b.png"}]))
    place = archives.locate(os.fsencode(table / "one.png"))
    assert place is not None
    assert archives.member(place).version != before.version
