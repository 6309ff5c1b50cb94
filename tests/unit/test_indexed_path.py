"""The path by which the store knows a file, if the user names it through links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from indexer.system.paths import indexed_path


@pytest.fixture
def links(tmp_path: Path) -> Path:
    """real/sub/1.png; lib/link -> real, lib/one.png -> real/sub/1.png; alias -> lib."""
    root = Path(os.path.realpath(tmp_path))
    (root / "real/sub").mkdir(parents=True)
    (root / "real/sub/1.png").touch()
    (root / "lib").mkdir()
    (root / "lib/link").symlink_to(root / "real")
    (root / "lib/one.png").symlink_to(root / "real/sub/1.png")
    (root / "alias").symlink_to(root / "lib")
    return root


@pytest.mark.parametrize(
    ("given", "known", "expected"),
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
def test_the_first_known_path_is_returned(links: Path, given: str, known: list[str], expected: str) -> None:
    known_paths = {os.fsencode(links / path) for path in known}
    assert indexed_path(os.fsencode(f"{links}/{given}"), known_paths.intersection) == os.fsencode(links / expected)


def test_the_path_of_the_root_is_the_root() -> None:
    assert indexed_path(b"/", lambda _: set()) == b"/"
