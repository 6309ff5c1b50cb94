"""Hits as data for JSON and CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from indexer.system.text import escape_spreadsheet_formula

if TYPE_CHECKING:
    from indexer.domain.queries import Hit


def hit_as_dict(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON-compatible data.

    Bytes of a path that are not valid UTF-8 become surrogates, as in os.fsdecode. Some entries are present only if they apply:

    - `size`: width and height of the image in pixels.
    - `label`: the user's label.
    - `box`: left, top, right and bottom edge of the face in pixels.
    - `frame`: the number of the frame of an animation, from 1.
    - `incomplete`: true if the end of the file is missing.
    - `copies`: the number of near-duplicates that are not shown.
    - `tags`: the probability of each tag, where tags were asked for.
    - `missing`: true if no file is at the path now.
    """
    facts: dict[str, Any] = {
        "path": os.fsdecode(hit.path),
        "image_id": hit.image_id,
        "emotion": hit.emotion,
        "score": round(hit.score, 6),
        "emotions": {emotion: round(probability, 6) for emotion, probability in hit.emotions.items()},
        "similarity": hit.similarity,
    }
    if hit.size is not None:
        facts["size"] = list(hit.size)
    if hit.label is not None:
        facts["label"] = hit.label
    if hit.box is not None:
        facts["box"] = list(hit.box)
    if hit.frame is not None:
        facts["frame"] = hit.frame
    if hit.incomplete:
        facts["incomplete"] = True
    if hit.copies:
        facts["copies"] = hit.copies
    if hit.tags is not None:
        facts["tags"] = {tag: round(probability, 6) for tag, probability in hit.tags.items()}
    if hit.missing:
        facts["missing"] = True
    return facts


def hit_rows(hits: Sequence[Hit]) -> list[list[Any]]:
    """Return hits as the rows of a table, the first with the names of the columns."""
    emotions = list(hits[0].emotions) if hits else []
    counted = ["copies"] if any(hit.copies for hit in hits) else []
    rows: list[list[Any]] = [
        ["path", "image_id", "emotion", "score", "similarity", *map(escape_spreadsheet_formula, emotions), "box", *counted]
    ]
    for hit in hits:
        facts = hit_as_dict(hit)
        row = [
            facts["path"],
            hit.image_id,
            escape_spreadsheet_formula(hit.emotion),
            facts["score"],
            "" if hit.similarity is None else hit.similarity,
        ]
        box = "" if hit.box is None else " ".join(map(str, hit.box))
        rows.append([*row, *(facts["emotions"][emotion] for emotion in emotions), box, *([hit.copies] if counted else [])])
    return rows
