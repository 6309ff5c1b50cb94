"""Analyzers that a server keeps: each model is loaded once, until its weights change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.ports.analyzer import Analyzer
    from indexer.ports.models import ModelRegistry

_MAX_ANALYZERS = 2


class KeptAnalyzers:
    """The analyzers of the models that were used last. Thread-safe."""

    def __init__(self) -> None:
        self._kept: dict[object, Analyzer] = {}
        self._lock = threading.Lock()

    def open(self, models: ModelRegistry, open_analyzer: Callable[[], Analyzer]) -> Analyzer:
        """Return the analyzer of the model in use, which `open_analyzer` opens if it is new. Raises what that raises."""
        weights = models.weights()
        key = (weights, weights.stat().st_mtime_ns, models.stored_name())
        with self._lock:
            analyzer = self._kept.pop(key, None) or open_analyzer()
            self._kept[key] = analyzer
            while len(self._kept) > _MAX_ANALYZERS:
                del self._kept[next(iter(self._kept))]
            return analyzer
