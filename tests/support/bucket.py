"""A fake S3 server in this process, and buckets in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import boto3
import pytest
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

from indexer.sources.archives import processes
from indexer.sources.archives.processes import ArchiveProcesses

_NUMBERS = count()


class Bucket:
    """A bucket with objects that are not empty. `address` is that of moodex."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self.name = client, name
        self.address = f"s3://{name}"
        client.create_bucket(Bucket=name)

    def put(self, objects: Mapping[str, bytes]) -> None:
        for key, data in objects.items():
            self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def keep_versions(self) -> None:
        self._client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def fill(self, objects: Mapping[str, bytes]) -> None:
        """Put many objects at once, without a request for each."""
        store = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
        for key, data in objects.items():
            store.put_object(self.name, key, data)

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._client.delete_object(Bucket=self.name, Key=key)


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Start a server and make a bucket in it; the environment leads moodex there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        use_endpoint(monkeypatch, endpoint)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        yield Bucket(client, f"pictures-{next(_NUMBERS)}")
        client.close()
    finally:
        server.stop()


def use_endpoint(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Lead moodex to a server."""
    values = {"ENDPOINT_URL": endpoint, "REGION": "us-east-1", "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}
    for name, value in values.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@contextmanager
def new_processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Open archives in child processes that have the present environment, and end them."""
    made = ArchiveProcesses()
    monkeypatch.setattr(processes, "shared_processes", lambda: made)
    try:
        yield
    finally:
        made.end()
