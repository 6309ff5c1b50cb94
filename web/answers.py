"""Answers of the HTTP API: JSON in ASCII, and the cursors of pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse

from indexer.domain.errors import UsageError

FOREVER = "private, max-age=31536000, immutable"
"""Cache-Control of an answer whose address names its bytes by their digest, so that they never change."""

MAX_CURSOR_LETTERS = 16_384
"""A cursor may contain a path of 4,096 bytes, which takes 11,000 letters."""


class AsciiJSON(JSONResponse):
    """JSON in ASCII. It can carry a file name that is not valid Unicode, as lone surrogates, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


def to_cursor(**place: Any) -> str:
    """Return the place at which the next page begins as a cursor, which a client passes back unread."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":"), default=bytes.hex).encode()).decode().rstrip("=")


def from_cursor(cursor: str | None, **kinds: type) -> Mapping[str, Any] | None:
    """Return the place of a cursor, None without one. `kinds` are the types of its entries. Raises UsageError."""
    if cursor is None:
        return None
    try:
        if len(cursor) > MAX_CURSOR_LETTERS:
            raise ValueError
        place = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if place.keys() != kinds.keys():
            raise ValueError
        place |= {name: bytes.fromhex(place[name]) for name, kind in kinds.items() if kind is bytes}
        if any(type(place[name]) is not kind for name, kind in kinds.items()):
            raise ValueError
        if any(isinstance(value, int) and not 0 <= value < 1 << 63 for value in place.values()):
            raise ValueError
    except (ValueError, TypeError, AttributeError, binascii.Error, RecursionError):
        raise UsageError("The cursor is not one of this server; use the value of `next` as it is.") from None
    return dict(place)
