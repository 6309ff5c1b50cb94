"""A pool of threads. Decoders, resizers and networks release the interpreter lock while they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic

from indexer.ports.executor import Item, Result


class ThreadExecutor(Generic[Item, Result]):
    """Implements `indexer.ports.executor.Executor`."""

    def __init__(self, perform: Callable[[Item], Result], workers: int) -> None:
        self._perform = perform
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="work")
        self._done: SimpleQueue[Future[Result]] = SimpleQueue()

    def __enter__(self) -> ThreadExecutor[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, item: Item) -> None:
        self._pool.submit(self._perform, item).add_done_callback(self._done.put)

    def next_result(self) -> Result:
        return self._done.get().result()

    def stop(self) -> Iterator[Result]:
        self._pool.shutdown(wait=True, cancel_futures=True)
        while not self._done.empty():
            future = self._done.get()
            if not future.cancelled():
                yield future.result()
