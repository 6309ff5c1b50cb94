"""The input of a classifier: each face of an image, or the whole image if it has none."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from indexer.domain.images import MAX_FACES
from indexer.imaging.decode import prepare

if TYPE_CHECKING:
    from indexer.domain.images import Face, InputSpec
    from indexer.domain.types import Pixels
    from indexer.ports.models import FaceDetector

DETECTION_MAX_SIDE = 768
"""Longest side, in pixels, of the page in which faces are detected and from which they are cropped; see
`indexer.imaging.decode.page_side`."""

_CROP_INSET_SHARE = 0.05
"""What a crop leaves out on each side of a face's box, as a share of the box's width or height. The boxes of the detector are a
little wide, and eyes, brows and mouth need the pixels of the input."""

_FULL_IMAGE_AREA_SHARE = 0.5
"""A crop that covers at least this share of the image is replaced by the whole image."""


class View(NamedTuple):
    """A part of an image for the classifier: `pixels` fit its input; `face` is None for the whole image."""

    face: Face | None
    pixels: Pixels


def crop_views(pages: Sequence[Pixels], detector: FaceDetector | None, spec: InputSpec) -> list[list[View]]:
    """Return the views of each page: its faces, the largest first, or the whole page if it has none.

    With a detector, pages are uint8, (H, W, 3), decoded for face detection. Without one, they must fit the classifier's input.
    """
    if detector is None:
        return [[View(None, page)] for page in pages]
    return face_views(pages, detector.detect(pages), spec)


def face_views(pages: Sequence[Pixels], faces_by_page: Sequence[Sequence[Face]], spec: InputSpec) -> list[list[View]]:
    """Return the views of each page with these faces, the largest first, or the whole page if it has none."""
    return [_views(page, faces[:MAX_FACES], spec) for page, faces in zip(pages, faces_by_page, strict=True)]


def whole_view(pixels: Pixels, spec: InputSpec) -> View:
    """Return the view of a whole page, uint8, (H, W, 3)."""
    return View(None, _fit_to_input(pixels, spec))


def face_view(pixels: Pixels, face: Face, spec: InputSpec) -> View:
    """Return the view of a face of a page, uint8, (H, W, 3)."""
    return View(face, _crop(pixels, face, spec))


def _views(pixels: Pixels, faces: Sequence[Face], spec: InputSpec) -> list[View]:
    return [face_view(pixels, face, spec) for face in faces] or [whole_view(pixels, spec)]


def _crop(pixels: Pixels, face: Face, spec: InputSpec) -> Pixels:
    height, width = pixels.shape[:2]
    across, down = _CROP_INSET_SHARE * (face.right - face.left), _CROP_INSET_SHARE * (face.bottom - face.top)
    left, top = floor((face.left + across) * width), floor((face.top + down) * height)
    right, bottom = ceil((face.right - across) * width), ceil((face.bottom - down) * height)
    if (right - left) * (bottom - top) >= _FULL_IMAGE_AREA_SHARE * width * height:
        return _fit_to_input(pixels, spec)
    return _fit_to_input(pixels[top:bottom, left:right], spec)


def _fit_to_input(pixels: Pixels, spec: InputSpec) -> Pixels:
    return prepare(Image.fromarray(pixels), spec)
