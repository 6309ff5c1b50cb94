"""Sprites gathered from repositories: layers, trimming, regions, tables, and what is left out."""

from __future__ import annotations

import csv
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from models.training.dataset_readers import find_images
from recipes.sprites.compare import compare_set
from recipes.sprites.finish import finish_image, store_image
from recipes.sprites.gather import gather
from recipes.sprites.layers import draw
from recipes.sprites.regions import find_regions
from recipes.sprites.repositories import MissingSource, open_source
from recipes.sprites.tables import read_pictures, read_sources
from recipes.sprites.tees import draw_tee

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
SOURCE_COLUMNS = "set,used,repository,commit,folder,finish,artist,licence,credit,url,note"
PICTURE_COLUMNS = "file,label,confidence,original_name,character,layers"
EMOTIONS = {"happy", "sad", "angry", "surprise", "fear", "disgust", "neutral", "crying", "embarrassed", "pleased"}


def face(mouth: str) -> Image.Image:
    """Draw a head on a transparent canvas of 100 x 200 pixels, with a mouth of a color."""
    image = Image.new("RGBA", (100, 200))
    pen = ImageDraw.Draw(image)
    pen.rectangle((20, 40, 79, 159), fill="yellow")
    pen.rectangle((40, 60, 59, 79), fill=mouth)
    return image


