"""Search results as a table, JSON, JSON Lines, CSV or bare paths."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from indexer.system.text import display_path, escape_spreadsheet_formula, printable, write_bytes, write_table

if TYPE_CHECKING:
    from indexer.domain.queries import Hit


def write_hits(hits: Sequence[Hit], form: str, end: str, out: TextIO) -> None:
    """Write hits in the format `form`: table, json, jsonl, csv or paths; `end` terminates each path of the latter."""
    if form == "paths":
        _write_paths(hits, end, out)
    else:
        _FORMS[form](hits, out)


def hit_as_dict(hit: Hit) -> dict[str, Any]:
    """Return a hit as JSON-compatible data.

    Bytes of a path that are not valid UTF-8 become surrogates, as in os.fsdecode. `label` is present only if the user labeled the
    image, and `box` only for a face: left, top, right and bottom edge in pixels. `frame`, the number of the frame from 1, is only
    present for an animation, and `incomplete` only if the end of the file is missing.
    """
    facts: dict[str, Any] = {
        "path": os.fsdecode(hit.path),
        "image_id": hit.image_id,
        "emotion": hit.emotion,
        "score": round(hit.score, 6),
        "emotions": {emotion: round(probability, 6) for emotion, probability in hit.emotions.items()},
        "similarity": hit.similarity,
    }
    if hit.label is not None:
        facts["label"] = hit.label
    if hit.box is not None:
        facts["box"] = list(hit.box)
    if hit.frame is not None:
        facts["frame"] = hit.frame
    if hit.incomplete:
        facts["incomplete"] = True
    return facts


def format_box(box: tuple[int, int, int, int]) -> str:
    """Return a box in the notation of X11 and ImageMagick: width x height + left + top, in pixels."""
    left, top, right, bottom = box
    return f"{right - left}x{bottom - top}+{left}+{top}"


def _write_table(hits: Sequence[Hit], out: TextIO) -> None:
    if not hits:
        out.write("No images match.\n")
        return
    has_similarity = any(hit.similarity is not None for hit in hits)
    width = max(len(printable(hit.emotion)) for hit in hits)
    box_width = max((len(format_box(hit.box)) for hit in hits if hit.box is not None), default=0)
    box = f"  {'FACE':<{box_width}}" if box_width else ""
    out.write(f"{'SCORE':<6} {'EMOTION':<{max(width, 7)}}{'  ALIKE ' if has_similarity else ''}  ID      {box}  PATH\n")
    for hit in hits:
        similarity = f"  {hit.similarity:5.3f} " if hit.similarity is not None else ""
        emotion = f"{printable(hit.emotion):<{max(width, 7)}}"
        box = f"  {'' if hit.box is None else format_box(hit.box):<{box_width}}" if box_width else ""
        out.write(f"{hit.score:<6.3f} {emotion}{similarity}  {hit.image_id[:8]}{box}  {display_path(hit.path)}\n")


def _write_json(hits: Sequence[Hit], out: TextIO) -> None:
    # ASCII only: this preserves any file name, and no control character reaches a terminal.
    json.dump([hit_as_dict(hit) for hit in hits], out, indent=2)
    out.write("\n")


def _write_jsonl(hits: Sequence[Hit], out: TextIO) -> None:
    for hit in hits:
        out.write(json.dumps(hit_as_dict(hit)) + "\n")


def _write_csv(hits: Sequence[Hit], out: TextIO) -> None:
    emotions = list(hits[0].emotions) if hits else []
    rows: list[list[Any]] = [
        ["path", "image_id", "emotion", "score", "similarity", *map(escape_spreadsheet_formula, emotions), "box"]
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
        rows.append([*row, *(facts["emotions"][emotion] for emotion in emotions), box])
    write_table(rows, out)


def _write_paths(hits: Sequence[Hit], end: str, out: TextIO) -> None:
    if out.isatty():
        for hit in hits:
            out.write(display_path(hit.path) + "\n")
    else:
        write_bytes(b"".join(hit.path + end.encode() for hit in hits), out)


_FORMS: dict[str, Callable[[Sequence[Hit], TextIO], None]] = {
    "table": _write_table,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}
