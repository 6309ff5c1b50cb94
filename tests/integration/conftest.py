"""Fixtures of the integration tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from db.vectors.tuning import IndexTuning
from indexer.domain.queries import Hit
from tests.support.builders import write_images
from tests.support.library import Library


@pytest.fixture
def library(tmp_path: Path, home: Path) -> Library:
    folder = tmp_path / "images"
    folder.mkdir()
    return Library(folder, home)


@pytest.fixture
def clustered(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library with a clustered index: 121 files in the folders "a" and "b", one of which is a copy."""
    monkeypatch.setattr("db.vectors.files.DEFAULT_TUNING", IndexTuning(clustered_min_rows=100))
    write_images(library.folder / "a", 80)
    write_images(library.folder / "b", 40, first_seed=200)
    shutil.copy(library.folder / "a/000.png", library.folder / "b/copy.png")
    library.index()
    return library


def short_paths(hits: Sequence[Hit]) -> list[str]:
    """Return the last folder and the file name of each hit."""
    return ["/".join(os.fsdecode(hit.path).split("/")[-2:]) for hit in hits]
