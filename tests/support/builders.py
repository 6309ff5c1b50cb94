"""Small valid inputs for tests: encoded images, cards, predictions, rows of vectors."""

from __future__ import annotations

import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from indexer.domain.images import DecodedImage, InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.predictions import Prediction
from indexer.ports.vectors import VectorRows
from tests.support.fake_models import FakeFaceDetector

SPEC = InputSpec(size=32, mean=127.0, std=128.0)


def card(
    name: str = "test", labels: tuple[str, ...] = ("happy", "sad", "crying"), size: int = 8, digest: str = "00"
) -> ModelCard:
    return ModelCard(name, "none", digest, labels, SPEC, size)


def draw_blocks(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Return an image of a few colored blocks, different for every seed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST)


def draw_character(character: int, expression: int) -> Image.Image:
    """Return an image of a character: a quarter of its blocks differs from one expression to another."""
    blocks = np.random.default_rng(character).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    blocks[1:3, 1:3] = np.random.default_rng((character, expression)).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((48, 40), Image.Resampling.NEAREST)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def write_images(folder: Path, count: int, first_seed: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{first_seed + i:03d}.png" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(encoded(draw_blocks(first_seed + i)))
    return paths


def image(name: str) -> DecodedImage:
    return DecodedImage(name.encode().ljust(32, b"."), np.zeros((32, 32, 3), dtype=np.uint8), 48, 40, "PNG")


def prediction(*probabilities: float, seed: int = 0, size: int = 8) -> Prediction:
    return Prediction(probabilities, unit_vectors(1, size, seed)[0])


def unit_vectors(count: int, size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float16]]:
    vectors = np.random.default_rng(seed).normal(size=(count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def rows(count: int, size: int = 16, emotions: int = 3, seed: int = 0, first_id: int = 1) -> VectorRows:
    random = np.random.default_rng(seed)
    return VectorRows(
        np.arange(first_id, first_id + count, dtype=np.int64),
        random.integers(0, emotions, count).astype(np.uint8),
        random.uniform(0.2, 1.0, count).astype(np.float32),
        unit_vectors(count, size, seed),
    )


def write_special_files(folder: Path) -> None:
    """Write an image with three faces, a duplicate and a broken file to the folder "b"; "a" must hold an image."""
    faces = draw_blocks(7, (60, 60))
    for number, color in enumerate(FakeFaceDetector.FACE_COLORS):
        faces.paste(color, (5 + 15 * number, 5, 15 + 15 * number, 20 + number))
    (folder / "b/faces.png").write_bytes(encoded(faces))
    shutil.copyfile(folder / "a/000.png", folder / "b/same_bytes.png")
    (folder / "b/broken.png").write_bytes(b"not an image")
