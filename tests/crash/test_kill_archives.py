"""A run over archives that is killed with SIGKILL keeps what it reported, and the next run analyzes only the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.domain.files import FileState
from tests.support.archives import FORMATS
from tests.support.builders import draw_blocks, encoded
from tests.support.library import Library

ROOT = Path(__file__).parents[2]
PAGES = 24


@pytest.mark.parametrize("name", ["a.cbz", "a.tar.gz"])
@pytest.mark.parametrize("commits", [1, 4])
def test_a_killed_run_resumes_inside_its_archives(tmp_path: Path, home: Path, name: str, commits: int) -> None:
    folder = tmp_path / "comics"
    folder.mkdir()
    pages = {f"{number:02d}.png": encoded(draw_blocks(number)) for number in range(PAGES)}
    (folder / name).write_bytes(FORMATS[name]({**pages, "bad.png": b"not an image"}))
    (folder / "broken.zip").write_bytes(b"broken")
    child = [sys.executable, "-m", "tests.crash.child", str(folder), str(home)]
    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        reported = [int(run.stdout.readline()) for _ in range(commits)][-1]
        run.kill()
    library = Library(folder, home)
    with library.store() as store:
        files = store.counts().files
    done = files.get(FileState.DONE, 0)
    assert reported <= done + files.get(FileState.FAILED, 0) <= PAGES + 2
    summary = library.index()
    assert summary.indexed == PAGES - done
    assert library.paths() == {f"{name}/{page}" for page in pages}
