from __future__ import annotations

import pytest

from indexer.system.paths import absolute_path, object_url


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        (b"s3://bucket/a/b.png", b"s3://bucket/a/b.png"),
        (b"s3:/bucket/a", b"s3://bucket/a"),
        (b"gs://bucket/", b"gs://bucket"),
        (b"s3://bucket//a///b/", b"s3://bucket/a/b"),
        (b"s3://", None),
        (b"/home/s3:/bucket", None),
        (b"file:///a", None),
        (b"s3.png", None),
    ],
)
def test_an_address_has_one_form(typed: bytes, address: bytes | None) -> None:
    assert object_url(typed) == address
    if address is not None:
        assert absolute_path(typed) == object_url(address) == address
