from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.analysis.input_decoder import InputDecoder
from indexer.domain.errors import UsageError
from indexer.domain.images import InputSpec
from models.training.dataset import load_images
from models.training.dataset_checks import inspect, near_copies
from models.training.dataset_readers import find_images
from models.training.image_cache import ImageRows
from models.training.splits import SplitPlan, split
from tests.support.drawn import draw, two_artists

SPEC = InputSpec(64, 0, 255)
EXAMPLES = Path(__file__).parents[3] / "examples/images"


def test_an_inspection_counts_labels_copies_and_problems(tmp_path: Path) -> None:
    two_artists(tmp_path, count=12)
    first = (tmp_path / "anna/happy/0.png").read_bytes()
    (tmp_path / "anna/happy/copy.png").write_bytes(first)
    (tmp_path / "ben/sad/wrong.png").write_bytes(first)
    (tmp_path / "ben/sad/broken.png").write_bytes(b"not an image")
    draw(tmp_path / "carl/Joy/0.png", 0, (20, 90, 20))
    draw(tmp_path / "carl/joy/1.png", 0, (40, 120, 20))
    images = load_images(find_images([tmp_path]), SPEC, InputDecoder())
    inspection = inspect(images)
    assert inspection.counts == {"happy": 27, "sad": 25}
    assert inspection.words["happy"] == {"happy": 25, "Joy": 1, "joy": 1}
    assert (inspection.copies, inspection.conflicts) == (2, 1)
    text = " ".join(inspection.warnings)
    assert "Only one emotion in carl" in text and "Joy and joy" in text and "1 files cannot be read" in text
    assert "1 images are duplicates of one with another label" in text
    assert inspection.as_json()["groups"]["carl"] == {"happy": 2}


def test_an_inspection_warns_of_rare_and_unbalanced_emotions(tmp_path: Path) -> None:
    for number in range(60):
        draw(tmp_path / "happy" / f"{number}.png", 0, (number * 4, 200, 90))
    for number in range(3):
        draw(tmp_path / "sad" / f"{number}.png", 180, (number * 40, 100, 90))
    warnings = inspect(load_images(find_images([tmp_path]), SPEC, InputDecoder())).warnings
    assert warnings[:2] == [
        "Fewer than 10 images: sad (3).",
        "Unbalanced: the most frequent emotion has 20 times the images of the least frequent.",
    ]


def test_a_single_emotion_is_an_error(tmp_path: Path) -> None:
    draw(tmp_path / "happy" / "0.png", 0)
    with pytest.raises(UsageError, match="All 1 images are happy"):
        inspect(load_images(find_images([tmp_path]), SPEC, InputDecoder()))


def test_near_duplicates_are_found_but_other_expressions_are_not() -> None:
    originals = sorted(EXAMPLES.rglob("*.png"))[::4]
    decoded = [InputDecoder().decode(path, SPEC) for path in originals]
    recompressed = []
    for path in originals:
        with Image.open(path) as image:
            flat = Image.new("RGB", image.size, "white")
            flat.paste(image, mask=image.convert("RGBA").getchannel("A"))
            data = BytesIO()
            flat.resize((200, round(200 * flat.height / flat.width))).save(data, "JPEG", quality=85)
        with Image.open(data) as image:
            side = max(image.size)
            square = Image.new("RGB", (side, side), "white")
            square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
            recompressed.append(np.asarray(square.resize((64, 64), Image.Resampling.BICUBIC)))
    count = len(originals)
    pairs = list(near_copies(ImageRows(np.stack([*decoded, *recompressed]))))
    true_pairs = {(number, number + count) for number in range(count)}
    assert len(true_pairs & set(pairs)) >= 0.8 * count
    assert not set(pairs) - true_pairs


def test_an_inspection_counts_near_duplicates_in_different_parts(tmp_path: Path) -> None:
    two_artists(tmp_path, count=6)
    with Image.open(tmp_path / "anna/happy/0.png") as image:
        image.point(lambda value: max(0, value - 1)).save(tmp_path / "ben/happy/almost.png")
    images = load_images(find_images([tmp_path]), SPEC, InputDecoder())
    division = split(images, SplitPlan("none", hold_out=("ben",)))[0]
    inspection = inspect(images, division)
    assert inspection.near >= 1 and inspection.straddling >= 1
    assert any("different parts of the split" in sentence for sentence in inspection.warnings)
