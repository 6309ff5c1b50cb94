"""Patterns of files that a scan leaves out, in the syntax of gitignore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


def parse_exclude_patterns(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Return patterns as one specification. Raises UsageError for an invalid pattern."""
    from pathspec import GitIgnoreSpec  # only a scan needs it, and it takes long to import

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise UsageError(f"Cannot use the exclude patterns: {error}. Give patterns such as '*.gif' or 'drafts/'.") from error
