"""Compare index runs on Ray clusters of 1, 2 and 3 machines with a run by threads that has the same cores.

    python bench/cluster.py HEADS [--images N] [--rounds R] [--machines M...]

HEADS is a folder of drawn heads (PNG), from which the script makes mixed images (bench/corpus.py). The machines of a cluster are
processes of this one, with one core each; threads get as many cores by their CPU affinity. Each run goes into an empty database.
Rates are images a second between the commit of the first tenth of the images and the end of the analysis, so that starting is not
part of them; the time of the whole command is given, too. Run it on an idle machine with as many cores as the largest cluster has
machines; with fewer, the machines share them, and both sides get the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import corpus  # noqa: E402
from bench.machine import machine  # noqa: E402
from db.sqlite.store import SqliteStore  # noqa: E402

CORES = sorted(os.sched_getaffinity(0))
WARM_UP_SHARE = 0.1
POLL_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "cluster")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="moodex-bench-") as scratch:
        folder = Path(scratch, "images")
        corpus.make(folder, options.heads, options.images, workers=len(CORES))
        for number in range(options.rounds):
            for count in options.machines:
                # They swap places every round, so that neither always runs on the cooler machine.
                for name in sorted((f"{count} threads", f"{count} machines"), reverse=number % 2 == 0):
                    measure = measure_threads if name.endswith("threads") else measure_cluster
                    runs.setdefault(name, []).append(measure(folder, options.images, count))
                    print(name, runs[name][-1], flush=True)
    results = {
        "machine": machine(),
        "images": options.images,
        "rounds": options.rounds,
        "runs": {
            name: {key: round(median(run[key] for run in all_runs), 3) for key in all_runs[0]} for name, all_runs in runs.items()
        },
        "times_threads": {str(count): _ratio(runs, count) for count in options.machines},
    }
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(page(results))
    print(page(results))


def _ratio(runs: dict[str, list[dict[str, float]]], count: int) -> float:
    """Return the median over rounds of the rate of machines divided by that of threads."""
    pairs = zip(runs[f"{count} machines"], runs[f"{count} threads"], strict=True)
    return round(median(machines["rate"] / threads["rate"] for machines, threads in pairs), 3)


def measure_threads(folder: Path, images: int, count: int) -> dict[str, float]:
    """Index by threads on `count` cores."""
    with on_cores(count):
        return _measure(folder, images, ["--workers", str(count), "--device", "cpu"])


def measure_cluster(folder: Path, images: int, count: int) -> dict[str, float]:
    """Index on a cluster of `count` machines with a core each, which share `count` cores with the command."""
    from ray.cluster_utils import Cluster

    # Workers get the priority of threads; by default, they give way to everything else.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    with on_cores(count):
        cluster = Cluster()
        try:
            for _ in range(count):
                cluster.add_node(num_cpus=1, object_store_memory=100_000_000, include_dashboard=False)
            return _measure(folder, images, ["--cluster", cluster.address, "--device", "cpu"])
        finally:
            cluster.shutdown()


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Give this process and those that it starts the first cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _measure(folder: Path, images: int, options: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="moodex-bench-") as home:
        command = [sys.executable, str(ROOT / "cli.py"), "--home", home, "index", str(folder), "--look-alikes", "off", *options]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        warm = _when_committed(Path(home), images * WARM_UP_SHARE, process)
        done = _when_committed(Path(home), images, process)
        if process.wait():
            raise SystemExit(f"{' '.join(command)} failed.")
        seconds = time.perf_counter() - started
    return {"rate": (done[1] - warm[1]) / (done[0] - warm[0]), "seconds": seconds, "start": warm[0] - started}


def _when_committed(home: Path, images: float, process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Wait until a run has committed so many images, or ends; return the time and their number."""
    while True:
        count, running = _committed(home), process.poll() is None
        if count >= images or not running:
            return time.perf_counter(), count
        time.sleep(POLL_SECONDS)


def _committed(home: Path) -> int:
    if not (home / "moodex.sqlite").exists():
        return 0
    with SqliteStore(home / "moodex.sqlite", reading=True) as store:
        return store.counts().images


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Index runs on clusters",
        "",
        f"`python bench/cluster.py HEADS` on {results['machine']}: {results['images']:,} mixed images, medians of",
        f"{results['rounds']} rounds. Machines are processes of this machine, with a core each; threads get as many cores. The",
        "rate excludes the first tenth of the images.",
        "",
        "| run | images/s | times threads | whole command, s | first tenth after, s |",
        "|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        times = results["times_threads"][name.split()[0]] if name.endswith("machines") else 1
        lines.append(f"| {name} | {run['rate']:.1f} | {times:.2f} | {run['seconds']:.1f} | {run['start']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
