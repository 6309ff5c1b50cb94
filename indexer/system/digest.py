"""The digest that names an image."""

from __future__ import annotations

from blake3 import blake3


def digest(data: bytes) -> bytes:
    """The BLAKE3 digest (32 bytes) by which a picture is known."""
    return bytes(blake3(data).digest())
