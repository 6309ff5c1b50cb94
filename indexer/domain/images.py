"""Decoded images, their faces, and the input that a model takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.types import Pixels


WHOLE_IMAGE, MAIN_FACE = 0, 1
"""Region numbers: faces count from 1, the largest first; a picture in which none was found is one region as a whole."""


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
