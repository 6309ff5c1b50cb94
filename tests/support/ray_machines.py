"""A Ray cluster on this machine, and an index run on it by a process that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil

from indexer.analysis.analyzer import Analyzer
from indexer.domain.predictions import Scores
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.library import Library
from indexer.settings import Settings
from indexer.system.digest import digest
from tests.support.fake_models import FakeClassifier
from tests.support.library import opened
from tests.support.quiet import Remembered

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 900.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_health_check_period_ms": "1000",  # a dead machine is noticed within seconds; a slow answer may take ten
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_worker_niceness": "0",
}
_STORE_BYTES = 80_000_000


class Computed(NamedTuple):
    """An image that a worker classified; `pixels` is their digest."""

    pid: int
    node: str
    pixels: str


class LoggedClassifier(FakeClassifier):
    """A fake classifier that adds a line to a file for each image, before it answers."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def classify(self, pixels: Pixels) -> Scores:
        import ray

        here = f"{os.getpid()} {ray.get_runtime_context().get_node_id()}"
        lines = [f"{here} {digest(image.tobytes()).hex()}\n" for image in pixels]
        with self._log.open("ab", buffering=0) as file:
            file.write("".join(lines).encode())
        return super().classify(pixels)


def read_log(log: Path) -> list[Computed]:
    """Return the complete lines of the log."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [Computed(int(pid), node, pixels) for pid, node, pixels in map(str.split, lines)]


def open_logged(log: Path, _device: str) -> Analyzer:
    """Open the analyzer of a worker."""
    return Analyzer(LoggedClassifier(log))


def library_on(address: str, settings: Settings, log: Path) -> Library:
    """Return a library whose images a cluster analyzes with the logged classifier."""
    on_cluster = replace(settings, model="fake", cluster=address, look_alikes="off")
    library = opened(on_cluster, lambda _: Analyzer(FakeClassifier()))
    assert library.cluster is not None
    return replace(library, cluster=replace(library.cluster, open_analyzer=partial(open_logged, log)))


def start_run(address: str, settings: Settings, log: Path, root: str) -> subprocess.Popen[bytes]:
    """Start an index run in a process of its own, which prints its summary as JSON."""
    command = [sys.executable, "-m", __name__, address, str(settings.home), str(log), root, *filter(None, [settings.store])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def wait_until(condition: Callable[[], bool], run: subprocess.Popen[bytes]) -> None:
    """Wait for a condition while a run goes on."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if run.poll() is not None:
            raise AssertionError(f"The run ended early: {run.communicate()}")
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@dataclass
class Machines:
    """A cluster; `nodes` are its machines, the head first."""

    cluster: Any
    nodes: list[Any]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def remove(self, node_id: str) -> None:
        """Kill all processes of a machine."""
        node = next(node for node in self.nodes if node.node_id == node_id)
        self.cluster.remove_node(node, allow_graceful=False)

    def others(self) -> set[str]:
        """Return the ids of all machines but the head."""
        return {node.node_id for node in self.nodes[1:]}


@contextmanager
def ray_machines(cores: Sequence[int]) -> Iterator[Machines]:
    """Start a cluster with a machine for each number of cores; the environment of the caller is that of its workers.

    No process of it is left afterwards.
    """
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    old = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        nodes = [cluster.add_node(num_cpus=count, object_store_memory=_STORE_BYTES, include_dashboard=False) for count in cores]
        yield Machines(cluster, nodes)
    finally:
        started = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
        cluster.shutdown()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _, alive = psutil.wait_procs(started, timeout=PATIENCE_SECONDS)
        assert not alive
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


if __name__ == "__main__":
    address, home, log, root, *store = sys.argv[1:]
    library = library_on(address, Settings(home=Path(home), store=store[0] if store else None), Path(log))
    summary = ingest_service.index(library, [os.fsencode(root)], IndexRequest(), Remembered())
    sys.stdout.write(json.dumps(summary.as_dict()))
