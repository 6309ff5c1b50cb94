"""Listings of folders that are requested before the scan needs them, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from indexer.sources.entries import InnerFolder

_THREADS = 8
_MAX_PREPARED = 32
"""Limit of the listings that wait in memory."""


class Listings:
    """Lists folders with a function, in several threads. A scan takes them in the order of their paths, name by name."""

    def __init__(self, list_folder: Callable[[bytes], InnerFolder]) -> None:
        self._list = list_folder
        self._threads = ThreadPoolExecutor(_THREADS)
        self._prepared: dict[bytes, Future[InnerFolder]] = {}

    def prepare(self, folders: Iterable[bytes]) -> None:
        """Request the listings of some folders, in the order in which the scan will take them."""
        for folder in islice(folders, max(0, _MAX_PREPARED - len(self._prepared))):
            self._prepared[folder] = self._threads.submit(self._list, folder)

    def take(self, folder: bytes) -> InnerFolder:
        """Return the listing of a folder. Raises what the function raises."""
        prepared = self._prepared.pop(folder, None)
        place = folder.split(b"/")
        for other in [other for other in self._prepared if other.split(b"/") < place]:
            self._prepared.pop(other).cancel()  # patterns exclude it: the scan went past it
        return self._list(folder) if prepared is None else prepared.result()

    def close(self) -> None:
        """Drop what was requested, and end the threads."""
        self._threads.shutdown(cancel_futures=True)
