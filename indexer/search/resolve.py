"""Search requests to queries."""

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

_SHORTEST_ID = 4


def check(request: SearchRequest) -> None:
    """Raise UsageError for a request that cannot be meant, before anything is opened."""
    if request.image is not None and request.like is not None:
        raise UsageError("Give either an IMAGE or --like, not both: both say what the hits must resemble.")
    if not 0 <= request.min_score <= 1:
        raise UsageError(f"--min-score is {request.min_score}; it must lie between 0 and 1.")
    if request.limit < 1 or request.offset < 0:
        raise UsageError("-k must be at least 1 and --offset at least 0.")
    asked = (request.image, request.like, request.under, request.emotions, request.excluded, request.min_score)
    if not any(asked):
        raise UsageError("Say what to look for: an IMAGE, --emotion, --not, --like, --min-score or --under.")
    if request.image is not None and not os.path.exists(request.image):
        raise UsageError(f"The picture {os.fsdecode(request.image)!r} does not exist.")


def resolve_request(
    request: SearchRequest, store: StoreReader, model: StoredModel, open_analyzer: Callable[[], Analyzer]
) -> SearchQuery:
    """Resolve what a user typed: emotions by any synonym, an image by file, path or id, a folder by any path.

    `open_analyzer` is called only for an image that the model has not analyzed. Of an image with faces, the main one is compared.

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
        under=None if request.under is None else indexed_path(request.under, store.holds),
        limit=request.limit,
        offset=request.offset,
        dedupe=request.dedupe,
    )


def _expand(words: Sequence[str], known: Sequence[str], exact_label: bool) -> frozenset[str]:
    """Return the known emotions that words mean, with their sub-emotions unless `exact_label`."""
    emotions = {canonical(word, known) for word in words}
    return frozenset().union(*([emotion] if exact_label else with_children(emotion) for emotion in emotions)) & frozenset(known)


def _vector(
    request: SearchRequest, store: StoreReader, model: StoredModel, open_analyzer: Callable[[], Analyzer]
) -> Floats | None:
    if request.like is not None:
        return _widened(_stored(store, _indexed(request.like, store, model)))
    if request.image is None:
        return None
    # Decoding needs numpy and Pillow: a search by emotion alone does without.
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
    """The prediction that a path or an id means; a path goes first."""
    by_path = store.predicted_at(model.id, indexed_path(like, store.holds))
    if by_path:
        return by_path[0].prediction_id
    text = os.fsdecode(like)
    if len(text) >= _SHORTEST_ID and len(text) <= 64 and all(c in string.hexdigits for c in text):
        match store.find(model.id, text.lower()):
            case [only]:
                return only
            case [_, _]:
                raise UsageError(f"Several indexed pictures have an id that begins with {text!r}; give more of it.")
    if os.path.isdir(like):
        raise UsageError(f"{text!r} is a folder; --like takes a picture. For the pictures in it: moodex search --under {text!r}")
    if os.path.exists(like):
        raise NotIndexed(f"{text!r} is not indexed. To search with it anyway: moodex search {text!r}")
    raise NotIndexed(f"No indexed picture has the path or id {text!r}; an id needs its first {_SHORTEST_ID} digits at least.")


def _stored(store: StoreReader, prediction_id: int) -> Halves:
    return store.vectors_of([prediction_id])[prediction_id]


def _widened(vector: Halves) -> Floats:
    import numpy as np

    return vector.astype(np.float32)


def analyze_file(path: bytes, analyzer: Analyzer) -> list[Hit]:
    """Analyze an image now; return a hit for each face, the largest first. Raises UsageError for one that cannot be read."""
    image, predictions = _read_and_analyze(path, analyzer)
    hits = []
    for prediction in predictions:
        emotions = dict(zip(analyzer.classifier.card.labels, prediction.probabilities, strict=True))
        best = max(emotions, key=emotions.__getitem__)
        box = None if prediction.face is None else to_pixel_box(prediction.face, image.width, image.height)
        hits.append(Hit(os.path.realpath(path), image.digest.hex(), best, emotions[best], emotions, box=box))
    return hits


def _read_and_analyze(path: bytes, reader: Analyzer) -> tuple[DecodedImage, AnalyzedImage]:
    """A picture that is looked at now, and what the model says of it."""
    from indexer.system.safe_read import read

    try:
        image = reader.decode(read(path)[0])
    except (OSError, ImageError) as error:
        raise _unreadable(path, error) from error
    (regions,) = reader.predict([image])
    if regions is None:
        raise UsageError(f"The picture {os.fsdecode(path)!r} cannot be used: the model gives no finite answer for it.")
    return image, regions


def _unreadable(path: bytes, error: Exception) -> UsageError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"The picture {os.fsdecode(path)!r} cannot be used: {reason}.")
