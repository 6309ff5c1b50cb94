"""The composition root: joins the application to its adapters, one function a command, each adapter imported when needed.

Nothing else in the application imports `db` or `models`; a search by emotion never reaches torch or FAISS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from indexer.ask import check, choose_model, look_at, to_query
from indexer.domain import FULL_PRECISION, in_precision, named_in
from indexer.errors import ModelUnavailable, NotIndexed, StoreDamaged, UsageError, unusable
from indexer.messages import ListedModel, Question, Status, Teaching, Undone
from indexer.stopping import stoppable

if TYPE_CHECKING:
    from db.store import SqliteStore
    from indexer.domain import Hit, Labelled, ModelCard
    from indexer.label import Said
    from indexer.look import Reader
    from indexer.messages import DefaultModel, Doubt, ExportedModel, LabelsChanged, Suggestion, Summary
    from indexer.pipeline import IndexOptions
    from indexer.ports import Classifier, Progress, Score, StoredModel
    from indexer.settings import Settings
    from models.shelf import ModelShelf

_MOST_WORKERS = 32
_THUMBNAIL = 192
_FRAMED = 0.3
"""The share of a picture below which a face in it is framed."""

ReaderFactory = Callable[["Settings"], "Reader"]


def open_reader(settings: Settings, threads: int = 0, few: bool = True) -> Reader:
    """The chosen model on the chosen device, with what finds faces for it, opened when first needed; the model at once where the
    device is not left to the program, so that a missing one is an error even where there is nothing to compute. A CPU computes
    each batch in so many threads (0: as many as there are cores). `few`: for a picture or two.

    Raises ModelUnavailable, DeviceUnavailable, MissingExtra and UsageError.
    """
    from indexer.look import Reader
    from models.card import read_card
    from models.lazy import LazyClassifier, LazyFaceFinder
    from models.opening import How, open_classifier, open_finder

    path = checkpoint_path(settings)
    how = How(settings.device, settings.require_gpu, settings.batch_size, threads, settings.engine, settings.precision, few)

    def load() -> Classifier:
        return open_classifier(path, how)

    left_open = (settings.device, settings.engine, settings.require_gpu) == ("auto", "auto", False)
    classifier = LazyClassifier(in_precision(read_card(path), settings.precision), load) if left_open else load()
    if settings.faces == "off":
        return Reader(classifier)
    from models.faces.card import read_card as read_face_card

    return Reader(classifier, LazyFaceFinder(read_face_card().key, lambda: open_finder(how)))


def open_for_many(settings: Settings) -> Reader:
    """As `open_reader`, for as many batches at a time as there are workers: each computes in threads of its own."""
    return open_reader(settings, max(1, _cores() // _workers(settings)), few=False)


def _workers(settings: Settings) -> int:
    return settings.workers or min(_MOST_WORKERS, _cores())


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shelf(settings: Settings) -> ModelShelf:
    """The models that are known by name, the chosen one among them."""
    from models.shelf import ModelShelf

    return ModelShelf(settings.models, settings.model)


def model_name(settings: Settings) -> str:
    """The name under which the chosen model's predictions are stored. Raises ModelUnavailable where the default has gone."""
    return named_in(shelf(settings).stored_name(), settings.precision)


def checkpoint_path(settings: Settings) -> Path:
    """The weights file of the chosen model. Raises ModelUnavailable."""
    return shelf(settings).weights()


def index(
    settings: Settings,
    paths: Sequence[bytes],
    options: IndexOptions,
    progress: Progress,
    reader_factory: ReaderFactory = open_for_many,
) -> Summary:
    """Index folders and files, then bring the vector index up to date. The only writer, for as long as it runs.

    Folders that are known and not there are reported, and lose nothing unless told to.
    """
    from db.lock import writer_lock
    from db.vector_files import FaissFiles
    from indexer import pipeline
    from indexer.reconcile import keep_vectors
    from indexer.scan import present_and_away

    roots, away = present_and_away(paths, partial(knows, settings))
    settings.make_home()
    options = replace(
        options,
        scan=replace(options.scan, own_folder=os.fsencode(settings.home)),
        workers=_workers(settings),
        grace=86400.0 * settings.grace_days if options.grace is None else options.grace,
    )
    with (
        writer_lock(settings.home),
        stoppable("what was indexed so far is kept, and the next run goes on from there") as check_stop,
    ):
        reader = reader_factory(settings)
        card = reader.classifier.card
        with open_store(settings) as store:
            summary = pipeline.index(roots, store, reader, options, progress, check_stop, away)
            try:
                keep_vectors(store, FaissFiles(settings.vectors), choose_model(store, card.name, card.key))
            except OSError as error:
                raise unusable(f"All is indexed, but the vector index {error.filename or settings.vectors}", error) from error
            check_stop()
    return summary