def commit(folder: Path, images: dict[str, Image.Image]) -> str:
    """Make a repository with images, and return its commit."""
    for name, image in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "art"]):
        subprocess.run([*GIT, "-C", str(folder), *command], check=True)
    head = subprocess.run([*GIT, "-C", str(folder), "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return head.stdout.strip()


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes tables with one set, from a repository with two faces."""

    def write(used: str = "yes", layers: str = "joy.png", revision: str = "") -> Path:
        head = commit(tmp_path / "clones" / "ann+game", {"art/joy.png": face("red"), "art/mad.png": face("blue")})
        tables = tmp_path / "tables"
        (tables / "pictures").mkdir(parents=True)
        row = f"vn_ann,{used},ann/game,{revision or head},art,fit,ann,CC0-1.0,Ann,https://example.org,A note."
        (tables / "sources.csv").write_text(f"{SOURCE_COLUMNS}\n{row}\n")
        rows = f"happy/joy.webp,happy,A,joy,ann,{layers}\nangry/mad.webp,angry,B,mad,ann,mad.png\n"
        (tables / "pictures" / "vn_ann.csv").write_text(f"{PICTURE_COLUMNS}\n{rows}")
        return tables

    return write


def read(path: str) -> Image.Image:
    """Return a plain image of 8 x 4 pixels whose color is its name."""
    return Image.new("RGBA", (8, 4), path)


def test_a_set_with_busts_is_left_out_where_busts_are_asked_for(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    tables = recipe()
    row = (tables / "sources.csv").read_text().splitlines()[1]
    with (tables / "sources.csv").open("a") as file:
        file.write(row.replace("vn_ann", "vn_ann_bust") + "\n")
    (tables / "pictures" / "vn_ann_bust.csv").write_text((tables / "pictures" / "vn_ann.csv").read_text())
    gather(tmp_path / "clones", tmp_path / "all", tables=tables)
    gather(tmp_path / "clones", tmp_path / "busts", tables=tables, busts=True)
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["sets.csv", "vn_ann", "vn_ann_bust"]
    assert sorted(path.name for path in (tmp_path / "busts").iterdir()) == ["sets.csv", "vn_ann_bust"]


def test_a_set_is_gathered_with_its_tables(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    gather(tmp_path / "clones", tmp_path / "out", tables=recipe())
    folder = tmp_path / "out" / "vn_ann"
    with Image.open(folder / "happy" / "joy.webp") as image:
        assert image.size == (60 + 2 * 4, 120 + 2 * 4)
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["confidence"]) for row in rows] == [("happy/joy.webp", "A"), ("angry/mad.webp", "B")]
    licence = (folder / "LICENSE.txt").read_text()
    assert all(word in licence for word in ("ann/game", "CC0-1.0", "Ann", "A note."))
    (image, _) = find_images([tmp_path / "out"])
    assert (image.source.artist, image.source.licence, image.source.credit) == ("ann", "CC0-1.0", "Ann")


def test_a_second_run_gives_the_same_bytes(
    tmp_path: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tables = recipe()
    gather(tmp_path / "clones", tmp_path / "one", tables=tables)
    gather(tmp_path / "clones", tmp_path / "two", tables=tables, compare=tmp_path / "one")
    assert capsys.readouterr().out.endswith("2 of 2 are equal, 2 in every byte\n")


def test_the_region_is_the_part_that_changes(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    gather(tmp_path / "clones", tmp_path / "out", tables=recipe())
    with (tmp_path / "out" / "vn_ann" / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["angry/mad.webp", "happy/joy.webp"]
    assert float(rows[0]["left"]) == pytest.approx(24 / 68, abs=0.03)
    assert float(rows[0]["bottom"]) == pytest.approx(44 / 128, abs=0.03)


def test_characters_and_large_changes_have_no_region(tmp_path: Path) -> None:
    for name, image in (("a.png", face("red")), ("b.png", face("blue")), ("c.png", Image.new("RGBA", (100, 200)))):
        image.save(tmp_path / name)
    assert find_regions(tmp_path, [("a.png", "ann"), ("b.png", "bob"), ("c.png", "ann")]) == []


def test_a_set_that_is_left_out_is_not_read(
    tmp_path: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tables = recipe(used="no", revision="0" * 40)
    (tmp_path / "out").mkdir()
    gather(tmp_path / "clones", tmp_path / "out", tables=tables)
    assert capsys.readouterr().out == "vn_ann: left out. A note.\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sets.csv"]


def test_a_missing_commit_and_file_are_named(tmp_path: Path, recipe: Callable[..., Path]) -> None:
    tables = recipe(layers="lost.png")
    with pytest.raises(MissingSource, match="art/lost.png"):
        gather(tmp_path / "clones", tmp_path / "out", tables=tables)
    with pytest.raises(MissingSource, match="git clone"):
        open_source(tmp_path / "clones", "ann/game", "0" * 40)
    with pytest.raises(MissingSource, match="npm pack"):
        open_source(tmp_path / "clones", "npm:@ann/game", "1.0")
    with pytest.raises(ValueError, match="vn_bob"):
        gather(tmp_path / "clones", tmp_path / "out", ["vn_bob"], tables=tables)


def test_a_bare_clone_is_read(tmp_path: Path) -> None:
    head = commit(tmp_path / "game", {"joy.png": face("red")})
    subprocess.run([*GIT, "clone", "-q", "--bare", str(tmp_path / "game"), str(tmp_path / "ann+game")], check=True)
    with Image.open(io.BytesIO(open_source(tmp_path, "ann/game", head)("joy.png"))) as image:
        assert image.size == (100, 200)


def test_a_package_is_read_from_its_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ann-game-1.0.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("package/joy.txt")
        member.size = 2
        archive.addfile(member, io.BytesIO(b":)"))
    package = open_source(tmp_path, "npm:@ann/game", "1.0")
    assert package("joy.txt") == b":)"
    with pytest.raises(MissingSource, match="sad.txt"):
        package("sad.txt")


def test_layers_are_cut_scaled_and_placed() -> None:
    image = draw("white | red :: cell 0 0 2 2, size 1 1, at 3 2", read)
    assert image.size == (8, 4)
    assert [(x, y) for x in range(8) for y in range(4) if image.getpixel((x, y)) == (255, 0, 0, 255)] == [(3, 2)]


@pytest.mark.parametrize("layers", ["white :: turn 90", "white :: cell 1 2"])
def test_unknown_words_in_layers_are_errors(layers: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        draw(layers, read)


def test_a_tee_looks_to_a_side() -> None:
    skin = Image.new("RGBA", (256, 128))
    pen = ImageDraw.Draw(skin)
    pen.ellipse((18, 18, 78, 78), fill="yellow")
    pen.ellipse((64 + 12, 96 + 8, 64 + 20, 96 + 24), fill="black")
    tees = [draw_tee(skin, "normal", (look, 0.0)) for look in (-0.7, 0.7)]
    left, right = (tee.convert("RGB").point(lambda value: 255 if value > 100 else 0) for tee in tees)
    assert left.crop((100, 100, 150, 150)).tobytes() != right.crop((100, 100, 150, 150)).tobytes()
    with pytest.raises(ValueError, match="256 x 128"):
        draw_tee(Image.new("RGBA", (10, 10)), "normal", (0, 0))


def test_pixel_art_is_enlarged_with_sharp_edges() -> None:
    image = Image.new("RGBA", (4, 4))
    image.putpixel((1, 2), (255, 0, 0, 255))
    assert finish_image(image, "enlarge 3", None).size == (12, 12)
    assert finish_image(image, "trim, enlarge 3", None).getcolors() == [(9, (255, 0, 0, 255))]


def test_large_drawings_are_reduced_and_boxes_are_kept() -> None:
    image = Image.new("RGBA", (1000, 2000), "red")
    assert finish_image(image, "fit", None).size == (256, 512)
    assert finish_image(image, "fit", (10, 20, 110, 70)).size == (100, 50)
    with pytest.raises(ValueError, match="shrink"):
        finish_image(image, "shrink", None)
    with pytest.raises(ValueError, match="empty"):
        finish_image(Image.new("RGBA", (5, 5)), "fit", None)


def test_whole_drawings_keep_their_canvas() -> None:
    image = Image.new("RGBA", (1000, 2000))
    image.putpixel((500, 500), (255, 0, 0, 255))
    assert finish_image(image, "whole", None).size == (512, 1024)
    assert finish_image(image, "whole, quick", (10, 20, 110, 70)).size == (100, 50)
    assert finish_image(face("red"), "whole", None).tobytes() == face("red").tobytes()


def test_only_small_quick_images_are_stored_without_loss(tmp_path: Path) -> None:
    noise = Image.effect_noise((90, 90), 80).convert("RGBA")
    for name, how, times in (("small", "whole, quick", 1), ("large", "whole, quick", 4), ("slow", "whole", 1)):
        image = noise.resize((90 * times, 90 * times))
        store_image(image, tmp_path / f"{name}.webp", how)
        with Image.open(tmp_path / f"{name}.webp") as stored:
            assert (stored.convert("RGBA").tobytes() == image.tobytes()) == (name == "small")


def test_differences_are_counted(tmp_path: Path) -> None:
    for folder, colors in (("one", ("red", "blue", "red")), ("two", ("red", "red", None))):
        (tmp_path / folder / "happy").mkdir(parents=True)
        for name, color in zip("abc", colors, strict=True):
            if color:
                Image.new("RGB", (4, 4), color).save(tmp_path / folder / "happy" / f"{name}.png")
    words = compare_set(tmp_path / "one", tmp_path / "two")
    assert words == "1 of 2 are equal, 1 in every byte; 1 differ, by up to 255 of 255, as happy/b.png; 1 are new"
    assert compare_set(tmp_path / "two", tmp_path / "one").endswith("1 are missing, as happy/c.png")


def test_the_tables_of_the_recipe_agree() -> None:
    sources = read_sources()
    assert len({source.name for source in sources}) == len(sources)
    for source in sources:
        assert source.note and source.credit and source.artist and source.licence
        if not source.used:
            continue
        assert "unclear" not in source.licence and "commercial" not in source.licence
        pictures = read_pictures(source.name)
        assert len({picture.file for picture in pictures}) == len(pictures) > 0
        for picture in pictures:
            assert picture.label in EMOTIONS and picture.file.startswith(f"{picture.label}/") and picture.confidence in "ABC"
            assert (picture.box is not None) >= source.name.endswith("_bust")
            assert ".." not in picture.file and picture.layers
