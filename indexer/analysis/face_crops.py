"""What a model looks at in a picture: its faces, each cut out with something around it, or the whole where none was found."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from indexer.imaging.decode import prepare

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, Face, InputSpec
    from indexer.domain.types import Pixels
    from indexer.ports.models import FaceDetector

DETECTION_MAX_SIDE = 768
"""Longest side, in pixels, of the page that faces are looked for in and cut from."""

_CROP_MARGIN_SHARE = 0.3
"""How much of a face's longer side is left around it: models learn from heads with their hair, and often with shoulders."""

_FULL_IMAGE_AREA_SHARE = 0.5
"""A cut-out that takes at least this share of the picture is the picture."""

_MAX_FACES_PER_IMAGE = 32
"""Faces of one picture that are kept: the largest."""


class View(NamedTuple):
    """What a model is shown of a picture: `pixels` as its input wants them, and the face in them, if they were chosen for one."""

    face: Face | None
    pixels: Pixels


def crop_views(images: Sequence[DecodedImage], detector: FaceDetector | None, spec: InputSpec) -> list[list[View]]:
    """Each picture's faces, the largest first, or the picture as a whole: at least one view each.

    Faces are looked for where there is a detector; the pictures must have been decoded as pages then.
    """
    if detector is None:
        return [[View(None, image.pixels)] for image in images]
    pages = [image.pixels for image in images]
    return [
        [View(face, _cut_out(page, face, spec)) for face in faces[:_MAX_FACES_PER_IMAGE]]
        or [View(None, _fit_to_input(page, spec))]
        for page, faces in zip(pages, detector.find(pages), strict=True)
    ]


def _cut_out(page: Pixels, face: Face, spec: InputSpec) -> Pixels:
    height, width = page.shape[:2]
    sides = (face.right - face.left) * width, (face.bottom - face.top) * height
    margin = _CROP_MARGIN_SHARE * max(sides)
    left, top = max(0, floor(face.left * width - margin)), max(0, floor(face.top * height - margin))
    right, bottom = min(width, ceil(face.right * width + margin)), min(height, ceil(face.bottom * height + margin))
    if (right - left) * (bottom - top) >= _FULL_IMAGE_AREA_SHARE * width * height:
        return _fit_to_input(page, spec)
    return _fit_to_input(page[top:bottom, left:right], spec)


def _fit_to_input(pixels: Pixels, spec: InputSpec) -> Pixels:
    return prepare(Image.fromarray(pixels), spec)
