"""Read a database row by row, without the program, and compare it with other states."""

from __future__ import annotations

import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tests.support.scores import SCORE_TOLERANCE

_EMBEDDING_TOLERANCE = 2e-3
_MAX_SHOWN_MISMATCHES = 3
_LIVE_STATES = ("done", "pending")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """The row of a file. `digest` is that of its image, None without an image."""

    state: str
    failure: str | None
    size: int
    mtime: int
    digest: bytes | None

    @property
    def live(self) -> bool:
        return self.state in _LIVE_STATES and self.digest is not None


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """The row of a prediction with its embedding; None if the embedding is missing."""

    id: int
    emotion: str
    score: float
    box: tuple[object, ...]
    probabilities: np.ndarray[Any, Any]
    embedding: np.ndarray[Any, Any] | None

    def __str__(self) -> str:
        return f"{self.emotion} {self.score:.3f} at {self.box}, {'without' if self.embedding is None else 'with'} its embedding"

    def agrees(self, other: StoredPrediction) -> bool:
        """Return whether both are equal, except for rounding that depends on the batch size."""
        if (self.emotion, self.box) != (other.emotion, other.box) or abs(self.score - other.score) > SCORE_TOLERANCE:
            return False
        if self.embedding is None or other.embedding is None:
            return self.embedding is other.embedding
        return bool(
            np.allclose(self.probabilities, other.probabilities, rtol=0, atol=SCORE_TOLERANCE)
            and np.allclose(self.embedding, other.embedding, atol=_EMBEDDING_TOLERANCE)
        )


RegionKey = tuple[str, bytes, int]
"""The key of a model, the digest of an image, and the number of a region in it."""


@dataclass(frozen=True, slots=True)
class DatabaseSnapshot:
    """The contents of a database.

    - `files`: by path.
    - `predictions`: by model, image and region.
    - `labels`: emotion by image digest.
    - `jobs`: roots by name.
    - `unused_embeddings`: number of embeddings without a prediction.
    """

    files: Mapping[bytes, StoredFile] = field(default_factory=dict)
    predictions: Mapping[RegionKey, StoredPrediction] = field(default_factory=dict)
    labels: Mapping[bytes, str] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)
    unused_embeddings: int = 0

    def live_paths(self) -> dict[bytes, list[bytes]]:
        """Return the paths of each image, by digest."""
        paths: dict[bytes, list[bytes]] = defaultdict(list)
        for path, file in self.files.items():
            if file.live and file.digest is not None:
                paths[file.digest].append(path)
        return paths

    def classified_images(self) -> dict[str, set[str]]:
        """Return the images that each model classified, as hex digests by model key."""
        images: dict[str, set[str]] = defaultdict(set)
        for model, digest, _ in self.predictions:
            images[model].add(digest.hex())
        return images


