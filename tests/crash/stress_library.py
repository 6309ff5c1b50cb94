"""The library of a stress test, and the tally of what each process did."""

from __future__ import annotations

import os
import sys
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from indexer.settings import Settings
from tests.crash.marked_images import TornRead, group_folder

FIRST_MODEL, SECOND_MODEL = "first", "second"

HANG_SECONDS = 600.0
"""Time after which a process or a lock counts as hanging."""

MAX_DETAILS = 5
"""Tracebacks that a process keeps, and that are printed."""


@dataclass(slots=True)
class Tally:
    """Counts of what a process did, by name, with its errors and torn reads and the tracebacks of the first ones."""

    counts: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    torn: int = 0
    details: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counts.update(other.counts)
        self.errors += other.errors
        self.torn += other.torn
        self.details += other.details

    def add_exception(self, process: str) -> None:
        """Count the exception that is being handled."""
        torn = isinstance(sys.exc_info()[1], TornRead)
        self.torn += torn
        self.errors += not torn
        if len(self.details) < MAX_DETAILS:
            self.details.append(f"{process}: {traceback.format_exc()}")


@dataclass(frozen=True, slots=True)
class StressLibrary:
    """The paths and settings of the library, below `root`."""

    root: Path

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def unindexed_image(self) -> Path:
        return self.root / "outside.png"

    def settings(self, model: str) -> Settings:
        return Settings(home=self.root / "home", model=model, workers=2)

    def group(self, number: int) -> Path:
        return self.images / group_folder(number)

    def member(self, group: int, member: int) -> bytes:
        return os.fsencode(self.group(group) / f"{member:02d}.png")
