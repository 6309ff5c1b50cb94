"""A run is killed with SIGKILL after one of its commits: what it said is indexed is, and the next run does the rest once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.domain.files import FileState
from tests.support.builders import write_images
from tests.support.library import Library

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("commits", [1, 3, 6, 10])
def test_what_was_committed_survives_and_is_not_done_again(tmp_path: Path, home: Path, commits: int) -> None:
    folder = tmp_path / "pictures"
    write_images(folder, 40)
    (folder / "bad.png").write_bytes(b"no picture")
    child = [sys.executable, "-m", "tests.crash.child", str(folder), str(home)]
    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        said = 0
        for _ in range(commits):
            said = int(run.stdout.readline())
        run.kill()
    library = Library(folder, home)
    with library.store() as store:
        files = store.counts().files
        survived = files.get(FileState.DONE, 0) + files.get(FileState.FAILED, 0)
        model = store.models()[0]
        ids = [int(i) for rows in store.vectors(model.id) for i in rows.ids]
        assert len(ids) == store.image_count(model.id) == files.get(FileState.DONE, 0)  # no prediction without its embedding
    assert said <= survived <= 41
    assert len(library.paths()) == len(ids)
    like = next(iter(library.everything())).path
    assert len(library.search(like=like)) == len(ids)
    summary = library.index()
    assert summary.indexed == 40 - len(ids)
    assert len(library.search(like=like)) == 40
