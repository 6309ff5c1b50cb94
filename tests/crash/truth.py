"""What a database says, read row by row without the program, and whether it may say so between two states."""

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

_SHOWN = 3
_LIVE = ("done", "pending")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class File:
    """What is known of a path. `digest` is its picture's."""

    state: str
    failure: str | None
    size: int
    mtime: int
    digest: bytes | None

    @property
    def live(self) -> bool:
        return self.state in _LIVE and self.digest is not None


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of a region, with its embedding; None where that is not there."""

    id: int
    emotion: str
    score: float
    place: tuple[object, ...]
    probabilities: np.ndarray[Any, Any]
    embedding: np.ndarray[Any, Any] | None

    def __str__(self) -> str:
        return f"{self.emotion} {self.score:.3f} at {self.place}, {'without' if self.embedding is None else 'with'} its embedding"

    def agrees(self, other: Said) -> bool:
        """Whether both say the same, but for what a batch of another size changes."""
        if (self.emotion, self.place) != (other.emotion, other.place) or abs(self.score - other.score) > SCORE_TOLERANCE:
            return False
        if self.embedding is None or other.embedding is None:
            return self.embedding is other.embedding
        return bool(
            np.allclose(self.probabilities, other.probabilities, rtol=0, atol=SCORE_TOLERANCE)
            and np.allclose(self.embedding, other.embedding, atol=2e-3)
        )


Region = tuple[str, bytes, int]
"""A model's key, a picture's digest, and which region of it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """All that a database is for: files by path, predictions by region, labels by digest, jobs by name.

    `unneeded` are embeddings that no prediction has.
    """

    files: Mapping[bytes, File] = field(default_factory=dict)
    said: Mapping[Region, Said] = field(default_factory=dict)
    labels: Mapping[bytes, str] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)
    unneeded: int = 0

    def live(self) -> dict[bytes, list[bytes]]:
        """The paths at which each picture is found."""
        paths: dict[bytes, list[bytes]] = defaultdict(list)
        for path, file in self.files.items():
            if file.live and file.digest is not None:
                paths[file.digest].append(path)
        return paths

    def pictures_seen(self) -> dict[str, set[str]]:
        """The pictures, in hexadecimal, of which each model has said something."""
        seen: dict[str, set[str]] = defaultdict(set)
        for model, digest, _ in self.said:
            seen[model].add(digest.hex())
        return seen


def read_truth(database: Path) -> Truth:
    """What a database of the current schema says; nothing where there is none."""
    if not database.exists():
        return Truth()
    with closing(sqlite3.connect(database)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone():
            return Truth()
        files = {
            os.path.join(folder, name): File(state, failure, size, mtime, digest)
            for folder, name, state, failure, size, mtime, digest in connection.execute(
                "SELECT folders.path, files.name, state, failure_kind, size, mtime_ns, digest FROM files "
                "JOIN folders ON folders.id = folder_id LEFT JOIN images ON images.id = image_id"
            )
        }
        labels = dict(connection.execute("SELECT digest, emotion FROM labels JOIN images ON images.id = image_id"))
        jobs = dict(connection.execute("SELECT name, roots FROM jobs"))
        (unneeded,) = connection.execute(
            "SELECT count(*) FROM embeddings e WHERE NOT EXISTS (SELECT 1 FROM predictions p JOIN models m ON m.id = p.model_id "
            "WHERE p.image_id = e.image_id AND p.region = e.region AND m.embedder_id = e.embedder_id)"
        ).fetchone()
        return Truth(files, dict(_said(connection)), labels, jobs, unneeded)


def _said(connection: sqlite3.Connection) -> Iterator[tuple[Region, Said]]:
    query = (
        'SELECT key, digest, p.region, p.id, emotion, score, "left", top, "right", bottom, probabilities, vector '
        "FROM predictions p JOIN models m ON m.id = p.model_id JOIN images ON images.id = p.image_id "
        "LEFT JOIN embeddings e ON e.embedder_id = m.embedder_id AND e.image_id = p.image_id AND e.region = p.region"
    )
    for key, digest, region, number, emotion, score, *place, probabilities, vector in connection.execute(query):
        embedding = None if vector is None else np.frombuffer(vector, dtype="<f2")
        said = Said(number, emotion, score, tuple(place), np.frombuffer(probabilities, dtype="<f4"), embedding)
        yield (key, digest, region), said


def differences(now: Truth, expected: Truth) -> list[str]:
    """Where a state is not the expected one."""
    return between(now, expected, expected, True)


def between(now: Truth, before: Truth, after: Truth, settled: bool = False) -> list[str]:
    """Where a state cannot be one on the way from one to another: every row is as it was or as it will be, and a file may wait,
    unless all is `settled`.
    """

    def same_file(one: File, other: File) -> bool:
        waits = one.state == "pending" and not settled
        return one == other or (waits and one.size == other.size and one.mtime == other.mtime)

    found = [*_strange(now.files, before.files, after.files, same_file, os.fsdecode)]
    if not settled:
        found = [line for line in found if not _on_the_way(line.split(": ")[0], now, before, after)]
    said = _strange(now.said, before.said, after.said, Said.agrees, _region)
    labels = _strange(now.labels, before.labels, after.labels, str.__eq__, bytes.hex)
    jobs = _strange(now.jobs, before.jobs, after.jobs, str.__eq__, str)
    lines = [*found, *said, *labels, *jobs]
    return [*islice(lines, _SHOWN), *([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])]


def _on_the_way(path: str, now: Truth, before: Truth, after: Truth) -> bool:
    """Whether a file is as it may be between: it waits with the picture that it had, or is gone before it is forgotten."""
    name = os.fsencode(path)
    file, old, new = now.files.get(name), before.files.get(name), after.files.get(name)
    if file is None:
        return False
    if file.state == "gone":
        return new is None and old is not None
    ends = [end for end in (old, new) if end is not None]
    return file.state == "pending" and any((file.size, file.mtime) == (end.size, end.mtime) for end in ends)


def _strange(
    now: Mapping[K, V], before: Mapping[K, V], after: Mapping[K, V], same: Callable[[V, V], bool], name: Callable[[K], str]
) -> Iterator[str]:
    for key in now.keys() | before.keys() | after.keys():
        value, ends = now.get(key), [before.get(key), after.get(key)]
        if value is None:
            if None not in ends:
                yield f"{name(key)}: is not there any more"
        elif not any(end is not None and same(value, end) for end in ends):
            yield f"{name(key)}: is {value}, and should be {' or '.join(str(end) for end in dict.fromkeys(map(str, ends)))}"


def _region(key: Region) -> str:
    model, digest, region = key
    return f"what model {model[:8]} says of region {region} of {digest.hex()[:8]}"
