"""Fixtures of the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.library import Library


@pytest.fixture
def library(tmp_path: Path, home: Path) -> Library:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return Library(folder, home)
