"""Patterns of files that a scan leaves out."""

from __future__ import annotations

import pytest

from indexer.domain.errors import UsageError
from indexer.system.exclude_patterns import parse_exclude_patterns


def test_patterns_have_the_syntax_of_gitignore() -> None:
    spec = parse_exclude_patterns(["*.gif", "!keep.gif", "drafts/"])
    assert [path for path in ("a.gif", "keep.gif", "drafts/a.png", "a.png") if spec.match_file(path)] == ["a.gif", "drafts/a.png"]


def test_an_invalid_pattern_is_one_sentence_that_names_it() -> None:
    with pytest.raises(UsageError, match="Cannot use the exclude patterns: .*'!'"):
        parse_exclude_patterns(["*.gif", "!"])
