"""The server: its socket, its signals, and its life from the first request to the last."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from indexer.domain.errors import MoodexError
from indexer.system.signals import graceful_stop
from web.access import access_to
from web.app import create_app
from web.serving import open_serving

if TYPE_CHECKING:
    from indexer.settings import Settings
    from web.serving import Serving

_BACKLOG = 128
_MAX_REQUESTS = 256
"""Connections at a time; more get the status 503."""

_IDLE_SECONDS = 15
_LAST_SECONDS = 5
"""Time for requests to finish after a signal."""


class _Server(uvicorn.Server):
    """A server that ends streams of events after a signal, for which it would wait."""

    def __init__(self, config: uvicorn.Config, serving: Serving) -> None:
        super().__init__(config)
        self._serving = serving

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._serving.is_ending.set()
        super().handle_exit(sig, frame)


def serve(settings: Settings, host: str, port: int, names: Sequence[str], announce: Callable[[str], None]) -> None:
    """Serve the page and the API of a library until a signal stops it.

    `host` is the address to listen at, `port` 0 any free one, `names` further host names of this server. `announce` is called
    with the address to open, once connections are accepted. Raises MoodexError if the address cannot be used, and Interrupted.
    """
    settings.make_home()
    access = access_to(host, names, settings.home)
    with _listening(host, port) as listener, graceful_stop("the server has ended") as check_stop:
        serving = open_serving(settings)
        config = uvicorn.Config(
            create_app(serving, access),
            log_config=None,
            access_log=False,  # an address may hold the token
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_REQUESTS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_LAST_SECONDS,
        )
        announce(_address(listener, host, access.token))
        _Server(config, serving).run(sockets=[listener])
        check_stop()


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        sentence = f"Cannot listen at {host}, port {port}: {error.strerror or error}. Choose another --port or --host."
        raise MoodexError(sentence) from error
    return listener


def _address(listener: socket.socket, host: str, token: str | None) -> str:
    port = listener.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
