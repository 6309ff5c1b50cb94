"""A library of N pictures that nobody drew: files, pictures, predictions and embeddings as indexing would have left them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from db.sqlite.engine import open_engine
from db.sqlite.store import SqliteStore
from indexer.domain.models import FEEL, LOOK, ModelCard
from models import zoo
from models.model_card import read_card

FREQUENCIES = {"neutral": 0.45, "happy": 0.2, "sad": 0.14, "angry": 0.1, "surprise": 0.07, "fear": 0.03, "disgust": 0.01}
A_CHARACTER, WAYS, A_FOLDER = 50, 24, 1000
_AT_ONCE = 20_000


def card() -> ModelCard:
    """The default model's."""
    return read_card(zoo.checkpoints()[zoo.DEFAULT])


def looks(count: int, size: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float16]]:
    """Unit vectors, float16, (count, size): characters with 50 pictures each, which vary in 24 directions and a little in all."""
    random = np.random.default_rng(seed)
    ways = np.random.default_rng(1).normal(size=(WAYS, size)).astype(np.float32)
    who = _who(count, random)
    found = np.empty((count, size), dtype=np.float16)
    centres = random.normal(size=(max(1, count // A_CHARACTER), WAYS)).astype(np.float32)
    for start in range(0, count, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        inner = centres[who[some]] + 0.4 * random.normal(size=(len(who[some]), WAYS)).astype(np.float32)
        vectors = inner @ ways + 0.3 * random.normal(size=(len(inner), size)).astype(np.float32)
        found[some] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def emotions(count: int, labels: tuple[str, ...], seed: int = 0, faithful: float = 0.0) -> tuple[Any, Any, Any]:
    """Label numbers, uint8, (count,), as often as `FREQUENCIES` says, scores, float32, and all probabilities, (count, labels).

    `faithful` is the share of pictures that feel what their character feels most.
    """
    random = np.random.default_rng(seed + 1)
    numbers, shares = [labels.index(emotion) for emotion in FREQUENCIES], list(FREQUENCIES.values())
    own = random.choice(numbers, count, p=shares).astype(np.uint8)
    if faithful:
        most = random.choice(numbers, max(1, count // A_CHARACTER), p=shares)
        own = np.where(random.random(count) < faithful, most[_who(count, np.random.default_rng(seed))], own).astype(np.uint8)
    scores = random.uniform(0.3, 1.0, count).astype(np.float32)
    odds = np.repeat(((1 - scores) / (len(labels) - 1))[:, None], len(labels), axis=1).astype("<f4")
    odds[np.arange(count), own] = scores
    return own, scores, odds


def fill(path: Path, count: int, first: int = 1, seed: int = 0, faithful: float = 0.0) -> None:
    """Add so many pictures to a database, numbered from `first`, all done by the default model; else as `emotions`."""
    described = card()
    store = SqliteStore(path)
    model = store.register_model(described)
    run = store.begin_run([b"/synthetic"], model)
    store.close()
    own, scores, odds = emotions(count, described.labels, seed, faithful)
    look, feel = described.space_slice(LOOK), described.space_slice(FEEL)
    vectors = np.zeros((count, described.embedding_size), dtype=np.float16)
    vectors[:, look] = looks(count, look.stop - look.start, seed)
    random = np.random.default_rng(seed + 2)
    for rows in _portions(count):
        felt = random.normal(size=(len(rows), feel.stop - feel.start))
        vectors[rows, feel] = felt / np.linalg.norm(felt, axis=1, keepdims=True)
    with open_engine(path).begin() as connection:
        for rows in tqdm(list(_portions(count)), desc="filling", leave=False, disable=None):
            ids = [first + row for row in rows]
            folders = sorted({1 + number // A_FOLDER for number in ids})
            connection.exec_driver_sql(
                "INSERT OR IGNORE INTO folders (id, path) VALUES (?, ?)",
                [(number, b"/synthetic/%06d" % number) for number in folders],
            )
            connection.exec_driver_sql(
                "INSERT INTO images (id, digest, width, height, format) VALUES (?, ?, 256, 256, 'PNG')",
                [(number, (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8) + number.to_bytes(24)) for number in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO files (folder_id, name, size, mtime_ns, state, image_id, appeared_run_id) "
                "VALUES (?, ?, 1, 1, 'done', ?, ?)",
                [(1 + number // A_FOLDER, b"%09d.png" % number, number, run) for number in ids],
            )
            connection.exec_driver_sql(
                "INSERT INTO predictions (image_id, model_id, region, emotion, score, probabilities) VALUES (?, ?, 0, ?, ?, ?)",
                [
                    (number, model, described.labels[own[row]], float(scores[row]), odds[row].tobytes())
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
        store.finish_run(run, "done", {"indexed": count})


def _who(count: int, random: np.random.Generator) -> Any:
    """The character that each picture shows."""
    return random.integers(0, max(1, count // A_CHARACTER), count)


def _portions(count: int) -> Iterator[range]:
    for start in range(0, count, _AT_ONCE):
        yield range(start, min(start + _AT_ONCE, count))
