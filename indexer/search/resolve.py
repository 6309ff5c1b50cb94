"""Translation of search requests to queries, and the analysis of a query image."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer.domain.emotions import canonical, with_children
from indexer.domain.errors import ImageError, NotIndexed, UsageError
from indexer.domain.images import to_pixel_box
from indexer.domain.queries import Hit, SearchQuery, SearchRequest
from indexer.registry.selection import available_emotions
from indexer.system.paths import indexed_path

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage
    from indexer.domain.models import StoredModel
    from indexer.domain.predictions import AnalyzedImage
    from indexer.domain.types import Floats, Halves
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.store_reader import StoreReader

_MIN_ID_DIGITS = 4


def check(request: SearchRequest) -> None:
    """Check a request before anything is opened. Raises UsageError if it is invalid."""
    if request.image is not None and request.like is not None:
        raise UsageError("Give either an IMAGE or --like, not both: both choose the image that hits must resemble.")
    if not 0 <= request.min_score <= 1:
        raise UsageError(f"--min-score is {request.min_score}; it must be between 0 and 1.")
    if request.limit < 1 or request.offset < 0:
        raise UsageError("-k must be at least 1 and --offset at least 0.")
    criteria = (request.image, request.like, request.under, request.emotions, request.excluded, request.min_score)
    if not any(criteria):
        raise UsageError("Give at least one of IMAGE, --emotion, --not, --like, --min-score and --under.")
    if request.image is not None and not os.path.exists(request.image):
        raise UsageError(f"The image {os.fsdecode(request.image)!r} does not exist.")


def resolve_request(
    request: SearchRequest, store: StoreReader, model: StoredModel, open_analyzer: Callable[[], Analyzer]
) -> SearchQuery:
    """Resolve a request: emotions from synonyms, an image from a file, path or id, a folder from any path.

    `open_analyzer` is called only for an image that the model has not analyzed. If an image has faces, its main face is used.

    Raises UnknownEmotion, NotIndexed for an id or path that is not indexed, UsageError for an image that cannot be read.
    """
    known = available_emotions(store, model)
    excluded = _expand(request.excluded, known, request.exact_label)
    wanted = (_expand(request.emotions, known, request.exact_label) if request.emotions else frozenset(known)) - excluded
    return SearchQuery(
        emotions=None if wanted == frozenset(known) else wanted,
        excluded=excluded,
        min_score=request.min_score,
        like=_vector(request, store, model, open_analyzer),
        under=None if request.under is None else indexed_path(request.under, store.known_paths),
        limit=request.limit,
        offset=request.offset,
        dedupe=request.dedupe,
    )


def _expand(words: Sequence[str], known: Sequence[str], exact_label: bool) -> frozenset[str]:
    """Return the known emotions for words, with their sub-emotions unless `exact_label`."""
    emotions = {canonical(word, known) for word in words}
    return frozenset().union(*([emotion] if exact_label else with_children(emotion) for emotion in emotions)) & frozenset(known)


def _vector(
    request: SearchRequest, store: StoreReader, model: StoredModel, open_analyzer: Callable[[], Analyzer]
) -> Floats | None:
    if request.like is not None:
        return _widened(_stored(store, _indexed(request.like, store, model)))
    if request.image is None:
        return None
    # Decoding imports numpy and Pillow, which a search by emotion does not need.
    from indexer.system.digest import digest
    from indexer.system.safe_read import read

    try:
        known = store.predicted_as(model.id, digest(read(request.image)[0]))
    except (OSError, ImageError) as error:
        raise _unreadable(request.image, error) from error
    if known is not None:
        return _widened(_stored(store, known))
    return _widened(_read_and_analyze(request.image, open_analyzer())[1][0].embedding)


def _indexed(like: bytes, store: StoreReader, model: StoredModel) -> int:
    """Return the prediction of an indexed path or id; a path takes precedence."""
    by_path = store.predicted_at(model.id, indexed_path(like, store.known_paths))
    if by_path:
        return by_path[0].prediction_id
    text = os.fsdecode(like)
    if len(text) >= _MIN_ID_DIGITS and len(text) <= 64 and all(c in string.hexdigits for c in text):
        match store.predictions_by_digest(model.id, text.lower()):
            case [only]:
                return only
            case [_, _]:
                raise UsageError(f"Several indexed images have an id that begins with {text!r}; give more digits.")
    if os.path.isdir(like):
        raise UsageError(f"{text!r} is a folder, but --like needs an image. Search a folder with: moodex search --under {text!r}")
    if os.path.exists(like):
        raise NotIndexed(f"{text!r} is not indexed. To search with it anyway: moodex search {text!r}")
    raise NotIndexed(f"No indexed image has the path or id {text!r}; give at least the first {_MIN_ID_DIGITS} digits of an id.")


def _stored(store: StoreReader, prediction_id: int) -> Halves:
    return store.vectors_of([prediction_id])[prediction_id]


def _widened(vector: Halves) -> Floats:
    import numpy as np

    return vector.astype(np.float32)


def analyze_file(path: bytes, analyzer: Analyzer) -> list[Hit]:
    """Analyze an image now; return a hit for each face, the largest first, or one for the whole image.

    Raises UsageError for an image that cannot be read.
    """
    image, predictions = _read_and_analyze(path, analyzer)
    hits = []
    for prediction in predictions:
        emotions = dict(zip(analyzer.classifier.card.labels, prediction.probabilities, strict=True))
        best = max(emotions, key=emotions.__getitem__)
        box = None if prediction.face is None else to_pixel_box(prediction.face, image.width, image.height)
        hits.append(
            Hit(
                os.path.realpath(path),
                image.digest.hex(),
                best,
                emotions[best],
                emotions,
                box=box,
                frame=prediction.frame,
                incomplete=image.incomplete,
            )
        )
    return hits


def _read_and_analyze(path: bytes, analyzer: Analyzer) -> tuple[DecodedImage, AnalyzedImage]:
    from indexer.system.safe_read import read

    try:
        image = analyzer.decode(read(path)[0])
    except (OSError, ImageError) as error:
        raise _unreadable(path, error) from error
    (predictions,) = analyzer.predict([image])
    if predictions is None:
        raise UsageError(f"Cannot use the image {os.fsdecode(path)!r}: the model's result for it is not finite.")
    return image, predictions


def _unreadable(path: bytes, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"Cannot use the image {os.fsdecode(path)!r}: {reason}.")
