"""Page anchors that stay when a user labels or hides a few images: only ranks after the changed hits shift."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select

from db.schema import ImageRow, PageAnchorRow
from db.sql.dialect import chunks
from db.sql.page_anchors import NEWEST, hits_of_list

_MAX_IMAGES = 2_000
"""Beyond, anchors are built again at the end of the next run: finding all changed hits would take seconds."""


_Key = tuple[Any, ...]
"""What orders a hit in a list: the file by age, or score, digest and file."""


class _List(NamedTuple):
    """A list of hits, by its model and the name of its emotions."""

    model_id: int
    name: str

    def key(self, hit: Any) -> _Key:
        """Return the key of a hit."""
        return (-hit.file_id,) if self.name == NEWEST else (-hit.score, hit.digest_start, hit.file_id)

    def first(self, anchor: Any) -> _Key:
        """Return a key that is not greater than those of the hits from an anchor on, and greater than all others."""
        return (-anchor.file_id,) if self.name == NEWEST else (-anchor.score, anchor.digest_start)


@contextmanager
def moving_anchors(connection: Connection, digests: Collection[bytes]) -> Iterator[None]:
    """Move the page anchors with the changes of the `with` block, which may only concern the images with some digests."""
    anchors = _anchors(connection) if len(digests) <= _MAX_IMAGES else {}
    before = _keys(connection, anchors, digests)
    yield
    if not anchors:
        return
    after = _keys(connection, anchors, digests)
    connection.execute(delete(PageAnchorRow.table))  # a trigger did, unless nothing changed
    rows = [row for one, rows in anchors.items() for row in _moved(one, rows, before[one], after[one])]
    if rows:
        connection.execute(insert(PageAnchorRow.table), rows)


def _anchors(connection: Connection) -> dict[_List, list[Any]]:
    found: dict[_List, list[Any]] = defaultdict(list)
    for row in connection.execute(select(PageAnchorRow.table)):
        found[_List(row.model_id, row.emotions)].append(row)
    return dict(found)


def _keys(connection: Connection, lists: Collection[_List], digests: Collection[bytes]) -> dict[_List, set[_Key]]:
    """Return the keys of the hits that some images have in each list."""
    keys: dict[_List, set[_Key]] = {one: set() for one in lists}
    if not lists:
        return keys
    for chunk in chunks(sorted(digests)):
        images = connection.execute(select(ImageRow.id).where(ImageRow.digest.in_(chunk))).scalars().all()
        for one in lists:
            keys[one].update(map(one.key, connection.execute(hits_of_list(connection, *one, images))))
    return keys


def _moved(whose: _List, rows: Sequence[Any], before: set[_Key], after: set[_Key]) -> Iterator[Mapping[str, Any]]:
    """Yield the anchors of a list with their new ranks, of which each remains once."""
    removed, added = sorted(before - after), sorted(after - before)
    moved: dict[int, Any] = {}
    for row in rows:
        first = whose.first(row)
        moved[row.place - bisect_left(removed, first) + bisect_left(added, first)] = row
    for place, row in moved.items():
        yield {**row._mapping, "place": place}