def search(settings: Settings, question: Question, reader_factory: ReaderFactory = open_reader) -> list[Hit]:
    """The hits for a question."""
    from db.vector_files import FaissFiles
    from indexer.reconcile import open_vectors
    from indexer.search import search as answer

    check(question)
    with _reading(settings) as (store, model):
        if question.image is not None or question.like is not None:
            _keep_if_free(settings, store, model)
        with store.snapshot():
            query = to_query(question, store, model, lambda: _same(reader_factory(settings), model))
            return answer(store, model, query, lambda: open_vectors(store, FaissFiles(settings.vectors), model))


def show(settings: Settings, path: bytes, reader_factory: ReaderFactory = open_reader) -> list[Hit]:
    """What the model says of one picture, indexed or not: a hit a face, the largest first, or one of the whole."""
    if settings.database.exists():
        with open_store(settings, reading=True) as store, store.snapshot():
            for model in reversed(store.models()):
                if model.card.name == model_name(settings):
                    known = store.predicted_at(model.id, os.path.realpath(path))
                    if known and not (settings.faces == "off" and known[0].hit.box):
                        return [ranked.hit for ranked in known]
    return look_at(path, reader_factory(settings))


def thumbnail(path: bytes, box: tuple[int, int, int, int] | None) -> bytes | None:
    """A picture of 192 x 192 pixels as PNG, with a frame around the box of a face that is but a small part of it; None where the
    file cannot be read any more.
    """
    from io import BytesIO

    from PIL import Image, ImageDraw

    from indexer.decode import decode
    from indexer.domain import InputSpec
    from indexer.errors import ImageError
    from indexer.read import read

    try:
        image = decode(read(path)[0], InputSpec(size=_THUMBNAIL, mean=0, std=1))
    except (OSError, ImageError):
        return None
    picture = Image.fromarray(image.pixels)
    if box is not None and (box[2] - box[0]) * (box[3] - box[1]) < _FRAMED * image.width * image.height:
        scale = _THUMBNAIL / max(image.width, image.height)
        start = [(_THUMBNAIL - side * scale) / 2 for side in (image.width, image.height)]
        ImageDraw.Draw(picture).rectangle([start[n % 2] + edge * scale for n, edge in enumerate(box)], outline="#e8833a", width=3)
    small = BytesIO()
    picture.save(small, "PNG")
    return small.getvalue()


def status(settings: Settings, failures: int) -> Status:
    """The state of the database; an empty one where nothing was indexed yet."""
    from db.lock import writer
    from indexer.history import as_they_ended
    from indexer.ports import Counts

    disk = {part.name: _size(part) for part in (settings.database, settings.vectors, settings.models)}
    if not settings.database.exists():
        return Status(settings.home, Counts(), [], [], [], disk)
    with open_store(settings, reading=True) as store:
        runs = as_they_ended(partial(store.runs, 5), partial(writer, settings.home))
        with store.snapshot():
            models = [(model, store.pictures(model.id)) for model in store.models()]
            return Status(settings.home, store.counts(), models, runs, store.failures(failures), disk)


