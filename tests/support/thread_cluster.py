"""A cluster for tests in this process, without Ray: pages are performed one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from indexer.ports.cluster import SharedObject, WorkerPlan
from indexer.ports.executor import Executor, Item, Result

Perform = Callable[[int, Sequence[Any]], Any]


class Shared:
    """Implements `SharedObject` in this process."""

    def __init__(self, shared: object) -> None:
        self._shared, self._lock = shared, threading.Lock()

    def call(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            return getattr(self._shared, method)(*arguments)

    def tell(self, method: str, *arguments: Any) -> None:
        self.call(method, *arguments)


class WorkerDied(Exception):
    """A worker ended while it performed a page."""


@dataclass
class PagesInOrder:
    """Implements `Executor`: performs pages of a few items, one after the other, and again if their worker dies."""

    open_performer: Callable[[], Perform]
    page_items: int
    waiting: list[Any] = field(default_factory=list)
    pages: int = 0

    def submit(self, item: Any) -> None:
        self.waiting.append(item)

    def next_result(self) -> Any:
        items, self.waiting = self.waiting[: self.page_items], self.waiting[self.page_items :]
        self.pages += 1
        while True:
            try:
                return self.open_performer()(self.pages, items)
            except WorkerDied:
                continue

    def stop(self) -> Iterator[Any]:
        return iter(())


@dataclass
class ThreadCluster:
    """Implements `Cluster` in this process."""

    plan: WorkerPlan = field(default_factory=lambda: WorkerPlan(1, 2, 0))
    place: str = "1 machine"

    def share(self, make: Callable[[], object]) -> SharedObject:
        return Shared(make())

    def open_executor(
        self, open_performer: Callable[[], Callable[[int, Sequence[Item]], Result]], page_items: int
    ) -> AbstractContextManager[Executor[Item, Result]]:
        return nullcontext(PagesInOrder(open_performer, page_items))


@contextmanager
def thread_cluster(*_: object) -> Iterator[ThreadCluster]:
    """Connect to a cluster."""
    yield ThreadCluster()
