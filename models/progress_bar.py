"""Bars over long work on stderr, where that is a terminal and whoever runs the program wants to see them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_log = logging.getLogger(__name__)


def bar(steps: Iterable[Any] | None = None, **looks: Any) -> tqdm[Any]:
    """A bar over some steps, or one to move by hand; `looks` as tqdm takes them.

    It shows where this module's warnings would: the program says by its loggers how much it wants to hear.
    """
    return tqdm(steps, disable=None if _log.isEnabledFor(logging.WARNING) else True, **looks)
