"""Reader of Photoshop files (PSD, PSB), by psd-tools. It reads the merged image, not the layers."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image
from psd_tools import PSDImage
from psd_tools.constants import Compression
from psd_tools.psd import PSD

from indexer.domain.errors import Damaged
from indexer.imaging.limits import refuse_bomb

_LARGE_VERSION = 2
"""The version of PSB, the format of large files, whose numbers are longer."""


def open_image(data: bytes) -> Image.Image:
    """Open the merged image.

    Raises Damaged if the file has none, lacks its end or exceeds the limits, and what psd-tools raises.
    """
    record = _read(data)
    refuse_bomb((record.header.width, record.header.height))
    if not _is_complete(record):
        raise Damaged("it lacks its end")
    merged = PSDImage(record).topil(apply_icc=False)
    if merged is None:
        raise Damaged("it has no merged image; save it with maximized compatibility, or as PNG")
    merged.format = "PSD"
    return merged


def _read(data: bytes) -> PSD:
    try:
        return PSD.read(BytesIO(data))
    except ValueError as error:  # psd-tools puts templates and objects into its messages
        raise ValueError("its header or one of its sections is damaged") from error


def _is_complete(record: PSD) -> bool:
    """Return whether the merged image has all its bytes; psd-tools would fill the rest."""
    header, stored = record.header, record.image_data
    lines = header.height * header.channels
    if stored.compression is Compression.RAW:
        return len(stored.data) >= lines * ((header.width * header.depth + 7) // 8)
    if stored.compression is Compression.RLE:
        lengths = np.frombuffer(stored.data, ">u4" if header.version == _LARGE_VERSION else ">u2", lines)
        return len(stored.data) >= lengths.nbytes + int(lengths.sum(dtype=np.int64))
    return True  # deflated data has a checksum
