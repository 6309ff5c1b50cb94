"""PostgreSQL: several writers at the same time, equal answers, the recall of its indexes, and the way to and from SQLite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from db.sqlite.store import SqliteStore
from db.vectors.sync import sync_index
from indexer.bootstrap import open_library, open_library_copy
from indexer.domain.errors import MoodexError, UsageError
from indexer.domain.predictions import GROUP_CHANGED, NEVER_COMPARED
from indexer.domain.queries import SearchQuery
from indexer.domain.runs import RunCounts
from indexer.maintenance.service import check
from indexer.ports.store import Store
from indexer.ports.store_reader import HitFilter, RankedHit
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, Comparison
from indexer.ports.vectors import Generation, VectorFilter
from indexer.search.engine import count, search
from indexer.settings import Settings, load_settings
from indexer.transfer.backup import backup
from indexer.transfer.migrate import migrate
from tests.support.builders import card, image, prediction, rows, unit_vectors
from tests.support.postgres_store import open_postgres
from tests.support.quiet import Remembered
from tests.support.scene import Scene

if TYPE_CHECKING:
    from db.postgres.store import PostgresStore

FAR_FUTURE_NS = 4_102_444_800_000_000_000
"""A time of the year 2100 in nanoseconds, which 32 bits do not hold."""

_CATALOGS = (
    "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
)
_BEFORE_ORDER_OF_EQUALS = (
    "DROP INDEX predictions_by_score",
    "ALTER TABLE predictions DROP COLUMN digest_start",
    "CREATE INDEX predictions_by_score ON predictions (model_id, emotion, score DESC, id, image_id, region)",
    "ALTER TABLE marks DROP COLUMN digest_start, ADD COLUMN prediction_id BIGINT NOT NULL, "
    "ALTER COLUMN score SET NOT NULL, ALTER COLUMN file_id SET NOT NULL",
    "DELETE FROM migrations WHERE name = '0015_order_of_equals'",
)


def in_threads(*works: Callable[[], None]) -> None:
    """Run some works at the same time; raise the first error of any."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_writers_that_meet_store_every_image_once(postgres_url: str) -> None:
    """Four processes index overlapping images; a reader that takes greater ids as newer misses none."""
    names = [f"n{number:03d}" for number in range(60)]
    with ExitStack() as stack:
        stores = [stack.enter_context(open_postgres(postgres_url)) for _ in range(5)]
        scenes = [Scene(store) for store in stores[:4]]
        assert len({scene.model for scene in scenes}) == 1
        done = threading.Event()
        seen: list[int] = []

        def write(scene: Scene, mine: int) -> Callable[[], None]:
            def work() -> None:
                random = np.random.default_rng(mine)
                for _ in range(12):
                    chosen = random.choice(names, 6, replace=False)
                    paths = [b"/%d/%s.png" % (mine, name.encode()) for name in chosen]
                    files = scene.record_scan(*paths)
                    entries = tuple(
                        AnalyzedFileSet(image(name), {0: (prediction(0.7, 0.2, 0.1),)}, (file,))
                        for name, file in zip(chosen, files, strict=True)
                    )
                    scene.store.commit(scene.run, CommitBatch(predicted=entries))

            return work

        def read() -> None:
            is_last = False
            while not is_last:
                is_last = done.is_set()
                after = max(seen, default=0)
                for chunk in stores[4].vectors(scenes[0].model, after):
                    seen.extend(chunk.ids.tolist())

        reader = threading.Thread(target=read)
        reader.start()
        try:
            in_threads(*(write(scene, number) for number, scene in enumerate(scenes)))
        finally:
            done.set()
            reader.join()
        stored = {int(number) for chunk in stores[4].vectors(scenes[0].model) for number in chunk.ids}
        assert stored <= set(seen)
        hits = stores[4].ranked(scenes[0].model, HitFilter(), 10_000, 0)
        assert len(hits) == len({hit.hit.path for hit in hits}) == stores[4].counts().files["done"]  # type: ignore[index]
        assert stores[4].regions(scenes[0].model) == stores[4].counts().images


