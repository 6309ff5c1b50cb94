"""Search requests, queries and hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from indexer.domain.types import Floats


class HitKey(NamedTuple):
    """The place of a hit in the list of a search by emotion.

    Later hits have lower scores; with an equal one, greater digests; and with the same image, greater paths than the file has.
    """

    score: float
    digest: bytes
    file_id: int


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as the user typed it.

    - `image`: an image file. `like`: an indexed id or path. `embedding`: that of an image that was analyzed, float32,
      (embedding size,). At most one of the three is given.
    - `texts`: texts that hits must resemble, in addition to an image if there is one; see `indexer.search.texts`.
    - `under`: folders.
    - `after`: the last hit of the page before this one, in a search by emotion.
    - `tags`, `excluded_tags`: tags that images must have, and must not have, in any form of `canonical_tag`.
    - `all_images`: a request without any criterion is for all images, and no mistake.
    - `similar_by`: name of the model whose embeddings are compared, and whose tags count as well; None means the model in use.
    """

    image: bytes | None = None
    like: bytes | None = None
    emotions: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    exact_label: bool = False
    min_score: float = 0.0
    under: tuple[bytes, ...] = ()
    limit: int = 20
    offset: int = 0
    dedupe: bool = False
    hidden: bool = False
    embedding: Floats | None = field(default=None, repr=False, compare=False)
    after: HitKey | None = None
    tags: tuple[str, ...] = ()
    excluded_tags: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    all_images: bool = False
    similar_by: str | None = None


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search as the engine runs it.

    - `emotions`: all emotions that match, with sub-emotions; None for any.
    - `excluded`: emotions; an image with a face of one of them never matches.
    - `min_score`: minimum probability, 0-1, of the matching emotion.
    - `like`: embedding, float32, (embedding size,); orders hits by similar appearance.
    - `under`: absolute folders and files, of which hits are at or below one; none means all.
    - `dedupe`: show near-duplicates once. `hidden`: show images that the user hid, too.
    - `after`: only hits after this one, in a search by emotion.
    - `tags`, `excluded_tags`: canonical tags, of which an image has all, and none.
    - `similar_by`: id of another model that has analyzed the images, whose embeddings are compared; None means the same model.
    """

    emotions: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    min_score: float = 0.0
    like: Floats | None = field(default=None, repr=False, compare=False)
    under: tuple[bytes, ...] = ()
    limit: int = 20
    offset: int = 0
    dedupe: bool = False
    hidden: bool = False
    after: HitKey | None = None
    tags: frozenset[str] = frozenset()
    excluded_tags: frozenset[str] = frozenset()
    similar_by: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One file that matches a query.

    - `image_id`: hex BLAKE3 digest of its bytes.
    - `emotion`, `score`: the most probable emotion and its probability, 0-1; with a user label, that label and 1.
    - `emotions`: the model's probability of each emotion.
    - `similarity`: cosine to the query image; None without one.
    - `label`: the user's label, if any.
    - `box`: left, top, right and bottom edge, in pixels, of the matching face; None for an image without faces.
    - `frame`: number, from 1, of the frame of an animation to which all this belongs; None for a still image.
    - `incomplete`: whether the end of the file is missing.
    - `size`: width and height of the image in pixels.
    - `copies`: number of further hits that are not shown because they are near-duplicates of this one.
    - `tags`: the tags of the image with their probabilities, 0-1; None if they were not asked for, or no model tagged it.
    - `missing`: whether no file is at the path now; its disk may only not be mounted.
    """

    path: bytes
    image_id: str
    emotion: str
    score: float
    emotions: dict[str, float]
    similarity: float | None = None
    label: str | None = None
    box: tuple[int, int, int, int] | None = None
    frame: int | None = None
    incomplete: bool = False
    copies: int = 0
    size: tuple[int, int] | None = None
    tags: dict[str, float] | None = None
    missing: bool = field(default=False, compare=False)


class Total(NamedTuple):
    """The number of hits of a search without its limit; if it is not `exact`, there are more than `number`."""

    number: int
    exact: bool = True


class SearchResult(NamedTuple):
    """The hits of a search, best first, and their total; None if it was not asked for.

    `last` is the place of the last hit in a search by emotion: a request with it as `after` returns the hits that follow.
    """

    hits: list[Hit]
    total: Total | None = None
    last: HitKey | None = None
