"""Check what a killed program left against the invariants of the design, with code that does not belong to the program.

Each function returns the violations, one sentence each.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from blake3 import blake3
from filelock import FileLock, Timeout

from db.vectors.files import FaissFiles
from db.vectors.sync import open_index
from indexer.analysis.analyzer import Analyzer
from indexer.domain.errors import MoodexError
from indexer.domain.models import APPEARANCE, ModelCard
from indexer.domain.queries import SearchQuery, SearchRequest
from indexer.maintenance import service as maintenance_service
from indexer.search import service as search_service
from indexer.search.engine import search
from indexer.settings import Settings
from indexer.transfer.backup_file import extract, read_manifest
from tests.crash.snapshot import DatabaseSnapshot, StoredPrediction, read_snapshot
from tests.support.library import opened
from tests.support.quiet import Remembered

_UNLIMITED = 10_000
_SIMILARITY_TOLERANCE = 2e-5
_SMALL_LIMIT = 5
_QUERIES_PER_MODEL = 2
ALLOWED_FINDINGS = frozenset(
    ("runs_died", "temporaries", "vectors_behind", "weights_gone", "files_missing", "files_changed", "pictures_unfiled")
)
"""Findings that doctor may report after a kill. The store keeps `pictures_unfiled` on purpose: the same bytes may return."""


def file_states(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the modification time in nanoseconds and the digest of every file in a folder, by path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, blake3(path.read_bytes()).hexdigest()) for path in files}


def user_model_digests(home: Path) -> dict[str, str]:
    """Return the digests of the user's own model files by name, without temporary files."""
    states = file_states(home / "models")
    return {os.path.basename(path): digest for path, (_, digest) in states.items() if not _is_hidden(path)}


def incomplete_backups(folder: Path) -> list[str]:
    """Check that every backup in a folder is complete."""
    violations = []
    for path in folder.glob("*.zip"):
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            try:
                extract(path, read_manifest(path), Path(unpacked), lambda _size: None)
            except MoodexError as error:
                violations.append(str(error))
    return violations


