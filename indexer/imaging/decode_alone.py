"""Decoding of single images outside of runs: queries, thumbnails, data sets."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from indexer.domain.images import DecodeTarget
from indexer.imaging.decode import decode_for
from indexer.imaging.further_formats import needs_isolation

if TYPE_CHECKING:
    from indexer.domain.images import DecodedImage, InputSpec
    from indexer.imaging.decoder_pool import DecoderPool


def decode_alone(data: bytes, spec: InputSpec, max_side: int = 0) -> DecodedImage:
    """Decode an image like `decode.decode`: in this process, or in a child process if the package of an extra reads it.

    Those packages are less tested on hostile bytes than Pillow, and some of them end the process if memory is short.
    """
    (image,) = decode_alone_for(data, [DecodeTarget(spec, max_side)])
    return image


def decode_alone_for(data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
    """Decode an image once for several targets, like `decode.decode_for`, where `decode_alone` decodes it."""
    return _pool().decode_for(data, targets) if needs_isolation(data) else decode_for(data, targets)


@cache
def _pool() -> DecoderPool:
    from indexer.imaging.decoder_pool import DecoderPool

    pool = DecoderPool()
    atexit.register(pool.end)
    return pool
