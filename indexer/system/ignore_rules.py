"""Patterns of files that a scan leaves out, with the rules of gitignore."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from unicodedata import normalize

from indexer.domain.errors import UsageError
from indexer.system.wildcards import WildcardPatterns

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_SPECIAL = re.compile(r"[*?\[\\]")


def check_exclude_patterns(patterns: Sequence[str]) -> None:
    """Raise UsageError for an invalid pattern."""
    _parse(patterns)


class _Rule(NamedTuple):
    """What a pattern says: its number, whether it leaves entries out, and whether it is only for folders."""

    number: int
    excludes: bool
    folders_only: bool


_NO_RULE = _Rule(-1, False, False)


class _Wildcard(NamedTuple):
    """A pattern with wildcards; `body` is what is left of it without the marks at its ends."""

    body: str
    rule: _Rule
    regex: re.Pattern[str]


@dataclass(slots=True)
class _Names:
    """Rules by an exact text: the last one for all entries, and the last one for folders."""

    rules: dict[str, tuple[_Rule, _Rule]] = field(default_factory=dict)

    def add(self, text: str, rule: _Rule) -> None:
        for_all, for_folders = self.rules.get(text, (_NO_RULE, _NO_RULE))
        self.rules[text] = (for_all, rule) if rule.folders_only else (rule, for_folders)

    def last(self, text: str, is_folder: bool) -> _Rule:
        found = self.rules.get(text)
        return _NO_RULE if found is None else max(found) if is_folder else found[0]


class IgnoreRules:
    """The patterns of one list, for the entries below one folder. The last pattern that matches an entry decides.

    Thousands of plain names, paths and extensions cost no more than a few, because they are looked up. Of patterns with
    wildcards, those are tried of which an entry has a plain part. Names are compared in Unicode NFC.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        """Parse patterns, one for each line of an ignore file. Raises UsageError for an invalid one."""
        self._names, self._paths, self._endings = _Names(), _Names(), _Names()
        self._ending_lengths: set[int] = set()
        self._wildcards: list[_Wildcard] = []
        spec = _parse([_composed(pattern) for pattern in patterns])
        for number, pattern in enumerate(spec.patterns):
            if pattern.include is not None and pattern.regex is not None:
                body, rule = _read(number, bool(pattern.include), str(pattern.pattern))
                if not self._add_plain(body, rule):
                    self._wildcards.append(_Wildcard(body, rule, pattern.regex))
        self._by_part = WildcardPatterns([wildcard.body for wildcard in self._wildcards])

    def __bool__(self) -> bool:
        return any((self._names.rules, self._paths.rules, self._endings.rules, self._wildcards))

    def decide(self, path: str, is_folder: bool) -> bool | None:
        """Return whether to leave out the entry at a path relative to the folder; None if no pattern matches it."""
        path = _composed(path)
        name = path[path.rfind("/") + 1 :]
        best = max(self._names.last(name, is_folder), self._paths.last(path, is_folder))
        for length in self._ending_lengths:
            best = max(best, self._endings.last(name[-length:], is_folder)) if length <= len(name) else best
        for candidates in self._by_part.candidates(path):
            for at in reversed(candidates):
                _, rule, regex = self._wildcards[at]
                if rule.number < best.number:
                    break
                if _matches(regex, path, is_folder):
                    best = rule
                    break
        return None if best is _NO_RULE else best.excludes

    def _add_plain(self, body: str, rule: _Rule) -> bool:
        """Add a pattern that can be looked up; return whether it is one."""
        if not _SPECIAL.search(body):
            if "/" in body:
                self._paths.add(body.removeprefix("/"), rule)
            else:
                self._names.add(body, rule)
        elif body.startswith("*") and "/" not in body and len(body) > 1 and not _SPECIAL.search(body[1:]):
            self._endings.add(body[1:], rule)
            self._ending_lengths.add(len(body) - 1)
        else:
            return False
        return True


def _read(number: int, excludes: bool, line: str) -> tuple[str, _Rule]:
    """Return a pattern without the marks at its ends, and what these say."""
    text = line.strip() if not line.rstrip("\n").endswith("\\ ") else line
    text = text if excludes else text[1:]
    body = text.removesuffix("/")
    return body, _Rule(number, excludes, body != text)


def _matches(regex: re.Pattern[str], path: str, is_folder: bool) -> bool:
    """Return whether a pattern matches an entry itself. A pattern of pathspec also matches everything below a folder."""
    below = "ps_d"
    found = regex.match(path)
    if found is not None and (below not in regex.groupindex or found.start(below) < 0):
        return True
    if not is_folder or below not in regex.groupindex:
        return False
    found = regex.match(path + "/")
    return found is not None and found.start(below) == len(path)


def _composed(text: str) -> str:
    """Return a text in Unicode NFC. Names that are no text are compared as they are."""
    return text if text.isascii() else normalize("NFC", text)


def _parse(patterns: Sequence[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # only a scan needs it, and it takes long to import

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise UsageError(f"Cannot use the exclude patterns: {error}. Give patterns such as '*.gif' or 'drafts/'.") from error