def test_a_run_lives_as_long_as_its_process(postgres_url: str) -> None:
    with open_postgres(postgres_url) as watching:
        with open_postgres(postgres_url) as one, open_postgres(postgres_url) as other:
            first, second = Scene(one), Scene(other)
            assert [run.outcome for run in watching.runs(5)] == ["running", "running"]
            one.finish_run(first.run, "done", RunCounts())
            assert [run.outcome for run in watching.runs(5)] == ["running", "done"]
        watching.begin_run([b"/a"], second.model)
        assert [run.outcome for run in watching.runs(5)] == ["running", "died", "done"]


def test_a_commit_of_a_run_that_was_taken_for_dead_is_refused(postgres_url: str) -> None:
    with open_postgres(postgres_url) as lost, open_postgres(postgres_url) as other:
        scene = Scene(lost)
        (file,) = scene.record_scan(b"/a/1.png")
        lost.release_run()  # its connection broke
        other.begin_run([b"/a"], scene.model)
        with pytest.raises(MoodexError, match="has ended"):
            lost.commit(scene.run, CommitBatch(predicted=(AnalyzedFileSet(image("n"), {0: (prediction(1, 0, 0),)}, (file,)),)))
        assert other.counts().images == 0


def test_numbers_of_real_size_are_stored(postgres_url: str) -> None:
    with open_postgres(postgres_url) as store:
        scene = Scene(store)
        (file,) = scene.record_scan(b"/a/1.png")
        large = replace_stamp(file.stamp)
        entry = AnalyzedFileSet(image("n"), {0: (prediction(1, 0, 0),)}, (file._replace(stamp=large),))
        store.commit(scene.run, CommitBatch(predicted=(entry,)))
        (indexed,) = store.indexed_files(0, 5)
        assert indexed.stamp == large


def replace_stamp(stamp: object) -> object:
    return replace(stamp, size=2**40, version=FAR_FUTURE_NS, change=FAR_FUTURE_NS + 1)  # type: ignore[type-var]


def fill(store: Store) -> Scene:
    """Add images of several emotions, folders and faces, some of which are labeled or hidden; no two have the same score."""
    scene = Scene(store, store.register_model(card(size=16)))
    random = np.random.default_rng(5)
    for number in range(60):
        p = random.dirichlet((1, 1, 1))
        path = b"/%s/%d.png" % ([b"a", b"a/b", b"c"][number % 3], number)
        one = replace(prediction(*map(float, p), size=16), embedding=unit_vectors(1, 16, number)[0])
        entry = AnalyzedFileSet(image(f"n{number}"), {0: (one,)}, tuple(scene.record_scan(path)))
        store.commit(scene.run, CommitBatch(predicted=(entry,)))
    store.label({image("n3").digest: "sad", image("n4").digest: "bored"})
    store.hide({image("n5").digest: True})
    store.finish_run(scene.run, "done", RunCounts(indexed=60))
    return scene


@contextmanager
def both(url: str, folder: Path) -> Iterator[tuple[Store, Store]]:
    with SqliteStore(folder / "moodex.sqlite") as file, open_postgres(url) as server:
        yield file, server


QUESTIONS = [
    SearchQuery(emotions=emotions, min_score=least, under=under, hidden=hidden, excluded=excluded, limit=limit, offset=offset)
    for emotions, least, under, (hidden, excluded), (limit, offset) in product(
        (None, frozenset({"sad"}), frozenset({"happy", "crying"}), frozenset({"bored"})),
        (0.0, 0.5),
        ((), (b"/a",), (b"/a/b", b"/c/2.png")),
        ((False, frozenset[str]()), (True, frozenset({"crying"}))),
        ((7, 0), (100, 3)),
    )
]
"""96 kinds of question, each of which is asked by emotion and by likeness."""


