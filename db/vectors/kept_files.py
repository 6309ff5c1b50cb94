"""Stored vector indexes for a server: opened once, until a writer replaces them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from db.vectors.files import FaissFiles

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.domain.models import ModelCard
    from indexer.ports.vectors import Segment

_MAX_MODELS = 4


class KeptFaissFiles(FaissFiles):
    """Implements `indexer.ports.vectors.VectorStorage`, and keeps the segments of the models that were searched last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._kept: dict[str, tuple[object, list[Segment]]] = {}
        self._lock = threading.Lock()

    def load(self, card: ModelCard) -> list[Segment]:
        with self._lock:
            stamp = self._manifest_stamp(card)
            known = self._kept.pop(card.key, None)
            if stamp is None or known is None or known[0] != stamp:
                known = (stamp, super().load(card))
            self._kept[card.key] = known
            while len(self._kept) > _MAX_MODELS:
                del self._kept[next(iter(self._kept))]
            return list(known[1])

    def _manifest_stamp(self, card: ModelCard) -> object:
        """Return what changes whenever a writer replaces the manifest; None without one."""
        try:
            status = self._manifest_path(card).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns
