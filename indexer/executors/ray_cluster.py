"""A connection to a Ray cluster, its machines, and objects that its processes share."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import Unavailable, UsageError
from indexer.executors.worker_plan import Machine, plan_workers
from indexer.system.events import log_event, tell
from indexer.system.optional import require
from indexer.system.text import pluralize

if TYPE_CHECKING:
    from indexer.ports.cluster import SharedObject, WorkerPlan
    from indexer.ports.executor import Executor, Item, Result

_CONNECT_SECONDS = 10.0
_START_ONE = "Start one with: ray start --head"

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # its C++ part writes to stderr, whatever Python logs
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a worker without GPUs keeps the variables of its machine
}


@contextmanager
def ray_cluster(address: str, device: str, threads: int) -> Iterator[RayCluster]:
    """Connect to a Ray cluster: "auto" is the one of this machine, else HOST:PORT. This machine must be part of it.

    `device` and `threads` are those of `plan_workers`. Raises what it raises, and MissingExtra and Unavailable.
    """
    require("ray", "'ray[data]'", "ray", "A cluster")
    _check_address(address)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    try:
        with _silent_stderr(), _kept_signals():
            context = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise Unavailable(f"No Ray cluster answers at {address!r}: {reason}. {_START_ONE}") from error
    try:
        _log_what_ray_prints()
        machines = [_machine(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        cluster = RayCluster(plan_workers(machines, device, threads), len(machines))
        announce(cluster, context.dashboard_url)
        yield cluster
    finally:
        ray.shutdown()


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to stderr: the C++ part of Ray announces there that it will be quiet. Errors are raised."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Keep the handlers of signals: Ray would end the run at once instead of after its current commit."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _log_what_ray_prints() -> None:
    """Log what Ray tells about its processes, such as a dead worker: it would print it to stdout, which belongs to results."""
    from ray._private import worker

    def log(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        for line in data["lines"]:
            log_event("debug", "ray", f"Ray: {line}")

    worker.print_to_stdstream = log


def _check_address(address: str) -> None:
    """Raise UsageError for an address of another form, and Unavailable if nothing answers: Ray tries for a minute."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in address:
        raise UsageError(f"--cluster is {address!r}; give auto, or the address of the head of a Ray cluster as HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(f"No Ray cluster answers at {address!r}: {error}. {_START_ONE}") from error


def _machine(resources: dict[str, float]) -> Machine:
    return Machine(int(resources.get("CPU", 0)), int(resources.get("GPU", 0)))


def announce(cluster: RayCluster, dashboard: str | None) -> None:
    """Log what a run has to work with, and the address of the dashboard, HOST:PORT, if there is one."""
    plan = cluster.plan
    each = pluralize(plan.cpus, "core") + (" and a GPU" if plan.gpus else "")
    at = f" The dashboard is at http://{dashboard}." if dashboard else ""
    sentence = f"The cluster has {cluster.place}; it starts {pluralize(plan.workers, 'worker')} with {each} each.{at}"
    tell("cluster", sentence, workers=plan.workers, cpus=plan.cpus, gpus=plan.gpus, dashboard=dashboard)


class RayCluster:
    """Implements `indexer.ports.cluster.Cluster`."""

    def __init__(self, plan: WorkerPlan, machines: int) -> None:
        self.plan = plan
        self.place = pluralize(machines, "machine")

    def share(self, make: Callable[[], object]) -> SharedObject:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
        return _Shared(ray.remote(_Holder).options(**options).remote(make))

    def open_executor(
        self, open_performer: Callable[[], Callable[[int, Sequence[Item]], Result]], page_items: int
    ) -> AbstractContextManager[Executor[Item, Result]]:
        from indexer.executors.ray_pages import RayPages

        return RayPages(open_performer, page_items, self.plan)


class _Holder:
    """Holds a shared object in its own process."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._object = make()

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return getattr(self._object, method)(*arguments)


class _Shared:
    """Implements `indexer.ports.cluster.SharedObject`."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder

    def call(self, method: str, *arguments: Any) -> Any:
        import ray

        return ray.get(self._holder.call.remote(method, arguments))

    def tell(self, method: str, *arguments: Any) -> None:
        self._holder.call.remote(method, arguments)
