"""Pages of long lists are the same before page anchors are built, with them, and after a change dropped them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from db.sql.tuning import StoreTuning
from db.sqlite.store import SqliteStore
from indexer.domain.runs import RunCounts
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import CommitBatch
from tests.support.builders import card, image
from tests.support.memory_store import MemoryStore
from tests.support.scene import Scene

EMOTIONS = card().labels
SAD = HitFilter(frozenset({"sad", "crying"}))
FILTERS = [
    HitFilter(),
    HitFilter(min_score=0.55),
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
    st.tuples(st.just("remove"), name, st.integers(0, 3)),
    st.tuples(st.just("label"), name, st.sampled_from([*EMOTIONS, "smug", None])),
    st.tuples(st.just("hide"), name, st.booleans()),
    st.tuples(st.just("end_run"), st.none(), st.none()),
)


class ChangingStore(Scene):
    """A store; each method is one change."""

    def add(self, image_name: str, faces: list[list[float]]) -> None:  # type: ignore[override]
        if not self.store.known_digests([image(image_name).digest]):
            self.add_faces(image_name, b"/a/%s.png" % image_name.encode(), *map(tuple, faces))

    def copy(self, image_name: str, number: int) -> None:
        if digests := self.store.known_digests([image(image_name).digest]):
            (file,) = self.record_scan(b"/a/%s-%d.png" % (image_name.encode(), number))
            self.store.commit(self.run, CommitBatch(linked=((file, digests.pop()),)))

    def remove(self, image_name: str, number: int) -> None:
        files = self.store.known_files(b"/a", self.run)
        if file := files.get(b"%s-%d.png" % (image_name.encode(), number)):
            self.store.mark_missing([file.id])

    def label(self, image_name: str, emotion: str | None) -> None:
        self.store.label({image(image_name).digest: emotion})

    def hide(self, image_name: str, hidden: bool) -> None:
        self.store.hide({image(image_name).digest: hidden})

    def end_run(self, *_: None) -> None:
        self.store.finish_run(self.run, "done", RunCounts())
        self.run = self.store.begin_run([b"/a"], self.model)


def store_with_short_anchored_lists(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "moodex.sqlite", tuning=StoreTuning(anchored_list_rows=1, anchor_spacing_rows=2))


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=1, max_size=25), st.integers(1, 4))
def test_pages_are_the_same_after_any_changes_since_anchors_were_built(history: list[tuple[str, str, object]], size: int) -> None:
    with TemporaryDirectory() as folder, store_with_short_anchored_lists(Path(folder)) as store:
        anchored, plain = ChangingStore(store), ChangingStore(MemoryStore())
        stores = [(anchored.store, anchored.model), (plain.store, plain.model)]
        for step, *arguments in [*history, ("end_run", None, None)]:
            for store_under_test in (anchored, plain):
                getattr(store_under_test, step)(*arguments)
            for chosen in FILTERS:
                expected = plain.paths(chosen)
                assert store.count_ranked(anchored.model, chosen) in (None, len(expected))
                for start in range(0, len(expected) + size, size):
                    assert anchored.paths(chosen, size, start) == expected[start : start + size]
                    latest = [store.newest(model, chosen, size, None, start) for store, model in stores]
                    assert [one.hit.path for one in latest[0]] == [one.hit.path for one in latest[1]]


def test_anchors_are_built_when_a_run_ends_moved_by_labels_and_dropped_by_other_changes(tmp_path: Path) -> None:
    def anchor_count(store: SqliteStore) -> int:
        with closing(sqlite3.connect(store.path)) as connection:
            return int(connection.execute("SELECT count(*) FROM marks").fetchone()[0])

    with store_with_short_anchored_lists(tmp_path) as store:
        changing_store = ChangingStore(store)
        for image_name in "abcde":
            changing_store.add(image_name, [[0.6, 0.3, 0.1]])
        assert anchor_count(store) == 0
        changing_store.end_run()
        # Five happy images, an anchor at every second one: of all by score, all by age, and the happy ones.
        assert anchor_count(store) == 9
        changing_store.end_run()
        assert anchor_count(store) == 9
        changing_store.label("b", "sad")
        assert anchor_count(store) == 9
        changing_store.hide("a", True)
        assert anchor_count(store) == 7  # in the lists by score, the places of "a" are those of "c" now
        changing_store.hide("a", False)
        for change in (("copy", "b", 1), ("remove", "b", 1), ("add", "f", [[0.1, 0.3, 0.6]])):
            getattr(changing_store, change[0])(*change[1:])
            assert anchor_count(store) == 0, change
            changing_store.end_run()
            assert anchor_count(store), change


def test_the_number_of_anchors_is_bounded_however_long_a_list_is(tmp_path: Path) -> None:
    tuning = StoreTuning(anchored_list_rows=1, anchor_spacing_rows=2, list_anchors=3)
    with SqliteStore(tmp_path / "moodex.sqlite", tuning=tuning) as store:
        changing_store = ChangingStore(store)
        names = [f"{number:02}" for number in range(20)]
        for image_name in names:
            changing_store.add(image_name, [[0.6, 0.3, 0.1]])
        changing_store.end_run()
        with closing(sqlite3.connect(store.path)) as connection:
            found = connection.execute("SELECT emotions, place FROM marks ORDER BY emotions, place").fetchall()
        # An anchor at every seventh of twenty: of all by score, all by age, and the happy ones.
        assert found == [(name, place) for name in ("", "\n", "happy") for place in (0, 7, 14)]
        for start in range(20):
            assert len(changing_store.paths(FILTERS[0], 20, start)) == 20 - start


def test_a_far_page_is_counted_from_its_anchor(tmp_path: Path) -> None:
    with store_with_short_anchored_lists(tmp_path) as store:
        changing_store = ChangingStore(store)
        for image_name in "abcdef":
            changing_store.add(image_name, [[0.6, 0.3, 0.1]])
        changing_store.end_run()
        with closing(sqlite3.connect(store.path)) as connection, connection:
            # A wrong anchor: only a page that uses it is wrong.
            connection.execute("UPDATE marks SET place = 3 WHERE place = 4 AND emotions = 'happy'")
        assert changing_store.paths(HitFilter(frozenset({"happy"})), 2, 3) == [b"/a/e.png", b"/a/f.png"]


def test_a_long_list_is_counted_from_its_last_anchor(tmp_path: Path) -> None:
    with store_with_short_anchored_lists(tmp_path) as store:
        changing_store = ChangingStore(store)
        for image_name in "abcdef":
            changing_store.add(image_name, [[0.6, 0.3, 0.1]])
        happy = HitFilter(frozenset({"happy"}))
        assert store.count_ranked(changing_store.model, happy) is None
        changing_store.end_run()
        assert store.count_ranked(changing_store.model, happy) == 6
        assert store.count_ranked(changing_store.model, happy._replace(min_score=0.5)) == 6
        assert store.count_ranked(changing_store.model, happy._replace(min_score=0.7)) is None
        assert store.count_ranked(changing_store.model, happy._replace(excluded=frozenset({"sad"}))) is None
