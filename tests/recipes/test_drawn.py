"""The program that draws faces to train on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from indexer.domain.emotions import EMOTIONS
from recipes.drawn.character import EYES, SHADINGS, invent
from recipes.drawn.expression import PROTOTYPES, express


def test_every_emotion_stays_within_its_strengths() -> None:
    assert set(PROTOTYPES) == set(EMOTIONS)
    random = np.random.default_rng(0)
    for emotion, ways in PROTOTYPES.items():
        for _ in range(50):
            felt = express(emotion, random)
            assert felt.emotion == emotion and all(0 <= strength <= 1 for strength in felt.units.values())
            assert any(
                felt.signs <= way.signs.keys()
                and all(low <= felt.unit(number) <= high for number, (low, high) in way.units.items())
                for way in ways
            )


def test_emotions_differ_in_their_units() -> None:
    random = np.random.default_rng(1)
    felt = {emotion: [express(emotion, random) for _ in range(100)] for emotion in EMOTIONS}
    wet = {"tear", "stream", "welling"}
    assert all(one.signs & wet for one in felt["crying"])
    assert min(one.unit(12) for one in felt["happy"]) > 0.5 > max(one.unit(12) for one in felt["sad"])
    assert min(one.unit(4) for one in felt["angry"]) >= 0.6 > max(one.unit(4) for one in felt["surprise"])
    assert all("blush" in one.signs for one in felt["embarrassed"])
    assert not any(one.signs & wet for emotion in EMOTIONS if emotion != "crying" for one in felt[emotion])


def test_characters_differ_and_the_same_seed_gives_the_same() -> None:
    people = [invent(np.random.default_rng(seed)) for seed in range(200)]
    assert invent(np.random.default_rng(3)) == people[3]
    assert len({who for who, _ in people}) == 200
    assert {style.eyes for _, style in people} == set(EYES) and {style.shading for _, style in people} == set(SHADINGS)


def test_characters_are_drawn_with_every_emotion(tmp_path: Path) -> None:
    pytest.importorskip("skia", reason="skia-python draws the faces; it needs libGL")
    from PIL import Image

    from recipes.drawn.make import make

    make(tmp_path / "one", characters=6, seed=5, side=64)
    make(tmp_path / "two", characters=6, seed=5, side=64)
    images = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert len(images) == 60
    for path in images:
        with Image.open(tmp_path / "one" / path) as image:
            assert image.size == (64, 64) and len(image.getcolors(5000) or range(9)) > 2
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    with (tmp_path / "one/boxes.csv").open() as file:
        boxes = list(csv.DictReader(file))
    assert sorted(Path(box["path"]) for box in boxes) == images
    assert all(0 <= float(box["left"]) < float(box["right"]) <= 1 for box in boxes)