def label(settings: Settings, said: Sequence[Said], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Remember what a person says of indexed pictures: all of it or, where anything is wrong, nothing; `skip_unknown` leaves out
    what is not indexed.

    Raises UsageError, UnknownEmotion, NotIndexed and WriterBusy.
    """
    from db.lock import writer_lock
    from indexer.label import remember

    _need_database(settings)
    with writer_lock(settings.home), open_store(settings) as store:
        return remember(store, said, new, skip_unknown)


def labels(settings: Settings) -> list[Labelled]:
    """Every picture that a person has labelled."""
    _need_database(settings)
    with open_store(settings, reading=True) as store:
        return store.labelled()


def doubts(settings: Settings, limit: int) -> list[Doubt]:
    """The labels that the chosen model contradicts most surely."""
    from indexer.label import doubts as doubted

    with _reading(settings) as (store, model), store.snapshot():
        return doubted(store, model, limit)


def teach(settings: Settings, name: str | None, progress: Progress) -> Teaching:
    """Refit the last layer of the model in use to all labels; where that helps, the new version is in use from now on.

    Raises UsageError, ModelUnavailable, NotIndexed and WriterBusy; nothing has changed then.
    """
    from db.lock import writer_lock
    from db.vector_files import FaissFiles
    from indexer.forget import forget
    from indexer.teach import lesson
    from models.teaching.version import learn

    _need_database(settings)
    if settings.precision != FULL_PRECISION:
        raise UsageError(f"Teaching is for what is indexed in {FULL_PRECISION}; leave out --precision and MOODEX_PRECISION.")
    known = shelf(settings)
    in_use, rescored = known.in_use(), 0
    chosen = in_use.set_by == "settings"
    with writer_lock(settings.home), stoppable("nothing was changed") as check_stop, open_store(settings) as store:
        model = choose_model(store, known.stored_name(), _key_of(settings))
        given = lesson(store, model)
        version = learn(known, in_use.name, given, name)
        if version.card is not None:
            try:
                rescored = _rescore(settings, store, (model, version.card, version.score), progress, check_stop)
                if not chosen:
                    known.use(version.card.name)
            except BaseException:
                # The file first: that needs no room on a disk that may be full, and makes some.
                known.remove(version.card.name)
                forget(store, FaissFiles(settings.vectors), version.card.name, {})
                raise
    done = version.taught
    now = in_use.name if version.card is None else version.card.name
    new = version.card is not None
    return Teaching(now, new, new and not chosen, done.before, done.after, done.tested, given.counts(), rescored)


def undo_teaching(settings: Settings, progress: Progress) -> Undone:
    """Return to the model that was in use before the last teaching, and forget what was taught. The labels stay.

    What was indexed meanwhile is scored by the earlier model too. Raises UsageError, ModelUnavailable, NotIndexed, WriterBusy.
    """
    from db.lock import writer_lock
    from db.vector_files import FaissFiles
    from indexer.forget import forget
    from models.teaching.version import earlier, score

    _need_database(settings)
    known = shelf(settings)
    in_use, rescored = known.in_use(), 0
    name = in_use.name
    if in_use.set_by == "settings":
        raise UsageError(
            f"{name!r} is what --model, MOODEX_MODEL or the configuration file names; only the default can be undone."
        )
    earlier_name, card, head = earlier(known, name)
    with writer_lock(settings.home), stoppable("nothing was changed") as check_stop, open_store(settings) as store:
        model = choose_model(store, known.stored_name(), _key_of(settings))
        if head is not None:
            rescored = _rescore(settings, store, (model, card, partial(score, card, head)), progress, check_stop)
        known.use(earlier_name)
        forget(store, FaissFiles(settings.vectors), name, {one.name: card.key for one, card in known.cards()})
        known.remove(name)
    return Undone(earlier_name, rescored)


def suggest(settings: Settings, count: int) -> list[Suggestion]:
    """The unlabelled pictures whose labels would teach the model in use most."""
    from indexer.teach import suggest as suggested

    with _reading(settings) as (store, model), store.snapshot():
        return suggested(store, model, count)


def list_models(settings: Settings) -> list[ListedModel]:
    """Every model that `--model` finds by name."""
    known = shelf(settings)
    pictures: dict[str, int] = {}
    if settings.database.exists():
        with open_store(settings, reading=True) as store:
            pictures = {model.card.key: store.pictures(model.id) for model in store.models()}
    default = known.in_use().name
    return [ListedModel(card, model.origin, model.name == default, pictures.get(card.key, 0)) for model, card in known.cards()]


def default_model(settings: Settings, name: str | None) -> DefaultModel:
    """The model that is used where no `--model` is given, once `name`, if any, is the data folder's default."""
    known = shelf(settings)
    if name is not None:
        known.use(name)
    known.stored_name()  # says so where it has gone
    return known.in_use()


def remove_model(settings: Settings, name: str, predictions: bool) -> int | None:
    """Remove one of the user's models and, if wanted, its predictions (those alone where its file has gone); how many.

    Raises as `ModelShelf.remove` does, and WriterBusy.
    """
    known = shelf(settings)
    if not predictions or not settings.database.exists():
        known.remove(name)
        return 0 if predictions else None
    known.check_removable(name, gone=True)
    from db.lock import writer_lock
    from db.vector_files import FaissFiles
    from indexer.forget import forget

    with writer_lock(settings.home), open_store(settings) as store:
        keys = {model.name: card.key for model, card in known.cards()}
        forgotten = forget(store, FaissFiles(settings.vectors), name, keys)
    if name in keys or forgotten is None:
        known.remove(name)
    return forgotten or 0


def export_model(settings: Settings, name: str, kind: str, output: Path, force: bool) -> ExportedModel:
    """Write a model as "onnx" or "torch" for other programs. Raises UsageError, ModelUnavailable and MissingExtra."""
    weights = shelf(settings).find(name)
    from models.export import export

    return export(kind, output, weights, force)


def _rescore(
    settings: Settings,
    store: SqliteStore,
    who: tuple[StoredModel, ModelCard, Score],
    progress: Progress,
    check_stop: Callable[[], None],
) -> int:
    """Let a model predict from the embeddings of another that shares them; its vector index is made at once."""
    from db.vector_files import FaissFiles
    from indexer.reconcile import keep_vectors

    def advance(done: int) -> None:
        check_stop()
        progress.advance(done, 0)

    source, card, score = who
    progress.start(store.pictures(source.id))
    try:
        target = store.register_model(card)
        rescored = store.rescore(source.id, target, score, advance)
    finally:
        progress.finish()
    keep_vectors(store, FaissFiles(settings.vectors), next(one for one in store.models() if one.id == target))
    return rescored


@contextmanager
def open_store(settings: Settings, reading: bool = False) -> Iterator[SqliteStore]:
    """The store of a data folder, made where there is none; what SQLite raises meanwhile becomes one sentence. For `reading` it
    need not be possible to write there.

    Raises StoreDamaged, and MoodexError for one that cannot be used.
    """
    from db.engine import plain_errors
    from db.store import SqliteStore

    _check_emptied(settings)
    store = SqliteStore(settings.database, reading)
    try:
        with plain_errors(settings.database):
            yield store
    finally:
        store.close()


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


def _need_database(settings: Settings) -> None:
    if not settings.database.exists():
        raise NotIndexed(f"Nothing is indexed yet in {settings.home}; run: moodex index FOLDER")


@contextmanager
def _reading(settings: Settings) -> Iterator[tuple[SqliteStore, StoredModel]]:
    _need_database(settings)
    with open_store(settings, reading=True) as store:
        yield store, choose_model(store, model_name(settings), _key_of(settings))


def _key_of(settings: Settings) -> str | None:
    from models.card import read_card

    try:
        return in_precision(read_card(checkpoint_path(settings)), settings.precision).key
    except ModelUnavailable:
        return None  # its predictions can be searched without it


def _same(reader: Reader, model: StoredModel) -> Reader:
    card = reader.classifier.card
    if card.key != model.card.key:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the pictures were indexed; run moodex index again.")
    return reader


def _keep_if_free(settings: Settings, store: SqliteStore, model: StoredModel) -> None:
    """Mend what is kept of a model's vectors, unless somebody is writing just now."""
    from db.lock import writer_lock
    from db.vector_files import FaissFiles
    from indexer.errors import MoodexError
    from indexer.reconcile import is_kept, keep_vectors

    files = FaissFiles(settings.vectors)
    if not is_kept(store, files, model):
        try:
            with writer_lock(settings.home, patience=0):
                keep_vectors(store, files, model)
        except (MoodexError, OSError):
            pass  # a writer is at work and will keep it, or the folder is read-only or full: the store answers


def _size(part: Path) -> int:
    if part.is_dir():
        return sum(map(_file_size, part.rglob("*")))
    return sum(map(_file_size, (part, part.with_name(part.name + "-wal"), part.with_name(part.name + "-shm"))))


def _file_size(path: Path) -> int:
    """A file's bytes; 0 for what is none, or none any more: a writer replaces files at any time."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if S_ISREG(status.st_mode) else 0
