"""Exports as files for other programs: CSV, JSON Lines, and Parquet (in `indexer.exporters.parquet`)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import UsageError
from indexer.system.csv_format import csv_writer
from indexer.system.text import escape_spreadsheet_formula

if TYPE_CHECKING:
    from indexer.domain.export import Export, ExportChunk

Advance = Callable[[int], None]
Writer = Callable[["Export", Path, Advance], int]
"""Writes an export to a file, saying after each portion how many rows that was; how many there were in all."""

COLUMNS = ("path", "digest", "emotion", "score", "label", "region", "left", "top", "right", "bottom")
_DIGITS = 6


def writer_for(target: Path, embeddings: bool) -> Writer:
    """What writes a file of that name: .parquet, .csv or .jsonl; `embeddings` go into a Parquet file always.

    Raises UsageError for another name, MissingExtra where Parquet is wanted and its package is not installed.
    """
    match target.suffix.lower():
        case ".parquet":
            from indexer.exporters.parquet import write_parquet

            return write_parquet
        case ".csv":
            return lambda export, file, advance: _write_csv(export, file, advance, embeddings)
        case ".jsonl":
            return lambda export, file, advance: _write_jsonl(export, file, advance, embeddings)
    raise UsageError(f"{str(target)!r} does not say what to write: its name must end in .parquet, .csv or .jsonl.")


def _write_csv(export: Export, file: Path, advance: Advance, embeddings: bool) -> int:
    count = 0
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        writer = csv_writer(out)
        writer.writerow([*COLUMNS, *export.probability_columns, *(["embedding"] if embeddings else [])])
        for portion in export.portions:
            writer.writerows(_csv_rows(portion, embeddings))
            count += len(portion)
            advance(len(portion))
    return count


def _csv_rows(portion: ExportChunk, embeddings: bool) -> Iterator[list[Any]]:
    for row, number in zip(_rows(portion), range(len(portion)), strict=True):
        row[0], row[2], row[4] = (
            escape_spreadsheet_formula(row[0]),
            escape_spreadsheet_formula(row[2]),
            escape_spreadsheet_formula(row[4] or ""),
        )
        probabilities = ["" if isnan(p) else round(p, _DIGITS) for p in portion.probabilities[number].tolist()]
        yield [*row, *probabilities, *([json.dumps(_vector(portion, number))] if embeddings else [])]


def _write_jsonl(export: Export, file: Path, advance: Advance, embeddings: bool) -> int:
    count = 0
    with file.open("w", encoding="ascii") as out:
        for portion in export.portions:
            for row, number in zip(_rows(portion), range(len(portion)), strict=True):
                probabilities = [None if isnan(p) else round(p, _DIGITS) for p in portion.probabilities[number].tolist()]
                shown = dict(zip(COLUMNS, row, strict=True)) | dict(zip(export.probability_columns, probabilities, strict=True))
                if embeddings:
                    shown["embedding"] = _vector(portion, number)
                out.write(json.dumps(shown) + "\n")
            count += len(portion)
            advance(len(portion))
    return count


def _rows(portion: ExportChunk) -> Iterator[list[Any]]:
    """The values of `COLUMNS`, row by row; the path of a file that is no valid text holds surrogates."""
    scores = [round(score, _DIGITS) for score in portion.scores]
    paths = map(os.fsdecode, portion.paths)
    facts = zip(paths, portion.digests, portion.emotions, scores, portion.labels, portion.regions, portion.boxes, strict=True)
    for *values, box in facts:
        yield [*values, *(box or (None,) * 4)]


def _vector(portion: ExportChunk, number: int) -> list[float] | None:
    """An embedding with as many digits as float16 has."""
    values = portion.embeddings[number].tolist()
    return None if isnan(values[0]) else [float(f"{value:.5g}") for value in values]