def test_sqlite_and_postgresql_answer_alike(postgres_url: str, tmp_path: Path) -> None:
    from db.postgres.vectors import PostgresVectors
    from db.vectors.files import FaissFiles
    from db.vectors.sync import open_index

    like = unit_vectors(1, 16, 99)[0].astype(np.float32)
    with both(postgres_url, tmp_path) as stores:
        storages = FaissFiles(tmp_path), PostgresVectors(postgres_url)
        for store, storage in zip(stores, storages, strict=True):
            fill(store)
            assert sync_index(store, storage, store.models()[0])
        for question in QUESTIONS:
            answers, alike, totals = [], [], []
            for store, storage in zip(stores, storages, strict=True):
                (model,) = store.models()
                index = open_index(store, storage, model)
                answers.append(search(store, model, question, lambda index=index: index))
                alike.append(search(store, model, replace(question, like=like), lambda index=index: index))
                totals.append(count(store, model, question, None))
            assert answers[0] == answers[1], question
            assert alike[0] == alike[1], question
            assert totals[0] == totals[1], question
        storages[1].close()
        file, server = stores
        assert file.labeled_images() == server.labeled_images() and file.user_emotions() == server.user_emotions()
        assert file.files_by_folder() == server.files_by_folder() and file.counts() == server.counts()
        assert file.totals() == server.totals() and file.known_folders([b"/a"]) == server.known_folders([b"/a"])


