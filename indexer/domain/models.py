"""The nouns of the application, as frozen dataclasses. Imports only the standard library and numpy's types."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float32]
    Halves = npt.NDArray[np.float16]
    Ids = npt.NDArray[np.int64]

FEEL, LOOK = "feel", "look"
"""The spaces an embedding may have: what a picture feels, and who is drawn and how."""

WHOLE_IMAGE, MAIN_FACE = 0, 1
"""Region numbers: faces count from 1, the largest first; a picture in which none was found is one region as a whole."""


FULL_PRECISION = "fp32"
_HALF = 1 << 63


class FileState(StrEnum):
    """What the database knows of a file."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file looked like from outside: enough to decide whether to look inside again.

    `size` is in bytes, `mtime_ns` in nanoseconds since the epoch.
    """

    size: int
    mtime_ns: int


def changed_ns(status: os.stat_result) -> int:
    """When a file was changed, in nanoseconds since the epoch, as 64 bits hold it: beyond the year 2262 they wrap around."""
    nanoseconds = status.st_mtime_ns
    return nanoseconds if -_HALF <= nanoseconds < _HALF else (nanoseconds + _HALF) % (2 * _HALF) - _HALF


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a picture becomes a model's input: decoded to RGB on white, fitted into a square, left as uint8.

    `size` is the square's side in pixels. The picture keeps its shape and is centred on `background` (0-255, all channels);
    resizing is Pillow's bicubic, of large pictures after averaging over blocks of pixels. The model normalises as
    (x - mean) / std, x in 0-255.
    """

    size: int
    mean: float
    std: float
    background: int = 255

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024 or self.std <= 0 or not 0 <= self.background <= 255:
            raise ValueError(f"not a usable model input: {self}")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What must be known of a model to use it and to trust it.

    `weights_digest` is the BLAKE3 hex digest of the weights' bytes; `labels` are canonical emotions in the order of the model's
    outputs. Calibration is part of the weights (the last layer is divided by the temperature), so that the digest covers it.
    `spaces` are the parts of an embedding with their sizes, in order; none means one part that serves for everything.
    `backbone_digest` is the BLAKE3 hex digest of all weights but the last layer's: models that share it share embeddings.
    `precision` is what its network is computed in: "fp32", "bf16" or "fp16", whose answers differ.
    `about` holds what people read: training data, credits, measured accuracy.
    """

    name: str
    architecture: str
    weights_digest: str
    labels: tuple[str, ...]
    input: InputSpec
    embedding_size: int
    spaces: tuple[tuple[str, int], ...] = ()
    backbone_digest: str = ""
    precision: str = FULL_PRECISION
    about: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if not self.name or not self.labels or len(set(self.labels)) != len(self.labels) or self.embedding_size < 1:
            raise ValueError(f"not a usable model card: {self.name!r}")
        if self.spaces and sum(size for _, size in self.spaces) != self.embedding_size:
            raise ValueError(f"the spaces of {self.name!r} are not its embedding")

    @property
    def key(self) -> str:
        """Hex digest of everything that decides a model's outputs: predictions of different keys never mix."""
        facts = [self.architecture, self.weights_digest, list(self.labels), asdict(self.input), self.embedding_size]
        return _digest([*facts, *([self.spaces] if self.spaces else []), *self._less_precise])

    @property
    def embedder_key(self) -> str:
        """Hex digest of everything that decides a model's embeddings: models with the same one read each other's."""
        if not self.backbone_digest:
            return self.key
        return _digest([self.backbone_digest, asdict(self.input), self.embedding_size, self.spaces, *self._less_precise])

    @property
    def _less_precise(self) -> list[str]:
        return [] if self.precision == FULL_PRECISION else [self.precision]

    def space_slice(self, space: str) -> slice:
        """Where a space lies in an embedding; all of it for a model that has no such parts."""
        start = 0
        for name, size in self.spaces:
            if name == space:
                return slice(start, start + size)
            start += size
        return slice(0, self.embedding_size)


def with_precision(card: ModelCard, precision: str) -> ModelCard:
    """The same model computed in another precision: to everybody else another model, under a name of its own."""
    return (
        card if precision == FULL_PRECISION else replace(card, name=name_for_precision(card.name, precision), precision=precision)
    )


def name_for_precision(name: str, precision: str) -> str:
    """What a model is called in a precision."""
    return name if precision == FULL_PRECISION else f"{name}@{precision}"


@dataclass(frozen=True, slots=True)
class Face:
    """A drawn face or head: its edges as shares of the picture's width and height, and how probable it is that it is one."""

    left: float
    top: float
    right: float
    bottom: float
    probability: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(f"not a place in a picture: {self}")

    @property
    def area(self) -> float:
        """The share of the picture that it takes."""
        return (self.right - self.left) * (self.bottom - self.top)


def to_pixel_box(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """A face's left, top, right and bottom edge in a picture of that size."""
    return round(face.left * width), round(face.top * height), round(face.right * width), round(face.bottom * height)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One picture, ready for a model, or to look for faces in.

    `digest` is the BLAKE3 digest (32 bytes) of the file's bytes; `pixels` is uint8, RGB: (size, size, 3), the model's square, or
    the page that faces are cut from, (H, W, 3), in the picture's own shape. `width` and `height` are the picture's own, in
    pixels, after EXIF rotation; `format` is the decoder's name, as "PNG".
    """

    digest: bytes
    pixels: Pixels = field(repr=False, compare=False)
    width: int
    height: int
    format: str


@dataclass(frozen=True, slots=True)
class Scores:
    """What a classifier says of a batch of N pictures.

    `probabilities` is float32, (N, labels), rows sum to 1; `embeddings` is float32, (N, embedding size), each space's part of a
    row of length 1.
    """

    probabilities: Floats
    embeddings: Floats


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model says of one region of a picture.

    `probabilities` are calibrated, in the order of the model's labels; `embedding` is float16, (embedding size,), each space's
    part of it of length 1. `face` is where the region lies; None for the picture as a whole.
    """

    probabilities: tuple[float, ...]
    embedding: Halves = field(repr=False, compare=False)
    face: Face | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file has no prediction: `kind` is an ImageError's, `reason` a sentence."""

    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is asked of the index. Emotions are canonical.

    `emotions` (empty: any) and `excluded` select by a picture's emotion, children included unless `exact_label`; `min_score` is
    the least probability (0-1) of that emotion; `like` orders by how alike pictures look: an embedding, float32, (embedding
    size,); `under` is an absolute folder as bytes; `limit` and `offset` page through the hits; `dedupe` shows one of several
    equal or nearly equal pictures.
    """

    emotions: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    exact_label: bool = False
    min_score: float = 0.0
    like: Floats | None = field(default=None, repr=False, compare=False)
    under: bytes | None = None
    limit: int = 20
    offset: int = 0
    dedupe: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One file that answers a query.

    `image_id` is the hex BLAKE3 digest of its bytes; `emotion` its most probable one and `score` that probability, or what a
    person said (`label`) and 1; `emotions` all probabilities of the model; `similarity` the cosine to the picture asked for, None
    where none was. `box` is the face that answers: left, top, right and bottom edge in pixels of the picture; None where none was
    found, and the picture answers as a whole.
    """

    path: bytes
    image_id: str
    emotion: str
    score: float
    emotions: dict[str, float]
    similarity: float | None = None
    label: str | None = None
    box: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """A picture that a person has said the emotion of. `path` is one of its live files; None where there is none any more."""

    image_id: str
    emotion: str
    path: bytes | None


def _digest(facts: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
