"""A run on three machines: a machine, a worker and the process that commits are killed, and no image is lost or counted twice."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.bootstrap import open_library
from indexer.domain.files import FileState
from indexer.domain.runs import DIED, DONE
from indexer.ports.database import Database
from indexer.settings import Settings
from tests.support.bucket import Bucket, bucket
from tests.support.builders import draw_blocks, encoded
from tests.support.ray_machines import PATIENCE_SECONDS, Machines, ray_machines, read_log, start_run, wait_until

DISTINCT, TWINS, DAMAGED = 890, 99, 11
WORKERS = 3
PAGE = 21
"""1,000 files are divided into 16 pages for each worker."""


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Bucket]:
    """A bucket of 1,000 objects: distinct images, copies of some of them, and damaged files."""
    caplog.set_level(logging.WARNING, "werkzeug")  # it logs each request
    with bucket(monkeypatch) as made:
        images = [encoded(draw_blocks(number, (16, 16))) for number in range(DISTINCT)]
        objects = {f"a/{number:04d}.png": image for number, image in enumerate(images)}
        objects |= {f"b/{number:04d}.png": images[9 * number] for number in range(TWINS)}
        objects |= {f"c/{number:04d}.png": b"damaged %d" % number for number in range(DAMAGED)}
        made.fill(objects)
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, home: Path) -> Settings:
    """A library in a file, and one on a server."""
    on_server = request.param == "postgresql"
    return Settings(home, store=request.getfixturevalue("postgres_url") if on_server else None)


@pytest.fixture
def machines(pictures: Bucket, settings: Settings) -> Iterator[Machines]:
    """Three machines, whose environment leads to the bucket. They end before the server of the library."""
    with ray_machines([1] * WORKERS) as started:
        yield started


def test_a_run_survives_the_death_of_a_machine_a_worker_and_its_own_process(
    machines: Machines, pictures: Bucket, tmp_path: Path, settings: Settings
) -> None:
    """What is computed twice is what a death loses.

    - A machine with one worker loses the page that the worker had in hand, and so does a worker. The run computes these two pages
      again, at most.
    - The process that commits loses what it has not committed: the page that each worker has in hand, as many results that wait
      for it, and the one that it has just taken. The next run computes exactly what was not committed, each image once.
    """
    first_log, second_log, database = tmp_path / "first.txt", tmp_path / "second.txt", open_library(settings).database
    run = start_run(machines.address, settings, first_log, pictures.address)
    try:
        wait_until(lambda: len(read_log(first_log)) >= 100 and bool(machines.others() & nodes(first_log)), run)
        machines.remove(sorted(machines.others() & nodes(first_log))[0])

        before = len(read_log(first_log))
        wait_until(lambda: len(read_log(first_log)) > before, run)
        os.kill(read_log(first_log)[-1].pid, signal.SIGKILL)

        wait_until(lambda: committed(database) >= 300, run)
    finally:
        run.kill()
        run.communicate()
    kept = committed(database)
    assert 300 <= kept < DISTINCT

    output, errors = start_run(machines.address, settings, second_log, pictures.address).communicate(timeout=PATIENCE_SECONDS)
    summary = json.loads(output)
    assert summary["engine"] == "ray"
    assert errors == b""
    with database.open(reading=True) as store:
        counts, (model,) = store.counts(), store.models()
        assert counts.files == {FileState.DONE: DISTINCT + TWINS, FileState.FAILED: DAMAGED}
        assert counts.images == store.image_count(model.id) == store.regions(model.id) == DISTINCT
        last, first = store.runs(2)
    assert (first.outcome, last.outcome) == (DIED, DONE)
    assert summary["indexed"] + kept == DISTINCT

    earlier, later = ([entry.pixels for entry in read_log(log)] for log in (first_log, second_log))
    assert len(later) == len(set(later)) == DISTINCT - kept
    assert len(set(earlier) | set(later)) == DISTINCT
    assert len(earlier) - len(set(earlier)) <= 2 * PAGE
    assert len(set(earlier)) - kept <= PAGE * (2 * WORKERS + 1)


def nodes(log: Path) -> set[str]:
    """Return the machines that classified images."""
    return {entry.node for entry in read_log(log)}


def committed(database: Database) -> int:
    """Return the number of images in the store, which another process may be making."""
    if not database.exists():
        return 0
    with database.open(reading=True) as store:
        return store.counts().images
