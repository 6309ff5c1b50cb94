"""Images with several faces, from the file to the search result."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.domain.queries import Hit
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeFaceDetector
from tests.support.library import Library, counts


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "images", tmp_path / "home")
    library.detector = FakeFaceDetector()
    library.folder.mkdir()
    return library


def add(library: Library, name: str, *faces: tuple[int, int, int, int], size: tuple[int, int] = (200, 120), seed: int = 0) -> str:
    """Write an image in which the fake detector detects faces in these boxes: colored blocks with a border in a face color."""
    page = Image.new("RGB", size, (250, 250, 250))
    for number, (left, top, right, bottom) in enumerate(faces):
        page.paste(FakeFaceDetector.FACE_COLORS[number], (left, top, right, bottom))
        inside = draw_blocks(100 * seed + number, (right - left - 4, bottom - top - 4))
        page.paste(inside, (left + 2, top + 2))
    path = library.folder / name
    path.write_bytes(encoded(page))
    return str(path)


def single(hits: list[Hit]) -> Hit:
    (hit,) = hits
    return hit


LEFT, RIGHT = (10, 30, 60, 90), (130, 20, 190, 95)


def test_every_face_is_classified_the_largest_first(library: Library) -> None:
    path = add(library, "two.png", LEFT, RIGHT)
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}
    hits = library.show(path)
    assert [hit.box for hit in hits] == [RIGHT, LEFT]
    assert hits[0].emotions != hits[1].emotions
    with library.store() as store:
        assert store.image_count(store.models()[0].id) == 1


def test_an_image_matches_once_with_its_best_face(library: Library) -> None:
    add(library, "two.png", LEFT, RIGHT, seed=1)
    library.index()
    faces = library.show(library.folder / "two.png")
    assert faces[0].emotion != faces[1].emotion
    for face in faces:
        hit = single(library.search(emotions=(face.emotion,), exact_label=True))
        assert (hit.box, hit.emotion, hit.score) == (face.box, face.emotion, face.score)
        assert library.search(excluded=(face.emotion,), exact_label=True) == []
    best = single(library.everything())
    assert best.score == max(face.score for face in faces)


def test_the_surroundings_of_a_face_do_not_change_it(library: Library) -> None:
    add(library, "narrow.png", (70, 30, 130, 90), seed=3)
    add(library, "wide.png", (170, 130, 230, 190), size=(400, 300), seed=3)
    library.index()
    hits = library.search(like=os.fsencode(library.folder / "narrow.png"))
    assert [hit.similarity for hit in hits] == pytest.approx([1, 1], abs=1e-3)


def test_an_image_is_found_by_any_of_its_faces(library: Library) -> None:
    add(library, "alone.png", (70, 30, 130, 90), seed=7)
    add(library, "group.png", (30, 30, 90, 90), (130, 10, 198, 110), seed=7)
    library.index()
    hits = library.search(like=os.fsencode(library.folder / "alone.png"))
    group = next(hit for hit in hits if hit.path.endswith(b"group.png"))
    assert len(hits) == 2 and group.box == (30, 30, 90, 90)
    assert group.similarity is not None and group.similarity > 0.99


def test_an_image_without_faces_is_classified_as_a_whole(library: Library) -> None:
    path = library.folder / "none.png"
    path.write_bytes(encoded(draw_blocks(1)))
    library.index()
    hit = single(library.everything())
    without_detector = Library(library.folder, library.settings.home)
    whole = single(without_detector.show(path))
    assert hit.box is None and hit.emotions == whole.emotions


def test_a_face_that_fills_the_image_uses_the_whole_image(library: Library) -> None:
    path = add(library, "large.png", (10, 10, 190, 115))
    hit = single(library.show(path))
    without_detector = Library(library.folder, library.settings.home)
    whole = single(without_detector.show(path))
    assert hit.box == (10, 10, 190, 115) and whole.box is None
    assert hit.emotions == whole.emotions


def test_switching_faces_reanalyzes_every_image_once(library: Library) -> None:
    add(library, "two.png", LEFT, RIGHT)
    add(library, "one.png", LEFT, seed=5)
    library.index()
    assert counts(library.index()) == {"scanned": 2, "unchanged": 2}
    library.detector = None
    assert counts(library.index()) == {"scanned": 2, "indexed": 2}
    assert counts(library.index()) == {"scanned": 2, "unchanged": 2}
    assert [hit.box for hit in library.everything()] == [None, None]
    library.detector = FakeFaceDetector("newer")
    assert counts(library.index()) == {"scanned": 2, "indexed": 2}
    hits = library.search(like=os.fsencode(library.folder / "two.png"))
    assert {hit.box for hit in hits} == {RIGHT, LEFT}


def test_an_outdated_index_never_shows_a_deleted_region(library: Library) -> None:
    add(library, "two.png", LEFT, RIGHT)
    add(library, "one.png", RIGHT, seed=5)
    library.index()
    outdated = {path: path.read_bytes() for path in library.settings.vectors.rglob("*") if path.is_file()}
    library.detector = None
    library.index()
    for path, data in outdated.items():
        path.write_bytes(data)
    hits = library.search(like=os.fsencode(library.folder / "two.png"))
    assert len(hits) == 2 and all(hit.box is None for hit in hits)


def test_hits_resemble_the_main_face_of_a_query_image(library: Library) -> None:
    add(library, "indexed.png", (70, 30, 130, 90), seed=9)
    library.index()
    query = library.folder.parent / "query.png"
    (library.folder / "indexed.png").rename(query)
    add(library, "indexed.png", (70, 30, 130, 90), seed=9)
    image = np.array(Image.open(query))
    image[0, 0] = 0  # other bytes, the same face
    Image.fromarray(image).save(query)
    (hit,) = library.search(image=os.fsencode(query))
    assert hit.similarity == pytest.approx(1, abs=1e-3) and hit.box == (70, 30, 130, 90)
