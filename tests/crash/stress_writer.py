"""The writer of a stress test."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.analysis.analyzer import Analyzer
from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import WriterBusy
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from indexer.registry import service as registry_service
from tests.crash.marked_images import (
    CYCLE_TICKS,
    GROUP_IMAGES,
    GROUPS,
    MISSING_AT,
    MOVED_AT,
    UNINDEXED_TICK,
    Mark,
    MarkClassifier,
    group_folder,
    write_marked_image,
)
from tests.crash.stress_library import FIRST_MODEL, HANG_SECONDS, SECOND_MODEL, StressLibrary, Tally
from tests.support.library import opened
from tests.support.quiet import Remembered

_OTHER_CHANGES = (*3 * ("label",), *2 * ("second",), "unlabel", "force", "broken", "forget", "nothing")
_FORGET_PROBABILITY = 0.2


class Writer:
    """Makes every kind of change to a library, in an order that a seed decides. `tally` counts the changes by kind."""

    def __init__(self, library: StressLibrary, seed: int) -> None:
        self._library = library
        self._chance = random.Random(seed)
        self.tally = Tally()
        self._tick = 0

    def begin(self) -> None:
        """Build the library with predictions of both models."""
        write_marked_image(self._library.unindexed_image, Mark(UNINDEXED_TICK, 0))
        for group in range(GROUPS):
            self._library.group(group).mkdir(parents=True)
            self._replace(group)
            self._index(self._library.group(group), SECOND_MODEL)
        self._tick = GROUPS

    def turn(self) -> None:
        """Replace the next group, with a random change before and after."""
        group, cycle_tick = self._tick % GROUPS, self._tick % CYCLE_TICKS
        self._change_randomly()
        if group and cycle_tick == MISSING_AT:
            self._remove_and_return(group)
        if group and cycle_tick == MOVED_AT:
            self._move_and_return(group)
        self._replace(group)
        self._tick += 1
        self._change_randomly()

    def _replace(self, group: int) -> None:
        tick = max(self._tick, group) if self._tick < GROUPS else self._tick
        for member in range(GROUP_IMAGES):
            write_marked_image(Path(os.fsdecode(self._library.member(group, member))), Mark(tick, member))
        self._index(self._library.images)
        self.tally.counts["changed"] += 1

    def _remove_and_return(self, group: int) -> None:
        removed = self._library.root / "aside"
        self._library.group(group).rename(removed)
        self._index(self._library.images, grace_days=self._chance.choice((30, 0)))
        self.tally.counts["deleted"] += 1
        removed.rename(self._library.group(group))
        self._index(self._library.images)

    def _move_and_return(self, group: int) -> None:
        moved = self._library.group(group).with_name(f"{group_folder(group)}-moved")
        self._library.group(group).rename(moved)
        self._index(self._library.images)
        moved.rename(self._library.group(group))
        self._index(self._library.images)
        self.tally.counts["renamed"] += 2

    def _change_randomly(self) -> None:
        group = self._chance.randrange(GROUPS)
        match self._chance.choice(_OTHER_CHANGES):
            case "label":
                self._label(group, self._chance.choice(EMOTIONS))
            case "unlabel":
                self._label(group, None)
            case "force":
                self._index(self._library.group(group), force=True)
                self.tally.counts["forced"] += 1
            case "second":
                self._index(self._library.group(group), SECOND_MODEL)
                self.tally.counts["second model"] += 1
            case "broken":
                broken = self._library.images / "broken.png"
                if broken.exists():
                    broken.unlink()
                else:
                    broken.write_bytes(b"not an image")
                self._index(self._library.images)
                self.tally.counts["broken"] += 1
            case "forget" if self._chance.random() < _FORGET_PROBABILITY:
                self._index(self._library.group(group), SECOND_MODEL)
                library = opened(self._library.settings(FIRST_MODEL))
                self._retry_while_locked(lambda: registry_service.remove_model(library, SECOND_MODEL, predictions=True))
                self.tally.counts["forgotten"] += 1

    def _label(self, group: int, emotion: str | None) -> None:
        assignments = parse_assignments([os.fsencode(self._library.group(group))], emotion, emotion is None)
        settings = self._library.settings(FIRST_MODEL)
        self._retry_while_locked(lambda: labels_service.label(opened(settings), assignments, new=False))
        self.tally.counts["labeled"] += 1

    def _index(self, folder: Path, model: str = FIRST_MODEL, grace_days: int = 30, **request: Any) -> None:
        settings = replace(self._library.settings(model), grace_days=grace_days)
        self._retry_while_locked(
            lambda: ingest_service.index(
                opened(settings, lambda _: Analyzer(MarkClassifier(model))),
                [os.fsencode(folder)],
                IndexRequest(**request),
                Remembered(),
            )
        )
        self.tally.counts["runs"] += 1

    def _retry_while_locked(self, work: Callable[[], object]) -> None:
        """Retry while a reader holds the writer lock to update the vector index."""
        end = time.monotonic() + HANG_SECONDS
        while True:
            try:
                work()
                return
            except WriterBusy:
                self.tally.counts["waited for a reader"] += 1
                if time.monotonic() > end:
                    raise
