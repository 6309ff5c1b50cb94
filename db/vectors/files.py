"""Kept vector indexes: for each model a few segments, and a manifest that says which they are and what to trust them by.

A segment is a file of its rows' ids, scores and vectors, which is mapped into memory, so that opening it reads next to nothing
and processes share it, and, where there are many rows, a FAISS file of their clusters. It never changes. The manifest is what is
replaced: what it does not name is as good as gone.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from blake3 import blake3

from db.vectors.clusters import Clusters, SearchEffort
from db.vectors.faiss_index import FaissVectors
from db.vectors.layout import Layout
from db.vectors.numpy_index import NumpyVectors
from indexer.domain.models import LOOK
from indexer.ports.vectors import Generation, Segment, VectorRows
from indexer.system.atomic import replace_file, write_file

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Halves
    from indexer.ports.vectors import VectorIndex

_log = logging.getLogger(__name__)
_VERSION = 3
_UNUSABLE = (OSError, ValueError, KeyError, TypeError, OverflowError, RuntimeError, EOFError)


class FaissFiles:
    """Implements `indexer.ports.vectors.VectorStorage` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, card: ModelCard) -> list[Segment]:
        segments: list[Segment] = []
        facts = self._manifest(card)
        while len(segments) < len(facts):
            try:
                segments.append(self._open(card, facts[len(segments)]))
            except _UNUSABLE as error:
                now = self._manifest(card)
                if isinstance(error, FileNotFoundError) and now != facts:
                    facts, segments = now, []  # a writer has replaced them meanwhile
                    continue
                _log.info("The vector index of %s is damaged (%s); the database answers for it.", card.name, error)
                break
        return segments

    def save(self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows, generation: Generation) -> None:
        if not self._folder.is_dir():
            self._folder.unlink(missing_ok=True)  # whatever lies in its place is none of ours
            self._folder.mkdir(parents=True)
        largest = max((one.vectors for one in kept if isinstance(one.vectors, FaissVectors)), key=len, default=None)
        built = FaissVectors.build(rows, largest)
        name = f"{card.key}.{int(rows.ids[0])}-{generation.last_id}-{generation.token}"
        replace_file(self._folder / f"{name}.rows", lambda temporary: _write_rows(built, temporary))
        clusters = built.clusters
        if clusters is not None:
            replace_file(self._folder / f"{name}.faiss", lambda temporary: _write_index(clusters.index, temporary))
        facts = {
            "name": name,
            "last_id": generation.last_id,
            "token": generation.token,
            "rows": len(built),
            "emotions": [[emotion, *bounds] for emotion, bounds in sorted(built.layout.parts.items())],
            "clusters": clusters
            and {
                "count": clusters.count,
                "learned_from": clusters.learned_from,
                "nearness": clusters.nearness,
                "efforts": clusters.efforts,
            },
        }
        facts["files"] = [_stamp(path) | {"blake3": _digest(path)} for path in self._paths(facts)]
        segments = [*self._manifest(card)[: len(kept)], facts]
        manifest = {"version": _VERSION, "model": card.key, "segments": segments}
        write_file(self._manifest_path(card), json.dumps(manifest, indent=1).encode())
        self._sweep(card, {str(one["name"]) for one in segments})

    def forget(self, card: ModelCard) -> None:
        self._manifest_path(card).unlink(missing_ok=True)
        self._sweep(card, set())

    def damage(self, card: ModelCard) -> str | None:
        """What is wrong with the bytes of what is kept of a model, all of which are read; None where nothing is."""
        facts = self._manifest(card)
        if not facts:
            return "whose manifest cannot be read" if self._manifest_path(card).exists() else None
        for segment in facts:
            for path, expected in zip(self._paths(segment), segment["files"], strict=True):
                try:
                    if _digest(path) != expected["blake3"]:
                        return path.name
                except OSError:
                    return (
                        path.name if self._manifest(card) == facts else self.damage(card)
                    )  # a writer has replaced them meanwhile
        return None

    def names(self, card: ModelCard) -> set[str]:
        """The names of the files that hold what is kept of a model."""
        paths = [path for one in self._manifest(card) for path in self._paths(one)]
        return {path.name for path in (self._manifest_path(card), *paths)}

    def over(self, rows: VectorRows) -> VectorIndex:
        return NumpyVectors(rows)

    def _manifest_path(self, card: ModelCard) -> Path:
        return self._folder / f"{card.key}.json"

    def _paths(self, facts: dict[str, Any]) -> list[Path]:
        """The files of a segment: rows, and clusters if it has any."""
        suffixes = (".rows",) if facts["clusters"] is None else (".rows", ".faiss")
        return [self._folder / f"{facts['name']}{suffix}" for suffix in suffixes]

    def _manifest(self, card: ModelCard) -> list[dict[str, Any]]:
        """The facts of a model's segments; none where there is no manifest that can be used."""
        try:
            found = json.loads(self._manifest_path(card).read_bytes())
            if found["version"] != _VERSION or found["model"] != card.key:
                raise ValueError("it was made for another model or program version")
            segments = list(found["segments"])
            if any(len(one["files"]) != len(self._paths(one)) for one in segments):
                raise ValueError("its segments do not have the files that they name")
            return segments
        except FileNotFoundError:
            return []
        except _UNUSABLE as error:
            _log.info("The vector index of %s is not usable (%s); the database answers for it.", card.name, error)
            return []

    def _open(self, card: ModelCard, facts: dict[str, Any]) -> Segment:
        rows, *clusters = self._paths(facts)
        for path, expected in zip((rows, *clusters), facts["files"], strict=True):
            # Hashing a large index takes longer than searching it: a file that nobody touched since it was written is trusted.
            untouched = _stamp(path) == {"size": expected["size"], "mtime_ns": expected["mtime_ns"]}
            if not untouched and _digest(path) != expected["blake3"]:
                raise ValueError(f"the bytes of {path.name} are not the ones that were written")
        layout, vectors = _open_rows(rows, facts, card)
        known = _open_clusters(clusters[0], facts["clusters"]) if clusters else None
        return Segment(FaissVectors(layout, vectors, known), Generation(facts["last_id"], facts["token"]))

    def _sweep(self, card: ModelCard, stay: set[str]) -> None:
        """Delete the segments that the manifest no longer names; who has them open keeps them."""
        for path in self._folder.glob(f"{card.key}.*"):
            if path.suffix in (".faiss", ".rows", ".npz") and path.stem not in stay:
                path.unlink(missing_ok=True)


