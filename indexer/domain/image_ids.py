"""Ids of images: the hex digits of their digests, of which searches print the first ones."""

from __future__ import annotations

import os
import string

from indexer.domain.errors import UsageError

MIN_ID_DIGITS, _ID_DIGITS = 4, 64


def id_prefix(path: bytes) -> str | None:
    """Return the first digits of an id, in lower case, if a user may have given them instead of a path; else None."""
    text = os.fsdecode(path)
    is_id = MIN_ID_DIGITS <= len(text) <= _ID_DIGITS and all(character in string.hexdigits for character in text)
    return text.lower() if is_id else None


def ambiguous_id(path: bytes) -> UsageError:
    """Return the error for digits with which the ids of several images begin."""
    return UsageError(f"Several indexed images have an id that begins with {os.fsdecode(path)!r}; give more digits.")
