"""Pictures that say when they were made, a classifier that reads it, and what must hold of every answer about them.

Pictures lie in groups, one a folder, of which each is replaced as a whole, in one commit, group after group: at tick T the group
T modulo `GROUPS` gets pictures that carry T. So the newest pictures of all groups carry consecutive ticks in every committed
state, and an answer that was put together from two states shows it: ticks that do not follow one another, half a group, a group
that is missing though it was never away, a label that only some of a group have.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.predictions import Scores
from tests.support.builders import encoded

if TYPE_CHECKING:
    from indexer.domain.queries import Hit
    from indexer.domain.types import Pixels

GROUPS, MEMBERS = 7, 12
AWAY_EVERY, AWAY_AT, MOVED_AT = 11, 3, 6
"""At a tick that leaves so much when divided, the group whose turn it is goes away and comes back before it is replaced, or is
for a while in another folder. The first group always stays.
"""

NEVER = 65_000
"""The tick of a picture that is in no library."""

_SIDE, _SIZE = 32, 32
_SURE, _STEP = 0.6, 0.002
_AS_FLOAT32 = 2e-6
_AS_FLOAT16 = 2e-3


class Torn(Exception):
    """An answer that no committed state of the library can have given."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a picture carries."""

    tick: int
    member: int

    @property
    def group(self) -> int:
        return self.tick % GROUPS

    @property
    def emotion(self) -> str:
        return EMOTIONS[self.tick % len(EMOTIONS)]

    @property
    def score(self) -> float:
        return _SURE + _STEP * self.member


def folder_of(group: int) -> str:
    return f"group-{group:02d}"


def write(path: Path, mark: Mark) -> None:
    """Put a picture with a mark in the place of what is there, in one step."""
    pixels = np.full((_SIDE, _SIDE, 3), (mark.tick >> 8, mark.tick & 255, mark.member), dtype=np.uint8)
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(encoded(Image.fromarray(pixels)))
    aside.replace(path)


class MarkReader:
    """Implements `indexer.ports.models.Classifier`: reads what an image carries, as probabilities and a direction of its own."""

    def __init__(self, name: str) -> None:
        self.card = ModelCard(name, "marks", name.encode().hex(), EMOTIONS, InputSpec(_SIDE, 127.5, 127.5), _SIZE)
        # One batch at a time: a group is looked at, and so committed, as a whole.
        self.device, self.engine, self.batch_size, self.streams = "cpu", "marks", MEMBERS, 1

    def classify(self, pixels: Pixels) -> Scores:
        marks = [Mark(int(red) << 8 | int(green), int(blue)) for red, green, blue in pixels[:, 0, 0]]
        probabilities = np.array([_probabilities(mark) for mark in marks], dtype=np.float32)
        return Scores(probabilities, np.stack([_direction(self.card.name, mark) for mark in marks]))


def read(emotions: dict[str, float]) -> Mark:
    """The mark that probabilities tell of."""
    values = [emotions[word] for word in EMOTIONS]
    best = max(range(len(values)), key=values.__getitem__)
    high, low = values[(best + 1) % len(values)] * 10_000, values[(best + 2) % len(values)] * 1000
    mark = Mark(100 * round(high) + round(low), round((values[best] - _SURE) / _STEP))
    _must(mark.emotion == EMOTIONS[best], f"probabilities that fit no mark: {values}")
    return mark


def check_hits(model: str, hits: Sequence[Hit], like: Mark | None = None) -> None:
    """What must hold of hits whatever was asked: each agrees with itself, they with one another, and none is there twice.

    With `like`, their similarities are to a picture with that mark.
    """
    for hit in hits:
        mark = read(hit.emotions)
        group, member = _place(hit.path)
        _must((group, member) == (mark.group, mark.member), f"{hit.path!r} has the probabilities of {mark}")
        said, sure = (mark.emotion, mark.score) if hit.label is None else (hit.label, 1.0)
        _must(hit.emotion == said, f"{mark} with label {hit.label} is said to be {hit.emotion}")
        _must(abs(hit.score - sure) < _AS_FLOAT32, f"{mark} with label {hit.label} has the score {hit.score}")
        if like is not None:
            expected = float(_direction(model, mark) @ _direction(model, like))
            _must(hit.similarity is not None and abs(hit.similarity - expected) < _AS_FLOAT16, f"{mark}: {hit.similarity}")
    by = [hit.score if hit.similarity is None else hit.similarity for hit in hits]
    _must(by == sorted(by, reverse=True), "hits that are not best first")
    _must(len({hit.path for hit in hits}) == len(hits), "a file that is there twice")
    seen = defaultdict(set)
    for hit in hits:
        seen[_place(hit.path)[0]].add((read(hit.emotions).tick, hit.label))
    _must(all(len(states) == 1 for states in seen.values()), f"groups in two states: {dict(seen)}")
    ticks = [tick for states in seen.values() for tick, _ in states]
    _must(not ticks or max(ticks) - min(ticks) < GROUPS, f"groups of different times: {sorted(ticks)}")


def check_groups(hits: Sequence[Hit], least: float = 0.0) -> set[int]:
    """What must hold where every picture of a group that has at least a score is to be there, or none; the ticks there are."""
    found = defaultdict(set)
    for hit in hits:
        mark = read(hit.emotions)
        found[(hit.path.split(b"/")[-2], mark.tick, hit.label)].add(mark.member)
    for (folder, tick, label), members in found.items():
        wanted = {member for member in range(MEMBERS) if label is not None or Mark(tick, member).score >= least}
        _must(members == wanted, f"{folder!r} at tick {tick} lacks {wanted - members}, has {members - wanted} too many")
    return {tick for _, tick, _ in found}


def check_whole(hits: Sequence[Hit]) -> None:
    """What must hold where everything is asked for: every group of one committed state, whole, and nothing else."""
    ticks = sorted(check_groups(hits))
    next_tick = ticks[-1] + 1 if ticks else 0
    _must(ticks == list(range(next_tick - len(ticks), next_tick)), f"ticks that do not follow one another: {ticks}")
    away = next_tick % AWAY_EVERY == AWAY_AT
    _must(len(ticks) == GROUPS or (away and len(ticks) == GROUPS - 1), f"only {len(ticks)} groups, before tick {next_tick}")
    folders = {hit.path.split(b"/")[-2] for hit in hits}
    moved = next_tick % AWAY_EVERY == MOVED_AT
    _must(len(folders) == len(ticks) or (moved and len(folders) == len(ticks) + 1), f"folders {sorted(folders)}")


def _place(path: bytes) -> tuple[int, int]:
    folder, name = os.fsdecode(path).split("/")[-2:]
    return int(folder.split("-")[1]), int(name.split(".")[0])


def _probabilities(mark: Mark) -> list[float]:
    count = len(EMOTIONS)
    best = mark.tick % count
    values = [0.0] * count
    values[best] = mark.score
    values[(best + 1) % count] = mark.tick // 100 / 10_000
    values[(best + 2) % count] = mark.tick % 100 / 1000
    values[(best + 3) % count] = 1 - sum(values)
    return values


@cache
def _direction(model: str, mark: Mark) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng([*model.encode(), mark.tick, mark.member])
    vector = random.normal(size=_SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Torn(otherwise)
