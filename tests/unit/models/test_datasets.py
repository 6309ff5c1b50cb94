from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from indexer.domain import InputSpec
from indexer.errors import Damaged, UsageError
from models.training.datasets import Pictures, find_pictures, load_pictures

if TYPE_CHECKING:
    from indexer.domain import Pixels

SPEC = InputSpec(16, mean=127, std=128)


def decode(path: Path, spec: InputSpec) -> Pixels:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((spec.size, spec.size)))
    except OSError as error:
        raise Damaged("it is no picture") from error


def draw(path: Path, colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 255 - colour, colour // 2)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four sets by three artists: two of one artist known by name, one in another vocabulary."""
    colour = 0
    for name in ("avatar_lorelei", "avatar_adventurer", "dolls", "knights"):
        for word in ("joy", "sadness") if name == "knights" else ("happy", "sad", "neutral"):
            for number in range(2):
                draw(tmp_path / name / word / f"{number}.png", colour := colour + 3)
    return tmp_path


def load(*folders: Path) -> Pictures:
    return load_pictures(find_pictures(folders), SPEC, decode)


def test_reads_a_folder_of_sets(data: Path) -> None:
    pictures = load(data)
    assert pictures.emotions == ("happy", "sad", "neutral")
    assert pictures.pixels.shape == (22, 16, 16, 3) and pictures.pixels.dtype == np.uint8
    assert np.bincount(pictures.labels).tolist() == [8, 8, 6]
    assert set(pictures.artists) == {"lisa-wischofsky", "dolls", "knights"}


def test_reads_one_set_and_several_roots(data: Path) -> None:
    assert len(load(data / "knights")) == 4
    assert len(load(data / "knights", data / "dolls")) == 10
    assert len(load(data / "knights", data)) == 22


def test_sets_csv_names_artists_and_licences(data: Path) -> None:
    (data / "sets.csv").write_text("set,artist,licence,credit,url\ndolls,anna,CC0-1.0,Dolls by Anna,https://example.org\n")
    for pictures in (load(data / "dolls"), load(data).where([source.name == "dolls" for source in load(data).sources])):
        assert {(one.artist, one.licence, one.credit) for one in pictures.sources} == {("anna", "CC0-1.0", "Dolls by Anna")}


def test_holding_out_a_set_takes_all_sets_of_its_artist(data: Path) -> None:
    kept, taken = load(data).without(["avatar_lorelei"])
    assert {source.name for source in taken.sources} == {"avatar_lorelei", "avatar_adventurer"}
    assert {source.name for source in kept.sources} == {"dolls", "knights"}
    assert taken.emotions == kept.emotions == ("happy", "sad", "neutral")
    assert len(load(data).without(["knights", "dolls"])[0]) == 12


def test_holding_out_nobody_known_is_an_error(data: Path) -> None:
    with pytest.raises(UsageError, match="'picasso'"):
        load(data).without(["picasso"])


def test_exact_copies_count_once(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    original = data / "dolls" / "happy" / "0.png"
    (data / "knights" / "sadness" / "copy.png").write_bytes(original.read_bytes())
    with caplog.at_level(logging.INFO):
        assert len(find_pictures([data])) == 22
    assert "1 exact copies" in caplog.text


def test_a_damaged_picture_is_left_out(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "dolls" / "sad" / "broken.png").write_bytes(b"no picture")
    assert len(load(data)) == 22
    assert "broken.png" in caplog.text


def test_other_files_are_no_pictures(data: Path) -> None:
    (data / "dolls" / "sad" / "notes.txt").write_text("sad")
    (data / "dolls" / "LICENSE.txt").write_text("CC0")
    (data / ".cache").mkdir()
    assert len(load(data)) == 22


@pytest.mark.parametrize("where", ["dolls/gloomyish", "newset/gloomyish"])
def test_an_unknown_label_is_an_error(data: Path, where: str) -> None:
    draw(data / where / "0.png", 200)
    with pytest.raises(UsageError, match=r"gloomyish is not named after an emotion; moodex knows happy"):
        find_pictures([data])


def test_empty_and_missing_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_pictures([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no pictures in folders named after emotions"):
        find_pictures([tmp_path])
    (tmp_path / "happy").mkdir()
    with pytest.raises(UsageError, match="holds no pictures"):
        find_pictures([tmp_path])
