"""Pages of long lists: with marks set, lost and set again, they show what a store without marks shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from db.sqlite.schema import PageAnchorRow
from db.sqlite.store import SqliteStore
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import CommitBatch
from tests.support.builders import card, image
from tests.support.memory_store import MemoryStore
from tests.support.scene import Scene

LABELS = card().labels
SAD = HitFilter(frozenset({"sad", "crying"}))
LISTS = [
    SAD,
    HitFilter(frozenset({"happy"})),
    HitFilter(SAD.emotions, min_score=0.6),
    HitFilter(SAD.emotions, excluded=frozenset({"happy"})),
]

name = st.sampled_from("abcdef")
# Few different probabilities: places of equal score are ordered by age.
face = st.permutations([0.1, 0.3, 0.6]) | st.permutations([0.2, 0.3, 0.5])
steps = st.one_of(
    st.tuples(st.just("add"), name, st.lists(face, min_size=1, max_size=3)),
    st.tuples(st.just("copy"), name, st.integers(0, 3)),
    st.tuples(st.just("lose"), name, st.integers(0, 3)),
    st.tuples(st.just("label"), name, st.sampled_from([*LABELS, None])),
    st.tuples(st.just("end"), st.none(), st.none()),
)


class World(Scene):
    """A store, changed step by step."""

    def add(self, picture: str, faces: list[list[float]]) -> None:  # type: ignore[override]
        if not self.store.known_digests([image(picture).digest]):
            self.add_faces(picture, b"/a/%s.png" % picture.encode(), *map(tuple, faces))

    def copy(self, picture: str, number: int) -> None:
        if digests := self.store.known_digests([image(picture).digest]):
            (file,) = self.note(b"/a/%s-%d.png" % (picture.encode(), number))
            self.store.commit(self.run, CommitBatch(linked=((file, digests.pop()),)))

    def lose(self, picture: str, number: int) -> None:
        known = self.store.known_files(b"/a", self.run)
        if file := known.get(b"%s-%d.png" % (picture.encode(), number)):
            self.store.mark_missing([file.id])

    def label(self, picture: str, emotion: str | None) -> None:
        self.store.label({image(picture).digest: emotion})

    def end(self, *_: None) -> None:
        self.store.finish_run(self.run, "done", {})
        self.run = self.store.begin_run([b"/a"], self.model)


@contextmanager
def short_lists_marked() -> Iterator[None]:
    with patch("db.sqlite.page_anchors._MIN_LIST_ROWS", 1), patch("db.sqlite.page_anchors._ANCHOR_SPACING_ROWS", 2):
        yield


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25), st.integers(1, 4))
def test_pages_are_the_same_whatever_happened_since_they_were_marked(history: list[tuple[str, str, object]], size: int) -> None:
    with TemporaryDirectory() as folder, SqliteStore(Path(folder, "moodex.sqlite")) as store, short_lists_marked():
        marked, plain = World(store), World(MemoryStore())
        for step, *what in [*history, ("end", None, None)]:
            for world in (marked, plain):
                getattr(world, step)(*what)
            for chosen in LISTS:
                expected = plain.paths(chosen)
                for start in range(0, len(expected) + size, size):
                    assert marked.paths(chosen, size, start) == expected[start : start + size]


def test_long_lists_are_marked_when_a_run_ends_and_as_long_as_nothing_changes(tmp_path: Path) -> None:
    def marks(store: SqliteStore) -> int:
        with store._engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(PageAnchorRow.table)).scalar_one()

    with SqliteStore(tmp_path / "moodex.sqlite") as store, short_lists_marked():
        world = World(store)
        for picture in "abcde":
            world.add(picture, [[0.6, 0.3, 0.1]])
        assert marks(store) == 0
        world.end()
        assert marks(store) == 3  # of five happy ones every second
        world.end()
        assert marks(store) == 3
        for change in (("label", "a", "sad"), ("copy", "b", 1), ("lose", "b", 1), ("add", "f", [[0.1, 0.3, 0.6]])):
            getattr(world, change[0])(*change[1:])
            assert marks(store) == 0, change
            world.end()
            assert marks(store), change


def test_a_far_page_counts_from_its_mark_on(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "moodex.sqlite") as store, short_lists_marked():
        world = World(store)
        for picture in "abcdef":
            world.add(picture, [[0.6, 0.3, 0.1]])
        world.end()
        with store._engine.begin() as connection:
            # A mark that lies: only who goes by it can be led astray.
            connection.exec_driver_sql("UPDATE marks SET place = 3 WHERE place = 4")
        assert world.paths(HitFilter(frozenset({"happy"})), 2, 3) == [b"/a/e.png", b"/a/f.png"]
