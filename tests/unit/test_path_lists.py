"""Lists of paths, as programs and editors of other systems write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.path_lists import all_paths
from indexer.domain.errors import UsageError

PATHS = ["/a/größe.png", "/b/2.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_may_begin_with_the_mark_of_its_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "list").write_bytes(end.join([*PATHS, ""]).encode(encoding))
    assert all_paths(None, [tmp_path / "list"], null=False) == [os.fsencode(path) for path in PATHS]


def test_a_list_of_bytes_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"/a/\xff\xfe.png\0/b\n.png\0")
    assert all_paths([Path("/c.png")], [tmp_path / "list"], null=True) == [b"/c.png", b"/a/\xff\xfe.png", b"/b\n.png"]


def test_a_list_with_zero_bytes_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"/a.png\0/b.png\0")
    with pytest.raises(UsageError, match="add --null"):
        all_paths(None, [tmp_path / "list"], null=False)
