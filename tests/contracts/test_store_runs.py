"""The contract of stores for runs."""

from __future__ import annotations

import os

from indexer.domain.runs import RunCounts
from tests.support.scene import Scene


def test_runs_are_returned_newest_first(scene: Scene) -> None:
    scene.store.finish_run(scene.run, "done", RunCounts(indexed=3))
    later = scene.store.begin_run([b"/b", b"/\xff"], scene.model)
    newest, oldest = scene.store.runs(5)
    assert (newest.id, newest.outcome, newest.roots, newest.ended_at) == (later, "running", (b"/b", b"/\xff"), None)
    assert (oldest.outcome, oldest.counts) == ("done", RunCounts(indexed=3))


def test_a_run_has_the_reason_of_its_end_and_its_process_id(scene: Scene) -> None:
    scene.store.finish_run(scene.run, "failed", RunCounts(), "the disk is full")
    (run,) = scene.store.runs(5)
    assert (run.outcome, run.reason, run.pid) == ("failed", "the disk is full", os.getpid())


def test_an_unfinished_run_has_died_when_another_begins(scene: Scene) -> None:
    scene.store.begin_run([b"/a"], scene.model)
    newer, older = scene.store.runs(5)
    assert (newer.outcome, older.outcome, older.ended_at) == ("running", "died", None)
    assert older.reason and "killed" in older.reason


def test_a_forgotten_run_is_not_returned(scene: Scene) -> None:
    later = scene.store.begin_run([b"/a"], scene.model)
    scene.store.forget_run(later)
    assert [run.id for run in scene.store.runs(5)] == [scene.run]


def test_totals_include_all_runs(scene: Scene) -> None:
    assert (scene.store.totals().indexed, scene.store.totals().outcomes) == (0, {"running": 1})
    scene.store.finish_run(scene.run, "done", RunCounts(indexed=3, failed=1))
    scene.store.finish_run(scene.store.begin_run([b"/a"], scene.model), "done", RunCounts(indexed=4))
    scene.store.begin_run([b"/a"], scene.model)
    totals = scene.store.totals()
    assert (totals.indexed, totals.failed, totals.outcomes) == (7, 1, {"done": 2, "running": 1})
