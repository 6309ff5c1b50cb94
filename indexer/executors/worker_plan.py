"""The workers of a cluster, from the resources of its machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from indexer.domain.errors import DeviceUnavailable, UsageError
from indexer.ports.cluster import WorkerPlan

_MOST_CORES = 4
"""More cores for one process bring less: its threads share one interpreter lock."""


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
    with_gpus = [machine for machine in machines if machine.gpus and machine.cpus]
    if device == "cuda" and not with_gpus:
        raise DeviceUnavailable("No machine of the cluster offers a GPU; add one, or leave out --device.")
    if device != "cpu" and with_gpus:
        cores = min(machine.cpus // machine.gpus for machine in with_gpus)
        return WorkerPlan(sum(machine.gpus for machine in with_gpus), min(threads, cores) or max(1, cores), 1)
    with_cores = [machine.cpus for machine in machines if machine.cpus >= max(1, threads)]
    if not with_cores:
        raise DeviceUnavailable(
            f"No machine of the cluster offers {max(1, threads)} CPU cores; add one, or choose other --workers."
        )
    cores = threads or min(_MOST_CORES, *with_cores)
    return WorkerPlan(sum(count // cores for count in with_cores), cores, 0)
