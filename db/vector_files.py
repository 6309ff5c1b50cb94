"""Kept vector indexes: for each model a FAISS file, and beside it its rows' ids, emotions, scores and the facts to trust it by.

The two are replaced one after the other; a pair that does not belong together is told by the digest and is as good as none.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import faiss
import numpy as np
from blake3 import blake3

from db.vectors import FaissVectors, Layout, NumpyVectors
from indexer.atomic import replace_file
from indexer.domain import LOOK
from indexer.ports import Generation, VectorRows

if TYPE_CHECKING:
    from indexer.domain import ModelCard
    from indexer.ports import VectorIndex

_log = logging.getLogger(__name__)
_VERSION = 1


class FaissFiles:
    """Implements `indexer.ports.VectorFiles` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, card: ModelCard) -> tuple[VectorIndex, Generation] | None:
        vectors, rows = self._paths(card)
        if not vectors.exists() or not rows.exists():
            return None
        try:
            return self._load(card, vectors, rows)
        except (OSError, ValueError, KeyError, RuntimeError, EOFError, BadZipFile) as error:
            _log.info("The vector index %s is not usable (%s); its rows are read from the database instead.", vectors, error)
            return None

    def save(self, card: ModelCard, rows: VectorRows, generation: Generation) -> None:
        vectors_path, rows_path = self._paths(card)
        self._folder.mkdir(parents=True, exist_ok=True)
        built = FaissVectors.build(rows)
        replace_file(vectors_path, lambda temporary: faiss.write_index(built.index, str(temporary)))
        stamp = vectors_path.stat()
        facts = {
            "version": _VERSION,
            "model": card.key,
            "last_id": generation.last_id,
            "token": generation.token,
            "size": stamp.st_size,
            "mtime_ns": stamp.st_mtime_ns,
            "blake3": _digest(vectors_path),
        }
        layout = built.layout

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez(file, ids=layout.ids, emotions=layout.emotions, scores=layout.scores, facts=np.array(json.dumps(facts)))

        replace_file(rows_path, write)

    def forget(self, card: ModelCard) -> None:
        for path in self._paths(card):
            path.unlink(missing_ok=True)

    def over(self, rows: VectorRows) -> VectorIndex:
        return NumpyVectors(rows)

    def _paths(self, card: ModelCard) -> tuple[Path, Path]:
        return self._folder / f"{card.key}.faiss", self._folder / f"{card.key}.rows.npz"

    def _load(self, card: ModelCard, vectors: Path, rows: Path) -> tuple[VectorIndex, Generation]:
        with rows.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            layout = Layout(kept["ids"], kept["emotions"], kept["scores"])
            facts: dict[str, Any] = json.loads(str(kept["facts"]))
        if facts["version"] != _VERSION or facts["model"] != card.key:
            raise ValueError("it was made for another model or program version")
        stamp = vectors.stat()
        untouched = (stamp.st_size, stamp.st_mtime_ns) == (facts["size"], facts["mtime_ns"])
        # Hashing a large index takes longer than searching it, so a file that nobody touched since it was written is trusted.
        if not untouched and _digest(vectors) != facts["blake3"]:
            raise ValueError("its bytes are not the ones that were written")
        index = faiss.read_index(str(vectors), faiss.IO_FLAG_MMAP_IFC)
        look = card.columns(LOOK)
        if index.d != look.stop - look.start:
            raise ValueError(f"it holds vectors of size {index.d}")
        return FaissVectors(layout, index), Generation(facts["last_id"], facts["token"])


def _digest(path: Path) -> str:
    return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())
