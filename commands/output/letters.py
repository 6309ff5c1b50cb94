"""Letters that an output may lack."""

from __future__ import annotations

from typing import TextIO


def can_write(letters: str, out: TextIO) -> bool:
    """Return whether the encoding of an output has some letters."""
    try:
        letters.encode(getattr(out, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
