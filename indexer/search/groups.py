"""Groups of near-duplicates among hits, of which only the best hit is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from indexer.search.dedupe import Distinct, unit_rows

if TYPE_CHECKING:
    from indexer.domain.queries import Hit
    from indexer.domain.types import Floats
    from indexer.ports.store_reader import RankedHit
    from indexer.search.living import LivingFirst


class _Look(NamedTuple):
    """What near-duplicates share: an embedding of length 1, float32, (embedding size,), and a fingerprint, if it is known."""

    vector: Floats
    fingerprint: bytes | None


class Groups:
    """The first hit of each group of near-duplicates, in the order in which they were added, with the number of its copies.

    If the file of a first hit is missing, the first one with a file that exists is shown as well. After `most` hits, only the
    copies of those are counted.
    """

    def __init__(self, living: LivingFirst, most: int) -> None:
        self._living, self._most = living, most
        self._existing, self._missing = Distinct(living.embedded_by), Distinct(living.embedded_by)
        self._hits: list[Hit] = []
        self._copies: Counter[int] = Counter()
        self._entries: dict[int, int] = {}
        """The number of the hit that is shown, by the id of its prediction or of that of a copy."""

    def hits(self) -> list[Hit]:
        """Return the hits with the numbers of their copies."""
        return [replace(hit, copies=self._copies[entry]) for entry, hit in enumerate(self._hits)]

    def last_similarity(self) -> float | None:
        """Return the similarity of the last hit, once there are as many as wanted."""
        return (self._hits[-1].similarity or 0.0) if len(self._hits) >= self._most else None

    def add(self, rows: Sequence[RankedHit]) -> None:
        """Add hits in order."""
        new = list(dict.fromkeys(row.prediction_id for row in rows if row.prediction_id not in self._entries))
        looks = self._looks(new)
        copied: dict[int, int] | None = None
        for row in rows:
            number = row.prediction_id
            if number in self._entries:
                self._copies[self._entries[number]] += 1
            elif len(self._hits) < self._most:
                self._place(row, looks[number])
            else:
                # No hits are added any more, so all the others are compared at once.
                copied = self._copied(looks) if copied is None else copied
                if number in copied:
                    self._count_copy(number, copied[number])

    def _looks(self, numbers: Sequence[int]) -> dict[int, _Look]:
        if not numbers:
            return {}
        store = self._living.store
        vectors, fingerprints = store.vectors_of(numbers), store.fingerprints_of(numbers)
        units = unit_rows([vectors[number] for number in numbers])
        return {number: _Look(unit, fingerprints.get(number)) for number, unit in zip(numbers, units, strict=True)}

    def _place(self, row: RankedHit, look: _Look) -> None:
        """Add a hit, unless it is a copy."""
        entry = self._existing.find(look.vector[None], [look.fingerprint])[0]
        if entry is None:
            hit, exists = self._living.best(row)
            kept = self._existing if exists else self._missing
            entry = None if exists else kept.find(look.vector[None], [look.fingerprint])[0]
            if entry is None:
                kept.add(look.vector, look.fingerprint, len(self._hits))
                self._entries[row.prediction_id] = len(self._hits)
                self._hits.append(hit)
                return
        self._count_copy(row.prediction_id, entry)

    def _count_copy(self, number: int, entry: int) -> None:
        self._copies[entry] += 1
        self._entries[number] = entry

    def _copied(self, looks: Mapping[int, _Look]) -> dict[int, int]:
        """Return the hits that are shown of which some predictions are copies, by prediction."""
        import numpy as np

        vectors = np.stack([look.vector for look in looks.values()])
        fingerprints = [look.fingerprint for look in looks.values()]
        found = zip(looks, *(kept.find(vectors, fingerprints) for kept in (self._existing, self._missing)), strict=True)
        entries = {number: missing if existing is None else existing for number, existing, missing in found}
        return {number: entry for number, entry in entries.items() if entry is not None}
