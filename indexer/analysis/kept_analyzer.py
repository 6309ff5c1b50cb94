"""Analyzers and text encoders that a server keeps: each model is loaded once, until its weights change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from indexer.ports.models import ModelRegistry

_MOST_KEPT = 2

T = TypeVar("T")


class Kept(Generic[T]):
    """The analyzers, or the text encoders, of the models that were used last. Thread-safe."""

    def __init__(self) -> None:
        self._kept: dict[object, T] = {}
        self._lock = threading.Lock()

    def open(self, models: ModelRegistry, open_new: Callable[[], T]) -> T:
        """Return what belongs to the model in use, which `open_new` opens if it is new. Raises what that raises."""
        weights = models.weights()
        key = (weights, weights.stat().st_mtime_ns, models.stored_name())
        with self._lock:
            opened = self._kept.pop(key, None) or open_new()
            self._kept[key] = opened
            while len(self._kept) > _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            return opened
