"""The port for executors, which perform the steps of an index run in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Executor(Protocol[Item_contra, Result_co]):
    """A pool that performs items in any order. Only one thread submits items and takes results."""

    def submit(self, item: Item_contra) -> None:
        """Queue an item; a worker performs it as soon as one is free."""

    def next_result(self) -> Result_co:
        """Wait for the next result of any item. Raises what performing it raised."""

    def stop(self) -> Iterator[Result_co]:
        """Drop the items that did not start, wait for the others, and return their results."""


class OpenExecutor(Protocol):
    """Starts an executor, which stops at the end of a `with` block."""

    def __call__(self, perform: Callable[[Item], Result], workers: int) -> AbstractContextManager[Executor[Item, Result]]: ...
