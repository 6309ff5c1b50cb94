"""Listings that are requested before a scan needs them."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from indexer.domain.errors import Unreadable
from indexer.sources.entries import InnerFolder
from indexer.sources.remote import listings
from indexer.sources.remote.listings import Listings


def test_each_folder_that_a_scan_takes_is_listed_once() -> None:
    asked: Counter[bytes] = Counter()

    def list_folder(folder: bytes) -> InnerFolder:
        asked[folder] += 1
        return InnerFolder(folder, {}, set())

    folders = [b"s3://b/%03d" % number for number in range(100)]
    with closing(Listings(list_folder)) as made:
        made.prepare(folders)
        assert [made.take(folder).path for folder in folders] == folders
    assert asked == Counter(folders)


def test_folders_that_the_scan_passes_over_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "_MAX_PREPARED", 2)
    with closing(Listings(lambda folder: InnerFolder(folder, {}, set()))) as made:
        made.prepare([b"b/1", b"b/2", b"b/3"])
        assert made.take(b"b/3").path == b"b/3"
        assert not made._prepared


def test_an_error_comes_when_the_listing_is_taken() -> None:
    def fail(folder: bytes) -> InnerFolder:
        raise Unreadable(f"no {folder!r}")

    with closing(Listings(fail)) as made:
        made.prepare([b"b/1"])
        with pytest.raises(Unreadable, match="b/1"):
            made.take(b"b/1")
