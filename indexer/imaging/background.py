"""The background of transparent images: white, or black for what white would hide, such as a drawing in light ink."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from indexer.domain.types import Floats

_WHITE, _BLACK = (255, 255, 255, 255), (0, 0, 0, 255)

_EDGE_WIDTH = 2
"""Distance in pixels of the two sides of an edge: resizing blurs edges."""

_FULL_CONTRAST = 96
"""Difference of lightness, 0-255, above which an edge is no clearer."""

_LOST = 4
"""An edge is lost on a background if the other one shows it with more than this many times its contrast."""

_MORE_THAN_LOST_ON_BLACK, _MORE_THAN_SEEN_ON_BOTH = 2, 4
"""How many times as many edges white must lose. Edges that both show are lines on light ink, which is then paper, and not ink."""


def background(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the color, RGBA, on which to compose an RGBA image: black if white loses most of its edges, else white.

    One dark bar in a drawing in light ink changes nothing, and neither does a light outline around a colored drawing.
    """
    opacity: Floats = np.asarray(image.getchannel("A"), dtype=np.float32)
    if opacity.min() == 255:
        return _WHITE
    lightness: Floats = np.asarray(image.convert("L"), dtype=np.float32)
    on_black: Floats = lightness * (opacity / np.float32(255))
    on_white: Floats = on_black + (np.float32(255) - opacity)
    seen_on_black, seen_on_white = _contrasts(on_black), _contrasts(on_white)
    strength = np.minimum(np.maximum(seen_on_black, seen_on_white), _FULL_CONTRAST)
    lost_on_white = strength[seen_on_white * _LOST < seen_on_black].sum()
    lost_on_black = strength[seen_on_black * _LOST < seen_on_white].sum()
    seen_on_both = strength.sum() - lost_on_white - lost_on_black
    least = _MORE_THAN_LOST_ON_BLACK * lost_on_black + _MORE_THAN_SEEN_ON_BOTH * seen_on_both
    return _BLACK if lost_on_white > least else _WHITE


def _contrasts(lightness: Floats) -> Floats:
    """Return the differences of an image, (H, W), between pixels that an edge may separate, in one row or column."""
    down = lightness[_EDGE_WIDTH:] - lightness[:-_EDGE_WIDTH]
    right = lightness[:, _EDGE_WIDTH:] - lightness[:, :-_EDGE_WIDTH]
    contrasts: Floats = np.abs(np.concatenate([down.ravel(), right.ravel()]))
    return contrasts
