"""The short codes of a segment, in shards: FAISS indexes of ranges of rows with the same centers, searched as one.

A shard is built in memory, which bounds its size. Rows are ordered by emotion, so a search for an emotion reads only the shards
that contain it. Codes that are equally near to a query are equally near in every shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Ids


@dataclass(frozen=True)
class Shard:
    """The codes of the rows from `start` to `stop`, which `read` reads: a FAISS index whose rows are numbered from 0."""

    start: int
    stop: int
    read: Callable[[], Any]

    @cached_property
    def index(self) -> Any:
        """The FAISS index, read when it is first used."""
        return self.read()

    @property
    def is_read(self) -> bool:
        """Return whether the codes are in memory."""
        return "index" in vars(self)

    def selector(self, chosen: list[slice] | Ids) -> Any:
        """Return a FAISS selector of those of the chosen rows, ascending, that the shard has; False if it has none of them.

        Returns None, which selects all, if it has no others.
        """
        if not isinstance(chosen, list):
            low, high = np.searchsorted(chosen, [self.start, self.stop])
            return _bitmap(chosen[low:high] - self.start, self.stop - self.start) if low < high else False
        bounds = ((max(one.start, self.start), min(one.stop, self.stop)) for one in chosen)
        ranges = [(start - self.start, stop - self.start) for start, stop in bounds if start < stop]
        if ranges == [(0, self.stop - self.start)]:
            return None
        selectors: list[Any] = [faiss.IDSelectorRange(*one) for one in ranges]
        return reduce(faiss.IDSelectorOr, selectors) if selectors else False


def search_shards(
    shards: Sequence[Shard], queries: Floats, lists: int, count: int, chosen: list[slice] | Ids | None = None
) -> tuple[Floats, Ids]:
    """Return the rows with the codes most similar to each query, in the lists whose centers are nearest to it.

    `queries` is float32, (Q, D); `chosen` are ascending rows, at least one; None for all. Returns similarities of codes, float32,
    (Q, `count`), and rows, int64, (Q, `count`), in any order; minus infinity and -1 where there are fewer. Raises RuntimeError
    for damaged codes.
    """
    parts = list(_with_chosen(shards, chosen))
    # Every shard has the same centers, so their similarities to the queries are computed once.
    centers = parts[0][0].index.quantizer.search(queries, lists)
    found = [_search(shard, queries, centers, count, selector) for shard, selector in parts]
    if len(found) == 1:
        return found[0]
    similarities, rows = (np.concatenate(columns, axis=1) for columns in zip(*found, strict=True))
    best = np.argpartition(similarities, -count, axis=1)[:, -count:]
    return np.take_along_axis(similarities, best, axis=1), np.take_along_axis(rows, best, axis=1)


def _with_chosen(shards: Sequence[Shard], chosen: list[slice] | Ids | None) -> Iterator[tuple[Shard, Any]]:
    """Yield the shards that have chosen rows, each with a FAISS selector of them."""
    for shard in shards:
        selector = None if chosen is None else shard.selector(chosen)
        if selector is not False:
            yield shard, selector


def _search(shard: Shard, queries: Floats, centers: tuple[Floats, Ids], count: int, selector: Any) -> tuple[Floats, Ids]:
    """Search the lists of the nearest centers, (Q, lists) each; FAISS's method of Python for known lists takes no selector."""
    center_similarities, lists = centers
    similarities, rows = np.empty((len(queries), count), dtype=np.float32), np.empty((len(queries), count), dtype=np.int64)
    parameters = faiss.SearchParametersIVF(sel=selector, nprobe=lists.shape[1])  # type: ignore[call-arg]  # set from keywords
    arrays = [faiss.swig_ptr(one) for one in (lists, center_similarities, similarities, rows)]
    shard.index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), count, *arrays, False, parameters)
    missing = rows < 0
    similarities[missing] = -np.inf
    rows += shard.start
    rows[missing] = -1
    return similarities, rows


def _bitmap(rows: Ids, count: int) -> Any:
    marked = np.zeros(count, dtype=bool)
    marked[rows] = True
    bits = np.packbits(marked, bitorder="little")
    return faiss.IDSelectorBitmap(bits)  # type: ignore[call-arg, arg-type]  # as documented by FAISS
