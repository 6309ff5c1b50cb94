"""The address of a PostgreSQL database, and how it is shown: without its password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.system.optional import require

if TYPE_CHECKING:
    from sqlalchemy import URL

_DRIVER = "postgresql+psycopg"


def parse_address(address: str) -> URL:
    """Return the URL of an address such as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.

    Raises UsageError for an invalid one, without showing it, and MissingExtra if the driver is not installed.
    """
    require("psycopg", "'psycopg[binary]'", "postgres", "A library on PostgreSQL")
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise UsageError("The address of the store is not valid; it must be like postgresql://USER@HOST:5432/DATABASE.") from None
    return url.set(drivername=_DRIVER)


def place_of(url: URL) -> str:
    """Return the name of a database and its server, without user and password."""
    host = url.host or url.query.get("host") or "this machine"
    port = f":{url.port}" if url.port else ""
    return f"PostgreSQL database {url.database or url.username} on {host}{port}"
