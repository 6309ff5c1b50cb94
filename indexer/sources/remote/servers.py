"""The server of an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.system.addresses import WEB, scheme_of

if TYPE_CHECKING:
    from indexer.sources.remote.server import FileServer


def open_server(path: bytes) -> FileServer:
    """Return the server of an address in its one form. Raises MissingExtra, and Unreadable if it cannot be used."""
    address = b"/".join(path.split(b"/", 3)[:3])
    if scheme_of(address) in WEB:
        from indexer.sources.remote.websites import open_website

        return open_website(address)
    from indexer.sources.remote.buckets import open_bucket

    return open_bucket(address)
