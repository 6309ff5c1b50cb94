"""Several readers query a library while a writer changes it: python -m tests.crash.stress --minutes 3

The writer changes, deletes, renames, labels and classifies images again, with two models, and its runs merge vector indexes. Each
reader is a separate process that makes every kind of query and checks that each result belongs to one committed state
(`tests.crash.consistency`). At the end the program prints counts; the exit code is 1 if any result was an error or torn.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.stress_library import HANG_SECONDS, MAX_DETAILS, StressLibrary, Tally
from tests.crash.stress_reader import Reader
from tests.crash.stress_writer import Writer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event


def stress(folder: Path, seconds: float, readers: int, seed: int, min_turns: int = 0, min_queries: int = 0) -> Tally:
    """Run a writer and a number of readers for a time; return the sum of their tallies.

    However slow the machine is, the writer makes at least `min_turns` turns, and each reader at least `min_queries` queries.
    """
    library = StressLibrary(folder)
    writer = Writer(library, seed)
    writer.begin()
    context = get_context("spawn")
    over = context.Event()
    processes, connections = [], []
    for number in range(readers):
        connection, child_connection = context.Pipe(duplex=False)
        arguments = (library, number, seed, over, child_connection, min_queries)
        process = context.Process(target=_read_until_over, args=arguments, name=f"reader {number}")
        process.start()
        child_connection.close()
        processes.append(process)
        connections.append(connection)
    with _set_at_end(over):
        for connection in connections:
            if connection.poll(HANG_SECONDS):  # the reader has its first result
                connection.recv()
        end = time.monotonic() + seconds
        while (time.monotonic() < end or min_turns > 0) and not over.is_set():
            min_turns -= 1
            try:
                writer.turn()
            except Exception:
                writer.tally.add_exception("the writer")
                break
    tally = writer.tally
    for process, connection in zip(processes, connections, strict=True):
        answered = connection.poll(HANG_SECONDS)
        tally.add(connection.recv() if answered else Tally(errors=1, details=[f"{process.name} hangs"]))
        process.join(HANG_SECONDS)
        tally.errors += process.exitcode != 0
    return tally


def _read_until_over(
    library: StressLibrary, number: int, seed: int, over: Event, connection: Connection, min_queries: int
) -> None:
    """Query until the end; send None after the first query and the tally at the end. Runs in the process of a reader."""
    reader, tally = Reader(library, number, seed * 1000 + number), Tally()
    has_begun = False
    # On a slow machine the time may be over before each kind of query was made.
    while not over.is_set() or min_queries > 0 or not reader.has_made_all_queries:
        min_queries -= 1
        try:
            tally.counts[f"queries: {reader.query()}"] += 1
        except Exception:
            tally.add_exception(f"reader {number}")
        if not has_begun:
            has_begun = True
            connection.send(None)
    connection.send(tally)


@contextmanager
def _set_at_end(over: Event) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.stress", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = stress(Path(os.path.realpath(folder)), 60 * options.minutes, options.readers, options.seed)
    queries = sum(count for name, count in tally.counts.items() if name.startswith("queries: "))
    sys.stdout.writelines(f"{count:>8}  {name}\n" for name, count in sorted(tally.counts.items()))
    sys.stdout.writelines(f"{details}\n" for details in tally.details[:MAX_DETAILS])
    sys.stdout.write(
        f"seed {options.seed}: {queries} results of {options.readers} readers, {tally.counts['runs'] + tally.counts['labeled']} "
        f"runs and label changes, {tally.errors} errors, {tally.torn} torn results\n"
    )
    return 1 if tally.errors or tally.torn or not queries else 0


if __name__ == "__main__":
    sys.exit(main())
