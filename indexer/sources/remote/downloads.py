"""The images of tables of URLs, which anybody may have written."""

from __future__ import annotations

from indexer.domain.errors import Damaged
from indexer.sources.remote.server import too_large
from indexer.sources.remote.web_client import WebClient
from indexer.system.safe_read import MAX_FILE_BYTES

_RETRIES = 2
"""Many addresses of old tables do not answer any more: a run does not wait long for each."""


class Downloads:
    """Downloads images. Thread-safe. `reaches_private` is whether addresses in private networks are reached."""

    def __init__(self, reaches_private: bool) -> None:
        self._client = WebClient(reaches_private, may_follow=lambda _, __: True, retries=_RETRIES)

    def read(self, url: str) -> bytes:
        """Return the bytes at a URL.

        Raises Damaged if there is nothing, or too much, and Unreadable if its server does not give it now.
        """
        try:
            answer = self._client.request("GET", url)
        except FileNotFoundError as error:
            raise Damaged(f"its address leads to nothing: the server answers {error.errno}") from error
        data = bytearray()
        for chunk in answer.chunks:
            data += chunk
            if len(data) > MAX_FILE_BYTES:
                raise too_large(len(data))
        return bytes(data)
