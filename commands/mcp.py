"""The command that answers assistants by the Model Context Protocol."""

from __future__ import annotations

from commands.options import with_settings
from indexer.settings import Settings


@with_settings("faces", "model")
def mcp(settings: Settings) -> None:
    """Answer an assistant on standard input and output (MCP): search, show, label, status."""
    from indexer.system.optional import require

    require("mcp", "mcp", "mcp", "moodex mcp")
    from assistant.server import run

    run(settings)