def test_hnsw_finds_the_nearest_and_never_too_few(postgres_url: str) -> None:
    """6,000 clustered vectors of very unequal emotions: recall@10 is at least 0.98, and every filter gets its 10."""
    from db.postgres.vectors import PostgresVectors

    random = np.random.default_rng(0)
    centers = random.normal(size=(40, 32))
    vectors = centers[random.integers(0, 40, 6_000)] + 0.4 * random.normal(size=(6_000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    emotions = random.choice(4, 6_000, p=[0.9, 0.08, 0.015, 0.005]).astype(np.uint8)
    all_rows = rows(6_000)._replace(emotions=emotions, vectors=vectors)
    with open_postgres(postgres_url) as store:
        storage = PostgresVectors(postgres_url)
        model = card(size=32)
        storage.save(model, [], all_rows, Generation(6_000, "token"))
        (segment,) = storage.load(model)
        with store._engine.connect() as connection:
            built = connection.exec_driver_sql("SELECT count(*) FROM pg_indexes WHERE indexname LIKE '%%_hnsw'").scalar_one()
        assert built == 1  # of the emotion with more than 5,000 rows
        found = wanted = 0
        for query in vectors[::300].astype(np.float32):
            for within in (VectorFilter(), *(VectorFilter(frozenset({e})) for e in range(4)), VectorFilter(min_score=0.99)):
                passing = all_rows.scores >= np.float32(within.min_score)
                passing &= within.emotions is None or np.isin(emotions, sorted(within.emotions or ()))
                nearest = np.sort(vectors[passing].astype(np.float32) @ query)[::-1][:10]
                ids, similarities = segment.vectors.search(query, 10, within)
                assert len(ids) == len(nearest)
                found += int((similarities >= nearest[-1] - 1e-4).sum())
                wanted += len(nearest)
        assert found / wanted >= 0.98
        storage.close()


def test_a_library_goes_to_the_server_and_back(postgres_url: str, tmp_path: Path) -> None:
    source, back = tmp_path / "moodex.sqlite", tmp_path / "back" / "moodex.sqlite"
    with SqliteStore(source) as store:
        fill(store)
        before = search(store, store.models()[0], SearchQuery(limit=100), lambda: pytest.fail("it asks no index"))
    rows_there = migrate(lambda: open_library_copy(f"sqlite:{source}", postgres_url), Remembered())
    assert rows_there == migrate(lambda: open_library_copy(postgres_url, f"sqlite:{back}"), Remembered())
    assert (rows_there["files"], rows_there["labels"], rows_there["hidden"]) == (60, 2, 1)
    with SqliteStore(back) as copy, open_postgres(postgres_url) as server:
        for store in (copy, server):
            assert search(store, store.models()[0], SearchQuery(limit=100), lambda: pytest.fail("no index")) == before
            scene = Scene(store, store.models()[0].id)  # new rows get ids of their own
            scene.store.commit(scene.run, CommitBatch())
    with pytest.raises(UsageError, match="already holds a library"):
        migrate(lambda: open_library_copy(f"sqlite:{source}", postgres_url), Remembered())


def test_a_copy_that_was_stopped_goes_on(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.library_copy._CHUNK_ROWS", 7)
    source = tmp_path / "moodex.sqlite"
    with SqliteStore(source) as store:
        fill(store)

    class Stopped(Exception):
        pass

    copied = 0

    def stop_after(limit: int) -> Callable[[int], None]:
        def advance(number: int) -> None:
            nonlocal copied
            copied += number
            if copied > limit:
                raise Stopped

        return advance

    with pytest.raises(Stopped), open_library_copy(f"sqlite:{source}", postgres_url) as copy:
        copy.copy(stop_after(60))
    with open_postgres(postgres_url) as server:
        assert server.counts().images > 0
    migrate(lambda: open_library_copy(f"sqlite:{source}", postgres_url), Remembered())
    with open_postgres(postgres_url) as server:
        assert server.counts().images == 60


def test_a_library_of_an_older_version_gets_the_steps_that_it_lacks(empty_postgres_url: str) -> None:
    def facts(store: PostgresStore) -> tuple[list[RankedHit], list[Any]]:
        with store._engine.connect() as connection:
            found = [sorted(map(tuple, connection.exec_driver_sql(query))) for query in _CATALOGS]
        return store.ranked(1, HitFilter(), 100, 0), found

    with open_postgres(empty_postgres_url) as store:
        fill(store)
        new = facts(store)
        with store._engine.begin() as connection:
            for statement in _BEFORE_ORDER_OF_EQUALS:
                connection.exec_driver_sql(statement)
    with open_postgres(empty_postgres_url) as store:
        assert facts(store) == new


def test_an_older_version_compared_look_alikes_that_are_compared_again(empty_postgres_url: str) -> None:
    with open_postgres(empty_postgres_url) as store:
        fill(store)
        (model,) = store.models()
        ids = store.next_uncompared(model.id, 0, 1_000).ids.tolist()
        count = len(model.card.labels)
        store.apply_comparison(model.id, Comparison(np.empty(0, np.int64), np.empty((0, count)), ids[1:], [], ids[-1]))
        assert len(ids) > 1 and store.count_uncompared(model.id) == 1
        with store._engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM migrations WHERE name = '0017_weighted_look_alikes'")
    with open_postgres(empty_postgres_url) as store:
        again = store.next_uncompared(model.id, 0, 1_000)
        assert again.compared_to.tolist() == [NEVER_COMPARED] + [GROUP_CHANGED] * (len(ids) - 1)


def test_a_server_has_its_own_tools_for_copies_and_repairs(postgres_url: str, tmp_path: Path) -> None:
    with open_postgres(postgres_url) as store:
        fill(store)
    library = open_library(Settings(home=tmp_path, store=postgres_url))
    with pytest.raises(UsageError, match="tools of that server"):
        backup(library, tmp_path / "x.zip", False, Remembered())


def test_doctor_checks_the_rows_on_a_server(postgres_url: str, tmp_path: Path) -> None:
    library = open_library(Settings(home=tmp_path, store=postgres_url))
    with open_postgres(postgres_url) as store:
        fill(store)
        sync_index(store, library.vector_storage(), store.models()[0])
        found = {one.kind for one in check(library, False, Remembered()).found.findings}
        assert found <= {"files_missing", "weights_gone"}  # neither the images nor the model exist
        with store._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE predictions SET emotion = 'crying', score = 0.5 WHERE id = 1")
            connection.exec_driver_sql("DELETE FROM embeddings WHERE image_id = 2")
        found |= {"emotions", "predictions_alone", "vectors_wrong"}
        assert {one.kind for one in check(library, False, Remembered()).found.findings} == found


def test_the_password_of_a_store_is_never_shown(tmp_path: Path) -> None:
    address = "postgresql://me:secret@127.0.0.1:1/pictures"
    settings = load_settings({"home": tmp_path}, {"MOODEX_STORE": address, "MOODEX_CONFIG": str(tmp_path / "none")})
    assert settings.store == address and "secret" not in repr(settings)
    with pytest.raises(MoodexError, match=r"database pictures on 127.0.0.1:1 cannot be used") as caught:
        open_library(settings).database.exists()
    assert "secret" not in str(caught.value)
    for wrong in ("mysql://me:secret@h/x", "postgresql://me:secret@h:port/x"):
        with pytest.raises(UsageError) as refused:
            open_library(load_settings({"home": tmp_path, "store": wrong}, {"MOODEX_CONFIG": str(tmp_path / "none")}))
        assert "secret" not in str(refused.value)
