"""An executor whose items are performed in pages by the actors of a Ray cluster, with Ray Data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Generic

from indexer.domain.errors import MoodexError, Unavailable
from indexer.ports.executor import Item, Result
from indexer.system.events import log_event

if TYPE_CHECKING:
    from indexer.ports.cluster import WorkerPlan

_PAGES_PER_WORKER = 16
"""A short queue makes smaller pages, so that every worker gets some."""


@dataclass(frozen=True, slots=True)
class _Page(Generic[Item]):
    """Not a tuple: Ray Data would make a list of columns of it."""

    number: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class _Problem:
    """The sentence of an error on another machine, and its exit code."""

    sentence: str
    exit_code: int


class RayPages(Generic[Item, Result]):
    """Implements `indexer.ports.executor.Executor`; a result is that of a page.

    Items wait until a result is taken and no earlier pages are left; all of them are then one wave, which Ray Data distributes to
    as many actors as the plan says. A page is a row, and a row is a task: what travels are the items and their results. If an
    actor or a machine dies, its pages are performed again elsewhere, and a new actor starts where there is room.
    """

    def __init__(
        self, open_performer: Callable[[], Callable[[int, Sequence[Item]], Result]], page_items: int, plan: WorkerPlan
    ) -> None:
        self._open_performer, self._page_items, self._plan = open_performer, page_items, plan
        self._waiting: list[Item] = []
        self._rows: Iterator[dict[str, Any]] = iter(())
        self._pages = 0

    def __enter__(self) -> RayPages[Item, Result]:
        _silence_ray_data()
        _warn_if_busy(self._plan)
        return self

    def __exit__(self, *_: object) -> None:
        self._rows = iter(())  # ends the wave and its actors

    def submit(self, item: Item) -> None:
        self._waiting.append(item)

    def next_result(self) -> Result:
        answer = self._next_answer()
        if isinstance(answer, _Problem):
            error = MoodexError(answer.sentence)
            error.exit_code = answer.exit_code
            raise error
        return answer

    def stop(self) -> Iterator[Result]:
        self._waiting.clear()
        self._rows = iter(())
        return iter(())

    def _next_answer(self) -> Result | _Problem:
        from ray.data.exceptions import ExecutionTimeoutError, SystemException
        from ray.exceptions import RayError

        try:
            row = next(self._rows, None)
            if row is None:
                self._rows = self._wave()
                row = next(self._rows)
        except (RayError, SystemException, ExecutionTimeoutError) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise Unavailable(
                f"The cluster cannot go on: {reason}. Committed results are kept; run the same command again."
            ) from error
        answer: Result | _Problem = row["answer"]
        return answer

    def _wave(self) -> Iterator[dict[str, Any]]:
        """Hand all waiting items to the actors; return the rows of the answers, in any order."""
        import ray.data
        from ray.data import ActorPoolStrategy

        pages = self._take_pages()
        workers = min(self._plan.workers, len(pages))
        rows = ray.data.from_items([{"page": page} for page in pages], override_num_blocks=len(pages))
        # Without an initial size, a pool starts with one actor and grows slowly.
        pool = ActorPoolStrategy(min_size=1, initial_size=workers, max_size=workers)
        answers = rows.map(
            _Actor, fn_constructor_args=(self._open_performer,), compute=pool, num_cpus=self._plan.cpus, num_gpus=self._plan.gpus
        )
        return iter(answers.iter_rows())

    def _take_pages(self) -> list[_Page[Item]]:
        size = min(self._page_items, ceil(len(self._waiting) / (_PAGES_PER_WORKER * self._plan.workers)))
        pages = []
        for start in range(0, len(self._waiting), size):
            pages.append(_Page(self._pages, tuple(self._waiting[start : start + size])))
            self._pages += 1
        self._waiting.clear()
        return pages


class _Actor(Generic[Item, Result]):
    """Performs pages in one process of the cluster. It is opened by the first page, so that its errors are answers."""

    def __init__(self, open_performer: Callable[[], Callable[[int, Sequence[Item]], Result]]) -> None:
        self._open_performer = open_performer
        self._perform: Callable[[int, Sequence[Item]], Result] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"answer": self._answer(row["page"])}

    def _answer(self, page: _Page[Item]) -> Result | _Problem:
        try:
            if self._perform is None:
                self._perform = self._open_performer()
            return self._perform(page.number, page.items)
        except Exception as error:
            from ray.util import get_node_ip_address

            reason = str(error) if isinstance(error, MoodexError) else f"{type(error).__name__}: {error}"
            code = error.exit_code if isinstance(error, MoodexError) else 1
            return _Problem(f"On the machine {get_node_ip_address()}: {reason}", code)


def _silence_ray_data() -> None:
    """Leave progress and messages to moodex."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _warn_if_busy(plan: WorkerPlan) -> None:
    import ray

    free = ray.available_resources()
    if free.get("CPU", 0) < plan.cpus or free.get("GPU", 0) < plan.gpus:
        log_event("warning", "cluster_busy", "All workers of the cluster are busy with other work; the run waits for them.")
