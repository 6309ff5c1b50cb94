"""Files that are not intact databases of moodex: commands report them and do not change them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from db.sqlite.errors import translate_sqlite_errors
from db.sqlite.store import SqliteStore
from indexer.domain.errors import MoodexError, StoreDamaged
from indexer.domain.predictions import GROUP_CHANGED, NEVER_COMPARED
from indexer.domain.runs import RunCounts
from indexer.ports.store_reader import HitFilter
from indexer.ports.store_writer import Comparison
from tests.support.builders import image, unit_vectors
from tests.support.damage import old_schema
from tests.support.scene import Scene


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE pets (name TEXT)",),
        ("CREATE TABLE migrations (name TEXT, applied_at TEXT)", "INSERT INTO migrations VALUES ('m001', 'now')"),
    ],
)
def test_a_database_of_another_program_is_not_changed(tmp_path: Path, statements: tuple[str, ...]) -> None:
    path = tmp_path / "moodex.sqlite"
    sql(path, *statements)
    before = path.read_bytes()
    with pytest.raises(MoodexError) as caught:
        SqliteStore(path)
    assert "another program" in str(caught.value) or "newer moodex" in str(caught.value)
    assert path.read_bytes() == before


def test_a_database_of_a_newer_version_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    SqliteStore(path).close()
    sql(path, "INSERT INTO migrations VALUES ('0999_mind_reading', 0)")
    before = path.read_bytes()
    with pytest.raises(MoodexError, match="newer moodex .*0999_mind_reading"):
        SqliteStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + bytes(5000)])
def test_a_file_that_is_not_a_database_is_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "moodex.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreDamaged, match="Nothing was changed"):
        SqliteStore(path)
    assert path.read_bytes() == content


def test_migration_to_shared_embeddings_keeps_every_embedding(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    old_schema(path, 2)
    vectors = unit_vectors(3, 8)
    spec = '{"size": 32, "mean": 127.0, "std": 128.0, "background": 255}'
    sql(
        path,
        f"INSERT INTO models VALUES (1, 'k', 'old', 'none', '00', '[\"happy\", \"sad\"]', '{spec}', 8)",
        "INSERT INTO folders VALUES (1, x'2f61')",
        "INSERT INTO runs VALUES (1, 0, 1, '[]', 1, 1, 'done', '{}')",
        *(f"INSERT INTO images VALUES ({n}, x'{9 - n:02x}{n:062x}', 1, 1, 'PNG')" for n in (1, 2, 3)),
        *(f"INSERT INTO files VALUES ({n}, 1, x'3{n}', 1, 1, 'done', NULL, NULL, {n}, 1)" for n in (1, 2, 3)),
        *(
            f"INSERT INTO predictions VALUES ({n + 4}, {n}, 1, 0, NULL, NULL, NULL, NULL, 'happy', 0.75, x'0000403f0000803e')"
            for n in (1, 2, 3)
        ),
        *(f"INSERT INTO embeddings VALUES ({n + 4}, x'{vectors[n - 1].tobytes().hex()}')" for n in (1, 2, 3)),
        "INSERT INTO generations VALUES (1, 1, 7, 'token')",
    )
    store = SqliteStore(path)
    try:
        (model,) = store.models()
        assert (model.card.name, model.card.spaces, store.image_count(model.id)) == ("old", (), 3)
        (rows,) = store.vectors(model.id)
        assert rows.ids.tolist() == [5, 6, 7] and np.array_equal(rows.vectors, vectors)
        by_digest = [ranked.hit.path for ranked in store.ranked(model.id, HitFilter(), 9, 0)]
        assert by_digest == [b"/a/3", b"/a/2", b"/a/1"]
        without_detector, with_detector = store.begin_run([b"/a"], model.id), store.begin_run([b"/a"], model.id, "detector")
        assert all(file.predicted for file in store.known_files(b"/a", without_detector).values())
        assert not any(file.predicted for file in store.known_files(b"/a", with_detector).values())
        assert store.forget_model(model.id) == 3 and list(store.vectors(model.id)) == []
    finally:
        store.close()


def test_migration_to_weighted_look_alikes_reads_what_was_compared_again(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    with SqliteStore(path) as store:
        scene = Scene(store)
        for number, name in enumerate(("one", "two", "new")):
            scene.add(name, b"/a/%d.png" % number, seed=number)
        one, two, new = store.next_uncompared(scene.model, 0, 9).ids.tolist()
        store.apply_comparison(scene.model, Comparison(np.empty(0, dtype=np.int64), np.empty((0, 3)), [one, two], [], new))
        assert store.count_uncompared(scene.model) == 1
    sql(path, "DELETE FROM migrations WHERE name = '0017_weighted_look_alikes'")
    with SqliteStore(path) as store:
        rows = store.next_uncompared(scene.model, 0, 9)
        assert rows.compared_to.tolist() == [GROUP_CHANGED, GROUP_CHANGED, NEVER_COMPARED]


def test_migration_gives_missing_files_a_full_grace_period(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    old_schema(path, 5)
    spec = '{"size": 32, "mean": 127.0, "std": 128.0, "background": 255}'
    model = f"1, 'k', 'old', 'none', '00', '[\"happy\"]', '{spec}', 8, '{{}}', '', NULL"
    sql(
        path,
        f"INSERT INTO models VALUES ({model})",
        "INSERT INTO folders VALUES (1, x'2f61')",
        "INSERT INTO runs VALUES (1, 0, NULL, '[]', 1, 1, 'running', '{}', NULL)",
        "INSERT INTO files VALUES (1, 1, x'31', 1, 1, 'gone', NULL, NULL, NULL, 1)",
        "INSERT INTO files VALUES (2, 1, x'32', 1, 1, 'pending', NULL, NULL, NULL, 1)",
    )
    store = SqliteStore(path)
    try:
        assert store.expire(time.time() - 60) == 0
        assert store.expire(time.time() + 60) == 1
        assert list(store.known_files(b"/a", 1)) == [b"2"]
        store.begin_run([b"/a"], 1)
        assert [run.outcome for run in store.runs(2)] == ["running", "died"]
    finally:
        store.close()


def read_everything(path: Path) -> None:
    """Read every kind of row, as commands do."""
    with translate_sqlite_errors(path), SqliteStore(path) as store:
        for model in store.models():
            store.ranked(model.id, HitFilter(), 9, 0)
            store.sample(model.id, 9)
            list(store.vectors(model.id))
        store.runs(9)
        store.labeled_images()
        store.known_files(b"/a", 1)
        store.expire(0)


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE labels RENAME TO lost",),
        ("DROP INDEX files_gone", "ALTER TABLE files DROP COLUMN gone_at"),
        ("UPDATE models SET name = CAST(x'ff' AS TEXT)",),
        ("UPDATE models SET labels = '['",),
        ("UPDATE models SET input = '[]'",),
        ("UPDATE models SET embedding_size = 3",),
        ("UPDATE runs SET roots = '5'",),
        ("UPDATE predictions SET probabilities = x'00'",),
        ("UPDATE embeddings SET vector = x'00'",),
        ("UPDATE folders SET path = 5 WHERE id = 1",),
    ],
    ids=lambda statements: statements[-1],
)
def test_a_lost_table_or_an_impossible_value_is_damage(tmp_path: Path, statements: tuple[str, ...]) -> None:
    path = tmp_path / "moodex.sqlite"
    with SqliteStore(path) as store:
        scene = Scene(store)
        scene.add("one", b"/a/1.png")
        scene.add("two", b"/a/2.png")
        store.finish_run(scene.run, "done", RunCounts())
        store.label({image("one").digest: "sad"})
    read_everything(path)
    sql(path, *statements)
    with pytest.raises(StoreDamaged, match="moodex doctor --repair"):
        read_everything(path)


def test_a_wrong_statement_or_argument_is_not_damage(tmp_path: Path) -> None:
    path = tmp_path / "moodex.sqlite"
    with SqliteStore(path) as store:
        scene = Scene(store)
        with (
            pytest.raises(MoodexError, match="syntax error") as caught,
            translate_sqlite_errors(path),
            closing(sqlite3.connect(path)) as raw,
        ):
            raw.execute("SELEC 1")
        assert not isinstance(caught.value, StoreDamaged)
        with pytest.raises(AttributeError), translate_sqlite_errors(path):
            store.finish_run(scene.run, "done", 5)  # type: ignore[arg-type]
