from __future__ import annotations

import pytest

from indexer.domain.errors import DeviceUnavailable, UsageError
from indexer.executors.worker_plan import Machine, plan_workers
from indexer.ports.cluster import WorkerPlan


@pytest.mark.parametrize(
    ("machines", "device", "threads", "plan"),
    [
        ([Machine(16, 0), Machine(8, 0)], "auto", 0, WorkerPlan(6, 4, 0)),
        ([Machine(1, 0), Machine(1, 0), Machine(1, 0)], "auto", 0, WorkerPlan(3, 1, 0)),
        ([Machine(0, 0), Machine(6, 0)], "cpu", 0, WorkerPlan(2, 3, 0)),
        ([Machine(1, 0), Machine(16, 0)], "auto", 0, WorkerPlan(4, 4, 0)),
        ([Machine(2, 0), Machine(16, 0)], "auto", 0, WorkerPlan(9, 2, 0)),
        ([Machine(16, 0), Machine(2, 0)], "cpu", 8, WorkerPlan(2, 8, 0)),
        ([Machine(16, 2), Machine(8, 1), Machine(64, 0)], "auto", 0, WorkerPlan(3, 8, 1)),
        ([Machine(16, 2)], "cuda", 3, WorkerPlan(2, 3, 1)),
        ([Machine(16, 2)], "cpu", 0, WorkerPlan(4, 4, 0)),
        ([Machine(2, 4)], "auto", 0, WorkerPlan(2, 1, 1)),
    ],
)
def test_workers_fit_the_machines(machines: list[Machine], device: str, threads: int, plan: WorkerPlan) -> None:
    assert plan_workers(machines, device, threads) == plan


def test_workers_that_fit_no_machine_are_an_error() -> None:
    with pytest.raises(DeviceUnavailable, match="offers a GPU"):
        plan_workers([Machine(16, 0)], "cuda", 0)
    with pytest.raises(DeviceUnavailable, match="offers 8 CPU cores"):
        plan_workers([Machine(4, 0)], "cpu", 8)
    with pytest.raises(DeviceUnavailable, match="offers 1 CPU core;"):
        plan_workers([Machine(0, 0)], "auto", 0)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_device_of_one_machine_is_an_error(device: str) -> None:
    with pytest.raises(UsageError, match="choose auto, cpu or cuda"):
        plan_workers([Machine(4, 1)], device, 0)
