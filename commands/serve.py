"""The command that serves the page and the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.options import stdout, with_settings
from indexer.settings import Settings

_PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "jinja2": "jinja2", "python_multipart": "python-multipart"}
"""The packages of the extra, by the name of their module."""


@with_settings("faces", "model", "device", "require_gpu", "engine", "precision")
def serve(
    settings: Settings,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at. Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen at; 0 takes a free one.")] = 8765,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Further host name of this server; may be repeated.", metavar="NAME")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a web page and an HTTP API: look, search, correct and teach in a browser."""
    from commands import logs
    from indexer.system.optional import require

    for module, package in _PACKAGES.items():
        require(module, package, "web", "The web page")
    from web.server import serve as run_server

    logs.configure(settings.log_format, settings.verbosity, service=True)

    def announce(address: str) -> None:
        with stdout() as out:
            out.write(f"{address}\n")
            out.flush()
        if open_it:
            typer.launch(address)

    run_server(settings, host, port, allow_host or (), announce)
