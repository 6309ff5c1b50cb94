"""The summary of a run in words: images that failed, and places that were not scanned, are counted apart."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from commands.output.summary import write_summary
from indexer.domain.reports import Summary


def first_line(**counts: Any) -> str:
    return written(**counts).splitlines()[0]


def written(as_json: bool = False, **counts: Any) -> str:
    out = io.StringIO()
    summary = Summary(seconds=1.0, images_per_second=0.0, device="none", engine="none", model="fake", **counts)
    write_summary(summary, as_json, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("failed", "not_scanned", "words"),
    [
        (0, 0, "24 image files: 24 unchanged."),
        (1, 0, "24 image files: 24 unchanged, 1 failed."),
        (1, 1, "24 image files: 24 unchanged, 1 folder or archive not scanned."),
        (5, 2, "24 image files: 24 unchanged, 3 failed, 2 folders or archives not scanned."),
    ],
)
def test_places_that_were_not_scanned_are_no_failed_images(failed: int, not_scanned: int, words: str) -> None:
    assert first_line(scanned=24, unchanged=24, failed=failed, not_scanned=not_scanned) == words


def test_only_failed_images_are_in_the_list_of_failures_that_is_named() -> None:
    place = {"not_scanned": 1, "unlisted": {"/lib/x": "its .moodexignore cannot be used"}}
    assert "moodex status" not in written(scanned=2, unchanged=2, failed=1, **place)
    assert "Not scanned: " in written(scanned=2, unchanged=2, failed=1, **place)
    assert "moodex status" in written(scanned=2, unchanged=2, failed=2, **place)


def test_json_has_both_numbers() -> None:
    numbers = json.loads(written(as_json=True, scanned=3, failed=2, not_scanned=1))
    assert (numbers["failed"], numbers["not_scanned"]) == (2, 1)
