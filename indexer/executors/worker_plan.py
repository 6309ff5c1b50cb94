"""The workers of a cluster, from the resources of its machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from indexer.domain.errors import DeviceUnavailable, UsageError
from indexer.ports.cluster import WorkerPlan
from indexer.system.text import pluralize

_MOST_CORES = 4
"""More cores for one process bring less: its threads share one interpreter lock."""

_MOST_IDLE = 0.1


class Machine(NamedTuple):
    """The CPU cores and GPUs that a cluster may use of a machine."""

    cpus: int
    gpus: int


def plan_workers(machines: Sequence[Machine], device: str, threads: int) -> WorkerPlan:
    """Return the workers for all machines: one for each GPU, or else one for a few cores.

    `device` and `threads` are the settings `device` and `workers`. Raises UsageError for a device that workers cannot share, and
    DeviceUnavailable if no machine has what a worker needs.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device is {device!r}; on a cluster, each worker has a device of its own: choose auto, cpu or cuda.")
    if device == "cuda" and not any(machine.gpus for machine in machines):
        raise DeviceUnavailable("No machine of the cluster offers a GPU; add one, or leave out --device.")
    if device != "cpu" and any(machine.gpus for machine in machines):
        shares = [machine.cpus // machine.gpus for machine in machines if machine.gpus]
        cores = max(1, min(shares if not threads else (*shares, threads)))
        return WorkerPlan(sum(min(machine.gpus, machine.cpus // cores) for machine in machines), cores, 1)
    cores = threads or _cores_of_a_worker(machines)
    workers = _workers(machines, cores)
    if not workers:
        raise DeviceUnavailable(f"No machine of the cluster offers {pluralize(cores, 'CPU core')}; add one, or choose --workers.")
    return WorkerPlan(workers, cores, 0)


def _cores_of_a_worker(machines: Sequence[Machine]) -> int:
    """Return the greatest number of cores with which workers leave at most a tenth of all cores idle."""
    enough = (1 - _MOST_IDLE) * max(1, sum(machine.cpus for machine in machines))
    return next((cores for cores in range(_MOST_CORES, 1, -1) if cores * _workers(machines, cores) >= enough), 1)


def _workers(machines: Sequence[Machine], cores: int) -> int:
    return sum(machine.cpus // cores for machine in machines)
