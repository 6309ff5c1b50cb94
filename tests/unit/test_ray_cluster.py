"""Addresses of clusters that cannot be used, and what a run says first. The cluster itself is in tests/cluster."""

from __future__ import annotations

import logging
import pickle
import socket
from pathlib import Path

import pytest

from indexer.bootstrap import open_library
from indexer.domain.errors import Unavailable, UsageError
from indexer.executors.ray_cluster import RayCluster, announce, ray_cluster
from indexer.ports.cluster import WorkerPlan
from indexer.settings import Settings
from indexer.system.events import NOTICES


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:port", ""])
def test_an_address_of_another_form_is_an_error(address: str) -> None:
    with pytest.raises(UsageError, match="give auto, or the address of the head"), ray_cluster(address, "auto", 0):
        pass


def test_an_address_where_nothing_answers_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(Unavailable, match=f"No Ray cluster answers at '{address}'.*ray start --head"),
            ray_cluster(address, "cpu", 0),
        ):
            pass


def test_a_run_tells_its_workers_and_the_dashboard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, NOTICES)
    announce(RayCluster(WorkerPlan(12, 4, 1), 3), "127.0.0.1:8265")
    announce(RayCluster(WorkerPlan(1, 1, 0), 1), None)
    assert caplog.messages == [
        "The cluster has 3 machines; it starts 12 workers with 4 cores and a GPU each. The dashboard is at http://127.0.0.1:8265.",
        "The cluster has 1 machine; it starts 1 worker with 1 core each.",
    ]


def test_workers_get_what_they_need_and_no_password(tmp_path: Path) -> None:
    library = open_library(Settings(tmp_path, store="postgresql://me:secret@host/pictures", cluster="auto"))
    assert library.cluster is not None
    sent = pickle.dumps((library.cluster.open_analyzer, library.cluster.open_source, library.open_executor))
    assert b"moodex-lite0" in sent and b"secret" not in sent
    assert pickle.loads(pickle.dumps(library.database)).place == library.database.place  # for the register, on this machine
    assert open_library(Settings(tmp_path)).cluster is None
