"""Stored maps: they come back as they were, and damaged ones are not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db.maps.files import MapFiles
from indexer.domain.maps import LibraryMap, region_keys
from tests.support.builders import card

CARD = card("one")
KEYS = np.sort(region_keys([bytes([number]) * 32 for number in range(5)], [0] * 5))


def a_map(version: str = "v1") -> LibraryMap:
    places = np.arange(10, dtype=np.uint16).reshape(5, 2)
    return LibraryMap("one", CARD.key, CARD.embedder_key, version, 1.5, 3, KEYS, places)


def test_a_map_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    files = MapFiles(tmp_path / "maps")
    assert files.load(CARD) is None
    files.save(a_map())
    for reader in (files, MapFiles(tmp_path / "maps")):
        made = reader.load(CARD)
        assert made is not None
        assert (made.version, made.made_at, made.fitted, made.model) == ("v1", 1.5, 3, "one")
        assert np.array_equal(made.keys, KEYS) and np.array_equal(made.places, a_map().places)
    assert files.load(card("other", digest="22")) is None


def test_a_replaced_map_is_loaded_again(tmp_path: Path) -> None:
    files = MapFiles(tmp_path)
    files.save(a_map())
    first = files.load(CARD)
    assert first is not None and files.is_current(first) and files.load(CARD) is first
    MapFiles(tmp_path).save(a_map("v2"))
    assert not files.is_current(first)
    second = files.load(CARD)
    assert second is not None and second.version == "v2"


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"\x80" + data, lambda data: b"{}"]
)
def test_a_damaged_map_is_reported_and_not_used(tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture) -> None:
    MapFiles(tmp_path).save(a_map())
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert MapFiles(tmp_path).load(CARD) is None
    assert "moodex map" in caplog.text


def test_points_are_found_by_key() -> None:
    made = a_map()
    unknown = region_keys([b"\xaa" * 32, b"\xff" * 32], [0, 0])
    assert made.points(np.concatenate([KEYS[::-1], unknown])).tolist() == [4, 3, 2, 1, 0, -1, -1]
    assert np.isnan(made.shares(unknown)).all()
    assert made.shares(KEYS[:1])[0].tolist() == pytest.approx([0, 1 / 65_535])
