"""The port for clusters: machines that perform the items of an index run in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from indexer.ports.executor import Executor, Item, Result


class WorkerPlan(NamedTuple):
    """The number of workers of a cluster, each of which is a process, and the CPU cores and GPUs of each."""

    workers: int
    cpus: int
    gpus: int

    @property
    def device(self) -> str:
        """The device on which each worker computes."""
        return "cuda" if self.gpus else "cpu"


class SharedObject(Protocol):
    """An object in a process on this machine, whose methods every process of the cluster calls, one call at a time.

    If its process dies, the object is made again. It can be sent to other processes.
    """

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for its result."""

    def tell(self, method: str, *arguments: Any) -> None:
        """Call a method without waiting. It runs before later calls of this process."""


class Cluster(Protocol):
    """A cluster that this process is connected to. What is sent to its machines must be importable there."""

    @property
    def plan(self) -> WorkerPlan:
        """The workers that this cluster starts."""

    @property
    def place(self) -> str:
        """What the cluster is, such as "3 machines"."""

    def share(self, make: Callable[[], object]) -> SharedObject:
        """Make an object in a process on this machine. It ends with the connection."""

    def open_executor(
        self, open_performer: Callable[[], Callable[[int, Sequence[Item]], Result]], page_items: int
    ) -> AbstractContextManager[Executor[Item, Result]]:
        """Start an executor that performs at most `page_items` items together, and returns one result for all of them.

        `open_performer` is called once in each worker, and returns the function that performs the items of a page; its first
        argument is the number of the page. A page whose worker died is performed again. An error on another machine is raised as
        MoodexError, with the name of the machine.
        """


OpenCluster = Callable[[], AbstractContextManager[Cluster]]
"""Connects to a cluster inside a `with` block. Raises MissingExtra, Unavailable and UsageError."""
