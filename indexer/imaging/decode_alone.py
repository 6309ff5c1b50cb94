"""Decoding of single images outside of runs: queries, thumbnails, data sets."""

from __future__ import annotations

import atexit
from functools import cache
from typing import TYPE_CHECKING

from indexer.imaging.decode import decode
from indexer.imaging.further_formats import needs_isolation

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, InputSpec
    from indexer.imaging.decoder_pool import DecoderPool


def decode_alone(data: bytes, spec: InputSpec, max_side: int = 0) -> DecodedImage:
    """Decode an image like `decode.decode`: in this process, or in a child process if the package of an extra reads it.

    Those packages are less tested on hostile bytes than Pillow, and some of them end the process if memory is short.
    """
    return _pool().decode(data, spec, max_side) if needs_isolation(data) else decode(data, spec, max_side)


@cache
def _pool() -> DecoderPool:
    from indexer.imaging.decoder_pool import DecoderPool

    pool = DecoderPool()
    atexit.register(pool.end)
    return pool
