"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from indexer.domain.errors import MissingExtra


def require(module: str, package: str, extra: str, purpose: str) -> None:
    """Raise MissingExtra where a module is not installed; `package` is what its registry calls it, `purpose` what needs it."""
    if find_spec(module) is None:
        raise MissingExtra(f"{purpose} needs the package {package}: pip install 'moodex[{extra}]'")
