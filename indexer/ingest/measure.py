"""A measurement of how many images this machine analyzes in a second, without storing anything."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.domain.files import FileStamp
from indexer.domain.runs import RunCounts
from indexer.imaging.further_formats import readable_extensions
from indexer.ingest.analyzer_group import AnalyzerGroup
from indexer.ingest.coordinator import DigestClaims
from indexer.ingest.roots import split_available_roots
from indexer.ingest.workers import Worker, coordinator_for, drive
from indexer.ports.sources import ScanOptions
from indexer.ports.store_writer import CommitBatch, PendingFile
from indexer.system.signals import graceful_stop

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.ports.sources import ImageSource


def measure_rate(library: Library, paths: Sequence[bytes], seconds: float, clock: Callable[[], float] = time.monotonic) -> float:
    """Analyze images at or below paths for some seconds, as an index run does; return images a second.

    The time until the first results, in which the model is loaded, does not count. Raises UsageError if there are too few images.
    """
    roots = split_available_roots(paths, library.source, library.known)
    ends: list[tuple[float, int]] = []

    def pending() -> Iterator[PendingFile]:
        for number, path in enumerate(_files(library.source, roots.available), 1):
            if ends and clock() - ends[0][0] >= seconds:
                return
            yield PendingFile(number, path, FileStamp(0, 0))

    def count(batch: CommitBatch) -> RunCounts:
        ends.append((clock(), len(batch.predicted)))
        return RunCounts()

    workers = library.settings.worker_count
    with graceful_stop("nothing was stored") as check_stop, library.open_batch_analyzer() as analyzer:
        group = AnalyzerGroup((analyzer,))
        worker = Worker(library.source, group, lambda _digest: (0,), DigestClaims(remember=True))
        with library.open_executor(worker.perform, workers + group.streams) as executor:
            for _ in drive(coordinator_for(pending(), worker, workers), executor, count, check_stop):
                pass
    analyzed = sum(images for _, images in ends[1:])
    if not analyzed or ends[-1][0] == ends[0][0]:
        raise UsageError("There are too few images for a measurement; give a folder with some hundreds.")
    return analyzed / (ends[-1][0] - ends[0][0])


def _files(source: ImageSource, roots: Sequence[bytes]) -> Iterator[bytes]:
    options = ScanOptions(extensions=readable_extensions(), named=frozenset(roots))
    for root in roots:
        for folder in source.scan(root, options):
            for name, *_ in folder.entries:
                if name not in folder.problems:
                    yield os.path.join(folder.path, name)
