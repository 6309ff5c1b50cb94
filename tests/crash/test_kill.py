"""A run that is killed with SIGKILL after a commit keeps what it reported, and the next run analyzes only the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.domain.files import FileState
from tests.support.builders import write_images
from tests.support.library import Library

ROOT = Path(__file__).parents[2]
IMAGES = 40


@pytest.mark.parametrize("commits", [1, 3, 6, 10])
def test_a_killed_run_keeps_its_commits_and_resumes_where_it_stopped(tmp_path: Path, home: Path, commits: int) -> None:
    folder = tmp_path / "images"
    write_images(folder, IMAGES)
    (folder / "bad.png").write_bytes(b"not an image")
    child = [sys.executable, "-m", "tests.crash.child", str(folder), str(home)]
    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        reported = 0
        for _ in range(commits):
            reported = int(run.stdout.readline())
        run.kill()
    library = Library(folder, home)
    with library.store() as store:
        files = store.counts().files
        committed = files.get(FileState.DONE, 0) + files.get(FileState.FAILED, 0)
        model = store.models()[0]
        ids = [int(i) for rows in store.vectors(model.id) for i in rows.ids]
        assert len(ids) == store.image_count(model.id) == files.get(FileState.DONE, 0)  # each prediction has an embedding
    assert reported <= committed <= IMAGES + 1
    assert len(library.paths()) == len(ids)
    like = next(iter(library.everything())).path
    assert len(library.search(like=like)) == len(ids)
    summary = library.index()
    assert summary.indexed == IMAGES - len(ids)
    assert len(library.search(like=like)) == IMAGES
