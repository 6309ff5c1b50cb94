"""A run over servers, tables or data sets that is killed with SIGKILL keeps what it reported, and the next run does the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from indexer.domain.files import FileState
from indexer.sources.remote.buckets import open_bucket
from tests.support.archives import zipped
from tests.support.bucket import new_processes
from tests.support.builders import draw_blocks, encoded
from tests.support.datasets import images, parquet, url_csv
from tests.support.library import Library
from tests.support.remote_servers import (
    AzureContainers,
    FileServer,
    GoogleBuckets,
    IndexPages,
    serving,
    use_azure,
    use_google,
)

ROOT = Path(__file__).parents[2]
PAGES = {f"ch {number % 2}/{number:02d}.png": encoded(draw_blocks(number)) for number in range(24)}
SERVERS = {"az": AzureContainers, "pages": IndexPages, "urls": FileServer}


@pytest.fixture(params=["gs", "az", "pages", "urls", "archive in a bucket", "parquet"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    kind = request.param
    (tmp_path / "set").mkdir()
    with serving(SERVERS.get(kind, GoogleBuckets)()) as server, new_processes(monkeypatch):
        use_google(monkeypatch, server.address)
        use_azure(monkeypatch, server.address)
        open_bucket.cache_clear()
        server.put({f"b/{name}": data for name, data in {**PAGES, "ch 0/bad.png": b"not an image"}.items()})
        if kind == "archive in a bucket":
            server.files = {"b/book.cbz": zipped({**PAGES, "ch 0/bad.png": b"not an image"})}
        (tmp_path / "set/t.csv").write_bytes(url_csv([{"url": f"{server.address}/{quote(name)}"} for name in server.files]))
        (tmp_path / "set/a.parquet").write_bytes(parquet(images({**PAGES, "ch 0/bad.png": b"not an image"})))
        yield {
            "az": Path("az://b"),
            "pages": Path(f"{server.address}/b"),
            "urls": tmp_path / "set/t.csv",
            "parquet": tmp_path / "set",
        }.get(kind, Path("gs://b"))
        open_bucket.cache_clear()


@pytest.mark.parametrize("commits", [1, 4])
def test_a_killed_run_resumes(root: Path, home: Path, tmp_path: Path, commits: int) -> None:
    child = [sys.executable, "-m", "tests.crash.child", str(root), str(home)]
    with subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        reported = [int(run.stdout.readline()) for _ in range(commits)][-1]
        run.kill()
    library = Library(tmp_path, home)
    library.settings = replace(library.settings, private_urls=True)
    with library.store() as store:
        files = store.counts().files
    done = files.get(FileState.DONE, 0)
    assert reported <= done + files.get(FileState.FAILED, 0) <= len(PAGES) + 1
    summary = library.index(root)
    assert summary.indexed == len(PAGES) - done
    assert summary.failed == 1
    found = {"/".join(os.fsdecode(hit.path).split("/")[-2:]) for hit in library.search(min_score=1e-9)}
    assert found == set(PAGES)
