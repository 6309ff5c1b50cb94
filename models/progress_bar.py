"""Progress bars on stderr, if that is a terminal and progress is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_log = logging.getLogger(__name__)


def bar(steps: Iterable[Any] | None = None, **looks: Any) -> tqdm[Any]:
    """Return a bar over some steps, or one to update by hand; `looks` are the options of tqdm.

    It is shown if the logger of this module is enabled for warnings, which is how the command line switches it off.
    """
    return tqdm(steps, disable=None if _log.isEnabledFor(logging.WARNING) else True, **looks)
