"""Index runs over a folder of good images and damaged files: each damaged file fails alone, with the right reason."""

from __future__ import annotations

import os
from pathlib import Path

from indexer.domain.files import FileState
from indexer.search.resolve import analyze_file
from tests.support.library import Library
from tests.support.torture import build


def test_good_images_succeed_and_bad_ones_fail_with_a_reason(tmp_path: Path, home: Path) -> None:
    torture = build(tmp_path / "torture")
    library = Library(torture.folder, home)
    summary = library.index()
    assert summary.scanned == len(torture.good) + len(torture.bad)
    assert (summary.indexed, summary.failed, summary.exit_code) == (len(torture.good), len(torture.bad), 3)
    with library.store() as store:
        assert store.counts().files == {FileState.DONE: len(torture.good), FileState.FAILED: len(torture.bad)}
        reasons = {path: failure.reason for path, failure in store.failures(100)}
    assert reasons.keys() == torture.bad.keys()
    for path, reason in torture.bad.items():
        assert reason in reasons[path], os.fsdecode(path)
    hits = {hit.path: hit for hit in library.everything()}
    assert hits.keys() == torture.good
    for path, hit in hits.items():
        alone = analyze_file(path, library.analyzer)[0]
        assert (hit.image_id, hit.emotion) == (alone.image_id, alone.emotion), os.fsdecode(path)
        assert hit.score == alone.score


def test_a_second_run_reads_only_files_worth_a_retry(tmp_path: Path, home: Path) -> None:
    torture = build(tmp_path / "torture")
    library = Library(torture.folder, home)
    library.index()
    summary = library.index()
    assert (summary.unchanged, summary.failed, summary.indexed) == (len(torture.good), len(torture.bad), 0)
    further_frames = 3  # of three animations of two frames
    assert library.classifier.classified == len(torture.good) + further_frames
