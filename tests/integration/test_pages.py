"""Pages of long lists are the same with page anchors built, dropped and built again as without any."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from db.sql.tuning import StoreTuning
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
# Few different probabilities, so that hits have equal scores, which are ordered by age.
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


def store_with_short_anchored_lists(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "moodex.sqlite", tuning=StoreTuning(anchored_list_rows=1, anchor_spacing_rows=2))


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25), st.integers(1, 4))
def test_pages_are_the_same_whatever_changed_since_anchors_were_built(history: list[tuple[str, str, object]], size: int) -> None:
    with TemporaryDirectory() as folder, store_with_short_anchored_lists(Path(folder)) as store:
        anchored, plain = World(store), World(MemoryStore())
        for step, *what in [*history, ("end", None, None)]:
            for world in (anchored, plain):
                getattr(world, step)(*what)
            for chosen in LISTS:
                expected = plain.paths(chosen)
                for start in range(0, len(expected) + size, size):
                    assert anchored.paths(chosen, size, start) == expected[start : start + size]


def test_anchors_are_built_when_a_run_ends_and_dropped_by_any_change(tmp_path: Path) -> None:
    def anchors(store: SqliteStore) -> int:
        with closing(sqlite3.connect(store.path)) as connection:
            return int(connection.execute("SELECT count(*) FROM marks").fetchone()[0])

    with store_with_short_anchored_lists(tmp_path) as store:
        world = World(store)
        for picture in "abcde":
            world.add(picture, [[0.6, 0.3, 0.1]])
        assert anchors(store) == 0
        world.end()
        assert anchors(store) == 3  # of five happy images every second
        world.end()
        assert anchors(store) == 3
        for change in (("label", "a", "sad"), ("copy", "b", 1), ("lose", "b", 1), ("add", "f", [[0.1, 0.3, 0.6]])):
            getattr(world, change[0])(*change[1:])
            assert anchors(store) == 0, change
            world.end()
            assert anchors(store), change


def test_a_far_page_counts_from_its_anchor_on(tmp_path: Path) -> None:
    with store_with_short_anchored_lists(tmp_path) as store:
        world = World(store)
        for picture in "abcdef":
            world.add(picture, [[0.6, 0.3, 0.1]])
        world.end()
        with closing(sqlite3.connect(store.path)) as connection, connection:
            # A wrong anchor: only a page that uses it is wrong.
            connection.execute("UPDATE marks SET place = 3 WHERE place = 4")
        assert world.paths(HitFilter(frozenset({"happy"})), 2, 3) == [b"/a/e.png", b"/a/f.png"]
