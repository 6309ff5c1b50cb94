"""The colored maps that the server keeps: reading the emotions of a million points takes seconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from indexer.mapping.view import colored_map

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.mapping.view import ColoredMap


class ColoredMaps:
    """The last map that was asked for, until the library changes. Thread-safe: a second request waits for the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: object = None
        self._colored: ColoredMap | None = None

    def get(self, library: Library, hidden: bool) -> ColoredMap | None:
        """Return the map of the model in use, see `indexer.mapping.view.colored_map`, and raise what that raises."""
        with self._lock:
            key = (library.settings.model, hidden, library.database.version())
            kept = self._colored
            # A map that is made does not change the database.
            if kept is None or key != self._key or not library.map_storage().is_current(kept.made):
                self._colored, self._key = None, None
                self._colored, self._key = colored_map(library, hidden), key
            return self._colored
