"""Stored vector indexes: for each model a few segments, and a manifest that names them with their digests.

A segment never changes. It is a file of ids, scores and vectors, mapped into memory, so that opening it reads almost nothing and
processes share it, and, for many rows, a FAISS file of their clusters. Only the manifest is replaced; files that it does not name
are unused.
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
from db.vectors.tuning import DEFAULT_TUNING, IndexTuning
from indexer.domain.models import APPEARANCE
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

    def __init__(self, folder: Path, tuning: IndexTuning | None = None) -> None:
        self._folder = folder
        self._tuning = tuning or DEFAULT_TUNING

    def load(self, card: ModelCard) -> list[Segment]:
        segments: list[Segment] = []
        facts = self._manifest(card)
        while len(segments) < len(facts):
            try:
                segments.append(self._open(card, facts[len(segments)]))
            except _UNUSABLE as error:
                now = self._manifest(card)
                if isinstance(error, FileNotFoundError) and now != facts:
                    facts, segments = now, []  # a writer has replaced them since
                    continue
                _log.info("The vector index of %s is damaged (%s); the database answers for it.", card.name, error)
                break
        return segments

    def save(self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows, generation: Generation) -> None:
        if not self._folder.is_dir():
            self._folder.unlink(missing_ok=True)  # a file in its place is not from moodex
            self._folder.mkdir(parents=True)
        largest = max((one.vectors for one in kept if isinstance(one.vectors, FaissVectors)), key=len, default=None)
        built = FaissVectors.build(rows, largest, self._tuning)
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

    def delete(self, card: ModelCard) -> None:
        self._manifest_path(card).unlink(missing_ok=True)
        self._sweep(card, set())

    def damage(self, card: ModelCard) -> str | None:
        """Read all files of a model's index; return the name of a damaged one, or None."""
        try:
            facts = self._read_manifest(card)
        except _UNUSABLE:
            return "whose manifest cannot be read"
        for segment in facts:
            for path, expected in zip(self._paths(segment), segment["files"], strict=True):
                try:
                    if _digest(path) != expected["blake3"]:
                        return path.name
                except OSError:
                    replaced = self._manifest(card) != facts  # by a writer, since
                    return self.damage(card) if replaced else path.name
        return None

    def names(self, card: ModelCard) -> set[str]:
        """Return the names of the files of a model's index."""
        paths = [path for one in self._manifest(card) for path in self._paths(one)]
        return {path.name for path in (self._manifest_path(card), *paths)}

    def over(self, rows: VectorRows) -> VectorIndex:
        return NumpyVectors(rows)

    def _manifest_path(self, card: ModelCard) -> Path:
        return self._folder / f"{card.key}.json"

    def _paths(self, facts: dict[str, Any]) -> list[Path]:
        """Return the files of a segment: rows, and clusters if it has any."""
        suffixes = (".rows",) if facts["clusters"] is None else (".rows", ".faiss")
        return [self._folder / f"{facts['name']}{suffix}" for suffix in suffixes]

    def _manifest(self, card: ModelCard) -> list[dict[str, Any]]:
        """Return the facts of a model's segments, none if there is no usable manifest."""
        try:
            return self._read_manifest(card)
        except _UNUSABLE as error:
            _log.info("The vector index of %s is not usable (%s); the store is read instead.", card.name, error)
            return []

    def _read_manifest(self, card: ModelCard) -> list[dict[str, Any]]:
        """Return the facts of a model's segments, none without a manifest. Raises `_UNUSABLE` for a manifest of no use."""
        try:
            manifest = json.loads(self._manifest_path(card).read_bytes())
        except FileNotFoundError:
            return []
        if manifest["version"] != _VERSION or manifest["model"] != card.key:
            raise ValueError("it was made for another model or program version")
        segments = list(manifest["segments"])
        if any(len(segment["files"]) != len(self._paths(segment)) for segment in segments):
            raise ValueError("its segments do not have the files that they name")
        return segments

    def _open(self, card: ModelCard, facts: dict[str, Any]) -> Segment:
        rows, *clusters = self._paths(facts)
        for path, expected in zip((rows, *clusters), facts["files"], strict=True):
            # Hashing a large index takes longer than searching it, so a file with the stamp of its writing is trusted.
            untouched = _stamp(path) == {"size": expected["size"], "mtime_ns": expected["mtime_ns"]}
            if not untouched and _digest(path) != expected["blake3"]:
                raise ValueError(f"the bytes of {path.name} are not the ones that were written")
        layout, vectors = _open_rows(rows, facts, card)
        known = _open_clusters(clusters[0], facts["clusters"]) if clusters else None
        return Segment(FaissVectors(layout, vectors, known, self._tuning), Generation(facts["last_id"], facts["token"]))

    def _sweep(self, card: ModelCard, stay: set[str]) -> None:
        """Delete the segments that the manifest no longer names. Processes that have them open can still read them."""
        for path in self._folder.glob(f"{card.key}.*"):
            if path.suffix in (".faiss", ".rows", ".npz") and path.stem not in stay:
                path.unlink(missing_ok=True)


def _write_rows(built: FaissVectors, path: Path) -> None:
    with path.open("wb") as file:
        for column, kind in ((built.layout.ids, "<i8"), (built.layout.falling, "<f4"), (built.vectors, "<f2")):
            file.write(np.ascontiguousarray(column, dtype=kind).data)


def _open_rows(path: Path, facts: dict[str, Any], card: ModelCard) -> tuple[Layout, Halves]:
    count, appearance = int(facts["rows"]), card.space_slice(APPEARANCE)
    ids = np.memmap(path, dtype="<i8", mode="r", shape=(count,))
    falling = np.memmap(path, dtype="<f4", mode="r", offset=ids.nbytes, shape=(count,))
    shape = (count, appearance.stop - appearance.start)
    vectors = np.memmap(path, dtype="<f2", mode="r", offset=ids.nbytes + falling.nbytes, shape=shape)
    if path.stat().st_size != ids.nbytes + falling.nbytes + vectors.nbytes:
        raise ValueError("it holds vectors of another size")
    return Layout(ids, falling, {emotion: (start, stop) for emotion, start, stop in facts["emotions"]}), vectors


def _open_clusters(path: Path, known: dict[str, Any]) -> Clusters:
    """Return clusters whose codes are read when they are needed, even if a writer has deleted the file."""
    mapped = np.memmap(path, dtype=np.uint8, mode="r")

    def read() -> Any:
        # The index refers to the mapped file, which this function keeps alive.
        readers: Any = faiss
        return faiss.read_index(readers.ZeroCopyIOReader(faiss.swig_ptr(mapped), mapped.size))

    efforts = [SearchEffort(*one) for one in known["efforts"]]
    return Clusters(known["count"], known["learned_from"], known["nearness"], efforts, read)


def _write_index(index: Any, path: Path) -> None:
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS reports the system's error as text only
        full = os.strerror(errno.ENOSPC) in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, "it cannot be written completely") from error


def _stamp(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns}


def _digest(path: Path) -> str:
    return str(blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest())
