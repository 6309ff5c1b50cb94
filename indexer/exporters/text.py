"""Export to CSV and JSON Lines, and the choice of the format by file name."""

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
"""Writes an export to a file, calls back with the rows of each chunk, and returns the number of all rows."""

COLUMNS = ("path", "digest", "emotion", "score", "label", "region", "left", "top", "right", "bottom")
_DECIMAL_PLACES = 6


def writer_for(target: Path, embeddings: bool) -> Writer:
    """Return the writer for a file name that ends in .parquet, .csv, .jsonl or .json.

    `embeddings` adds a column of embeddings, which a Parquet file always has. Raises UsageError for another name, MissingExtra if
    the package for Parquet is not installed.
    """
    match target.suffix.lower():
        case ".parquet":
            from indexer.exporters.parquet import write_parquet

            return write_parquet
        case ".csv":
            return lambda export, file, advance: _write_csv(export, file, advance, embeddings)
        case ".jsonl":
            return lambda export, file, advance: _write_jsonl(export, file, advance, embeddings)
        case ".json":
            from indexer.exporters.coco import write_coco

            return write_coco
    raise UsageError(f"Unknown export format {str(target)!r}: the name must end in .parquet, .csv, .jsonl or .json.")


def _write_csv(export: Export, file: Path, advance: Advance, embeddings: bool) -> int:
    count = 0
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        writer = csv_writer(out)
        tags = ["tags"] if export.has_tags else []
        writer.writerow([*COLUMNS, *export.probability_columns, *tags, *(["embedding"] if embeddings else [])])
        for chunk in export.chunks:
            writer.writerows(_csv_rows(chunk, export.has_tags, embeddings))
            count += len(chunk)
            advance(len(chunk))
    return count


def _csv_rows(chunk: ExportChunk, has_tags: bool, embeddings: bool) -> Iterator[list[Any]]:
    for row, number in zip(_rows(chunk), range(len(chunk)), strict=True):
        row[0], row[2], row[4] = (
            escape_spreadsheet_formula(row[0]),
            escape_spreadsheet_formula(row[2]),
            escape_spreadsheet_formula(row[4] or ""),
        )
        probabilities = ["" if isnan(p) else round(p, _DECIMAL_PLACES) for p in chunk.probabilities[number].tolist()]
        tags = [escape_spreadsheet_formula(" ".join(rounded_tags(chunk, number)))] if has_tags else []
        yield [*row, *probabilities, *tags, *([json.dumps(_vector(chunk, number))] if embeddings else [])]


def _write_jsonl(export: Export, file: Path, advance: Advance, embeddings: bool) -> int:
    count = 0
    with file.open("w", encoding="ascii") as out:
        for chunk in export.chunks:
            for row, number in zip(_rows(chunk), range(len(chunk)), strict=True):
                probabilities = [None if isnan(p) else round(p, _DECIMAL_PLACES) for p in chunk.probabilities[number].tolist()]
                shown = dict(zip(COLUMNS, row, strict=True)) | dict(zip(export.probability_columns, probabilities, strict=True))
                if export.has_tags:
                    shown["tags"] = rounded_tags(chunk, number)
                if embeddings:
                    shown["embedding"] = _vector(chunk, number)
                out.write(json.dumps(shown) + "\n")
            count += len(chunk)
            advance(len(chunk))
    return count


def _rows(chunk: ExportChunk) -> Iterator[list[Any]]:
    """Yield the values of `COLUMNS`, row by row; bytes of a path that are not valid UTF-8 become surrogates."""
    scores = [round(score, _DECIMAL_PLACES) for score in chunk.scores]
    paths = map(os.fsdecode, chunk.paths)
    facts = zip(paths, chunk.digests, chunk.emotions, scores, chunk.labels, chunk.regions, chunk.boxes, strict=True)
    for *values, box in facts:
        yield [*values, *(box or (None,) * 4)]


def rounded_tags(chunk: ExportChunk, number: int) -> dict[str, float]:
    """Return the tags of a row with their probabilities, the most probable first."""
    return {tag: round(score, _DECIMAL_PLACES) for tag, score in chunk.tags[number].items()} if chunk.tags else {}


def _vector(chunk: ExportChunk, number: int) -> list[float] | None:
    """Return an embedding with five significant digits, enough to restore its float16 values."""
    values = chunk.embeddings[number].tolist()
    return None if isnan(values[0]) else [float(f"{value:.5g}") for value in values]
