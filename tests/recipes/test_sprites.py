"""Sprites as cut-outs of the detector: where their heads are, and which drawings are used."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recipes.detector import scenes
from recipes.detector.cutouts import Cutout
from recipes.detector.sprites import bodies, load_sprites, project_head

REGION = (0.4, 0.1, 0.6, 0.2)


def add_set(
    folder: Path,
    name: str,
    *,
    artist: str = "anna",
    region: tuple[float, float, float, float] | None = REGION,
    opaque: bool = False,
) -> None:
    """Write a set with one figure of 200 x 400 pixels."""
    sets = folder / "sets.csv"
    with sets.open("a") as file:
        file.write(("" if file.tell() else "set,artist\n") + f"{name},{artist}\n")
    (folder / name / "happy").mkdir(parents=True)
    image = Image.new("RGBA", (200, 400), (0, 0, 0, 255 if opaque else 0))
    ImageDraw.Draw(image).ellipse((60, 10, 140, 100), fill=(255, 0, 0, 255))
    image.save(folder / name / "happy" / "one.png")
    if region is not None:
        with (folder / name / "regions.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["file", "left", "top", "right", "bottom"], ["happy/one.png", *region]])


def test_a_head_is_twice_as_wide_as_its_region_and_reaches_above_it() -> None:
    left, top, right, bottom = project_head((100.0, 100.0, 140.0, 140.0))
    assert (right - left, bottom - top) == pytest.approx((80, 80))
    assert (left + right) / 2 == pytest.approx(120)
    assert 120 - top > bottom - 120


def test_a_tall_region_does_not_widen_the_head_without_bound() -> None:
    left, _, right, _ = project_head((0.0, 0.0, 40.0, 400.0))
    assert right - left == pytest.approx(92)


def test_figures_are_reduced_with_their_boxes(tmp_path: Path) -> None:
    add_set(tmp_path, "vn_one")
    (figure,) = load_sprites(tmp_path)
    assert figure.is_figure and not figure.bare and figure.artist == "anna"
    assert figure.box[2] - figure.box[0] == pytest.approx(72, abs=1)
    scale = figure.image.width / 200
    assert (figure.box[0] + figure.box[2]) / 2 == pytest.approx(100 * scale, abs=1)


def test_the_artist_is_that_of_the_table(tmp_path: Path) -> None:
    add_set(tmp_path, "vn_one", artist="studio")
    add_set(tmp_path, "vn_two", artist="studio")
    assert {sprite.artist for sprite in load_sprites(tmp_path)} == {"studio"}


def test_only_cut_out_drawings_with_a_face_are_used(tmp_path: Path) -> None:
    add_set(tmp_path, "vn_opaque", opaque=True)
    add_set(tmp_path, "vn_without_region", region=None)
    add_set(tmp_path, "vn_mouth_only", region=(0.4, 0.15, 0.6, 0.17))
    add_set(tmp_path, "vn_bytes_of_love")
    add_set(tmp_path, "vn_one_bust")
    assert list(load_sprites(tmp_path)) == []


def test_heads_without_bodies_are_their_own_box(tmp_path: Path) -> None:
    add_set(tmp_path, "emoji_cats", region=None)
    (head,) = load_sprites(tmp_path)
    assert head.bare and not head.is_figure
    assert head.box[1] < head.box[3] <= head.image.height


def test_a_body_is_what_is_below_the_head(tmp_path: Path) -> None:
    for name in ("vn_one", "vn_two"):
        add_set(tmp_path, name, artist=name)
        with Image.open(tmp_path / name / "happy" / "one.png") as opened:
            image = opened.convert("RGBA")
        ImageDraw.Draw(image).rectangle((70, 94, 129, 389), fill=(0, 0, 255, 255))
        image.save(tmp_path / name / "happy" / "one.png")
    found = bodies(load_sprites(tmp_path))
    assert len(found) == 2
    for body in found:
        pixels = np.asarray(body)
        assert body.height > 2 * body.width
        assert (pixels[pixels[..., 3] > 200][:, 2] > 200).all()


def test_a_bare_head_has_no_body(tmp_path: Path) -> None:
    add_set(tmp_path, "emoji_cats", region=None)
    assert bodies(load_sprites(tmp_path)) == []


def test_a_body_hides_no_other_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "_BACKGROUNDS", {"white": 1.0})
    monkeypatch.setattr(scenes, "finish", lambda random, page: page)
    for decoration in ("paste_thing", "_bubble"):
        monkeypatch.setattr(scenes, decoration, lambda *_: None)
    image = Image.new("RGBA", (80, 400), (0, 0, 255, 255))
    ImageDraw.Draw(image).rectangle((20, 0, 59, 39), fill=(255, 0, 0, 255))
    figure = Cutout(image, (20.0, 0.0, 60.0, 40.0), "artist", bare=False)
    shares = []
    for seed in range(80):
        scene = scenes.compose(np.random.default_rng(seed), [figure] * 8, scenes.Objects([image]), 192)
        for left, top, right, bottom in np.round(scene.boxes).astype(int):
            inside = scene.pixels[top:bottom, left:right]
            shares.append(float((inside[..., 0] > 200).mean() - (inside[..., 2] > 200).mean()))
    assert len(shares) > 80
    assert np.quantile(shares, 0.02) > 0
