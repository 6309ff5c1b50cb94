"""Runs and copies that are killed with SIGKILL on a PostgreSQL server: the next one does the rest, and nothing is there twice."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from db.sqlite.store import SqliteStore
from indexer.analysis.analyzer import Analyzer
from indexer.bootstrap import open_library, open_library_copy
from indexer.domain.files import FileState
from indexer.domain.queries import SearchRequest
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.maintenance.service import check
from indexer.search.service import search
from indexer.settings import Settings
from indexer.transfer.migrate import migrate
from tests.support.builders import write_images
from tests.support.equal_images import add_in_order, equal_images
from tests.support.fake_models import FakeClassifier
from tests.support.library import opened
from tests.support.postgres_store import open_postgres
from tests.support.quiet import Remembered

ROOT = Path(__file__).parents[2]
IMAGES = 32


def kill_after(lines: int, url: str, module: str, *words: str | Path) -> int:
    """Run a module in a separate process, kill it after it printed some lines, and return the number in the last one.

    Returns after the sessions of the process on the server have ended.
    """
    import psycopg

    command = [sys.executable, "-m", module, *map(str, words)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        printed = [child.stdout.readline() for _ in range(lines)]
        child.kill()
    with psycopg.connect(url) as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        connection.execute(f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}")
    return int(printed[-1]) if lines else 0


@pytest.mark.parametrize("commits", [(0,), (3, 1), (7,)])
def test_a_killed_run_resumes_and_stores_every_image_once(
    postgres_url: str, tmp_path: Path, home: Path, commits: tuple[int, ...]
) -> None:
    folder = tmp_path / "images"
    files = write_images(folder, IMAGES)
    shutil.copyfile(files[0], folder / "twin.png")
    (folder / "bad.png").write_bytes(b"not an image")
    for lines in commits:
        before = _finished(postgres_url)
        reported = kill_after(lines, postgres_url, "tests.crash.child", folder, home, postgres_url)
        assert before + reported <= _finished(postgres_url) <= IMAGES + 2
    analyzed = _analyzed(postgres_url)
    library = opened(Settings(home, model="fake", store=postgres_url), lambda _: Analyzer(FakeClassifier(batch_size=4)))
    summary = ingest_service.index(library, [os.fsencode(folder)], IndexRequest(), Remembered())
    assert summary.indexed == IMAGES - analyzed
    with open_postgres(postgres_url) as store:
        (model,) = store.models()
        assert store.counts().files == {FileState.DONE: IMAGES + 1, FileState.FAILED: 1}
        assert store.counts().images == store.regions(model.id) == store.image_count(model.id) == IMAGES
        ids = [number for chunk in store.vectors(model.id) for number in chunk.ids.tolist()]
        assert len(ids) == len(set(ids)) == IMAGES
        assert [run.outcome for run in store.runs(9)] == ["done", *["died"] * (len(store.runs(9)) - 1)]
    found = [hit.path for hit in search(library, SearchRequest(min_score=0.001, limit=100))]
    assert len(found) == len(set(found)) == IMAGES + 1
    assert not check(library, False, Remembered()).found.problems


@pytest.mark.parametrize("steps", [(1,), (12, 3)])
@pytest.mark.parametrize("to_server", [True, False])
def test_a_killed_copy_resumes_and_is_exact(postgres_url: str, tmp_path: Path, steps: tuple[int, ...], to_server: bool) -> None:
    file, back = f"sqlite:{tmp_path / 'moodex.sqlite'}", f"sqlite:{tmp_path / 'back' / 'moodex.sqlite'}"
    with SqliteStore(tmp_path / "moodex.sqlite") as store:
        add_in_order(store, equal_images(1), random.Random(1))
    if not to_server:
        migrate(lambda: open_library_copy(file, postgres_url), Remembered())
    source, target = (file, postgres_url) if to_server else (postgres_url, back)
    for lines in steps:
        kill_after(lines, postgres_url, "tests.crash.migration_child", source, target)
    rows = migrate(lambda: open_library_copy(source, target), Remembered())
    assert (rows["images"], rows["labels"]) == (16, 5) and rows["predictions"] == rows["embeddings"] >= 16
    with open_library_copy(file, f"sqlite:{tmp_path / 'other' / 'moodex.sqlite'}") as copy:
        assert {name: facts.rows for name, facts in copy.describe(False, lambda _: None).items()} == rows


def _finished(url: str) -> int:
    """Return the number of files that are done or failed."""
    if not _exists(url):
        return 0
    with open_postgres(url) as store:
        files = store.counts().files
    return files.get(FileState.DONE, 0) + files.get(FileState.FAILED, 0)


def _analyzed(url: str) -> int:
    """Return the number of images with predictions."""
    if not _exists(url):
        return 0
    with open_postgres(url) as store:
        return sum(store.regions(model.id) for model in store.models())


def _exists(url: str) -> bool:
    return open_library(Settings(Path("/nonexistent"), store=url)).database.exists()
