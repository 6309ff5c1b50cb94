"""Tags of images, such as "1girl", which a tagger assigns to whole images."""

from __future__ import annotations

from unicodedata import normalize


def canonical_tag(name: str) -> str:
    """Return a tag as moodex stores and compares it: NFC, lower case, with underscores for spaces."""
    return "_".join(normalize("NFC", name).lower().split())
