"""The program in a separate process that traces its steps and can be killed: real command lines, a model without weights.

Such a process is forked from one that has imported everything, so that hundreds of them take minutes.
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
from indexer.domain.images import DecodedImage, Face
from indexer.domain.predictions import AnalyzedImage
from indexer.settings import Settings
from tests.crash.steps import Journal, Kill, StepTracer
from tests.support.fake_models import FakeClassifier, FakeFaceDetector

FAKE_MODEL = "fake"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders and files of a scenario, all below `root`.

    - `data`: everything that a command may change or a power cut may affect: `images`, `home` (the data folder), `out` (other
      files that commands write).
    - `links`: hard links to files that the program replaced or deleted.
    - `journal`, `log`: what the process recorded, and its output.
    """

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def images(self) -> Path:
        return self.data / "images"

    @property
    def home(self) -> Path:
        return self.data / "home"

    @property
    def out(self) -> Path:
        return self.data / "out"

    @property
    def links(self) -> Path:
        return self.root / "links"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def log(self) -> Path:
        return self.root / "log"


@dataclass(frozen=True, slots=True)
class CommandRun:
    """Command lines that one process runs in order.

    - `first`: the number of the first one.
    - `model`: the model in the settings, None for the default.
    - `smaller_constants`: values for constants of modules, by dotted name, so that few rows reach a limit.
    """

    workspace: Workspace
    commands: Sequence[tuple[str, ...]]
    first: int = 0
    kill: Kill | None = None
    model: str | None = FAKE_MODEL
    smaller_constants: Mapping[str, object] = field(default_factory=dict)


class JournalProgress:
    """Records the progress that a user would see. Implements `indexer.ports.progress.Progress`."""

    journal: Journal

    def __init__(self, *_: str) -> None: ...

    def scanning(self, found: int) -> None: ...

    def start(self, total: int) -> None:
        self.journal.record("total", images=total)

    def advance(self, done: int, failed: int) -> None:
        self.journal.record("progress", done=done, failed=failed)

    def finish(self) -> None: ...

    def warn(self, sentence: str) -> None: ...


class JournalAnalyzer(Analyzer):
    """An analyzer that records which images it classifies."""

    journal: Journal

    def predict(
        self, images: Sequence[DecodedImage], faces_by_page: Sequence[Sequence[Face]] | None = None
    ) -> list[AnalyzedImage | None]:
        key = self.classifier.card.key
        self.journal.record("classified", model=key, digests=[image.digest.hex() for image in images])
        return super().predict(images, faces_by_page)


def run_commands(run: CommandRun) -> None:
    """Run command lines from start to end; the main function of a new process."""
    os.setpgid(0, 0)
    log = os.open(run.workspace.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    tqdm.set_lock(threading.RLock())  # the default is a system semaphore, which a killed process leaves behind
    journal = Journal(run.workspace.journal)
    JournalProgress.journal = JournalAnalyzer.journal = journal
    with ExitStack() as patches:
        for name, value in run.smaller_constants.items():
            patches.enter_context(patch(name, value))
        patches.enter_context(patch("commands.output.progress.TerminalProgress", JournalProgress))
        inherited = [name for name in os.environ if name.startswith("MOODEX_")]
        config = {"MOODEX_CONFIG": str(run.workspace.root / "none.toml"), **({"MOODEX_MODEL": run.model} if run.model else {})}
        patches.enter_context(patch.dict(os.environ, {**dict.fromkeys(inherited, ""), **config}))
        factory = _fake_analyzer if run.model == FAKE_MODEL else _real_analyzer
        for name in ("open_analyzer", "open_batch_analyzer"):
            patches.enter_context(patch.object(bootstrap, name, partial(factory, getattr(bootstrap, name))))
        StepTracer(run.workspace.data, run.workspace.links, journal, run.kill).install()
        journal.record("ready", at=time.monotonic())
        for number, words in enumerate(run.commands, run.first):
            journal.record("begun", command=number)
            code = cli.run(["--home", str(run.workspace.home), *words])
            journal.record("ended", command=number, code=code)
        journal.record("over", at=time.monotonic())


def _fake_analyzer(_open: Callable[..., Analyzer], settings: Settings, *_: object, **__: object) -> Analyzer:
    detector = None if settings.faces == "off" else FakeFaceDetector()
    return JournalAnalyzer(FakeClassifier(name=settings.model or FAKE_MODEL, batch_size=4), detector)


def _real_analyzer(open_real: Callable[..., Analyzer], *arguments: Any, **options: Any) -> Analyzer:
    analyzer = open_real(*arguments, **options)
    return JournalAnalyzer(analyzer.classifier, analyzer.detector, analyzer.decoders)
