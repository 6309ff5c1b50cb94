"""Stored vector indexes: for each model a few segments, and a manifest that names them with their digests.

A segment never changes. It is a file of ids, scores and vectors, mapped into memory, so that opening it reads almost nothing and
processes share it, and, for many rows, FAISS files of their clusters, one for each shard. Only the manifest is replaced; files
that it does not name are unused.

A segment is built from portions of rows, and from its own file of rows, so the memory does not grow with its size.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
from blake3 import blake3

from db.vectors.clusters import Clusters, SearchEffort
from db.vectors.codes import Shard
from db.vectors.faiss_index import FaissVectors
from db.vectors.layout import in_portions
from db.vectors.numpy_index import NumpyVectors
from db.vectors.row_file import StoredVectors, open_rows, write_rows
from db.vectors.tuning import DEFAULT_TUNING, IndexTuning
from indexer.domain.models import APPEARANCE
from indexer.ports.vectors import Generation, Segment, VectorRows
from indexer.system.atomic import replace_file, write_file

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.ports.vectors import VectorIndex

_log = logging.getLogger(__name__)
_VERSION = 4
_DIGESTED_BYTES = 2**22
"""Bytes that are read at once: enough for several threads."""

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

    def save(
        self, card: ModelCard, kept: Sequence[Segment], rows: VectorRows | Iterable[VectorRows], generation: Generation
    ) -> None:
        if not self._folder.is_dir():
            self._folder.unlink(missing_ok=True)  # a file in its place is not from moodex
            self._folder.mkdir(parents=True)
        facts = self._write_segment(card, kept, in_portions(rows), generation)
        facts["files"] = [_stamp(path) | {"blake3": _digest(path)} for path in self._paths(facts)]
        segments = [*self._manifest(card)[: len(kept)], facts]
        manifest = {"version": _VERSION, "model": card.key, "segments": segments}
        write_file(self._manifest_path(card), json.dumps(manifest, indent=1).encode())
        self._sweep(card)

    def _write_segment(
        self, card: ModelCard, kept: Sequence[Segment], portions: Iterable[VectorRows], generation: Generation
    ) -> dict[str, Any]:
        """Write the files of a new segment; return its facts for the manifest."""
        from db.vectors.sorting import RowSorter  # a search writes no segment

        first_id = kept[-1].generation.last_id + 1 if kept else 1
        name = f"{card.key}.{first_id}-{generation.last_id}-{generation.token}"
        parts: dict[int, tuple[int, int]] = {}
        with RowSorter(self._folder, self._tuning.portion_bytes) as sorter:
            for portion in portions:
                sorter.add(portion)
            count = len(sorter)
            replace_file(self._rows_path(name), lambda temporary: parts.update(write_rows(temporary, sorter.sorted(), count)))
        return {
            "name": name,
            "last_id": generation.last_id,
            "token": generation.token,
            "rows": count,
            "emotions": [[emotion, *bounds] for emotion, bounds in sorted(parts.items())],
            "clusters": self._write_clusters(card, kept, name, count) if count >= self._tuning.clustered_min_rows else None,
        }

    def _write_clusters(self, card: ModelCard, kept: Sequence[Segment], name: str, count: int) -> dict[str, Any]:
        """Cluster the rows of a new segment around the centers of the largest of the others if they fit; return the facts."""
        from db.vectors.clustering import cluster  # a search clusters nothing

        largest = max((one.vectors for one in kept if isinstance(one.vectors, FaissVectors)), key=len, default=None)

        def write(number: int, index: Any) -> Callable[[], Any]:
            path = self._codes_path(name, number)
            replace_file(path, lambda temporary: _write_index(index, temporary))
            return _reader(path)

        with StoredVectors(self._rows_path(name), count, _size(card)) as vectors:
            clusters = cluster(vectors, None if largest is None else largest.clusters, self._tuning, write)
        return {
            "count": clusters.count,
            "learned_from": clusters.learned_from,
            "nearness": clusters.nearness,
            "efforts": clusters.efforts,
            "shards": [[shard.start, shard.stop] for shard in clusters.shards],
        }

    def delete(self, card: ModelCard) -> None:
        self._manifest_path(card).unlink(missing_ok=True)
        self._sweep(card)

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

    def _rows_path(self, name: str) -> Path:
        return self._folder / f"{name}.rows"

    def _codes_path(self, name: str, shard: int) -> Path:
        return self._folder / f"{name}.{shard}.faiss"

    def _paths(self, facts: dict[str, Any]) -> list[Path]:
        """Return the files of a segment: its rows, and its shards if it has clusters."""
        shards = 0 if facts["clusters"] is None else len(facts["clusters"]["shards"])
        return [self._rows_path(facts["name"]), *(self._codes_path(facts["name"], number) for number in range(shards))]

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
        rows, *codes = self._paths(facts)
        for path, expected in zip((rows, *codes), facts["files"], strict=True):
            # Hashing a large index takes longer than searching it, so a file with the stamp of its writing is trusted.
            untouched = _stamp(path) == {"size": expected["size"], "mtime_ns": expected["mtime_ns"]}
            if not untouched and _digest(path) != expected["blake3"]:
                raise ValueError(f"the bytes of {path.name} are not the ones that were written")
        parts = {emotion: (start, stop) for emotion, start, stop in facts["emotions"]}
        layout, vectors = open_rows(rows, int(facts["rows"]), _size(card), parts)
        clusters = _open_clusters(codes, facts["clusters"]) if codes else None
        return Segment(FaissVectors(layout, vectors, clusters, self._tuning), Generation(facts["last_id"], facts["token"]))

    def _sweep(self, card: ModelCard) -> None:
        """Delete the files that the manifest no longer names. Processes that have them open can still read them."""
        stay = self.names(card)
        for path in self._folder.glob(f"{card.key}.*"):
            if path.suffix in (".faiss", ".rows", ".npz") and path.name not in stay:
                path.unlink(missing_ok=True)


def _size(card: ModelCard) -> int:
    """Return the number of values of a vector in the index."""
    appearance = card.space_slice(APPEARANCE)
    size: int = appearance.stop - appearance.start
    return size


def _open_clusters(paths: Sequence[Path], known: dict[str, Any]) -> Clusters:
    efforts = [SearchEffort(*one) for one in known["efforts"]]
    shards = [Shard(start, stop, _reader(path)) for path, (start, stop) in zip(paths, known["shards"], strict=True)]
    return Clusters(known["count"], known["learned_from"], known["nearness"], efforts, shards)


def _reader(path: Path) -> Callable[[], Any]:
    """Return a function that reads a FAISS index, even if a writer has deleted the file."""
    mapped = np.memmap(path, dtype=np.uint8, mode="r")

    def read() -> Any:
        # The index refers to the mapped file, which this function keeps alive.
        readers: Any = faiss
        return faiss.read_index(readers.ZeroCopyIOReader(faiss.swig_ptr(mapped), mapped.size))

    return read


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
    digest = blake3(max_threads=blake3.AUTO)
    with path.open("rb") as file:  # not mapped: its pages would count as memory of this process
        while block := file.read(_DIGESTED_BYTES):
            digest.update(block)
    return digest.hexdigest()
