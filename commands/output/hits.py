"""Search results as a table, JSON, JSON Lines, CSV or bare paths."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from indexer.plain_data.hits import hit_as_dict, hit_rows
from indexer.system.events import log_event
from indexer.system.text import display_path, pluralize, printable, write_bytes, write_table

if TYPE_CHECKING:
    from indexer.domain.queries import Hit, SearchResult, Total
    from indexer.domain.reports import CollectReport


def write_hits(hits: Sequence[Hit], form: str, end: str, out: TextIO) -> None:
    """Write hits in the format `form`: table, json, jsonl, csv or paths; `end` terminates each path of the latter."""
    if form == "paths":
        _write_paths(hits, end, out)
    else:
        _FORMS[form](hits, out)


def write_result(result: SearchResult, offset: int, as_json: bool, out: TextIO) -> None:
    """Write hits with their total, as a table or as one JSON object; `offset` is the number of hits before them."""
    total = result.total
    if as_json:
        number = None if total is None else total.number
        facts = {"total": number, "offset": offset, "hits": [hit_as_dict(hit) for hit in result.hits]}
        json.dump(facts, out, indent=2)
        out.write("\n")
    elif not result.hits and offset and (total is None or total.number):
        out.write(_past_the_end(offset, total) + "\n")
    else:
        _write_table(result.hits, out)
        if total is not None and result.hits and (offset or not total.exact or total.number > len(result.hits)):
            last = f"{offset + 1:,}-{offset + len(result.hits):,}" if offset else f"{len(result.hits):,}"
            out.write(f"{last} of {_total_in_words(total)}.\n")


def warn_past_the_end(offset: int) -> None:
    """Warn that an offset is behind the last hit, beside an output that has no place for the sentence."""
    log_event("warning", "no_further_images", _past_the_end(offset, None))


def _past_the_end(offset: int, total: Total | None) -> str:
    if total is None:
        return f"No further images match: --offset is {offset:,}."
    verb = "matches" if total.exact and total.number == 1 else "match"
    return f"No further images match: --offset is {offset:,}, and {_total_in_words(total)} {verb}."


def _total_in_words(total: Total) -> str:
    return pluralize(total.number, "image") if total.exact else f"more than {pluralize(total.number, 'image')}"


def report_collected(report: CollectReport, out: TextIO | None) -> None:
    """Write how many files were copied or linked, unless `out` is None, and warn about missing ones."""
    verb = "Linked" if report.link else "Copied"
    if out is not None:
        present = f"; {report.present:,} already there" if report.present else ""
        out.write(f"{verb} {pluralize(report.done, 'file')} to {printable(report.folder)}{present}.\n")
    for path in report.missing:
        log_event("warning", "file_missing", f"{path!r} is missing or cannot be read: not {verb.lower()}.", path=path)


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
        copies = f"  ({copies_in_words(hit)})" if hit.copies else ""
        missing = "  (missing)" if hit.missing else ""
        place = f"{display_path(hit.path)}{missing}{copies}"
        out.write(f"{hit.score:<6.3f} {emotion}{similarity}  {hit.image_id[:8]}{box}  {place}\n")


def copies_in_words(hit: Hit) -> str:
    """Return the number of near-duplicates that are not shown, such as "+2 copies"; "" if there are none."""
    return f"+{hit.copies:,} {'copy' if hit.copies == 1 else 'copies'}" if hit.copies else ""


def _write_json(hits: Sequence[Hit], out: TextIO) -> None:
    # ASCII only: this preserves any file name, and no control character reaches a terminal.
    json.dump([hit_as_dict(hit) for hit in hits], out, indent=2)
    out.write("\n")


def _write_jsonl(hits: Sequence[Hit], out: TextIO) -> None:
    for hit in hits:
        out.write(json.dumps(hit_as_dict(hit)) + "\n")


def _write_csv(hits: Sequence[Hit], out: TextIO) -> None:
    write_table(hit_rows(hits), out)


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
