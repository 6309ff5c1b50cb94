"""What a search is asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as it was typed: `image` is a picture file, `like` an indexed id or path."""

    image: bytes | None = None
    like: bytes | None = None
    emotions: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    exact_label: bool = False
    min_score: float = 0.0
    under: bytes | None = None
    limit: int = 20
    offset: int = 0
    dedupe: bool = False
