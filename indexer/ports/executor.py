"""What runs the steps of an index run, several at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Executor(Protocol[Item_contra, Result_co]):
    """Performs items in any order. Only one thread submits and takes results."""

    def submit(self, item: Item_contra) -> None:
        """Perform an item as soon as there is room."""

    def next_result(self) -> Result_co:
        """Wait for the next result, of whichever item; raises what performing it raised."""

    def stop(self) -> Iterator[Result_co]:
        """Drop the items that nobody began, wait for the others, and return what was not yet taken."""


class OpenExecutor(Protocol):
    """Starts an executor, which ends with a `with` block."""

    def __call__(self, perform: Callable[[Item], Result], workers: int) -> AbstractContextManager[Executor[Item, Result]]: ...
