"""The program in a process of its own that is there to be killed: real command lines, with a model that needs no weights.

Such processes are forked from one that has imported everything, so that hundreds of them take minutes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tqdm import tqdm

import cli
from indexer import bootstrap
from indexer.analysis.analyzer import Analyzer
from indexer.domain.images import DecodedImage
from indexer.domain.predictions import AnalyzedImage
from indexer.settings import Settings
from tests.crash.steps import Journal, Kill, Steps
from tests.support.fake_models import FakeClassifier, FakeFaceDetector

FAKE = "fake"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a library lies: `pictures`, its data folder, and what is written beside it; all of it below `root`."""

    root: Path

    @property
    def world(self) -> Path:
        return self.root / "world"

    @property
    def pictures(self) -> Path:
        return self.world / "pictures"

    @property
    def home(self) -> Path:
        return self.world / "home"

    @property
    def out(self) -> Path:
        return self.world / "out"

    @property
    def kept(self) -> Path:
        return self.root / "kept"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def log(self) -> Path:
        return self.root / "log"


@dataclass(frozen=True, slots=True)
class Run:
    """Command lines to run one after the other, the first of which has number `first`. `model` is the one in the settings.

    `smaller` makes constants of modules small, so that few rows take what many would.
    """

    place: Place
    commands: Sequence[tuple[str, ...]]
    first: int = 0
    kill: Kill | None = None
    model: str | None = FAKE
    smaller: Mapping[str, object] = field(default_factory=dict)


class Told:
    """Notes what people are told of a run. Implements `indexer.ports.progress.Progress`."""

    journal: Journal

    def __init__(self, *_: str) -> None: ...

    def scanning(self, found: int) -> None: ...

    def start(self, total: int) -> None:
        self.journal.note("total", pictures=total)

    def advance(self, done: int, failed: int) -> None:
        self.journal.note("said", done=done, failed=failed)

    def finish(self) -> None: ...

    def warn(self, sentence: str) -> None: ...


class Noted(Analyzer):
    """A reader that notes what it computes."""

    journal: Journal

    def predict(self, images: Sequence[DecodedImage]) -> list[AnalyzedImage | None]:
        key = self.classifier.card.key
        self.journal.note("computed", model=key, digests=[image.digest.hex() for image in images])
        return super().predict(images)


def live(run: Run) -> None:
    """Run the command lines, from the beginning of a fresh process to its end."""
    os.setpgid(0, 0)
    log = os.open(run.place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a killed process leaves behind
    journal = Journal(run.place.journal)
    Told.journal = Noted.journal = journal
    with ExitStack() as patches:
        for name, value in run.smaller.items():
            patches.enter_context(patch(name, value))
        patches.enter_context(patch("commands.output.progress.TerminalProgress", Told))
        outside = [name for name in os.environ if name.startswith("MOODEX_")]
        own = {"MOODEX_CONFIG": str(run.place.root / "none.toml"), **({"MOODEX_MODEL": run.model} if run.model else {})}
        patches.enter_context(patch.dict(os.environ, {**dict.fromkeys(outside, ""), **own}))
        factory = _fake if run.model == FAKE else _real
        for name in ("open_analyzer", "open_batch_analyzer"):
            patches.enter_context(patch.object(bootstrap, name, partial(factory, getattr(bootstrap, name))))
        Steps(run.place.world, run.place.kept, journal, run.kill).install()
        journal.note("ready", at=time.monotonic())
        for number, words in enumerate(run.commands, run.first):
            journal.note("begun", command=number)
            code = cli.run(["--home", str(run.place.home), *words])
            journal.note("ended", command=number, code=code)
        journal.note("over", at=time.monotonic())


def _fake(_open: Callable[..., Analyzer], settings: Settings, *_: object, **__: object) -> Analyzer:
    detector = None if settings.faces == "off" else FakeFaceDetector()
    return Noted(FakeClassifier(name=settings.model or FAKE, batch_size=4), detector)


def _real(open_real: Callable[..., Analyzer], *arguments: Any, **options: Any) -> Analyzer:
    reader = open_real(*arguments, **options)
    return Noted(reader.classifier, reader.detector, reader.decoders)
