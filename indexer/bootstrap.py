"""How the composition roots open what they join: the store of a data folder, the models there are, a model that can look."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, NotIndexed, StoreDamaged
from indexer.domain.models import name_for_precision, with_precision
from indexer.registry.selection import select_stored_model

if TYPE_CHECKING:
    from db.sqlite.store import SqliteStore
    from indexer.analysis.analyzer import Analyzer
    from indexer.ports.models import Classifier
    from indexer.ports.store_reader import StoredModel
    from indexer.settings import Settings
    from models.model_registry import ModelRegistry

_MAX_WORKERS = 32

AnalyzerFactory = Callable[["Settings"], "Analyzer"]


def open_analyzer(settings: Settings, threads: int = 0, few: bool = True) -> Analyzer:
    """The chosen model on the chosen device, with what finds faces for it, opened when first needed; the model at once where the
    device is not left to the program, so that a missing one is an error even where there is nothing to compute. A CPU computes
    each batch in so many threads (0: as many as there are cores). `few`: for a picture or two.

    Raises ModelUnavailable, DeviceUnavailable, MissingExtra and UsageError.
    """
    from indexer.analysis.analyzer import Analyzer
    from models.inference.lazy import LazyClassifier, LazyFaceDetector
    from models.inference.loader import ComputeOptions, open_classifier, open_face_detector
    from models.model_card import read_card

    path = checkpoint_path(settings)
    how = ComputeOptions(
        settings.device, settings.require_gpu, settings.batch_size, threads, settings.engine, settings.precision, few
    )

    def load() -> Classifier:
        return open_classifier(path, how)

    classifier: Classifier
    if (settings.device, settings.engine, settings.require_gpu) == ("auto", "auto", False):
        classifier = lazy = LazyClassifier(with_precision(read_card(path), settings.precision), load)
        if few:
            lazy.begin()  # it opens while the picture is decoded and faces are looked for
    else:
        classifier = load()
    if settings.faces == "off":
        return Analyzer(classifier)
    from models.faces.card import read_card as read_face_card

    return Analyzer(classifier, LazyFaceDetector(read_face_card().key, lambda: open_face_detector(how)))


def open_batch_analyzer(settings: Settings) -> Analyzer:
    """As `open_analyzer`, for as many batches at a time as there are workers: each computes in threads of its own. Pictures are
    decoded in child processes, since among many there may be one that a decoder crashes on.
    """
    from indexer.imaging.decoder_pool import DecoderPool

    return replace(open_analyzer(settings, max(1, cores() // workers(settings)), few=False), decoders=DecoderPool())


def workers(settings: Settings) -> int:
    """How many batches are worked on at a time."""
    return settings.workers or min(_MAX_WORKERS, cores())


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def model_registry(settings: Settings) -> ModelRegistry:
    """The models that are known by name, the chosen one among them."""
    from models.model_registry import ModelRegistry

    return ModelRegistry(settings.models, settings.model)


def model_name(settings: Settings) -> str:
    """The name under which the chosen model's predictions are stored. Raises ModelUnavailable where the default has gone."""
    return name_for_precision(model_registry(settings).stored_name(), settings.precision)


def checkpoint_path(settings: Settings) -> Path:
    """The weights file of the chosen model. Raises ModelUnavailable."""
    return model_registry(settings).weights()


def chosen_key(settings: Settings) -> str | None:
    """The key of the chosen model; None where its weights have gone."""
    from models.model_card import read_card

    try:
        return with_precision(read_card(checkpoint_path(settings)), settings.precision).key
    except ModelUnavailable:
        return None  # its predictions can be searched without it


@contextmanager
def open_store(settings: Settings, reading: bool = False) -> Iterator[SqliteStore]:
    """The store of a data folder, made where there is none; what SQLite raises meanwhile becomes one sentence. For `reading` it
    need not be possible to write there.

    Raises StoreDamaged, and MoodexError for one that cannot be used.
    """
    from db.sqlite.errors import translate_sqlite_errors
    from db.sqlite.store import SqliteStore

    _check_emptied(settings)
    store = SqliteStore(settings.database, reading)
    try:
        with translate_sqlite_errors(settings.database):
            yield store
    finally:
        store.close()


@contextmanager
def open_with_model(settings: Settings) -> Iterator[tuple[SqliteStore, StoredModel]]:
    """The store, and what it knows of the chosen model. Raises NotIndexed, ModelUnavailable and what `open_store` raises."""
    need_database(settings)
    with open_store(settings, reading=True) as store:
        yield store, select_stored_model(store, model_name(settings), chosen_key(settings))


def need_database(settings: Settings) -> None:
    """Raise NotIndexed where there is no database yet."""
    if not settings.database.exists():
        raise NotIndexed(f"Nothing is indexed yet in {settings.home}; run: moodex index FOLDER")


def knows(settings: Settings, root: bytes) -> bool:
    """Whether files at or below a root are known that are not gone."""
    if not settings.database.exists():
        return False
    with open_store(settings, reading=True) as store:
        return store.count_files(root) > 0


def _check_emptied(settings: Settings) -> None:
    """Raise StoreDamaged for an empty database file beside vector indexes: SQLite would take it for a new one."""
    log = settings.database.with_name(settings.database.name + "-wal")
    if settings.database.exists() and not settings.database.stat().st_size and not log.exists() and settings.vectors.is_dir():
        raise StoreDamaged(
            f"The database {settings.database} is empty, though pictures were indexed here. Nothing was changed; bring back a "
            "backup with moodex restore, or remove the file and index again."
        )
