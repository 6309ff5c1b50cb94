"""Packages that only some commands need."""

from __future__ import annotations

from importlib.util import find_spec

from indexer.domain.errors import MissingExtra


def require(module: str, package: str, extra: str, purpose: str) -> None:
    """Check that a module is installed. Raises MissingExtra.

    `package` and `extra` are the names to install, `purpose` is the feature that needs the module.
    """
    if find_spec(module) is None:
        raise MissingExtra(f"{purpose} needs the package {package}: pip install 'moodex[{extra}]'")
