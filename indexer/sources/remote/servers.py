"""The server of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.system.addresses import WEB, scheme_of
from indexer.system.optional import require

if TYPE_CHECKING:
    from indexer.sources.remote.server import FileServer


def open_server(path: bytes) -> FileServer:
    """Return the server of an address in its one form. Raises MissingExtra, and Unreadable if it cannot be used."""
    address = server_of(path)
    if scheme_of(address) in WEB:
        require("urllib3", "urllib3", "objects", "A web server")
        from indexer.sources.remote.websites import open_website

        return open_website(address)
    from indexer.sources.remote.buckets import open_bucket

    return open_bucket(address)


def server_of(path: bytes) -> bytes:
    """Return the address of the bucket or the web server of an address."""
    return b"/".join(path.split(b"/", 3)[:3])