def _is_hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def held_lock(home: Path) -> list[str]:
    """Check that a writer could begin."""
    if not home.is_dir():
        return []
    lock = FileLock(home / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return ["the lock of the writer outlives its process"]
    lock.release()
    return []


def doctor_problems(settings: Settings) -> list[str]:
    """Check that `doctor --deep` finds only what is allowed after a kill."""
    if not settings.database.exists():
        return []
    try:
        findings = maintenance_service.check(opened(settings), True, Remembered()).found.findings
    except MoodexError as error:
        return [f"doctor: {error}"]
    return [
        f"doctor: {finding.kind}, {finding.count}: {finding.example}"
        for finding in findings
        if finding.kind not in ALLOWED_FINDINGS
    ]


def unpaired_rows(snapshot: DatabaseSnapshot) -> list[str]:
    """Check that each prediction has an embedding, each embedding a prediction, and each file that is done both."""
    without_embedding = sum(row.embedding is None for row in snapshot.predictions.values())
    lines = [f"{without_embedding} predictions without an embedding"] if without_embedding else []
    done_images = {file.digest for file in snapshot.files.values() if file.state == "done"}
    classified = {digest for _, digest, _ in snapshot.predictions}
    if snapshot.predictions and (missing := done_images - classified - {None}):
        lines.append(f"{len(missing)} images of done files that no model classified")
    unused = snapshot.unused_embeddings
    return [*lines, *([f"{unused} embeddings without a prediction"] if unused else [])]


def wrong_searches(settings: Settings, snapshot: DatabaseSnapshot, chance: random.Random) -> Iterator[str]:
    """Check that searches give the same results as a scan of every row.

    They use the vector index as the killed program left it, and again after it was rebuilt.
    """
    if not snapshot.predictions:
        return
    with opened(settings).database.open() as store:
        models = [model for model in store.models() if model.used]
        files = FaissFiles(settings.vectors)
        for model in models:
            for path, embedding in _sample_queries(snapshot, model.card, chance):
                expected = _scan_similarities(snapshot, model.card, embedding)
                for limit in (_UNLIMITED, _SMALL_LIMIT):  # with a small limit, a wrong index would propose the wrong files
                    query = SearchQuery(like=embedding.astype(np.float32), limit=limit)
                    hits = search(store, model, query, partial(open_index, store, files, model))
                    similarities = {hit.path: hit.similarity for hit in hits}
                    yield from _compare(f"before the rebuild, {model.card.name}, like {path!r}", similarities, expected, limit)
    for model in models:
        library = opened(_settings_of_model(settings, model.card), _unexpected_analyzer)
        for path, embedding in _sample_queries(snapshot, model.card, chance)[:1]:
            request = SearchRequest(like=path, limit=_UNLIMITED)
            similarities = {hit.path: hit.similarity for hit in search_service.search(library, request)}
            expected = _scan_similarities(snapshot, model.card, embedding)
            yield from _compare(f"after the rebuild, {model.card.name}, like {path!r}", similarities, expected)
        emotions = {row.emotion for (key, _, _), row in snapshot.predictions.items() if key == model.card.key}
        emotion = chance.choice(sorted(emotions))
        request = SearchRequest(emotions=(emotion,), exact_label=True, limit=_UNLIMITED)
        paths = {hit.path for hit in search_service.search(library, request)}
        live_paths = snapshot.live_paths()
        expected_paths = {
            path
            for (key, digest, _), row in snapshot.predictions.items()
            if key == model.card.key and row.emotion == emotion
            for path in live_paths.get(digest, ())
        }
        if paths != expected_paths:
            yield f"a search for {emotion} returns {len(paths)} files, not the expected {len(expected_paths)}"


def _sample_queries(snapshot: DatabaseSnapshot, card: ModelCard, chance: random.Random) -> list[tuple[bytes, np.ndarray]]:
    """Sample paths of images that a model classified, each with the embedding of its main region."""
    main_regions: dict[bytes, StoredPrediction] = {}
    for (key, digest, region), row in snapshot.predictions.items():
        if key == card.key and region <= 1:
            main_regions[digest] = row
    live_paths = sorted(snapshot.live_paths().items())
    candidates = [(path, main_regions[digest]) for digest, paths in live_paths if digest in main_regions for path in paths]
    chosen = chance.sample(candidates, min(_QUERIES_PER_MODEL, len(candidates)))
    return [(path, row.embedding) for path, row in chosen if row.embedding is not None]


def _scan_similarities(snapshot: DatabaseSnapshot, card: ModelCard, embedding: np.ndarray) -> dict[bytes, float]:
    """Return the similarity of every live file to an embedding, from a scan of every row."""
    appearance = card.space_slice(APPEARANCE)
    query = embedding[appearance].astype(np.float64)
    live_paths = snapshot.live_paths()
    best: dict[bytes, float] = {}
    for (key, digest, _), row in snapshot.predictions.items():
        if key == card.key and row.embedding is not None:
            similarity = min(1.0, float(row.embedding[appearance].astype(np.float64) @ query))
            for path in live_paths.get(digest, ()):
                best[path] = max(similarity, best.get(path, -1.0))
    return best


def _compare(
    search_name: str, actual: Mapping[bytes, float | None], expected: Mapping[bytes, float], limit: int = _UNLIMITED
) -> Iterator[str]:
    count = min(limit, len(expected))
    if len(actual) != count or not actual.keys() <= expected.keys():
        wrong = sorted(actual.keys() ^ expected.keys())
        yield f"search {search_name}: {len(actual)} files, not the expected {count}; for example {wrong[0]!r}"
        return
    best = sorted(expected.values(), reverse=True)[: len(actual)]
    deviations = [abs((similarity or 0.0) - expected[path]) for path, similarity in actual.items()]
    deviations += [abs((similarity or 0.0) - right) for similarity, right in zip(actual.values(), best, strict=True)]
    if max(deviations) > _SIMILARITY_TOLERANCE:
        yield f"search {search_name}: of the best {len(actual)}, similarities are wrong by up to {max(deviations):.4f}"


def _settings_of_model(settings: Settings, card: ModelCard) -> Settings:
    return Settings(home=settings.home, model=card.name)


def _unexpected_analyzer(_settings: Settings) -> Analyzer:
    raise AssertionError("a search by stored embeddings must not open an analyzer")


def check_all(settings: Settings, chance: random.Random) -> tuple[DatabaseSnapshot, list[str]]:
    """Check all invariants of a data folder; return its snapshot and the violations. Changes the folder."""
    violations = doctor_problems(settings)
    snapshot = read_snapshot(settings.database)
    violations += unpaired_rows(snapshot)
    try:
        violations += wrong_searches(settings, snapshot, chance)
    except MoodexError as error:
        violations.append(f"search: {error}")
    return snapshot, violations


def copy_home(home: Path, target: Path) -> Path:
    """Copy a data folder for checks, since opening a database changes it."""
    shutil.rmtree(target, ignore_errors=True)
    if home.is_dir():
        shutil.copytree(home, target)
    return target
