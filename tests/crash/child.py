"""An index run in a separate process that prints, after every commit, how many files are committed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from indexer.analysis.analyzer import Analyzer
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.settings import Settings
from tests.support.fake_models import FakeClassifier
from tests.support.library import opened
from tests.support.quiet import Remembered


class PrintedProgress(Remembered):
    def advance(self, done: int, failed: int) -> None:
        super().advance(done, failed)
        sys.stdout.write(f"{self.done}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    images, home, *store = sys.argv[1:]
    settings = Settings(home=Path(home), model="fake", store=store[0] if store else None, private_urls=True)
    library = opened(settings, lambda _: Analyzer(FakeClassifier(batch_size=4)))
    ingest_service.index(library, [os.fsencode(images)], IndexRequest(), PrintedProgress())
