"""The media types of image files, by their first bytes. Nothing that a browser could run is among them."""

from __future__ import annotations

HEAD_BYTES = 16
"""Bytes of a file that tell its type."""

OTHER = "application/octet-stream"
"""The type of every other file, which browsers save and do not open."""

_STARTS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
_BRANDS = (b"avif", b"avis")


def media_type(head: bytes) -> str:
    """Return the media type of an image that browsers show, given its first bytes; otherwise `OTHER`."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return "image/avif"
    return next((kind for start, kind in _STARTS if head.startswith(start)), OTHER)
