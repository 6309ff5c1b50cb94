"""What the server remembers for its clients: uploaded images, selections, and labels before a change. All of it is bounded."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from indexer.search.uploads import SentImage

T = TypeVar("T")


class Kept(Generic[T]):
    """The values that were used last, by key: at most `most`, none longer than `seconds` after its last use. Thread-safe."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._values: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, value: T) -> None:
        """Keep a value."""
        with self._lock:
            self._values[key] = (self._clock(), value)
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def add(self, value: T) -> str:
        """Keep a value under a new key, which nobody can guess."""
        key = secrets.token_hex(16)
        self.put(key, value)
        return key

    def get(self, key: str) -> T | None:
        """Return a value, or None if it is not kept any more."""
        with self._lock:
            known = self._values.get(key)
            if known is None or self._clock() - known[0] > self._seconds:
                self._values.pop(key, None)
                return None
            self._values[key] = (self._clock(), known[1])
            self._values.move_to_end(key)
            return known[1]

    def pop(self, key: str | None) -> T | None:
        """Return a value and forget it; the latest one without a key. None if there is none."""
        with self._lock:
            if key is None:
                key = next(reversed(self._values), None)
            known = None if key is None else self._values.pop(key, None)
            return None if known is None else known[1]


class Upload(NamedTuple):
    """An uploaded image as the model with the key in it sees it, and a thumbnail as WebP."""

    image: SentImage
    thumbnail: bytes


LabelsBefore = Mapping[str, str | None]
"""The labels of images before a change, by id; None for images without one."""
