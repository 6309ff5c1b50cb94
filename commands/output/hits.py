"""Search results as text: a table for people, JSON, JSON Lines, CSV and bare paths for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from indexer.system.text import display_path, escape_spreadsheet_formula, printable, write_bytes, write_table

if TYPE_CHECKING:
    from indexer.domain.queries import Hit


def write_hits(hits: Sequence[Hit], form: str, end: str, out: TextIO) -> None:
    """Write hits as `form`: table, json, jsonl, csv or paths; `end` follows every path of the last."""
    if form == "paths":
        _write_paths(hits, end, out)
    else:
        _FORMS[form](hits, out)


def hit_as_dict(hit: Hit) -> dict[str, Any]:
    """A hit as programs read it. The path of a file that is not valid text holds surrogates, as os.fsdecode makes them.

    `label` is there only where a person gave one, `box` only where a face was found: its left, top, right and bottom in pixels.
    """
    shown: dict[str, Any] = {
        "path": os.fsdecode(hit.path),
        "image_id": hit.image_id,
        "emotion": hit.emotion,
        "score": round(hit.score, 6),
        "emotions": {emotion: round(probability, 6) for emotion, probability in hit.emotions.items()},
        "similarity": hit.similarity,
    }
    if hit.label is not None:
        shown["label"] = hit.label
    if hit.box is not None:
        shown["box"] = list(hit.box)
    return shown


def shown_box(box: tuple[int, int, int, int]) -> str:
    """A box for people, as other tools take it: width x height + left + top."""
    left, top, right, bottom = box
    return f"{right - left}x{bottom - top}+{left}+{top}"


def _write_table(hits: Sequence[Hit], out: TextIO) -> None:
    if not hits:
        out.write("No pictures match.\n")
        return
    similar = any(hit.similarity is not None for hit in hits)
    width = max(len(printable(hit.emotion)) for hit in hits)
    face = max((len(shown_box(hit.box)) for hit in hits if hit.box is not None), default=0)
    place = f"  {'FACE':<{face}}" if face else ""
    out.write(f"{'SCORE':<6} {'EMOTION':<{max(width, 7)}}{'  ALIKE ' if similar else ''}  ID      {place}  PATH\n")
    for hit in hits:
        alike = f"  {hit.similarity:5.3f} " if hit.similarity is not None else ""
        emotion = f"{printable(hit.emotion):<{max(width, 7)}}"
        place = f"  {'' if hit.box is None else shown_box(hit.box):<{face}}" if face else ""
        out.write(f"{hit.score:<6.3f} {emotion}{alike}  {hit.image_id[:8]}{place}  {display_path(hit.path)}\n")


def _write_json(hits: Sequence[Hit], out: TextIO) -> None:
    # ASCII only: any file name survives, and nothing in it can reach a terminal.
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
        shown = hit_as_dict(hit)
        row = [
            shown["path"],
            hit.image_id,
            escape_spreadsheet_formula(hit.emotion),
            shown["score"],
            "" if hit.similarity is None else hit.similarity,
        ]
        box = "" if hit.box is None else " ".join(map(str, hit.box))
        rows.append([*row, *(shown["emotions"][emotion] for emotion in emotions), box])
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
