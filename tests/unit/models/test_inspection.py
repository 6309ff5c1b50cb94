from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.domain.errors import UsageError
from indexer.domain.images import InputSpec
from indexer.imaging.decode import decode_file
from models.training.dataset import load_images
from models.training.dataset_checks import inspect, near_copies
from models.training.dataset_readers import find_images
from models.training.splits import SplitPlan, split
from tests.support.drawn import draw, two_artists

SPEC = InputSpec(64, 0, 255)
EXAMPLES = Path(__file__).parents[3] / "examples/images"


def test_counts_words_copies_and_trouble(tmp_path: Path) -> None:
    two_artists(tmp_path, count=12)
    first = (tmp_path / "anna/happy/0.png").read_bytes()
    (tmp_path / "anna/happy/copy.png").write_bytes(first)
    (tmp_path / "ben/sad/wrong.png").write_bytes(first)
    (tmp_path / "ben/sad/broken.png").write_bytes(b"nothing")
    draw(tmp_path / "carl/Joy/0.png", 0, (20, 90, 20))
    draw(tmp_path / "carl/joy/1.png", 0, (40, 120, 20))
    pictures = load_images(find_images([tmp_path]), SPEC, decode_file)
    found = inspect(pictures)
    assert found.counts == {"happy": 27, "sad": 25}
    assert found.words["happy"] == {"happy": 25, "Joy": 1, "joy": 1}
    assert (found.copies, found.conflicts) == (2, 1)
    text = " ".join(found.warnings)
    assert "Only one emotion in carl" in text and "Joy and joy" in text and "1 files cannot be read" in text
    assert "1 images are copies of an image with another label" in text
    assert found.as_json()["groups"]["carl"] == {"happy": 2}


def test_warns_of_rare_and_unbalanced_emotions(tmp_path: Path) -> None:
    for number in range(60):
        draw(tmp_path / "happy" / f"{number}.png", 0, (number * 4, 200, 90))
    for number in range(3):
        draw(tmp_path / "sad" / f"{number}.png", 180, (number * 40, 100, 90))
    warnings = inspect(load_images(find_images([tmp_path]), SPEC, decode_file)).warnings
    assert warnings[:2] == [
        "Fewer than 10 images: sad (3).",
        "Unbalanced: the most common emotion has 20 times as many images as the rarest.",
    ]


def test_one_emotion_is_nothing_to_learn_from(tmp_path: Path) -> None:
    draw(tmp_path / "happy" / "0.png", 0)
    with pytest.raises(UsageError, match="All 1 pictures are happy"):
        inspect(load_images(find_images([tmp_path]), SPEC, decode_file))


def test_finds_recompressed_and_resized_copies_but_not_other_expressions() -> None:
    originals = sorted(EXAMPLES.rglob("*.png"))[::4]
    decoded = [decode_file(path, SPEC) for path in originals]
    again = []
    for number, path in enumerate(originals):
        with Image.open(path) as image:
            flat = Image.new("RGB", image.size, "white")
            flat.paste(image, mask=image.convert("RGBA").getchannel("A"))
            data = BytesIO()
            flat.resize((200, round(200 * flat.height / flat.width))).save(data, "JPEG", quality=85)
        copy = Path(f"{number}.jpg")
        with Image.open(data) as image:
            del copy
            side = max(image.size)
            square = Image.new("RGB", (side, side), "white")
            square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            again.append(np.asarray(square.resize((64, 64), Image.Resampling.BICUBIC)))
    count = len(originals)
    pairs = near_copies(np.stack([*decoded, *again]))
    own = {(number, number + count) for number in range(count)}
    assert len(own & set(pairs)) >= 0.8 * count
    assert not set(pairs) - own


def test_counts_alike_pictures_that_a_split_parts(tmp_path: Path) -> None:
    two_artists(tmp_path, count=6)
    with Image.open(tmp_path / "anna/happy/0.png") as image:
        image.point(lambda value: max(0, value - 1)).save(tmp_path / "ben/happy/almost.png")
    pictures = load_images(find_images([tmp_path]), SPEC, decode_file)
    division = split(pictures, SplitPlan("none", hold_out=("ben",)))[0]
    found = inspect(pictures, division)
    assert found.near >= 1 and found.straddling >= 1
    assert any("different parts of the split" in sentence for sentence in found.warnings)
