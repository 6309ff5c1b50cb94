"""Translation of search requests to queries, and the analysis of a query image."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from indexer.domain.emotions import canonical, with_children
from indexer.domain.errors import ImageError, NotIndexed, UnknownEmotion, UsageError
from indexer.domain.image_ids import MIN_ID_DIGITS, ambiguous_id, id_prefix
from indexer.domain.images import to_pixel_box
from indexer.domain.queries import Hit, SearchQuery, SearchRequest
from indexer.domain.tags import canonical_tag
from indexer.ports.store_reader import HitFilter
from indexer.registry.selection import available_emotions
from indexer.search.texts import looks_like_text
from indexer.system.addresses import remote_address
from indexer.system.paths import existing_form, indexed_folders, indexed_path
from indexer.system.paths_of_ids import paths_of_ids
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from indexer.domain.files import FileStamp
    from indexer.domain.images import DecodedImage
    from indexer.domain.models import StoredModel
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.types import Floats, Halves
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.sources import ImageSource
    from indexer.ports.store_reader import StoreReader

_log = logging.getLogger(__name__)

ReadFile = Callable[[bytes], tuple[bytes, "FileStamp"]]
"""A function that reads the file at a path, as `ImageSource.read` does."""


def check(request: SearchRequest) -> None:
    """Check a request before anything is opened. Raises UsageError if it is invalid."""
    if sum(given is not None for given in (request.image, request.like, request.embedding)) > 1:
        raise UsageError("Give either an IMAGE or --like, not both: both choose the image that hits must resemble.")
    if not 0 <= request.min_score <= 1:
        raise UsageError(f"--min-score is {request.min_score}; it must be between 0 and 1.")
    if request.limit < 1 or request.offset < 0:
        raise UsageError("-k must be at least 1 and --offset at least 0.")
    criteria = (request.image, request.like, request.texts, request.under, request.emotions, request.excluded, request.min_score)
    tags = (*request.tags, *request.excluded_tags)
    if not any((*criteria, *tags)) and request.embedding is None and not request.all_images:
        raise UsageError("Give at least one of IMAGE, --text, --like, --emotion, --not, --tag, --not-tag, --min-score, --under.")


def interpret_image(
    request: SearchRequest,
    store: StoreReader,
    model: StoredModel,
    source: ImageSource,
    embedded_by: StoredModel | None = None,
    reads_text: bool = False,
) -> SearchRequest:
    """Return a request whose image is a file. `embedded_by` is the model whose embeddings are compared, and may read texts.

    If no file has that name, it may be an emotion to search for, an indexed id or path that hits must resemble or, if the model
    reads text, a text that they must resemble. Raises UsageError if it is none of these.
    """
    if request.image is None:
        return request
    if source.exists(request.image) and not source.is_folder(request.image):
        return replace(request, image=existing_form(request.image))
    word = os.fsdecode(request.image)
    try:
        emotion = canonical(word, available_emotions(store, model))
    except UnknownEmotion as error:
        unknown = error
    else:
        _log.warning("%r is an emotion, and no file here: searching with --emotion %s.", word, emotion)
        return replace(request, image=None, emotions=(*request.emotions, word))
    digits = id_prefix(request.image)
    compared = (embedded_by or model).id
    is_indexed = bool(store.predicted_at(compared, indexed_path(request.image, store.known_paths)))
    if is_indexed or (digits is not None and store.predictions_by_digest(compared, digits)):
        return replace(request, image=None, like=request.image)
    if source.is_folder(request.image):
        raise UsageError(f"{word!r} is a folder. Search the images in it with: moodex search --under {word!r}")
    if reads_text and looks_like_text(request.image):
        if word.isalpha():  # a misspelled emotion, perhaps
            _log.warning("%r is neither an emotion nor a file: searching with --text %s.", word, word)
        return replace(request, image=None, texts=(word, *request.texts))
    if not looks_like_text(request.image):
        raise UsageError(f"{word!r} does not exist. Give an image, or search by emotion, as in: moodex search --emotion happy.")
    raise UsageError(
        f"{word!r} is neither a file nor an emotion, and the model {model.card.name!r} reads no text; docs/guides/text.md says "
        f"which models do. Give an image, or search by emotion, as in: moodex search --emotion happy. {unknown}"
    )


def indexed_file(path: bytes, store: StoreReader, model: StoredModel, source: ImageSource) -> bytes:
    """Return the path of an indexed file whose id a user gave instead of a path; any other path as it is.

    A file on disk, and an indexed path, take precedence. Raises UsageError if several images have an id with these digits.
    """
    digits = id_prefix(path)
    if digits is None or os.path.lexists(path) or store.predicted_at(model.id, indexed_path(path, store.known_paths)):
        return path
    match store.predictions_by_digest(model.id, digits):
        case [only]:
            found = store.hits(model.id, [only], HitFilter(hidden=True)).get(only, [])
            paths = [hit.path for hit in found]
            return next((one for one in paths if source.has_file(one)), paths[0] if paths else path)
        case [_, _]:
            raise ambiguous_id(path)
    return path


def resolve_request(
    request: SearchRequest,
    store: StoreReader,
    model: StoredModel,
    open_analyzer: Callable[[], Analyzer],
    source: ImageSource,
    similar_by: StoredModel | None = None,
) -> SearchQuery:
    """Resolve a request: emotions from synonyms, an image from a file, path or id, a folder from any path.

    `similar_by` is the model whose embeddings are compared, if it is another one, and `open_analyzer` opens its analyzer, for an
    image that it has not analyzed. If an image has faces, its main face is used.

    Raises UnknownEmotion, NotIndexed for an id, a path or a folder that is not indexed, and UsageError for an image that cannot
    be read.
    """
    models = [model] if similar_by is None else [model, similar_by]
    known = dict.fromkeys(available_emotions(store, model)).keys()
    excluded = _expand(request.excluded, known, request.exact_label)
    wanted = (_expand(request.emotions, known, request.exact_label) if request.emotions else frozenset(known)) - excluded
    return SearchQuery(
        emotions=None if wanted == frozenset(known) else wanted,
        excluded=excluded,
        min_score=request.min_score,
        like=image_vector(request, store, similar_by or model, open_analyzer, source),
        under=indexed_folders(paths_of_ids(request.under, store), store.known_paths),
        limit=request.limit,
        offset=request.offset,
        dedupe=request.dedupe,
        hidden=request.hidden,
        after=request.after,
        tags=_tags(request.tags, store, models),
        excluded_tags=_tags(request.excluded_tags, store, models),
        similar_by=None if similar_by is None else similar_by.id,
    )


def _tags(words: Sequence[str], store: StoreReader, models: Sequence[StoredModel]) -> frozenset[str]:
    """Return canonical tags. Raises UsageError for a tag that no image has by one of the models."""
    tags = frozenset(map(canonical_tag, words))
    if unknown := sorted(tags.difference(*(store.known_tags(model.id, tags) for model in models))):
        names = " or ".join(repr(model.card.name) for model in models)
        raise UsageError(
            f"No image has the tag {unknown[0]!r} by the model {names}. Taggers assign tags: moodex models add "
            "hf:OWNER/NAME, then moodex index FOLDER --model NAME; see docs/guides/taggers.md."
        )
    return tags


def _expand(words: Sequence[str], known: Collection[str], exact_label: bool) -> frozenset[str]:
    """Return the known emotions for words, with their sub-emotions unless `exact_label`."""
    emotions = {canonical(word, known) for word in words}
    return frozenset().union(*([emotion] if exact_label else with_children(emotion) for emotion in emotions)) & frozenset(known)


def image_vector(
    request: SearchRequest,
    store: StoreReader,
    model: StoredModel,
    open_analyzer: Callable[[], Analyzer],
    source: ImageSource,
) -> Floats | None:
    """Return the embedding of the image of a request, float32, (embedding size,); None without one. Raises as the above."""
    if request.embedding is not None:
        return request.embedding
    if request.like is not None:
        return _widened(_stored(store, _indexed(request.like, store, model, source)))
    if request.image is None:
        return None
    # Decoding imports numpy and Pillow, which a search by emotion does not need.
    from indexer.system.digest import digest

    try:
        known = store.predicted_as(model.id, digest(source.read(request.image)[0]))
    except (OSError, ImageError) as error:
        raise _unreadable(request.image, error) from error
    if known is not None:
        return _widened(_stored(store, known))
    return _widened(_read_and_analyze(request.image, open_analyzer(), source.read)[1][0].embedding)


def _indexed(like: bytes, store: StoreReader, model: StoredModel, source: ImageSource) -> int:
    """Return the prediction of an indexed path or id; a path takes precedence."""
    by_path = store.predicted_at(model.id, indexed_path(like, store.known_paths))
    if by_path:
        return by_path[0].prediction_id
    text = os.fsdecode(like)
    if (digits := id_prefix(like)) is not None:
        match store.predictions_by_digest(model.id, digits):
            case [only]:
                return only
            case [_, _]:
                raise ambiguous_id(like)
    if source.is_folder(like):
        raise UsageError(f"{text!r} is a folder, but --like needs an image. Search a folder with: moodex search --under {text!r}")
    if source.exists(like):
        raise NotIndexed(
            f"{text!r} is not indexed with the model {model.card.name!r}. To search with it anyway: moodex search {text!r}"
        )
    raise NotIndexed(f"No indexed image has the path or id {text!r}; give at least the first {MIN_ID_DIGITS} digits of an id.")


def _stored(store: StoreReader, prediction_id: int) -> Halves:
    return store.vectors_of([prediction_id])[prediction_id]


def _widened(vector: Halves) -> Floats:
    import numpy as np

    return vector.astype(np.float32)


def analyze_file(path: bytes, analyzer: Analyzer, read: ReadFile = read) -> list[Hit]:
    """Analyze an image now, which `read` reads; return a hit for each face, the largest first, or one for the whole image.

    Raises UsageError for an image that cannot be read.
    """
    path = existing_form(path)
    image, predictions = _read_and_analyze(path, analyzer, read)
    return hits_of_analysis(remote_address(path) or os.path.realpath(path), image, predictions, analyzer.classifier.card.labels)


def hits_of_analysis(path: bytes, image: DecodedImage, predictions: AnalyzedImage, labels: Sequence[str]) -> list[Hit]:
    """Return the hits of an image that was analyzed now, in the order of its predictions, by a model with these labels."""
    hits = []
    for prediction in predictions:
        emotions = dict(zip(labels, prediction.probabilities, strict=True))
        best = max(emotions, key=emotions.__getitem__)
        box = None if prediction.face is None else to_pixel_box(prediction.face, image.width, image.height)
        hits.append(
            Hit(
                path,
                image.digest.hex(),
                best,
                emotions[best],
                emotions,
                box=box,
                frame=prediction.frame,
                incomplete=image.incomplete,
                size=(image.width, image.height),
                tags=dict(prediction.tags) or None,
            )
        )
    return hits


def _read_and_analyze(path: bytes, analyzer: Analyzer, read: ReadFile) -> tuple[DecodedImage, AnalyzedImage]:
    try:
        image = analyzer.decode(read(path)[0])
    except (OSError, ImageError) as error:
        raise _unreadable(path, error) from error
    (predictions,) = analyzer.predict([image])
    if predictions is None:
        raise UsageError(f"Cannot use the image {os.fsdecode(path)!r}: the model's result for it is not finite.")
    return image, predictions


def _unreadable(path: bytes, error: Exception) -> UsageError:
    if os.path.isdir(path):
        return UsageError(f"{os.fsdecode(path)!r} is a folder; give the images in it, or search there with --under.")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"Cannot use the image {os.fsdecode(path)!r}: {reason}.")
