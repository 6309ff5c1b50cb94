"""What a model looks at in a picture: its faces, each cut out with something around it, or the whole where none was found."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from indexer.imaging.decode import prepare

if TYPE_CHECKING:
    from indexer.domain.models import DecodedImage, Face, InputSpec, Pixels
    from indexer.ports import FaceFinder

PAGE = 768
"""Longest side, in pixels, of the page that faces are looked for in and cut from."""

_MARGIN = 0.3
"""How much of a face's longer side is left around it: models learn from heads with their hair, and often with shoulders."""

_WHOLE = 0.5
"""A cut-out that takes at least this share of the picture is the picture."""

_MOST = 32
"""Faces of one picture that are kept: the largest."""


class View(NamedTuple):
    """What a model is shown of a picture: `pixels` as its input wants them, and the face in them, if they were chosen for one."""

    face: Face | None
    pixels: Pixels


def views(images: Sequence[DecodedImage], finder: FaceFinder | None, spec: InputSpec) -> list[list[View]]:
    """Each picture's faces, the largest first, or the picture as a whole: at least one view each.

    Faces are looked for where there is a finder; the pictures must have been decoded as pages then.
    """
    if finder is None:
        return [[View(None, image.pixels)] for image in images]
    pages = [image.pixels for image in images]
    return [
        [View(face, _cut_out(page, face, spec)) for face in faces[:_MOST]] or [View(None, _fitted(page, spec))]
        for page, faces in zip(pages, finder.find(pages), strict=True)
    ]


def _cut_out(page: Pixels, face: Face, spec: InputSpec) -> Pixels:
    height, width = page.shape[:2]
    sides = (face.right - face.left) * width, (face.bottom - face.top) * height
    margin = _MARGIN * max(sides)
    left, top = max(0, floor(face.left * width - margin)), max(0, floor(face.top * height - margin))
    right, bottom = min(width, ceil(face.right * width + margin)), min(height, ceil(face.bottom * height + margin))
    if (right - left) * (bottom - top) >= _WHOLE * width * height:
        return _fitted(page, spec)
    return _fitted(page[top:bottom, left:right], spec)


def _fitted(pixels: Pixels, spec: InputSpec) -> Pixels:
    return prepare(Image.fromarray(pixels), spec)
