"""Progress bars on stderr, if stderr is a terminal and the user did not switch them off."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_log = logging.getLogger(__name__)


def bar(steps: Iterable[Any] | None = None, **options: Any) -> tqdm[Any]:
    """Return a progress bar that iterates over steps, or, without steps, one that the caller updates.

    `options` are those of tqdm. The command line switches bars off by disabling warnings of this module's logger.
    """
    return tqdm(steps, disable=None if _log.isEnabledFor(logging.WARNING) else True, **options)
