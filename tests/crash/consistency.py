"""Check that search results over marked images belong to one committed state. Violations raise TornRead."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.crash.marked_images import (
    CYCLE_TICKS,
    GROUP_IMAGES,
    GROUPS,
    MISSING_AT,
    MOVED_AT,
    Mark,
    mark_embedding,
    mark_of,
    require,
)

if TYPE_CHECKING:
    from indexer.domain.queries import Hit

_FLOAT32_TOLERANCE = 2e-6
_FLOAT16_TOLERANCE = 2e-3


def check_hits(model: str, hits: Sequence[Hit], like: Mark | None = None) -> None:
    """Check what holds for every search: hits are consistent in themselves and with each other, and no file occurs twice.

    With `like`, their similarities are to an image with that mark.
    """
    for hit in hits:
        mark = mark_of(hit.emotions)
        group, member = _group_and_member(hit.path)
        require((group, member) == (mark.group, mark.member), f"{hit.path!r} has the probabilities of {mark}")
        emotion, score = (mark.emotion, mark.score) if hit.label is None else (hit.label, 1.0)
        require(hit.emotion == emotion, f"{mark} with label {hit.label} has the emotion {hit.emotion}")
        require(abs(hit.score - score) < _FLOAT32_TOLERANCE, f"{mark} with label {hit.label} has the score {hit.score}")
        if like is not None:
            expected = float(mark_embedding(model, mark) @ mark_embedding(model, like))
            close = hit.similarity is not None and abs(hit.similarity - expected) < _FLOAT16_TOLERANCE
            require(close, f"{mark} has the similarity {hit.similarity}, not {expected}")
    ranking = [hit.score if hit.similarity is None else hit.similarity for hit in hits]
    require(ranking == sorted(ranking, reverse=True), "hits that are not best first")
    require(len({hit.path for hit in hits}) == len(hits), "a file that occurs twice")
    states_by_group = defaultdict(set)
    for hit in hits:
        states_by_group[_group_and_member(hit.path)[0]].add((mark_of(hit.emotions).tick, hit.label))
    mixed = any(len(states) != 1 for states in states_by_group.values())
    require(not mixed, f"groups in two states: {dict(states_by_group)}")
    ticks = [tick for states in states_by_group.values() for tick, _ in states]
    require(not ticks or max(ticks) - min(ticks) < GROUPS, f"groups of different times: {sorted(ticks)}")


def check_groups(hits: Sequence[Hit], min_score: float = 0.0) -> set[int]:
    """Check that each group has either all its images of at least a score among the hits, or none; return the ticks."""
    members_by_group = defaultdict(set)
    for hit in hits:
        mark = mark_of(hit.emotions)
        members_by_group[(hit.path.split(b"/")[-2], mark.tick, hit.label)].add(mark.member)
    for (folder, tick, label), members in members_by_group.items():
        expected = {member for member in range(GROUP_IMAGES) if label is not None or Mark(tick, member).score >= min_score}
        require(
            members == expected, f"{folder!r} at tick {tick} lacks {expected - members}, and has {members - expected} in excess"
        )
    return {tick for _, tick, _ in members_by_group}


def check_complete(hits: Sequence[Hit]) -> None:
    """Check the hits of a search for everything: every group of one committed state, complete, and nothing else."""
    ticks = sorted(check_groups(hits))
    next_tick = ticks[-1] + 1 if ticks else 0
    require(ticks == list(range(next_tick - len(ticks), next_tick)), f"ticks that are not consecutive: {ticks}")
    one_missing = next_tick % CYCLE_TICKS == MISSING_AT
    expected_count = len(ticks) == GROUPS or (one_missing and len(ticks) == GROUPS - 1)
    require(expected_count, f"only {len(ticks)} groups, before tick {next_tick}")
    folders = {hit.path.split(b"/")[-2] for hit in hits}
    one_moved = next_tick % CYCLE_TICKS == MOVED_AT
    require(len(folders) == len(ticks) or (one_moved and len(folders) == len(ticks) + 1), f"folders {sorted(folders)}")


def _group_and_member(path: bytes) -> tuple[int, int]:
    folder, name = os.fsdecode(path).split("/")[-2:]
    return int(folder.split("-")[1]), int(name.split(".")[0])
