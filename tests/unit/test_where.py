"""By which path the store knows what a person names, where links lie on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.system.paths import indexed_path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """real/sub/1.png; lib/link -> real, lib/one.png -> real/sub/1.png; alias -> lib."""
    place = Path(os.path.realpath(tmp_path))
    (place / "real/sub").mkdir(parents=True)
    (place / "real/sub/1.png").touch()
    (place / "lib").mkdir()
    (place / "lib/link").symlink_to(place / "real")
    (place / "lib/one.png").symlink_to(place / "real/sub/1.png")
    (place / "alias").symlink_to(place / "lib")
    return place


@pytest.mark.parametrize(
    ("named", "known", "found"),
    [
        ("real/sub/1.png", ["real/sub/1.png"], "real/sub/1.png"),
        ("lib/one.png", ["lib/one.png"], "lib/one.png"),
        ("lib/one.png", ["real/sub/1.png"], "real/sub/1.png"),
        ("lib/one.png", ["real/sub/1.png", "lib/one.png"], "lib/one.png"),
        ("lib/link/sub", ["lib/link/sub"], "lib/link/sub"),
        ("alias/link/sub/1.png", ["lib/link/sub/1.png"], "lib/link/sub/1.png"),
        ("alias/../lib/one.png", ["lib/one.png"], "lib/one.png"),
        ("alias/link/sub", [], "real/sub"),
        ("nowhere", [], "nowhere"),
    ],
)
def test_the_first_way_to_something_known_is_taken(place: Path, named: str, known: list[str], found: str) -> None:
    there = {os.fsencode(place / path) for path in known}
    assert indexed_path(os.fsencode(f"{place}/{named}"), there.__contains__) == os.fsencode(place / found)


def test_the_root_is_itself() -> None:
    assert indexed_path(b"/", lambda _: False) == b"/"
