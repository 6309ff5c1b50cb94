"""Patterns with wildcards, found by their plain parts: of thousands of patterns, few have to be tried for a path."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

_WILDCARD = re.compile(r"[*?/]+")
_UNCERTAIN = re.compile(r"\[.*\]|[\[\\].*")
"""What may be brackets or escaped. It is taken for a wildcard: then, a pattern is tried more often than needed, never less."""


class _Place(IntEnum):
    """Where the paths that a pattern matches contain a plain part of it; the places that take least time come first."""

    PATH_START = 0
    NAME_START = 1
    NAME_END = 2
    SEGMENT = 3
    INSIDE = 4


class _Part(NamedTuple):
    """A text without wildcards that every path contains that a pattern matches."""

    place: _Place
    text: str


@dataclass(slots=True)
class _Parts:
    """The numbers of the patterns with parts at one place."""

    patterns: dict[str, list[int]] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)

    def add(self, text: str, number: int) -> None:
        self.patterns.setdefault(text, []).append(number)
        self.lengths.add(len(text))


class WildcardPatterns:
    """Patterns in the syntax of gitignore, without slashes at their ends."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._places: dict[_Place, _Parts] = defaultdict(_Parts)
        plain = list(map(_plain_parts, patterns))
        users = Counter(part for parts in plain for part in parts)
        for number, parts in enumerate(plain):
            # A part that few patterns have tells most: many may end with ".png".
            place, text = min(parts, key=lambda part: (not part.text, users[part], part.place))
            self._places[place].add(text, number)

    def candidates(self, path: str) -> Iterator[Sequence[int]]:
        """Yield the numbers of the patterns that may match a path; each sequence is sorted."""
        for place, parts in self._places.items():
            for text in _texts(place, path, parts):
                if text in parts.patterns:
                    yield parts.patterns[text]


def _texts(place: _Place, path: str, parts: _Parts) -> Iterable[str]:
    """Return the texts that a path contains at a place, as far as they may be parts of patterns."""
    if place is _Place.SEGMENT:
        return set(path.split("/"))
    if place is _Place.INSIDE:
        if len(parts.patterns) <= len(path) * len(parts.lengths):
            return (text for text in parts.patterns if text in path)
        return {path[start : start + length] for length in parts.lengths for start in range(len(path) - length + 1)}
    text = path if place is _Place.PATH_START else path[path.rfind("/") + 1 :]
    lengths = (length for length in parts.lengths if length <= len(text))
    return (text[len(text) - length :] if place is _Place.NAME_END else text[:length] for length in lengths)


def _plain_parts(pattern: str) -> set[_Part]:
    """Return the plain parts of a pattern; at least one, which may be empty."""
    path = _UNCERTAIN.sub("*", pattern).removeprefix("/")
    segments = path.split("/")
    start = re.split(r"[*?]", path, maxsplit=1)[0]
    parts = {
        _Part(_Place.PATH_START if "/" in pattern else _Place.NAME_START, start),
        _Part(_Place.NAME_END, _WILDCARD.split(segments[-1])[-1]),
    }
    parts |= {_Part(_Place.SEGMENT, segment) for segment in segments if not _WILDCARD.search(segment)}
    return parts | {_Part(_Place.INSIDE, text) for text in _WILDCARD.split(path)}
