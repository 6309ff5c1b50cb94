"""Check that the stored vector indexes are intact and agree with the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import LargeBinary, cast, func, select

from db.schema import PredictionRow
from db.sql.dialect import no_index
from db.sql.read_statements import same_generation
from db.sql.unpacking import connect_for_reading
from db.vectors.faiss_index import FaissVectors
from db.vectors.files import FaissFiles
from indexer.domain.health import Finding
from indexer.ports.vectors import NOT_THE_MODELS, Segment

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from indexer.domain.models import ModelCard

_INDEX_SUFFIXES = (".faiss", ".rows", ".npz", ".json")
_CHUNK_ROWS = 8192


def check_vectors(
    engine: Engine, folder: Path, cards: Mapping[int, ModelCard], advance: Callable[[int], None]
) -> Iterator[Finding]:
    """Yield what is wrong with the vector indexes in a folder. `cards` are those of the models with predictions, by id.

    `advance` receives the number of predictions of every chunk compared. Raises StoreDamaged for values that moodex never writes.
    """
    files = FaissFiles(folder)
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    for model_id, card in cards.items():
        for kind, number, example in _wrong(engine, files, model_id, card, advance):
            counts[kind] = counts.get(kind, 0) + number
            examples.setdefault(kind, example)
    for kind, number in counts.items():
        yield Finding(kind, number, examples[kind])


def orphan_files(folder: Path, cards: Sequence[ModelCard]) -> list[Path]:
    """Return index files that no manifest of the given models names."""
    files = FaissFiles(folder)
    named = {name for card in cards for name in files.names(card)}
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in found if path.suffix in _INDEX_SUFFIXES and path.name not in named)


def _wrong(
    engine: Engine, files: FaissFiles, model_id: int, card: ModelCard, advance: Callable[[int], None]
) -> Iterator[tuple[str, int, str]]:
    """Yield the kind, number and an example of what is wrong with a model's index."""
    if (damage := files.damage(card)) is not None:
        yield "vectors_damaged", 1, f"{card.name}, {damage}"
        return
    segments = files.load(card)
    # The transaction begins after the files were opened, so that it has every row that they have.
    with connect_for_reading(engine) as connection:
        valid = [
            segment
            for segment in segments
            if connection.execute(same_generation(model_id, segment.generation)).first() is not None
        ]
        index = _StoredIndex(model_id, card, valid)
        newest = connection.execute(select(func.max(PredictionRow.id)).where(PredictionRow.model_id == model_id)).scalar() or 0
        if newest > index.last_id or len(valid) < len(segments):
            yield "vectors_behind", 1, card.name
        wrong, first = _compare(connection, index, advance)
    if wrong:
        yield "vectors_wrong", wrong, f"{card.name}, row {first}"


@dataclass(frozen=True, slots=True)
class _StoredIndex:
    """The valid segments of a model's index."""

    model_id: int
    card: ModelCard
    segments: Sequence[Segment]

    @property
    def last_id(self) -> int:
        """The id of the last prediction that the index covers, or 0."""
        return self.segments[-1].generation.last_id if self.segments else 0

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ids, int64, emotions, uint8, and scores, float32, of all rows, by id."""
        layouts = [segment.vectors.layout for segment in self.segments if isinstance(segment.vectors, FaissVectors)]
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


def _compare(connection: Connection, index: _StoredIndex, advance: Callable[[int], None]) -> tuple[int, int]:
    """Return how many stored predictions the index lacks or has with another emotion or score, and the id of the first."""
    ids, emotions, scores = index.rows()
    # Emotions are compared as bytes, because a damaged one may not be text.
    positions = {label.encode(): position for position, label in enumerate(index.card.labels)}
    wrong, first = 0, 0
    row = PredictionRow
    # With an index by model, SQLite would have to sort.
    own = (no_index(row.model_id) == index.model_id, row.id <= index.last_id)
    query = select(row.id, cast(row.emotion, LargeBinary), row.score).where(*own).order_by(row.id)
    for rows in connection.execution_options(yield_per=_CHUNK_ROWS).execute(query).partitions():
        stored_ids = np.array([row[0] for row in rows], dtype=np.int64)
        stored_emotions = np.array([positions.get(row[1], NOT_THE_MODELS) for row in rows], dtype=np.uint8)
        stored_scores = np.array([row[2] for row in rows], dtype=np.float32)
        place = np.searchsorted(ids, stored_ids).clip(max=max(len(ids) - 1, 0))
        if len(ids):
            bad = (ids[place] != stored_ids) | (emotions[place] != stored_emotions) | (scores[place] != stored_scores)
        else:
            bad = np.ones(len(stored_ids), dtype=bool)
        if bad.any():
            first = first or int(stored_ids[bad][0])
            wrong += int(bad.sum())
        advance(len(rows))
    return wrong, first