def _write_rows(built: FaissVectors, path: Path) -> None:
    with path.open("wb") as file:
        for column, kind in ((built.layout.ids, "<i8"), (built.layout.falling, "<f4"), (built.vectors, "<f2")):
            file.write(np.ascontiguousarray(column, dtype=kind).data)


def _open_rows(path: Path, facts: dict[str, Any], card: ModelCard) -> tuple[Layout, Halves]:
    count, look = int(facts["rows"]), card.space_slice(LOOK)
    ids = np.memmap(path, dtype="<i8", mode="r", shape=(count,))
    falling = np.memmap(path, dtype="<f4", mode="r", offset=ids.nbytes, shape=(count,))
    shape = (count, look.stop - look.start)
    vectors = np.memmap(path, dtype="<f2", mode="r", offset=ids.nbytes + falling.nbytes, shape=shape)
    if path.stat().st_size != ids.nbytes + falling.nbytes + vectors.nbytes:
        raise ValueError("it holds vectors of another size")
    return Layout(ids, falling, {emotion: (start, stop) for emotion, start, stop in facts["emotions"]}), vectors


def _open_clusters(path: Path, known: dict[str, Any]) -> Clusters:
    """Clusters whose codes are read when they are needed, also where a writer has replaced the file meanwhile."""
    mapped = np.memmap(path, dtype=np.uint8, mode="r")

    def read() -> Any:
        # What is read refers to parts of the mapped file; this function keeps it.
        readers: Any = faiss
        return faiss.read_index(readers.ZeroCopyIOReader(faiss.swig_ptr(mapped), mapped.size))

    efforts = [SearchEffort(*one) for one in known["efforts"]]
    return Clusters(known["count"], known["learned_from"], known["nearness"], efforts, read)


def _write_index(index: Any, path: Path) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS names the system's error in words
        full = os.strerror(errno.ENOSPC) in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, "it cannot be written as a whole") from error


def _stamp(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _digest(path: Path) -> str:
    return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())
