"""The map of a library in memory: which faces are on it, where, in which colors, and what it says after changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from indexer.domain.errors import MapChanged, NotIndexed, UsageError
from indexer.domain.maps import MAP_SIDE, NOT_SHOWN
from indexer.domain.predictions import LabelAssignment
from indexer.domain.queries import SearchRequest
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.library import Library
from indexer.mapping.make import make_map
from indexer.mapping.view import ColoredMap, colored_map, matches, point_hits
from indexer.registry.selection import open_selected
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.memory_library import MemorySource, memory_library
from tests.support.quiet import Remembered

FILES = {b"/images/a/%02d.png" % number: encoded(draw_blocks(number)) for number in range(12)}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    opened = memory_library(FILES, tmp_path / "home", FakeClassifier())
    index(opened)
    return opened


def index(library: Library) -> None:
    ingest_service.index(library, [b"/images"], IndexRequest(), Remembered())


def colored(library: Library, hidden: bool = False) -> ColoredMap:
    found = colored_map(library, hidden)
    assert found is not None
    return found


def test_every_face_has_a_place_inside_the_map(library: Library) -> None:
    report = make_map(library, Remembered())
    made = colored(library).made
    assert (report.points, report.fitted, len(made)) == (12, 12, 12)
    assert made.places.dtype == np.uint16 and made.places.max() < MAP_SIDE and made.places.min() > 0
    with open_selected(library) as (store, model):
        (rows,), regions = store.vectors(model.id), store.region_ids(model.id)
    vectors = rows.vectors.astype(np.float32)[:, :2]
    points = made.points(regions.keys)
    assert sorted(points) == list(range(12))
    assert np.array_equal(np.argsort(made.places[points, 0]), np.argsort(vectors[:, 0]))
    # One scale for both directions: distances keep their proportions.
    spans, shown = np.ptp(vectors, axis=0), np.ptp(made.places.astype(float), axis=0)
    assert shown / shown.max() == pytest.approx(spans / spans.max(), abs=1e-3)


@pytest.mark.parametrize("sample_rows", [1, 5, 11])
def test_faces_outside_the_sample_are_placed_too(library: Library, sample_rows: int) -> None:
    make_map(library, Remembered())
    whole = colored(library).made
    report = make_map(library, Remembered(), sample_rows)
    made = colored(library).made
    assert report.fitted <= sample_rows
    assert np.array_equal(made.keys, whole.keys)
    assert np.array_equal(made.places, whole.places)  # the projector in memory places every vector alike
    assert made.version != whole.version


def test_points_have_the_emotions_of_labels_and_of_predictions(library: Library) -> None:
    make_map(library, Remembered())
    before = colored(library)
    first = point_hits(library, before, [0])[0].hit
    assert before.emotions[before.codes[0]] == first.emotion
    labels_service.label(library, [LabelAssignment(first.path, "smug")], new=True, skip_unknown=False)
    after = colored(library)
    assert after.emotions[after.codes[0]] == "smug"
    assert np.array_equal(after.codes[1:], before.codes[1:])


def test_an_image_that_is_added_is_counted_but_not_on_the_map(library: Library) -> None:
    make_map(library, Remembered())
    assert colored(library).absent == 0
    source = library.source
    assert isinstance(source, MemorySource)
    source.files[b"/images/b/new.png"] = encoded(draw_blocks(99))
    index(library)
    found = colored(library)
    assert (found.absent, len(found.made)) == (1, 12)
    make_map(library, Remembered())
    assert (colored(library).absent, len(colored(library).made)) == (0, 13)


def test_an_image_without_a_file_is_not_shown(library: Library) -> None:
    make_map(library, Remembered())
    source = library.source
    assert isinstance(source, MemorySource)
    path = point_hits(library, colored(library), [3])[0].hit.path
    del source.files[path]
    index(library)
    assert np.flatnonzero(colored(library).codes == NOT_SHOWN).tolist() == [3]
    assert point_hits(library, colored(library), [3]) == []


def test_matches_are_the_points_that_a_search_finds(library: Library) -> None:
    make_map(library, Remembered())
    found = colored(library)
    emotion = found.emotions[found.codes[0]]
    request = SearchRequest(emotions=(emotion,), exact_label=True)
    bits = np.unpackbits(matches(library, found, request), bitorder="little")
    assert np.flatnonzero(bits).tolist() == np.flatnonzero(found.codes == found.codes[0]).tolist()
    everything = np.unpackbits(matches(library, found, SearchRequest(all_images=True)), bitorder="little")
    assert everything[:12].all() and not everything[12:].any()


def test_requests_for_another_map_are_refused(library: Library) -> None:
    assert colored_map(library, hidden=False) is None
    make_map(library, Remembered())
    found = colored(library)
    found.require(found.made.version)
    with pytest.raises(MapChanged):
        found.require("other")
    with pytest.raises(UsageError, match="12 points"):
        point_hits(library, found, [12])


def test_a_library_without_images_has_no_map(tmp_path: Path) -> None:
    with pytest.raises(NotIndexed):
        make_map(memory_library(FILES, tmp_path / "home", FakeClassifier()), Remembered())