def read_snapshot(database: Path) -> DatabaseSnapshot:
    """Read a database of the current schema; an empty snapshot if none exists."""
    if not database.exists():
        return DatabaseSnapshot()
    with closing(sqlite3.connect(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
            return DatabaseSnapshot()
        files = {
            os.path.join(folder, name): StoredFile(state, failure, size, mtime, digest)
            for folder, name, state, failure, size, mtime, digest in connection.execute(
                "SELECT folders.path, files.name, state, failure_kind, size, mtime_ns, digest FROM files "
                "JOIN folders ON folders.id = folder_id LEFT JOIN images ON images.id = image_id"
            )
        }
        labels = dict(connection.execute("SELECT digest, emotion FROM labels JOIN images ON images.id = image_id"))
        jobs = dict(connection.execute("SELECT name, roots FROM jobs"))
        (unused_embeddings,) = connection.execute(
            "SELECT count(*) FROM embeddings e WHERE NOT EXISTS (SELECT 1 FROM predictions p JOIN models m ON m.id = p.model_id "
            "WHERE p.image_id = e.image_id AND p.region = e.region AND m.embedder_id = e.embedder_id)"
        ).fetchone()
        return DatabaseSnapshot(files, dict(_predictions(connection)), labels, jobs, unused_embeddings)


def _predictions(connection: sqlite3.Connection) -> Iterator[tuple[RegionKey, StoredPrediction]]:
    query = (
        'SELECT key, digest, p.region, p.id, emotion, score, "left", top, "right", bottom, probabilities, vector '
        "FROM predictions p JOIN models m ON m.id = p.model_id JOIN images ON images.id = p.image_id "
        "LEFT JOIN embeddings e ON e.embedder_id = m.embedder_id AND e.image_id = p.image_id AND e.region = p.region"
    )
    for key, digest, region, row_id, emotion, score, *box, probabilities, vector in connection.execute(query):
        embedding = None if vector is None else np.frombuffer(vector, dtype="<f2")
        row = StoredPrediction(row_id, emotion, score, tuple(box), np.frombuffer(probabilities, dtype="<f4"), embedding)
        yield (key, digest, region), row


def differences(actual: DatabaseSnapshot, expected: DatabaseSnapshot) -> list[str]:
    """Return how a state differs from the expected one."""
    return not_between(actual, expected, expected, settled=True)


def not_between(actual: DatabaseSnapshot, before: DatabaseSnapshot, after: DatabaseSnapshot, settled: bool = False) -> list[str]:
    """Return the rows of a state that are neither as `before` nor as `after`. Unless `settled`, a file may be pending."""

    def same_file(file: StoredFile, other: StoredFile) -> bool:
        pending = file.state == "pending" and not settled
        return file == other or (pending and file.size == other.size and file.mtime == other.mtime)

    files = [*_mismatches(actual.files, before.files, after.files, same_file, os.fsdecode)]
    if not settled:
        files = [line for line in files if not _is_intermediate(line.split(": ")[0], actual, before, after)]
    predictions = _mismatches(actual.predictions, before.predictions, after.predictions, StoredPrediction.agrees, _region_name)
    labels = _mismatches(actual.labels, before.labels, after.labels, str.__eq__, bytes.hex)
    jobs = _mismatches(actual.jobs, before.jobs, after.jobs, str.__eq__, str)
    lines = [*files, *predictions, *labels, *jobs]
    shown = islice(lines, _MAX_SHOWN_MISMATCHES)
    return [*shown, *([f"and {len(lines) - _MAX_SHOWN_MISMATCHES} more"] if len(lines) > _MAX_SHOWN_MISMATCHES else [])]


def _is_intermediate(path: str, actual: DatabaseSnapshot, before: DatabaseSnapshot, after: DatabaseSnapshot) -> bool:
    """Return whether a file is in a valid state between two others.

    It is pending with the size and time of one of them, or it is missing before the program forgets it.
    """
    name = os.fsencode(path)
    file, old, new = actual.files.get(name), before.files.get(name), after.files.get(name)
    if file is None:
        return False
    if file.state == "gone":
        return new is None and old is not None
    ends = [end for end in (old, new) if end is not None]
    return file.state == "pending" and any((file.size, file.mtime) == (end.size, end.mtime) for end in ends)


def _mismatches(
    actual: Mapping[K, V], before: Mapping[K, V], after: Mapping[K, V], same: Callable[[V, V], bool], name: Callable[[K], str]
) -> Iterator[str]:
    for key in actual.keys() | before.keys() | after.keys():
        value, ends = actual.get(key), [before.get(key), after.get(key)]
        if value is None:
            if None not in ends:
                yield f"{name(key)}: is missing"
        elif not any(end is not None and same(value, end) for end in ends):
            yield f"{name(key)}: is {value}, and should be {' or '.join(str(end) for end in dict.fromkeys(map(str, ends)))}"


def _region_name(key: RegionKey) -> str:
    model, digest, region = key
    return f"prediction of model {model[:8]} for region {region} of image {digest.hex()[:8]}"
