"""The invariants of the design, checked on what a killed program has left, each by other means than the program's own."""

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
from indexer.domain.models import LOOK, ModelCard
from indexer.domain.queries import SearchQuery, SearchRequest
from indexer.maintenance import service as maintenance_service
from indexer.search import service as search_service
from indexer.search.engine import search
from indexer.settings import Settings
from indexer.transfer.backup_file import extract, read_manifest
from tests.crash.truth import Said, Truth, read_truth
from tests.support.library import opened
from tests.support.quiet import Remembered

_EVERYTHING = 10_000
_CLOSE = 2e-5
_FEW = 5
_QUERIES = 2
NOTES = frozenset(
    ("runs_died", "temporaries", "vectors_behind", "weights_gone", "files_missing", "files_changed", "pictures_unfiled")
)
"""What a check-up may note after a kill; `pictures_unfiled` are kept on purpose, for their bytes may come back."""


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file of a folder: when it was changed, and its digest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, blake3(path.read_bytes()).hexdigest()) for path in files}


def shelved(home: Path) -> dict[str, str]:
    """The user's own models: each file's digest, by name; temporary files are none."""
    return {os.path.basename(path): digest for path, (_, digest) in seen(home / "models").items() if not _is_hidden(path)}


def archives(folder: Path) -> list[str]:
    """Whether every backup in a folder is whole."""
    found = []
    for path in folder.glob("*.zip"):
        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            try:
                extract(path, read_manifest(path), Path(unpacked), lambda _size: None)
            except MoodexError as error:
                found.append(str(error))
    return found


