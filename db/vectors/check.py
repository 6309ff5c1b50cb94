"""Whether the kept vector indexes are what was written, and say what the database says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from db.sqlite.errors import reading_rows
from db.sqlite.model_rows import stored_cards
from db.sqlite.raw_connection import fetch_chunks, reading
from db.vectors.faiss_index import FaissVectors
from db.vectors.files import FaissFiles
from indexer.domain.health import Finding
from indexer.domain.models import ModelCard
from indexer.ports.vectors import NOT_THE_MODELS, Segment

_KEPT = (".faiss", ".rows", ".npz", ".json")


def check_vectors(
    database: Path, folder: Path, check_stop: Callable[[], None], advance: Callable[[int], None]
) -> Iterator[Finding]:
    """What is wrong with the kept vector indexes of the models that have predictions; `advance` hears of their rows.

    Raises sqlite3.DatabaseError where the database is damaged.
    """
    files = FaissFiles(folder)
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    with reading(database, check_stop) as connection:
        models = used_models(connection)
    for model, card in models.items():
        for kind, number, example in _wrong(database, files, model, card, advance):
            counts[kind] = counts.get(kind, 0) + number
            examples.setdefault(kind, example)
    for kind, number in counts.items():
        yield Finding(kind, number, examples[kind])


def used_models(connection: sqlite3.Connection) -> dict[int, ModelCard]:
    """The cards of the models that have predictions, by id."""
    used = "SELECT id FROM models m WHERE EXISTS (SELECT 1 FROM predictions p WHERE p.model_id = m.id)"
    ids = {number for (number,) in connection.execute(used)}
    return {number: card for number, card in stored_cards(connection).items() if card is not None and number in ids}


def orphan_files(folder: Path, cards: Sequence[ModelCard]) -> list[Path]:
    """Files of vector indexes that belong to no model, or that its manifest does not name."""
    files = FaissFiles(folder)
    named = {name for card in cards for name in files.names(card)}
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix in _KEPT and path.name not in named)


def _wrong(
    database: Path, files: FaissFiles, model: int, card: ModelCard, advance: Callable[[int], None]
) -> Iterator[tuple[str, int, str]]:
    if (damage := files.damage(card)) is not None:
        yield "vectors_damaged", 1, f"{card.name}, {damage}"
        return
    segments = files.load(card)
    # Begun after the files were opened: it has every row that they have.
    with reading(database) as connection, reading_rows(connection):
        kept = [segment for segment in segments if _had(connection, model, segment)]
        end = kept[-1].generation.last_id if kept else 0
        newest = connection.execute("SELECT max(id) FROM predictions WHERE model_id = ?", (model,)).fetchone()[0] or 0
        if newest > end or len(kept) < len(segments):
            yield "vectors_behind", 1, card.name
        wrong, first = _compared(connection, (model, card, end), kept, advance)
    if wrong:
        yield "vectors_wrong", wrong, f"{card.name}, row {first}"


def _had(connection: sqlite3.Connection, model: int, segment: Segment) -> bool:
    query = "SELECT 1 FROM generations WHERE model_id = ? AND last_prediction_id = ? AND token = ?"
    generation = segment.generation
    return connection.execute(query, (model, generation.last_id, generation.token)).fetchone() is not None


def _compared(
    connection: sqlite3.Connection, which: tuple[int, ModelCard, int], kept: Sequence[Segment], advance: Callable[[int], None]
) -> tuple[int, int]:
    """How many stored predictions the kept segments lack or know otherwise, and the first of them."""
    model, card, end = which
    ids, emotions, scores = _rows_of(kept)
    positions = {label: position for position, label in enumerate(card.labels)}
    wrong, first = 0, 0
    query = "SELECT id, emotion, score FROM predictions WHERE model_id + 0 = ? AND id <= ? ORDER BY id"
    for rows in fetch_chunks(connection.execute(query, (model, end))):
        stored = np.array([row[0] for row in rows], dtype=np.int64)
        told = np.array([positions.get(str(row[1]), NOT_THE_MODELS) for row in rows], dtype=np.uint8)
        sure = np.array([row[2] for row in rows], dtype=np.float32)
        place = np.searchsorted(ids, stored).clip(max=max(len(ids) - 1, 0))
        if len(ids):
            bad = (ids[place] != stored) | (emotions[place] != told) | (scores[place] != sure)
        else:
            bad = np.ones(len(stored), dtype=bool)
        if bad.any():
            first = first or int(stored[bad][0])
            wrong += int(bad.sum())
        advance(len(rows))
    return wrong, first


def _rows_of(kept: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ids, emotions and scores of all kept rows, by id."""
    layouts = [segment.vectors.layout for segment in kept if isinstance(segment.vectors, FaissVectors)]
    ids = np.concatenate([np.empty(0, dtype=np.int64), *(layout.ids for layout in layouts)])
    scores = np.concatenate([np.empty(0, dtype=np.float32), *(-layout.falling for layout in layouts)])
    emotions = np.full(len(ids), NOT_THE_MODELS, dtype=np.uint8)
    start = 0
    for layout in layouts:
        for emotion, (low, high) in layout.parts.items():
            emotions[start + low : start + high] = emotion
        start += len(layout)
    order = np.argsort(ids, kind="stable")
    return ids[order], emotions[order], scores[order]
