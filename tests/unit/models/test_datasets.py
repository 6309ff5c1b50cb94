from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from indexer.domain.errors import Damaged, UsageError
from indexer.domain.images import InputSpec
from models.training.dataset import LabeledImages, held_out, load_images
from models.training.dataset_readers import SourceImage, find_images
from models.training.label_mapping import Labels
from tests.support import drawn

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

SPEC = InputSpec(16, mean=127, std=128)


class ResizingDecoder:
    """A decoder that resizes images and does not detect faces."""

    faces = "resized"

    def decode(self, path: Path, spec: InputSpec) -> Pixels:
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB").resize((spec.size, spec.size)))
        except OSError as error:
            raise Damaged("it is not an image") from error


def draw(path: Path, color: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (color, 255 - color, color // 2)).save(path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four sets by three artists: two sets of one artist, and one set with other words for emotions."""
    color = 0
    for name in ("avatar_lorelei", "avatar_adventurer", "dolls", "knights"):
        for label in ("joy", "sadness") if name == "knights" else ("happy", "sad", "neutral"):
            for number in range(2):
                draw(tmp_path / name / label / f"{number}.png", color := color + 3)
    return tmp_path


def load(*folders: Path) -> LabeledImages:
    return load_images(find_images(folders), SPEC, ResizingDecoder())


def test_reads_a_folder_of_sets(data: Path) -> None:
    images = load(data)
    assert images.emotions == ("happy", "sad", "neutral")
    assert images.pixels.shape == (22, 16, 16, 3) and images.pixels.dtype == np.uint8
    assert np.bincount(images.labels).tolist() == [8, 8, 6]
    assert set(images.artists) == {"lisa-wischofsky", "dolls", "knights"}
    assert images.faces == images.take([3]).faces == "resized"


def test_reads_one_set_and_several_roots(data: Path) -> None:
    assert len(load(data / "knights")) == 4
    assert len(load(data / "knights", data / "dolls")) == 10
    assert len(load(data / "knights", data)) == 22


def test_sets_csv_names_artists_and_licences(data: Path) -> None:
    (data / "sets.csv").write_text("set,artist,licence,credit,url\ndolls,anna,CC0-1.0,Dolls by Anna,https://example.org\n")
    for images in (load(data / "dolls"), load(data).where([source.name == "dolls" for source in load(data).sources])):
        assert {(source.artist, source.licence, source.credit) for source in images.sources} == {
            ("anna", "CC0-1.0", "Dolls by Anna")
        }


def test_a_manifest_names_the_characters_of_a_set(data: Path) -> None:
    rows = ["happy/0.png,happy,A,Mia", "happy/1.png,happy,A,Leo", "0.png,sad,B, Mia ", "1.png,neutral,A,"]
    (data / "dolls" / "manifest.csv").write_text("File,label,confidence,character\n" + "\n".join(rows) + "\n")
    for images in (find_images([data / "dolls"]), find_images([data])):
        characters = {f"{image.label}/{image.path.name}": image.character for image in images if image.source.name == "dolls"}
        assert {path for path, name in characters.items() if name == "Mia"} == {"happy/0.png", "sad/0.png"}
        assert {path for path, name in characters.items() if name == "Leo"} == {"happy/1.png"}
        assert list(characters.values()).count("") == 3
    assert len(load(data).where(held_out(load(data), ["Mia"]))) == 2
    assert set(load(data / "dolls").groups("character")) == {"dolls/Mia", "dolls/Leo", "dolls"}


@pytest.mark.parametrize("text", ["", "file,label\nhappy/a_happy.png,happy\n", "file,character\nhappy/a_happy.png,\n"])
def test_without_characters_in_the_manifest_the_file_names_give_them(tmp_path: Path, text: str) -> None:
    for name in ("mia", "leo"):
        draw(tmp_path / "dolls" / "happy" / f"{name}_happy.png", 10)
    (tmp_path / "dolls" / "manifest.csv").write_text(text)
    assert {image.character for image in find_images([tmp_path / "dolls"])} == {"mia", "leo"}


def test_a_manifest_that_cannot_be_read_is_one_sentence(data: Path) -> None:
    (data / "dolls" / "manifest.csv").write_bytes(b"file,character\n\xff\xff,mia\n")
    with pytest.raises(UsageError, match=r"^The manifest \S+manifest.csv cannot be read: [^\n]+$"):
        find_images([data])


def test_holding_out_a_set_takes_all_sets_of_its_artist(data: Path) -> None:
    remaining, held_out = load(data).without(["avatar_lorelei"])
    assert {source.name for source in held_out.sources} == {"avatar_lorelei", "avatar_adventurer"}
    assert {source.name for source in remaining.sources} == {"dolls", "knights"}
    assert held_out.emotions == remaining.emotions == ("happy", "sad", "neutral")
    assert len(load(data).without(["knights", "dolls"])[0]) == 12


def test_holding_out_an_unknown_name_is_an_error(data: Path) -> None:
    with pytest.raises(UsageError, match="'picasso'"):
        load(data).without(["picasso"])


def test_copies_are_listed_once_by_distinct(data: Path) -> None:
    original = data / "dolls" / "happy" / "0.png"
    (data / "knights" / "sadness" / "copy.png").write_bytes(original.read_bytes())
    assert len(find_images([data])) == 23
    assert len(load(data).distinct()) == 22
    assert load(data).distinct().files[0].source.name == "avatar_adventurer"


def test_a_damaged_image_is_skipped(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "dolls" / "sad" / "broken.png").write_bytes(b"not an image")
    images = load(data)
    assert len(images) == 22
    assert "broken.png" in caplog.text
    assert [(path.name, reason) for path, reason in images.unreadable] == [("broken.png", "it is not an image")]


def test_other_files_are_not_images(data: Path) -> None:
    (data / "dolls" / "sad" / "notes.txt").write_text("sad")
    (data / "dolls" / "LICENSE.txt").write_text("CC0")
    (data / ".cache").mkdir()
    assert len(load(data)) == 22


@pytest.mark.parametrize("where", ["dolls/gloomyish", "newset/gloomyish"])
def test_an_unknown_label_is_an_error_with_a_remedy(data: Path, where: str) -> None:
    draw(data / where / "0.png", 200)
    with pytest.raises(UsageError, match=r"are not emotions: 'gloomyish'.*--map WORD=EMOTION.*moodex knows happy"):
        find_images([data])


def test_labels_can_be_mapped_and_left_out(data: Path) -> None:
    draw(data / "dolls" / "Smug" / "0.png", 200)
    draw(data / "dolls" / "tired" / "0.png", 210)
    images = find_images([data], Labels.from_rules(["smug=pleased", "tired="]))
    assert [image.emotion for image in images if image.label == "Smug"] == ["pleased"]
    assert not [image for image in images if image.label == "tired"]
    remapped = find_images([data / "dolls"], Labels.from_rules(["smug=", "tired=", "neutral=calm", "sad=crying"]))
    assert {image.emotion for image in remapped} == {"happy", "neutral", "crying"}


@pytest.mark.parametrize("rule", ["smug", "=happy", ""])
def test_a_rule_that_maps_nothing_is_an_error(rule: str) -> None:
    with pytest.raises(UsageError, match="--map WORD=EMOTION"):
        Labels.from_rules([rule])


def test_empty_and_missing_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        find_images([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no images in folders named after emotions"):
        find_images([tmp_path])
    (tmp_path / "happy").mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        find_images([tmp_path])
    (tmp_path / "table.txt").write_text("path,label")
    with pytest.raises(UsageError, match=r"is neither a folder nor a \.csv file"):
        find_images([tmp_path / "table.txt"])


@pytest.mark.parametrize("flat", [False, True])
def test_ferg_db_in_both_layouts(tmp_path: Path, flat: bool) -> None:
    images = find_images([drawn.ferg(tmp_path / "FERG_DB_256", flat)])
    assert len(images) == 3 * 7 * 2
    assert {image.label for image in images} == set(drawn.FERG_LABELS)
    assert emotions(images) == {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"}
    assert {image.character for image in images} == set(drawn.FERG_CHARACTERS)
    assert all(image.character in image.path.name and image.label in image.path.name for image in images)
    assert {image.source.name for image in images} == {"FERG_DB_256"}


def test_the_manga_set(tmp_path: Path) -> None:
    images = find_images([drawn.manga(tmp_path / "manga")])
    assert len(images) == 7 * 3
    assert emotions(images) == {"angry", "crying", "embarrassed", "happy", "pleased", "sad", "surprise"}
    assert {image.character for image in images} == {""}


def test_labels_come_from_the_data_not_from_a_list(tmp_path: Path) -> None:
    """The study prints each data set's list of labels for the other set: by position, joy would get the number of happy."""
    ferg = load(drawn.ferg(tmp_path / "ferg"))
    manga = load(drawn.manga(tmp_path / "manga"))
    for images, labels in ((ferg, drawn.FERG_LABELS), (manga, drawn.MANGA_LABELS)):
        assert {file.label for file in images.files} == set(labels)
        for label, file in zip(images.labels, images.files, strict=True):
            assert images.emotions[label] == Labels().emotion(file.label)
            assert file.path.parent.name.endswith(file.label)
    assert "crying" not in ferg.emotions and "disgust" not in manga.emotions


def test_a_table_gives_paths_labels_groups_and_parts(data: Path) -> None:
    table = data / "table.csv"
    table.write_text(
        "Path,label,group,split\ndolls/happy/0.png,JOY,mia,train\ndolls/sad/0.png,sad,mia,val\nknights/joy/0.png,joy,leo,test\n"
    )
    images = find_images([table])
    assert [(image.emotion, image.character, image.part) for image in images] == [
        ("happy", "mia", "train"), ("sad", "mia", "validation"), ("happy", "leo", "test"),
    ]  # fmt: skip
    assert load(table).groups("character") == ("table/mia", "table/mia", "table/leo")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,label\na.png,happy\n", "lacks the column path; its columns are: file, label"),
        ("", "lacks the column path and label; its columns are: none"),
        ("path,label\na.png,gloomyish\n", "are not emotions: 'gloomyish'"),
        ("path,label,split\na.png,happy,sometimes\n", "The split 'sometimes' in line 2"),
        ("path,label\n", "holds no images"),
    ],
)
def test_an_unusable_table_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        find_images([tmp_path / "bad.csv"])


def test_a_missing_file_of_a_table_is_skipped(data: Path) -> None:
    (data / "table.csv").write_text("path,label\ndolls/happy/0.png,happy\nnone.png,sad\ndolls/sad/0.png,sad\n")
    images = load_images(find_images([data / "table.csv"]), SPEC, ResizingDecoder())
    assert len(images) == 2 and [path.name for path, _ in images.unreadable] == ["none.png"]


def emotions(images: list[SourceImage]) -> set[str]:
    return {image.emotion for image in images}
