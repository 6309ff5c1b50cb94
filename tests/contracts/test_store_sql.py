"""The schema and the shared statements are valid for SQLite and PostgreSQL, and SQLite's migrations produce the schema."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Executable, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.elements import ClauseElement

from db.indexes import full_metadata
from db.schema import EmbedderRow
from db.sql import hit_reader, reader
from db.sql.dialect import greatest, inline, insert_missing, no_index
from db.sql.file_rows import upsert_scanned
from db.sql.model_rows import card_to_row
from db.sql.prediction_rows import upsert_prediction
from db.sql.prepared import fetch
from db.sql.read_statements import labels_with_oldest_file
from db.sql.root_rows import upsert_root
from db.sql.tuning import StoreTuning
from db.sql.write_statements import upsert_image, upsert_model
from db.sqlite.migrations import migrate
from db.sqlite.store import SqliteStore
from indexer.domain.export import ExportFilter
from indexer.domain.files import Failure
from indexer.domain.jobs import Job, JobOptions, JobStatus, Trigger
from indexer.domain.queries import HitKey
from indexer.domain.runs import RunCounts
from indexer.ports.job_store import JobStore
from indexer.ports.store_reader import HitFilter, StoreReader
from indexer.ports.store_writer import AnalyzedFileSet, CommitBatch, Comparison, FolderScanResult, RunModel, StoreWriter
from tests.support.builders import card, image, prediction
from tests.support.scene import STAMP, Scene

DIALECTS = {"sqlite": sqlite.dialect(), "postgresql": postgresql.dialect()}


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def test_schema_has_ddl_in_every_dialect(dialect: Dialect) -> None:
    tables = full_metadata().sorted_tables
    ddl = {table.name: str(CreateTable(table).compile(dialect=dialect)) for table in tables}
    ddl |= {index.name: str(CreateIndex(index).compile(dialect=dialect)) for table in tables for index in table.indexes}
    integer, blob = ("INTEGER", "BLOB") if dialect.name == "sqlite" else ("BIGINT", "BYTEA")
    assert f"mtime_ns {integer} NOT NULL" in ddl["files"]
    assert f"image_id {integer}" in ddl["files"]
    assert f"vector {blob} NOT NULL" in ddl["embeddings"]
    assert ("id BIGSERIAL" in ddl["predictions"]) == (dialect.name == "postgresql")
    assert ddl["files_live"].endswith("WHERE state IN ('done', 'pending')")


def _describe(path: Path) -> dict[str, object]:
    """Describe every table and index of a database, independently of column order and DDL text."""
    description: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        for table, sql in tables.fetchall():
            # A primary key is NOT NULL even if its DDL does not declare it.
            columns = connection.execute('SELECT name, type, "notnull" OR pk, dflt_value, pk FROM pragma_table_info(?)', (table,))
            keys = connection.execute('SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)', (table,))
            checks = sorted(re.sub(r"\s+", " ", check) for check in _checks(sql))
            description[table] = (sorted(columns), sorted(keys), checks, "AUTOINCREMENT" in sql)
            query = 'SELECT name, "unique", origin, partial FROM pragma_index_list(?)'
            for index, unique, origin, partial in connection.execute(query, (table,)).fetchall():
                parts = connection.execute('SELECT name, "desc" FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno', (index,))
                (ddl,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
                description[index] = (table, parts.fetchall(), unique, origin, ddl.split(" WHERE ")[1] if partial else None)
    return description


def _checks(sql: str) -> Iterator[str]:
    for start in (match.end() for match in re.finditer(r"CHECK \(", sql)):
        depth, end = 1, start
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield sql[start : end - 1]


def test_migrations_produce_the_schema(tmp_path: Path) -> None:
    migrated, defined = tmp_path / "migrated.sqlite", tmp_path / "defined.sqlite"
    for path, create in ((migrated, migrate), (defined, full_metadata().create_all)):
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            create(connection)
        engine.dispose()
    expected = _describe(migrated)
    del expected["migrations"], expected["sqlite_autoindex_migrations_1"]
    assert _describe(defined) == expected


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Executable]:
    """Every statement that the store executes when each method of its ports is called."""
    statements: list[Executable] = []

    def record(_connection: object, statement: Executable, *_: object) -> None:
        statements.append(statement)

    def record_prepared(connection: Connection, statement: Any, *ids: Any, **values: int) -> list[tuple[Any, ...]]:
        statements.append(statement)
        return fetch(connection, statement, *ids, **values)

    event.listen(Engine, "before_execute", record)
    try:
        tuning = StoreTuning(anchored_list_rows=0, anchor_spacing_rows=1)
        with (
            pytest.MonkeyPatch.context() as patch,
            SqliteStore(tmp_path_factory.mktemp("sql") / "moodex.sqlite", tuning=tuning) as store,
        ):
            for module in (hit_reader, reader):
                patch.setattr(module, "fetch", record_prepared)
            _call_every_method(store)
    finally:
        event.remove(Engine, "before_execute", record)
    return statements


def _call_every_method(store: SqliteStore) -> None:
    called: set[str] = set()

    class Recording:
        def __getattr__(self, name: str) -> object:
            called.add(name)
            return getattr(store, name)

    recording_store: SqliteStore = Recording()  # type: ignore[assignment]
    _write_and_read(recording_store)
    _write_and_read_tags(recording_store)
    methods = {name for port in (StoreReader, StoreWriter, JobStore) for name, value in vars(port).items() if isfunction(value)}
    assert {name for name in methods if not name.startswith("_")} - called == set()


def _write_and_read(store: SqliteStore) -> None:
    scene = Scene(store, store.register_model(replace(card(), backbone_digest="b")), detector="d")
    other = store.register_model(replace(card(digest="11"), backbone_digest="b"))
    scene.add_faces("one", b"/a/1.png", (0.7, 0.2, 0.1), (0.1, 0.2, 0.7))
    scene.add("two", b"/a/2.png")
    scene.add("three", b"/a/b/3.png")
    store.record_scan(scene.run, [FolderScanResult(b"/a", {}, {b"bad.png": (STAMP, Failure("damaged", "truncated"))}, b"l")])
    scene.record_scan(b"/a/4.png")
    assert (
        store.count_pending([b"/a"]) == 1
        and store.pending([b"/a", b"/c"], 0, 9)
        and not store.unpredicted(image("two").digest, 1)
    )
    assert len(store.present_files(b"/a")) == 5
    assert store.known_files(b"/a", scene.run) and store.known_folders([b"/a"]) and store.count_files([b"/a"]) == {b"/a": 5}
    store.unchanged_folder_digests([b"/a"], scene.run)
    assert store.known_files(b"/a", scene.run, [b"1.png"])
    store.record_roots([b"/a", b"/a/b"], [b"/a/b"])
    assert store.files_by_folder()
    assert store.root_paths() == [b"/a"] and [root.files for root in store.roots()] == [5]
    store.label({image("one").digest: "sad", image("two").digest: None})
    store.rescore(scene.model, other, lambda vectors: np.full((len(vectors), 3), 1 / 3, dtype=np.float32), lambda _: None)
    blend = store.register_model(card("blend", digest="33"))
    assert store.derive(blend, [scene.model, other], lambda inputs: inputs[0], lambda _: None)
    first, *_ = ids = store.next_uncompared(scene.model, 0, 9).ids.tolist()
    assert store.count_uncompared(scene.model) == len(ids) == len(store.compared_rows(scene.model, ids).ids)
    thirds = np.full((1, 3), 1 / 3, dtype=np.float32)
    store.apply_comparison(scene.model, Comparison(np.array([first]), thirds, ids[1:], ids[1:2], 9))
    store.restore_pages(scene.model)
    store.finish_run(scene.run, "done", RunCounts(indexed=3, failed=1))
    store.hide({image("three").digest: True})
    assert store.hidden_of([image("three").digest]) and store.count_hidden() == 1
    _read(store, scene.model)
    store.requeue(store.indexed_files(0, 1))
    later = scene.begin_run(detector="d")
    (moved,) = later.record_scan(b"/c/2.png")
    store.commit(later.run, CommitBatch(linked=((moved, image("two").digest),)))
    files = [file.id for file in store.known_files(b"/a", later.run).values()]
    assert store.earlier_copies(later.run) and store.detect_moves(later.run, files)
    assert store.move_files(b"/c", b"/d", {}) and store.move_files(b"/d/2.png", b"/e/5.png", {}) and store.forget_files([b"/e"])
    store.delete_failures([file.id for file in store.known_files(b"/a", later.run).values()])
    store.mark_missing([file.id for file in store.known_files(b"/a", later.run).values()])
    assert store.expire(2e10) and store.forget_model(other)
    store.forget_run(store.begin_run([b"/a"], scene.model))
    job = Job("j", (b"/a",), Trigger(every=60.0), JobOptions(), 0.0)
    assert store.add_job(job) and store.claim_job(job, 1.0)
    store.record_job_status("j", JobStatus())
    assert store.jobs() and store.remove_job("j")


def _write_and_read_tags(store: SqliteStore) -> None:
    scene = Scene(store)
    tagged = replace(prediction(0.7, 0.2, 0.1), tags={"1girl": 0.9})
    files = tuple(scene.record_scan(b"/a/tagged.png"))
    store.commit(scene.run, CommitBatch(predicted=(AnalyzedFileSet(image("tagged"), {0: (tagged,)}, files),)))
    assert store.tags_of(scene.model, [image("tagged").digest]) == {image("tagged").digest: {"1girl": 0.9}}
    assert store.known_tags(scene.model, ["1girl"]) == {"1girl"}
    assert store.has_tags(scene.model)
    assert scene.paths(HitFilter(tags=frozenset({"1girl"}), excluded_tags=frozenset({"comic"}))) == [b"/a/tagged.png"]
    _read_by_two_models(store, scene)
    assert store.forget_model(scene.model)


def _read_by_two_models(store: SqliteStore, scene: Scene) -> None:
    other = store.register_model(card("third", digest="33"))
    run = store.begin_run([b"/a"], scene.model, further=[RunModel(other, "d")])
    files = tuple(scene.record_scan(b"/a/tagged.png"))
    assert store.unpredicted(image("tagged").digest, run) == [1]
    store.commit(run, CommitBatch(predicted=(AnalyzedFileSet(image("tagged"), {1: (prediction(0.1, 0.8, 0.1),)}, files),)))
    assert store.runs(1)[0].models[1] == "third"
    (ranked,) = store.predicted_at(other, b"/a/tagged.png")
    both = HitFilter(None, 0.0, (b"/a",), tags=frozenset({"1girl"}), also_by=other)
    assert store.prediction_ids_of_other(scene.model, both).tolist() == [ranked.prediction_id]
    assert set(store.hits_of_images(scene.model, [ranked.prediction_id], both)) == {ranked.prediction_id}
    store.finish_run(run, "done", RunCounts())
    assert store.forget_model(other)


def _read(store: SqliteStore, model: int) -> None:
    everything = HitFilter(frozenset({"sad", "happy"}), 0.1, (b"/a",), frozenset({"angry"}))
    for chosen in (HitFilter(), HitFilter(frozenset({"sad"})), HitFilter(frozenset({"sad", "happy"}), 0.1), everything):
        assert store.ranked(model, chosen, 2, 1) is not None
        store.prediction_ids(model, chosen, 5)
        store.region_ids(model)
        for hit in store.newest(model, chosen, 2, 1_000):
            assert (
                store.ranked(model, chosen, 2, 0, HitKey(hit.hit.score, bytes.fromhex(hit.hit.image_id), hit.file_id)) is not None
            )
            assert store.files_of_image(bytes.fromhex(hit.hit.image_id))
        store.count_ranked(model, chosen)
        store.count_by_emotion(model, chosen, {"sad": ["sad", "crying"]})
        assert store.count_hits(model, chosen, 5) is not None
    (rows,) = store.vectors(model)
    ids = rows.ids.tolist()
    assert store.hits(model, ids, everything) and store.vectors_of(ids) and store.sample(model, 2) and store.regions(model) == 4
    assert store.fingerprints_of(ids) is not None and store.regions_of(ids) and store.digests_with_prefix("0" * 3) is not None
    assert store.predictions_by_digest(model, "0" * 3) is not None and store.predicted_as(model, image("one").digest)
    assert (
        store.predicted_at(model, b"/a/1.png")
        and store.image_files_at([b"/a"])[b"/a"]
        and store.known_paths([b"/a"])
        and store.image_count(model) == 3
    )
    assert store.known_digests([image("one").digest]) and store.labeled_images() and store.user_emotions() == ("sad",)
    assert store.labels_of([image("one").digest])
    files = store.indexed_files(0, 9)
    assert files and store.still_indexed(files)
    (stored, *_) = store.models()
    everything_exported = ExportFilter(frozenset({"sad", "happy"}), (b"/a",))
    assert list(store.export_rows(stored, everything_exported))
    generation = store.generation(model)
    assert generation is not None and store.had_generation(model, generation)
    assert store.models() and store.counts() and store.runs(1) and store.totals() and store.failures(1)


def test_the_list_of_labels_reads_neither_all_images_nor_all_files(tmp_path: Path) -> None:
    labels = str(labels_with_oldest_file().compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with SqliteStore(tmp_path / "moodex.sqlite") as store, closing(sqlite3.connect(store.path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {labels}")]
    assert [step for step in plan if step.startswith("SCAN")] == ["SCAN labels"]


def test_every_executed_statement_compiles_in_every_dialect(executed: list[Executable], dialect: Dialect) -> None:
    # The store builds upserts for its own dialect; the next test covers them.
    shared = [
        statement for statement in executed if isinstance(statement, ClauseElement) and not isinstance(statement, sqlite.Insert)
    ]
    assert len({str(statement.compile(dialect=dialect)) for statement in shared}) > 60
    for statement in shared:
        sql = str(statement.compile(dialect=dialect))
        assert "iif" not in sql and ("+ 0" in sql) <= (dialect.name == "sqlite")


@pytest.mark.parametrize(
    "build",
    [
        lambda name: insert_missing(name, EmbedderRow.table),
        upsert_root,
        lambda name: upsert_scanned(name, 1),
        lambda name: upsert_model(name, card_to_row(card()), "key"),
        upsert_image,
        upsert_prediction,
    ],
    ids=["missing", "root", "scanned", "model", "image", "prediction"],
)
def test_every_upsert_compiles_in_every_dialect(build: Callable[[str], ClauseElement], dialect: Dialect) -> None:
    assert "ON CONFLICT" in str(build(dialect.name).compile(dialect=dialect))


def test_only_sqlite_gets_hints_for_its_planner(dialect: Dialect) -> None:
    column = full_metadata().tables["predictions"].c.model_id
    hinted = str((no_index(column) == inline(7)).compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))
    plain = "predictions.model_id"
    assert hinted == (f"{plain} + 0 = 7" if dialect.name == "sqlite" else f"{plain} = 7")
    greater = str(greatest(column, column).compile(dialect=dialect))
    assert greater == f"{'max' if dialect.name == 'sqlite' else 'greatest'}({plain}, {plain})"
