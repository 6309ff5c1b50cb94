"""Decompression of text, with a limit."""

from __future__ import annotations

import zlib

from indexer.domain.errors import Damaged

MAX_TEXT_BYTES = 1 << 26
"""Limit of the text of a drawing, 64 MiB."""

_GZIP_START, _GZIP_WBITS = b"\x1f\x8b", 31
"""The first bytes of gzip data, and the value for zlib that selects this format, with its largest window."""


def inflate(data: bytes) -> bytes:
    """Return the text of a drawing that may be compressed with gzip. Raises Damaged if it exceeds the limit or lacks its end."""
    if data.startswith(_GZIP_START):
        decompressor = zlib.decompressobj(wbits=_GZIP_WBITS)
        data = decompressor.decompress(data, MAX_TEXT_BYTES + 1)
        if len(data) <= MAX_TEXT_BYTES and not decompressor.eof:
            raise Damaged("its compressed data ends too early")
    if len(data) > MAX_TEXT_BYTES:
        raise Damaged(f"its text exceeds the limit of {MAX_TEXT_BYTES >> 20} MiB")
    return data
