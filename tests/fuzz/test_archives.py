"""Open mutated archives; `python -m tests.fuzz.archives` runs longer."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

from indexer.sources.archives.processes import ArchiveProcesses
from tests.fuzz.archives import cases, outcome, seeds

_SEED, _MUTATED_ARCHIVES = 0, 250


def test_mutated_archives_are_read_or_refused(tmp_path: Path) -> None:
    processes = ArchiveProcesses()
    tally: Counter[str] = Counter()
    try:
        for number, (name, data) in enumerate(islice(cases(_SEED), _MUTATED_ARCHIVES)):
            path = tmp_path / f"{number}-{name}"
            path.write_bytes(data)
            tally[outcome(processes, path)] += 1
            path.unlink()
    finally:
        processes.end()
    assert not tally["crashed"]
    assert tally["read"] and tally["refused"]


def test_every_seed_is_an_archive_that_is_read_or_encrypted(tmp_path: Path) -> None:
    processes = ArchiveProcesses()
    try:
        for name, data in seeds().items():
            path = tmp_path / name
            path.write_bytes(data)
            assert outcome(processes, path) == ("refused" if name.startswith("encrypted") else "read")
    finally:
        processes.end()
