"""The digest that names an image."""

from __future__ import annotations

from blake3 import blake3


def digest(data: bytes) -> bytes:
    """Return the BLAKE3 digest (32 bytes) that identifies an image."""
    return bytes(blake3(data).digest())
