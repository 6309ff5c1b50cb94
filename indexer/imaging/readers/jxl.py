"""Reader of JPEG XL images, by libjxl (imagecodecs). Of an animation, it reads the first frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.types import Pixels

_BAND_ROWS = 256
"""Rows that are converted at a time, to limit memory."""

_MAX_CHANNELS = 4
"""Further channels hold spot colors or depths."""


def open_image(data: bytes) -> Image.Image:
    """Decode an image. libjxl turns it upright and refuses more than 2^28 pixels."""
    values = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    image = Image.fromarray(_to_8_bit(_color(values)))
    image.format = "JXL"
    return image


def _color(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the channels that Pillow knows: gray (H, W), or (H, W, 2 to 4)."""
    if values.ndim == 3 and values.shape[2] == 1:
        return values[:, :, 0]
    return values[:, :, :3] if values.ndim == 3 and values.shape[2] > _MAX_CHANNELS else values


def _to_8_bit(values: npt.NDArray[Any]) -> Pixels:
    """Scale 16-bit values, and floats of 0 to 1, to 8 bits."""
    if values.dtype == np.uint8:
        return values
    pixels = np.empty(values.shape, dtype=np.uint8)
    for top in range(0, len(values), _BAND_ROWS):
        band = values[top : top + _BAND_ROWS]
        scaled = band / 257 if band.dtype == np.uint16 else np.nan_to_num(band.astype(np.float32)).clip(0, 1) * 255
        pixels[top : top + _BAND_ROWS] = np.rint(scaled)
    return pixels
