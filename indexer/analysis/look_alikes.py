"""Comparison of stored predictions: each is read again beside its look-alikes, and theirs beside it.

Every step leaves predictions that are either plain or read beside look-alikes, and the store knows which ones are left, so an
interrupted comparison is finished by the next run. The result depends on the images of the library, not on the order in which
they came, except where a face has more look-alikes than it is read beside.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from db.vectors.sync import open_index, sync_index
from indexer.domain.look_alikes import LEAST_SIMILARITY, MOST_LOOK_ALIKES, read_beside, weights
from indexer.domain.models import APPEARANCE, NEARLY_EQUAL_IN_SPACES
from indexer.domain.predictions import NEVER_COMPARED
from indexer.ports.progress import slow_task
from indexer.ports.store_reader import ComparedRows
from indexer.ports.store_writer import Comparison

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import StoredModel
    from indexer.domain.types import Floats, Halves, Ids
    from indexer.ports.progress import Progress
    from indexer.ports.store import Store
    from indexer.ports.teaching import Scorer
    from indexer.ports.vectors import VectorIndex, VectorStorage

_BATCH_ROWS = 512
_FETCHED = (MOST_LOOK_ALIKES + 8, 8 * MOST_LOOK_ALIKES)
"""Neighbors that the index is asked for at first, and again where too many are deleted, of the same image, or copies."""

_LEAST_CHANGE = 1e-6
"""A prediction is not written again if all its probabilities stay this close to the stored ones."""


def compare(
    store: Store,
    storage: VectorStorage,
    model: StoredModel,
    open_scorer: Callable[[], Scorer],
    progress: Progress,
    check_stop: Callable[[], None],
) -> int:
    """Read the predictions that are new, or have new look-alikes, beside their look-alikes; return the number that changed.

    Nothing happens for a model without embedding spaces. The vector index is current before each pass, and not afterwards.
    Raises what `check_stop` raises after any batch, OSError if the vector index cannot be written, and the errors of
    `open_scorer`.
    """
    changed = 0
    scorer: Scorer | None = None
    while model.card.spaces and (total := store.count_uncompared(model.id)):
        scorer = scorer or open_scorer()
        sync_index(store, storage, model)
        with slow_task(progress, check_stop, total) as advance:
            done, changed_now = _Pass.begin(store, storage, model, scorer).run(advance)
        changed += changed_now
        if not done:
            break  # predictions without embeddings, which `moodex doctor` reports
    if changed:
        store.restore_pages(model.id)
    return changed


@dataclass(slots=True)
class _NewIds:
    """The ids of predictions that a pass changed: the index of the pass knows the old ids, which ascend."""

    old: array[int] = field(default_factory=lambda: array("q"))
    new: array[int] = field(default_factory=lambda: array("q"))

    def add(self, new_ids: dict[int, int]) -> None:
        for old in sorted(new_ids):
            self.old.append(old)
            self.new.append(new_ids[old])

    def current(self, ids: Ids) -> Ids:
        """Return the present ids of predictions, int64, of any shape."""
        if not self.old:
            return ids
        old, new = np.frombuffer(self.old, dtype=np.int64), np.frombuffer(self.new, dtype=np.int64)
        position = np.searchsorted(old, ids).clip(max=len(old) - 1)
        current: Ids = np.where(old[position] == ids, new[position], ids)
        return current


class _Group(NamedTuple):
    """The look-alikes of a batch.

    - `rows`: numbers of rows of `found`; `owners`: numbers of rows of the batch; both int64, (M,).
    - `similarities`: cosine similarities of the appearances, float32, (M,).
    """

    found: ComparedRows
    rows: Ids
    owners: Ids
    similarities: Floats


@dataclass(slots=True)
class _Pass:
    """One pass over the predictions that are left, with an index of all predictions up to the id `newest`.

    New predictions mark their look-alikes, which a second pass reads again unless this one has yet to come to them.
    """

    store: Store
    model: StoredModel
    scorer: Scorer
    index: VectorIndex
    newest: int
    new_ids: _NewIds = field(default_factory=_NewIds)

    @classmethod
    def begin(cls, store: Store, storage: VectorStorage, model: StoredModel, scorer: Scorer) -> _Pass:
        generation = store.generation(model.id)
        newest = 0 if generation is None else generation.last_id
        return cls(store, model, scorer, open_index(store, storage, model), newest)

    def run(self, advance: Callable[[int], None]) -> tuple[int, int]:
        """Compare all; return the numbers of predictions that were compared and that changed."""
        after = done = changed = 0
        while len((found := self.store.next_uncompared(self.model.id, after, _BATCH_ROWS)).ids):
            after = int(found.ids[-1])
            # A label that came during the pass gave the others new ids, which only the index of the next pass has.
            batch = _rows(found, (found.ids <= self.newest) | (found.compared_to != NEVER_COMPARED))
            if not len(batch.ids):
                continue
            comparison = self._compare(batch, self._look_alikes(batch))
            self.new_ids.add(self.store.apply_comparison(self.model.id, comparison))
            done += len(batch.ids)
            changed += len(comparison.ids)
            advance(len(batch.ids))
        return done, changed

    def _compare(self, batch: ComparedRows, group: _Group) -> Comparison:
        """Read a batch beside its look-alikes."""
        logits = self.scorer.logits(np.concatenate([batch.vectors, group.found.vectors]))
        own, others = logits[: len(batch.ids)], logits[len(batch.ids) :][group.rows]
        is_sound = np.asarray(np.isfinite(own).all(axis=1))
        counted = weights(group.similarities)
        probabilities = read_beside(np.where(is_sound[:, None], own, 0), others, counted, group.owners, self.scorer.mean_logits)
        is_alone = np.bincount(group.owners, minlength=len(batch.ids)) == 0
        differs = np.abs(probabilities - batch.probabilities).max(axis=1) > _LEAST_CHANGE
        # A new prediction without look-alikes stays as the classifier made it.
        changes = differs & is_sound & ~(is_alone & (batch.compared_to == NEVER_COMPARED))
        return Comparison(
            batch.ids[changes], probabilities[changes], batch.ids[~changes].tolist(), self._outdated(batch, group), self.newest
        )

    @staticmethod
    def _outdated(batch: ComparedRows, group: _Group) -> list[int]:
        """Return the look-alikes of new predictions that were compared before those existed."""
        compared_to, owner_ids = group.found.compared_to[group.rows], batch.ids[group.owners]
        is_new = batch.compared_to[group.owners] == NEVER_COMPARED
        outdated = is_new & (compared_to > 0) & (compared_to < owner_ids)
        ids: list[int] = np.unique(group.found.ids[group.rows[outdated]]).tolist()
        return ids

    def _look_alikes(self, batch: ComparedRows) -> _Group:
        """Return the look-alikes of each prediction of a batch, at most `MOST_LOOK_ALIKES`, the most similar first."""
        queries = self._appearances(batch.vectors)
        left = np.flatnonzero(np.isfinite(queries).all(axis=1))
        groups: list[_Group] = []
        for fetched in _FETCHED:
            ids, similarities = self.index.nearest(queries[left], fetched)
            near = similarities >= LEAST_SIMILARITY
            chosen = self._choose(batch, left, self.new_ids.current(ids), near)
            complete = (np.bincount(chosen.owners, minlength=len(batch.ids))[left] == MOST_LOOK_ALIKES) | ~near[:, -1]
            final = complete | (fetched == _FETCHED[-1])
            kept = np.isin(chosen.owners, left[final])
            groups.append(_Group(chosen.found, chosen.rows[kept], chosen.owners[kept], chosen.similarities[kept]))
            left = left[~final]
            if not len(left):
                break
        return _joined(groups)

    def _choose(self, batch: ComparedRows, rows: Ids, ids: Ids, near: npt.NDArray[np.bool_]) -> _Group:
        """Choose the look-alikes of some rows of a batch among neighbors, ids int64, (Q, k), best first, where `near` is True.

        Left out are other faces of the same image, predictions that were deleted, and copies of the image, which have no other
        expression.
        """
        found = self.store.compared_rows(self.model.id, np.unique(ids[near]).tolist())
        if not len(found.ids):
            return _Group(found, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        position = np.searchsorted(found.ids, ids).clip(max=len(found.ids) - 1)
        valid = near & (found.ids[position] == ids) & (found.images[position] != batch.images[rows][:, None])
        query, column = np.nonzero(valid)
        neighbor = position[query, column]
        similar = np.einsum("ij,ij->i", batch.vectors[rows[query]].astype(np.float32), found.vectors[neighbor].astype(np.float32))
        # Both parts of an embedding have length 1, so half of the product is the cosine. Damaged vectors compare as False.
        valid[query, column] = similar / 2 < NEARLY_EQUAL_IN_SPACES
        valid &= np.cumsum(valid, axis=1) <= MOST_LOOK_ALIKES
        query, column = np.nonzero(valid)
        neighbor, owner = position[query, column], rows[query]
        # Those of the index may come from codes.
        similarities = np.einsum("ij,ij->i", self._appearances(batch.vectors[owner]), self._appearances(found.vectors[neighbor]))
        return _Group(found, neighbor, owner, similarities)

    def _appearances(self, vectors: Halves) -> Floats:
        appearances: Floats = vectors[:, self.model.card.space_slice(APPEARANCE)].astype(np.float32)
        return appearances


def _rows(found: ComparedRows, chosen: npt.NDArray[np.bool_]) -> ComparedRows:
    return ComparedRows(
        found.ids[chosen], found.images[chosen], found.compared_to[chosen], found.probabilities[chosen], found.vectors[chosen]
    )


def _joined(groups: Sequence[_Group]) -> _Group:
    """Return the look-alikes of disjoint parts of a batch as one group."""
    first_rows = np.cumsum([0, *(len(group.found.ids) for group in groups)])
    return _Group(
        ComparedRows(*(np.concatenate(columns) for columns in zip(*(group.found for group in groups), strict=True))),
        np.concatenate([first + group.rows for first, group in zip(first_rows, groups, strict=False)]),
        np.concatenate([group.owners for group in groups]),
        np.concatenate([group.similarities for group in groups]),
    )