def _is_hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def lock_is_free(home: Path) -> list[str]:
    """Whether a writer could begin."""
    if not home.is_dir():
        return []
    lock = FileLock(home / "writer.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return ["the lock of the writer outlives its process"]
    lock.release()
    return []


def check_up(settings: Settings) -> list[str]:
    """What `doctor --deep` finds that it must not."""
    if not settings.database.exists():
        return []
    try:
        found = maintenance_service.check(opened(settings), True, Remembered()).found.findings
    except MoodexError as error:
        return [f"doctor: {error}"]
    return [f"doctor: {one.kind}, {one.count}: {one.example}" for one in found if one.kind not in NOTES]


def pairs(truth: Truth) -> list[str]:
    """Whether every prediction has its embedding, every embedding a prediction, and every file that is done has both."""
    alone = sum(said.embedding is None for said in truth.said.values())
    lines = [f"{alone} predictions without an embedding"] if alone else []
    pictures = {file.digest for file in truth.files.values() if file.state == "done"}
    predicted = {digest for _, digest, _ in truth.said}
    if truth.said and (missing := pictures - predicted - {None}):
        lines.append(f"{len(missing)} pictures of done files that no model has seen")
    return [*lines, *([f"{truth.unneeded} embeddings without a prediction"] if truth.unneeded else [])]


def searches(settings: Settings, truth: Truth, chance: random.Random) -> Iterator[str]:
    """Where searches answer otherwise than a look at every row: with the vector index as it was left, then as it is mended."""
    if not truth.said:
        return
    with opened(settings).database.open() as store:
        models = [one for one in store.models() if one.used]
        files = FaissFiles(settings.vectors)
        for model in models:
            for path, wanted in _questions(truth, model.card, chance):
                expected = _all_alike(truth, model.card, wanted)
                for limit in (_EVERYTHING, _FEW):  # of few, an index that is not true would propose the wrong ones
                    query = SearchQuery(like=wanted.astype(np.float32), limit=limit)
                    hits = search(store, model, query, partial(open_index, store, files, model))
                    left = {hit.path: hit.similarity for hit in hits}
                    yield from _compared(f"as left, {model.card.name}, like {path!r}", left, expected, limit)
    for model in models:
        named = opened(_named(settings, model.card), _nobody)
        for path, wanted in _questions(truth, model.card, chance)[:1]:
            asked = SearchRequest(like=path, limit=_EVERYTHING)
            mended = {hit.path: hit.similarity for hit in search_service.search(named, asked)}
            yield from _compared(f"as mended, {model.card.name}, like {path!r}", mended, _all_alike(truth, model.card, wanted))
        emotion = chance.choice(sorted({said.emotion for (key, _, _), said in truth.said.items() if key == model.card.key}))
        asked = SearchRequest(emotions=(emotion,), exact_label=True, limit=_EVERYTHING)
        by_emotion = {hit.path for hit in search_service.search(named, asked)}
        live = truth.live()
        right = {
            path
            for (key, digest, _), said in truth.said.items()
            if key == model.card.key and said.emotion == emotion
            for path in live.get(digest, ())
        }
        if by_emotion != right:
            yield f"a search for {emotion} finds {len(by_emotion)} files, not the right {len(right)}"


def _questions(truth: Truth, card: ModelCard, chance: random.Random) -> list[tuple[bytes, np.ndarray]]:
    """Some paths whose pictures a model knows, each with the embedding of its main region."""
    main: dict[bytes, Said] = {}
    for (key, digest, region), said in truth.said.items():
        if key == card.key and region <= 1:
            main[digest] = said
    known = [(path, main[digest]) for digest, paths in sorted(truth.live().items()) if digest in main for path in paths]
    chosen = chance.sample(known, min(_QUERIES, len(known)))
    return [(path, said.embedding) for path, said in chosen if said.embedding is not None]


def _all_alike(truth: Truth, card: ModelCard, wanted: np.ndarray) -> dict[bytes, float]:
    """How alike every live file is, by a look at every row."""
    look = card.space_slice(LOOK)
    like = wanted[look].astype(np.float64)
    live = truth.live()
    best: dict[bytes, float] = {}
    for (key, digest, _), said in truth.said.items():
        if key == card.key and said.embedding is not None:
            similarity = min(1.0, float(said.embedding[look].astype(np.float64) @ like))
            for path in live.get(digest, ()):
                best[path] = max(similarity, best.get(path, -1.0))
    return best


def _compared(
    what: str, found: Mapping[bytes, float | None], expected: Mapping[bytes, float], limit: int = _EVERYTHING
) -> Iterator[str]:
    if len(found) != min(limit, len(expected)) or not found.keys() <= expected.keys():
        wrong = sorted(found.keys() ^ expected.keys())
        yield f"search {what}: {len(found)} files, not the right {min(limit, len(expected))}; {wrong[0]!r} for one"
        return
    best = sorted(expected.values(), reverse=True)[: len(found)]
    wrong_by = [abs((similarity or 0.0) - expected[path]) for path, similarity in found.items()]
    wrong_by += [abs((similarity or 0.0) - right) for similarity, right in zip(found.values(), best, strict=True)]
    if max(wrong_by) > _CLOSE:
        yield f"search {what}: of the best {len(found)}, similarities are wrong by up to {max(wrong_by):.4f}"


def _named(settings: Settings, card: ModelCard) -> Settings:
    return Settings(home=settings.home, model=card.name)


def _nobody(_settings: Settings) -> Analyzer:
    raise AssertionError("nothing has to be computed to search by what is stored")


def all_of(settings: Settings, chance: random.Random) -> tuple[Truth, list[str]]:
    """What a database says, and every invariant that what lies in a data folder breaks. The folder is changed by it."""
    findings = check_up(settings)
    truth = read_truth(settings.database)
    findings += pairs(truth)
    try:
        findings += searches(settings, truth, chance)
    except MoodexError as error:
        findings.append(f"search: {error}")
    return truth, findings


def copied(home: Path, target: Path) -> Path:
    """A copy of a data folder, to look at: to open a database changes it."""
    shutil.rmtree(target, ignore_errors=True)
    if home.is_dir():
        shutil.copytree(home, target)
    return target
