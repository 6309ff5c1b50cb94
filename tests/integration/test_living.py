"""A hit whose file is missing hides no file that exists."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from commands.output.hits import write_hits
from indexer.plain_data.hits import hit_as_dict
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library


@pytest.fixture
def copies(library: Library) -> list[Path]:
    """Four files of one image, and another image; the oldest and the third copy are missing."""
    (first,) = write_images(library.folder, 1)
    paths = [first, *(Path(shutil.copy(first, library.folder / f"copy{number}.png")) for number in range(3))]
    write_images(library.folder, 1, first_seed=9)
    library.index()
    first.unlink()
    paths[2].unlink()
    return paths


def names(library: Library, **criteria: object) -> list[str]:
    return [os.path.basename(os.fsdecode(hit.path)) for hit in library.everything(**criteria) if hit.path[-7:] != b"009.png"]


def test_files_that_exist_come_first_on_every_page(library: Library, copies: list[Path]) -> None:
    expected = ["copy0.png", "copy2.png", "000.png", "copy1.png"]
    assert names(library) == expected
    every = [os.path.basename(os.fsdecode(hit.path)) for hit in library.everything()]
    for size in (1, 2, 3):
        pages = [library.everything(limit=size, offset=offset) for offset in range(0, 5, size)]
        assert [os.path.basename(os.fsdecode(hit.path)) for page in pages for hit in page] == every


def test_a_group_of_duplicates_shows_a_file_that_exists(library: Library, copies: list[Path]) -> None:
    assert names(library, dedupe=True) == ["copy0.png"]
    assert names(library, dedupe=True, like=os.fsencode(copies[1])) == ["copy0.png"]
    assert names(library, like=os.fsencode(copies[1])) == ["copy0.png", "copy2.png", "000.png", "copy1.png"]


def test_near_duplicates_of_a_missing_file_are_shown(library: Library) -> None:
    image = draw_blocks(3)
    for name in ("a.png", "b.png"):
        image.putpixel((0, 0), (0, 0, ord(name[0])))
        (library.folder / name).write_bytes(encoded(image))
    library.index()
    (best,) = names(library, dedupe=True)
    (library.folder / best).unlink()
    assert set(names(library, dedupe=True)) == {"a.png", "b.png"}


def test_hits_of_a_missing_disk_are_still_shown(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    hits = library.everything()
    library.folder.rename(library.folder.with_name("elsewhere"))
    assert library.everything() == hits


@pytest.mark.parametrize("criteria", [{}, {"dedupe": True}, {"like": True}, {"like": True, "dedupe": True}])
def test_hits_of_missing_files_are_marked(library: Library, criteria: dict[str, bool]) -> None:
    paths = write_images(library.folder, 4)
    library.index()
    paths[1].unlink()
    like = {"like": os.fsencode(paths[2])} if "like" in criteria else {}
    hits = library.everything(dedupe=criteria.get("dedupe", False), **like)
    assert [os.path.basename(hit.path) for hit in hits if hit.missing] == [b"001.png"]
    assert [hit_as_dict(hit).get("missing") for hit in hits].count(True) == 1
    out = io.StringIO()
    write_hits(hits, "table", "", out)
    assert [line.endswith("001.png  (missing)") for line in out.getvalue().splitlines()].count(True) == 1
