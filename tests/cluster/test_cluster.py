"""A run on three machines: a machine, a worker and the process that commits are killed, and no image is lost or counted twice."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.sqlite.store import SqliteStore
from indexer.domain.files import FileState
from indexer.domain.runs import DIED, DONE
from indexer.ingest.pages import PAGE_FILES
from tests.support.bucket import Bucket, bucket
from tests.support.builders import draw_blocks, encoded
from tests.support.ray_machines import PATIENCE_SECONDS, Machines, images_by_node, ray_machines, read_log, start_run, wait_until

DISTINCT, TWINS, DAMAGED = 890, 99, 11


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


@pytest.fixture
def machines(pictures: Bucket) -> Iterator[Machines]:
    """Three machines, whose environment leads to the bucket."""
    with ray_machines([1, 1, 1]) as started:
        yield started


def test_a_run_survives_the_death_of_a_machine_a_worker_and_its_own_process(
    machines: Machines, pictures: Bucket, tmp_path: Path, home: Path
) -> None:
    log = tmp_path / "computed.txt"
    run = start_run(machines.address, home, log, pictures.address)
    try:
        wait_until(lambda: sum(images_by_node(log).values()) >= 100 and bool(machines.others() & set(images_by_node(log))), run)
        machines.remove(sorted(machines.others() & set(images_by_node(log)))[0])

        before = len(read_log(log))
        wait_until(lambda: len(read_log(log)) > before + 2, run)
        os.kill(read_log(log)[-1].pid, signal.SIGKILL)

        wait_until(lambda: committed(home) >= 300, run)
    finally:
        run.kill()
        run.communicate()
    kept = committed(home)
    assert 300 <= kept < DISTINCT

    output, errors = start_run(machines.address, home, log, pictures.address).communicate(timeout=PATIENCE_SECONDS)
    summary = json.loads(output)
    assert summary["engine"] == "ray"
    assert errors == b""
    with SqliteStore(home / "moodex.sqlite") as store:
        assert stored(store) == (DISTINCT + TWINS, DAMAGED, DISTINCT, DISTINCT)
        last, first = store.runs(2)
    assert (first.outcome, last.outcome) == (DIED, DONE)
    assert summary["indexed"] + kept == DISTINCT

    ended_workers = 1 + 1 + 3
    on_their_way = 3  # results that the killed process had not committed
    assert sum(images_by_node(log).values()) <= DISTINCT + PAGE_FILES * (ended_workers + on_their_way)


def committed(home: Path) -> int:
    """Return the number of images in the store, which another process may be making."""
    if not (home / "moodex.sqlite").exists():
        return 0
    with SqliteStore(home / "moodex.sqlite", reading=True) as store:
        return store.counts().images


def stored(store: SqliteStore) -> tuple[Any, ...]:
    """Return the numbers of files that are done and failed, of images, and of images with predictions."""
    counts = store.counts()
    (model,) = store.models()
    return counts.files[FileState.DONE], counts.files[FileState.FAILED], counts.images, store.image_count(model.id)
