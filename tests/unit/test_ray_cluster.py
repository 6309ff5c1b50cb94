"""Addresses of clusters that cannot be used. The cluster itself is in tests/cluster."""

from __future__ import annotations

import socket

import pytest

from indexer.domain.errors import Unavailable, UsageError
from indexer.executors.ray_cluster import ray_cluster


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
