"""Decoded images, their faces, and the input that a model takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


MAX_FACES = 256
"""Only the largest faces of an image are classified, at most this many."""

WHOLE_IMAGE, MAIN_FACE = 0, 1
"""Region numbers: faces count from 1, the largest first; an image without faces is one region, 0."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input of a model: RGB on white, fitted into a square, uint8.

    - `size`: side of the square in pixels. The image keeps its aspect ratio and is centered.
    - `background`: value of the padding, 0-255, for all channels.
    - `mean`, `std`: the model normalizes as (x - mean) / std, with x in 0-255.

    Resizing is Pillow's bicubic; large JPEG files are first averaged over blocks of pixels.
    """

    size: int
    mean: float
    std: float
    background: int = 255

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024 or self.std <= 0 or not 0 <= self.background <= 255:
            raise ValueError(f"not a usable model input: {self}")


class DecodeTarget(NamedTuple):
    """What an image is prepared for: the input of a model or, with `max_side`, face detection for that model.

    See `indexer.imaging.decode.decode`.
    """

    spec: InputSpec
    max_side: int = 0


@dataclass(frozen=True, slots=True)
class Face:
    """A drawn face or head.

    The edges are shares of the image's width and height, 0-1. `probability`, 0-1, is the detector's.
    """

    left: float
    top: float
    right: float
    bottom: float
    probability: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1):
            raise ValueError(f"not a box inside an image: {self}")

    @property
    def area(self) -> float:
        """The share of the image's area, 0-1."""
        return (self.right - self.left) * (self.bottom - self.top)


def to_pixel_box(face: Face, width: int, height: int) -> tuple[int, int, int, int]:
    """Return a face's left, top, right and bottom edge in pixels of an image of that size."""
    return round(face.left * width), round(face.top * height), round(face.right * width), round(face.bottom * height)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of an animation: its number, from 1, and its pixels, as in `DecodedImage`. The number is None for a still image."""

    number: int | None
    pixels: Pixels = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One decoded image, ready for a classifier or a face detector.

    - `digest`: BLAKE3 digest of the file's bytes, 32 bytes.
    - `pixels`: uint8, RGB. For a classifier (size, size, 3), its input square. For face detection (H, W, 3), in the image's
      aspect ratio.
    - `width`, `height`: size of the original image in pixels, after EXIF rotation.
    - `format`: name of the decoder, such as "PNG".
    - `frame`: number, from 1, of the frame of an animation that `pixels` show, the first that shows anything; None for a still
      image.
    - `later`: further frames of the animation, of the same size, which differ from each other.
    - `incomplete`: whether the end of the file is missing; `pixels` show what there is.
    """

    digest: bytes
    pixels: Pixels = field(repr=False, compare=False)
    width: int
    height: int
    format: str
    frame: int | None = None
    later: tuple[Frame, ...] = ()
    incomplete: bool = False

    @property
    def frames(self) -> tuple[Frame, ...]:
        """All frames, the first one from `pixels`."""
        return Frame(self.frame, self.pixels), *self.later
