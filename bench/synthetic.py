"""A library of N synthetic images: the files, images, predictions and embeddings that indexing would have stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from db.schema import DIGEST_START_BYTES
from db.sqlite.engine import open_engine
from db.sqlite.store import SqliteStore
from indexer.domain.models import APPEARANCE, EXPRESSION, ModelCard
from indexer.domain.runs import RunCounts
from models import zoo
from models.model_card import read_card

FREQUENCIES = {"neutral": 0.45, "happy": 0.2, "sad": 0.14, "angry": 0.1, "surprise": 0.07, "fear": 0.03, "disgust": 0.01}
IMAGES_PER_CHARACTER, DIRECTION_COUNT, FILES_PER_FOLDER = 50, 24, 1000
_CHUNK_ROWS = 20_000


def default_card() -> ModelCard:
    """Return the card of the default model."""
    return read_card(zoo.checkpoints()[zoo.DEFAULT])


def appearances(count: int, size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float16]]:
    """Return unit vectors, float16, (count, size).

    There are characters with 50 images each, which vary in 24 directions and a little in all.
    """
    random = np.random.default_rng(seed)
    directions = np.random.default_rng(1).normal(size=(DIRECTION_COUNT, size)).astype(np.float32)
    character = _characters(count, random)
    result = np.empty((count, size), dtype=np.float16)
    centers = random.normal(size=(max(1, count // IMAGES_PER_CHARACTER), DIRECTION_COUNT)).astype(np.float32)
    for start in range(0, count, _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        noise = random.normal(size=(len(character[rows]), DIRECTION_COUNT)).astype(np.float32)
        inner = centers[character[rows]] + 0.4 * noise
        vectors = inner @ directions + 0.3 * random.normal(size=(len(inner), size)).astype(np.float32)
        result[rows] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return result


def emotions(count: int, labels: tuple[str, ...], seed: int = 0, faithful: float = 0.0) -> tuple[Any, Any, Any]:
    """Return label numbers with the frequencies of `FREQUENCIES`, their scores, and all probabilities.

    The label numbers are uint8, (count,); the scores float32, (count,); the probabilities float32, (count, labels). `faithful` is
    the share of images with the main emotion of their character.
    """
    random = np.random.default_rng(seed + 1)
    numbers, shares = [labels.index(emotion) for emotion in FREQUENCIES], list(FREQUENCIES.values())
    label_numbers = random.choice(numbers, count, p=shares).astype(np.uint8)
    if faithful:
        main_emotions = random.choice(numbers, max(1, count // IMAGES_PER_CHARACTER), p=shares)
        of_character = main_emotions[_characters(count, np.random.default_rng(seed))]
        label_numbers = np.where(random.random(count) < faithful, of_character, label_numbers).astype(np.uint8)
    scores = random.uniform(0.3, 1.0, count).astype(np.float32)
    probabilities = np.repeat(((1 - scores) / (len(labels) - 1))[:, None], len(labels), axis=1).astype("<f4")
    probabilities[np.arange(count), label_numbers] = scores
    return label_numbers, scores, probabilities


def fill(
    path: Path,
    count: int,
    first: int = 1,
    seed: int = 0,
    faithful: float = 0.0,
    root: bytes = b"/synthetic",
    card: ModelCard | None = None,
) -> None:
    """Add `count` images to a database, numbered from `first`, with predictions of a model, or else of the default one.

    `seed` and `faithful` are those of `emotions`. The files, which do not exist, are below `root`.
    """
    card = card or default_card()
    store = SqliteStore(path)
    model = store.register_model(card)
    run = store.begin_run([root], model)
    store.close()
    label_numbers, scores, probabilities = emotions(count, card.labels, seed, faithful)
    appearance, expression = card.space_slice(APPEARANCE), card.space_slice(EXPRESSION)
    vectors = np.zeros((count, card.embedding_size), dtype=np.float16)
    vectors[:, appearance] = appearances(count, appearance.stop - appearance.start, seed)
    random = np.random.default_rng(seed + 2)
    for rows in _chunks(count) if card.spaces else ():
        expressions = random.normal(size=(len(rows), expression.stop - expression.start))
        vectors[rows, expression] = expressions / np.linalg.norm(expressions, axis=1, keepdims=True)
    with open_engine(path).begin() as connection:
        for rows in tqdm(list(_chunks(count)), desc="filling", leave=False, disable=None):
            ids = [first + row for row in rows]
            folders = sorted({1 + number // FILES_PER_FOLDER for number in ids})
            connection.exec_driver_sql(
                "INSERT OR IGNORE INTO folders (id, path) VALUES (?, ?)",
                [(number, root + b"/%06d" % number) for number in folders],
            )
            connection.exec_driver_sql(
                "INSERT INTO images (id, digest, width, height, format) VALUES (?, ?, 256, 256, 'PNG')",
                [(number, _digest(number)) for number in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO files (folder_id, name, size, mtime_ns, state, image_id, appeared_run_id) "
                "VALUES (?, ?, 1, 1, 'done', ?, ?)",
                [(1 + number // FILES_PER_FOLDER, b"%09d.png" % number, number, run) for number in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO predictions (image_id, digest_start, model_id, region, emotion, score, probabilities) "
                "VALUES (?, ?, ?, 0, ?, ?, ?)",
                [
                    (
                        number,
                        _digest(number)[:DIGEST_START_BYTES],
                        model,
                        card.labels[label_numbers[row]],
                        float(scores[row]),
                        probabilities[row].tobytes(),
                    )
                    for number, row in zip(ids, rows, strict=True)
                ],
            )
            connection.exec_driver_sql(
                "INSERT INTO embeddings (embedder_id, image_id, region, vector) "
                "VALUES ((SELECT embedder_id FROM models WHERE id = ?), ?, 0, ?)",
                [(model, number, vectors[row].tobytes()) for number, row in zip(ids, rows, strict=True)],
            )
        connection.exec_driver_sql(
            "INSERT INTO generations (model_id, last_prediction_id, token) SELECT ?, max(id), ? FROM predictions",
            (model, f"{first:032x}"),
        )
    with SqliteStore(path) as store:
        store.finish_run(run, "done", RunCounts(indexed=count))


def _digest(number: int) -> bytes:
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8) + number.to_bytes(24)


def _characters(count: int, random: np.random.Generator) -> Any:
    """Draw the character of each image."""
    return random.integers(0, max(1, count // IMAGES_PER_CHARACTER), count)


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, _CHUNK_ROWS):
        yield range(start, min(start + _CHUNK_ROWS, count))
