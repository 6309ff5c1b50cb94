"""The metadata at the beginning of a model card of a hub."""

from __future__ import annotations

import re

_BLOCK = re.compile(r"\A---\s*\n(.*?)\n---", re.DOTALL)
_LICENSE = re.compile(r"^license:[ \t]*(\S+)[ \t]*$", re.MULTILINE)


def license_of(readme: str) -> str:
    """Return the license that a model card names, such as "apache-2.0"; "" if it names none."""
    block = _BLOCK.match(readme)
    found = _LICENSE.search(block[1]) if block else None
    return found[1].strip("\"'") if found else ""
