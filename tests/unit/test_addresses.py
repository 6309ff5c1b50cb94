from __future__ import annotations

import pytest

from indexer.system.addresses import remote_address
from indexer.system.paths import absolute_path


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        (b"s3://bucket/a/b.png", b"s3://bucket/a/b.png"),
        (b"s3:/bucket/a", b"s3://bucket/a"),
        (b"gs://bucket/", b"gs://bucket"),
        (b"s3://bucket//a///b/", b"s3://bucket/a/b"),
        (b"az://container/a b.png", b"az://container/a b.png"),
        (b"s3://bucket/a%20b", b"s3://bucket/a%20b"),
        (b"https://Example.com:443/My%20Comics/", b"https://example.com/My Comics"),
        (b"http:/host:8000/a%C3%BC", b"http://host:8000/a\xc3\xbc"),
        (b"http://host/100%.png", b"http://host/100%25.png"),
        (b"http://host/100%25.png", b"http://host/100%25.png"),
        (b"http://host/a%2Fb/%2541", b"http://host/a%2Fb/%2541"),
        (b"http://host/a/../b", None),
        (b"s3://", None),
        (b"/home/s3:/bucket", None),
        (b"file:///a", None),
        (b"s3.png", None),
    ],
)
def test_an_address_has_one_form(typed: bytes, address: bytes | None) -> None:
    assert remote_address(typed) == address
    if address is not None:
        assert remote_address(address) == address
        assert absolute_path(typed) == remote_address(address) == address
