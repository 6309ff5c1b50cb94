"""The composition root: builds the library that settings describe, and imports its adapters when they are needed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from db.sqlite.database import SqliteDatabase
from indexer.domain.errors import ModelUnavailable
from indexer.library import ClusterParts, Library
from indexer.settings import Settings, available_cores
from models.model_registry import FolderModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from db.postgres.database import PostgresDatabase
    from db.sqlite.pooled_database import PooledSqliteDatabase
    from indexer.analysis.analyzer import Analyzer
    from indexer.analysis.input_decoder import InputDecoder
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.ports.cluster import Cluster
    from indexer.ports.database import Database
    from indexer.ports.executor import Executor, Item, Result
    from indexer.ports.library_copy import LibraryCopy
    from indexer.ports.maps import MapStorage, Projector
    from indexer.ports.models import Classifier, TextEncoder
    from indexer.ports.teaching import Teacher
    from indexer.ports.vectors import VectorStorage
    from indexer.sources.every_source import EverySource
    from models.training.predictors import Predictor


def open_library(settings: Settings) -> Library:
    """Open the library that settings describe. Its data folder need not exist: nothing is read or written yet."""
    return Library(
        settings=settings,
        database=_open_database(settings),
        models=model_registry(settings),
        source=_open_source(settings),
        open_executor=_open_executor,
        vector_storage=partial(_open_vector_storage, settings),
        map_storage=partial(_open_map_storage, settings),
        projector=_open_projector,
        teacher=partial(_open_teacher, settings),
        open_analyzer=partial(open_analyzer, settings),
        open_batch_analyzer=partial(open_batch_analyzer, settings),
        open_text_encoder=partial(_open_text_encoder, settings),
        reopen=open_library,
        cluster=None if settings.cluster is None else _cluster_parts(settings, settings.cluster),
    )


class ServingLibrary(NamedTuple):
    """A library for a server, and the function that closes what it keeps open."""

    library: Library
    close: Callable[[], None]


def open_serving_library(settings: Settings, decoders: DecoderPool) -> ServingLibrary:
    """Open a library for a server, whose many threads share what is slow to open: readers, vector indexes and models.

    Images are decoded in the child processes of `decoders`, because they may come from anybody.
    """
    from db.maps.files import MapFiles
    from indexer.analysis.analyzer import Analyzer
    from indexer.analysis.kept_analyzer import Kept

    database, storage = _open_serving_database(settings)
    maps = MapFiles(settings.maps)
    analyzers, encoders = Kept[Analyzer](), Kept["TextEncoder"]()

    def opened(chosen: Settings) -> Library:
        library = open_library(chosen)

        def open_isolated() -> Analyzer:
            return replace(open_analyzer(chosen), decoders=decoders)

        return replace(
            library,
            database=database,
            vector_storage=lambda: storage,
            map_storage=lambda: maps,
            open_analyzer=partial(analyzers.open, library.models, open_isolated),
            open_text_encoder=partial(encoders.open, library.models, library.open_text_encoder),
            reopen=opened,
        )

    return ServingLibrary(opened(settings), database.close)


@contextmanager
def open_library_copy(source: str, target: str) -> Iterator[LibraryCopy]:
    """Open the copy of a library between two stores, sqlite:FILE or postgresql://..., while nothing else writes to them.

    Raises UsageError for other names, a file that does not exist, or a target with another library; WriterBusy and MissingExtra.
    """
    from db.library_copy import SqlLibraryCopy
    from db.opened_engine import opened_engine

    with opened_engine(source, is_new=False) as (name, old), opened_engine(target, is_new=True) as (_, new):
        yield SqlLibraryCopy(old, new, name)


def model_registry(settings: Settings) -> FolderModelRegistry:
    """Open the registry of the installed models."""
    return FolderModelRegistry(settings.models, settings.model, settings.precision)


def open_analyzer(settings: Settings, threads: int = 0, few: bool = True) -> Analyzer:
    """Open the model in use, with a face detector unless the settings turn it off.

    Both are loaded at first use or, with `few` images, in the background at once. If the settings choose a device, an engine or a
    precision, the model is loaded before this function returns: its errors then come before a run changes anything, and even if
    there is nothing to analyze. The error for a model that needs torch, where that is not installed, always comes then.
    `threads` is the number of CPU threads for each batch; 0 means one for each core.

    Raises ModelUnavailable, DeviceUnavailable, MissingExtra and UsageError.
    """
    from indexer.analysis.analyzer import Analyzer
    from models.inference.lazy import LazyClassifier, LazyFaceDetector
    from models.inference.loader import ComputeOptions, check_engine, open_classifier, open_face_detector, refuse_blend
    from models.model_card import read_card

    path = model_registry(settings).weights()
    card = read_card(path)
    refuse_blend(card)
    compute = ComputeOptions(
        device=settings.device,
        require_gpu=settings.require_gpu,
        batch_size=settings.batch_size,
        threads=threads,
        engine=settings.engine,
        precision=settings.precision,
        few=few,
    )
    check_engine(card, compute)

    def load() -> Classifier:
        return open_classifier(path, compute)

    classifier: Classifier
    if (settings.device, settings.engine, settings.require_gpu, settings.precision) == ("auto", "auto", False, "fp32"):
        classifier = lazy = LazyClassifier(card, load)
        if few:
            lazy.begin()  # the model loads while the image is decoded and faces are detected
    else:
        classifier = load()
    if settings.faces == "off" or not card.reads_faces:
        return Analyzer(classifier)
    from models.faces.card import read_card as read_face_card

    return Analyzer(classifier, LazyFaceDetector(read_face_card().key, lambda: open_face_detector(compute)))


def open_batch_analyzer(settings: Settings) -> Analyzer:
    """Open the model in use for many images: each worker classifies a batch on its share of the cores.

    Images are decoded in child processes, because one of them may crash a decoder. Raises what `open_analyzer` raises.

    With a cluster, its machines open the analyzer, and this one is loaded only if it is used after all.
    """
    from indexer.imaging.decoder_pool import DecoderPool

    if settings.cluster is not None:
        return _described_analyzer(settings)

    threads = max(1, available_cores() // settings.worker_count)
    return replace(open_analyzer(settings, threads, few=False), decoders=DecoderPool())


def open_worker_analyzer(settings: Settings, device: str) -> Analyzer:
    """Open the model in use in a worker of a cluster, on "cpu" or "cuda". Each batch has one CPU thread.

    Raises what `open_analyzer` raises.
    """
    from indexer.imaging.decoder_pool import DecoderPool

    chosen = replace(settings, device=device)
    return replace(open_analyzer(chosen, threads=1, few=False), decoders=DecoderPool())


def _described_analyzer(settings: Settings) -> Analyzer:
    """Return the model in use without loading it, as machines of a cluster open it. Raises ModelUnavailable and UsageError."""
    from indexer.domain.models import with_precision
    from models.inference.lazy import LazyClassifier

    analyzer = open_analyzer(replace(settings, device="auto", require_gpu=False, engine="auto", precision="fp32"), few=False)
    card = with_precision(analyzer.classifier.card, settings.precision)
    return replace(analyzer, classifier=LazyClassifier(card, lambda: open_analyzer(settings, few=False).classifier))


def _cluster_parts(settings: Settings, address: str) -> ClusterParts:
    from indexer.sources.every_source import EverySource

    device = "cuda" if settings.require_gpu and settings.device == "auto" else settings.device

    def connect() -> AbstractContextManager[Cluster]:
        from indexer.executors.ray_cluster import ray_cluster

        return ray_cluster(address, device, settings.workers)

    # Other machines get neither the address of the store, with its password, nor the choice in this machine's data folder.
    sent = replace(settings, store=None, cluster=None, model=settings.model or model_registry(settings).in_use().name)
    # Workers read single files: they keep no contents of archives, and list nothing.
    return ClusterParts(connect, partial(open_worker_analyzer, sent), partial(EverySource, None, settings.private_urls))


def open_input_decoder(settings: Settings, decoders: DecoderPool | None = None) -> InputDecoder:
    """Open the decoder of data sets, with a face detector unless the settings turn it off; `decoders` decode, if given.

    The detector is loaded for the first image. It computes on a CPU, whatever device the settings choose for the network: equal
    data then gives equal crops on every device. It uses one thread for each image, because many threads decode.
    """
    from indexer.analysis.input_decoder import InputDecoder

    source = _open_source(settings)
    if settings.faces == "off":
        return InputDecoder(None, decoders, source)
    from models.faces.card import read_card as read_face_card
    from models.inference.lazy import LazyFaceDetector
    from models.inference.loader import ComputeOptions, open_face_detector

    compute = ComputeOptions(device="cpu", threads=1)
    return InputDecoder(LazyFaceDetector(read_face_card().key, lambda: open_face_detector(compute)), decoders, source)


def open_for_datasets(settings: Settings) -> tuple[Classifier, InputDecoder]:
    """Open the model in use, and a decoder of data sets for what this model reads of an image. Raises as `open_analyzer`."""
    from models.model_card import read_card

    reads_faces = read_card(model_registry(settings).weights()).reads_faces
    chosen = settings if reads_faces else replace(settings, faces="off")
    return open_analyzer(chosen, few=False).classifier, open_input_decoder(chosen)


def _open_source(settings: Settings) -> EverySource:
    from indexer.sources.every_source import EverySource

    return EverySource(settings.archives, settings.private_urls, settings.inventory)


def open_predictor(settings: Settings, views: int = 1, engine: str | None = None) -> Predictor:
    """Open the model in use for data sets; of a blend, all its models.

    `views` are averaged, see `ModelPredictor`. `engine` computes the networks of moodex, where the settings choose none. Raises
    what `open_analyzer` raises, and ModelUnavailable for a blend of which a model is missing.
    """
    from models.model_card import read_card
    from models.training.predictors import BlendPredictor, ModelPredictor

    registry = model_registry(settings)
    card = read_card(registry.weights())
    if not card.members:
        if engine is not None and settings.engine == "auto" and not card.hub:
            settings = replace(settings, engine=engine)
        return ModelPredictor(*open_for_datasets(settings), views)
    combine = next((combine for blend, combine in registry.blends() if blend.key == card.key), None)
    if combine is None:
        names = " and ".join(repr(name) for name, _ in card.members)
        raise ModelUnavailable(f"The blend {card.name!r} needs {names} as they were when it was made; blend again.")
    names_by_key = {installed.key: model.name for model, installed in registry.cards()}
    chosen = [replace(settings, model=names_by_key[key]) for _, key in card.members]
    return BlendPredictor(card.name, card.labels, tuple(open_predictor(one, views, engine) for one in chosen), combine)


def _open_text_encoder(settings: Settings) -> TextEncoder:
    from models.hub.text_encoder import open_text_encoder

    registry = model_registry(settings)
    return open_text_encoder(registry.text_weights() or registry.weights())


def _open_executor(perform: Callable[[Item], Result], workers: int) -> AbstractContextManager[Executor[Item, Result]]:
    from indexer.executors.threads import ThreadExecutor

    return ThreadExecutor(perform, workers)


def _open_database(settings: Settings) -> Database:
    if settings.store is None:
        return SqliteDatabase(settings.database, settings.vectors)
    from db.postgres.database import PostgresDatabase

    return PostgresDatabase(settings.store)


def _open_serving_database(settings: Settings) -> tuple[PooledSqliteDatabase | PostgresDatabase, VectorStorage]:
    if settings.store is not None:
        from db.postgres.database import PostgresDatabase
        from db.postgres.vectors import PostgresVectors

        return PostgresDatabase(settings.store, keep=True), PostgresVectors(settings.store, keep=True)
    from db.sqlite.pooled_database import PooledSqliteDatabase
    from db.vectors.kept_files import KeptFaissFiles

    return PooledSqliteDatabase(settings.database, settings.vectors), KeptFaissFiles(settings.vectors)


def _open_vector_storage(settings: Settings) -> VectorStorage:
    if settings.store is not None:
        from db.postgres.vectors import PostgresVectors

        return PostgresVectors(settings.store)
    from db.vectors.files import FaissFiles

    return FaissFiles(settings.vectors)


def _open_map_storage(settings: Settings) -> MapStorage:
    from db.maps.files import MapFiles

    return MapFiles(settings.maps)


def _open_projector() -> Projector:
    from models.projection import TsneProjector

    return TsneProjector()


def _open_teacher(settings: Settings) -> Teacher:
    from models.teaching.teacher import ModelTeacher

    return ModelTeacher(model_registry(settings))
