"""The tools for assistants, over the example images, asked by the client of the protocol's SDK in this process."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.server.mcpserver import MCPServer

from assistant.server import tools_of
from indexer.bootstrap import open_serving_library
from indexer.imaging.decoder_pool import DecoderPool
from indexer.settings import Settings
from tests.e2e.conftest import ROOT, Run, environment
from tests.support.tagged import add_tags


@pytest.fixture
def server(examples_home: Path, tmp_path: Path) -> Iterator[MCPServer]:
    home = Path(shutil.copytree(examples_home, tmp_path / "home"))
    decoders = DecoderPool()
    library, close = open_serving_library(Settings(home=home), decoders)
    yield tools_of(library, decoders)
    close()
    decoders.end()


def call(server: MCPServer, tool: str, **arguments: Any) -> Any:
    """Call a tool; return its result."""

    async def ask() -> Any:
        async with Client(server) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(ask)


def answer(server: MCPServer, tool: str, **arguments: Any) -> Any:
    """Return the data that a tool answers, which must be no error."""
    result = call(server, tool, **arguments)
    assert not result.is_error, result.content
    data = result.structured_content
    return data["result"] if set(data) == {"result"} else data


def error(server: MCPServer, tool: str, **arguments: Any) -> str:
    result = call(server, tool, **arguments)
    assert result.is_error
    return str(result.content[0].text)


def test_the_tools_describe_themselves(server: MCPServer) -> None:
    async def ask() -> Any:
        async with Client(server) as client:
            return await client.list_tools()

    tools = {tool.name: tool for tool in anyio.run(ask).tools}
    assert set(tools) == {"search", "show", "label", "status"}
    assert all(tool.description for tool in tools.values())
    assert [tool.annotations.read_only_hint for tool in tools.values()] == [True, True, False, True]


def test_a_happy_one_of_this_character(server: MCPServer, examples_moodex: Run) -> None:
    sad = answer(server, "search", emotions=["sad"], limit=1)[0]
    happy = answer(server, "search", emotions=["joyful"], like=sad["image_id"], limit=3)
    printed = json.loads(examples_moodex("search", "--like", sad["image_id"], "-e", "happy", "-k", "3", "-f", "json").stdout)
    assert happy == printed
    assert happy == answer(server, "search", emotions=["happy"], like=sad["image_id"][:8], limit=3)
    assert len(answer(server, "search")) == 10


def test_an_image_is_shown_with_a_picture(server: MCPServer) -> None:
    image_id = answer(server, "search", limit=1)[0]["image_id"]
    result = call(server, "show", image_id=image_id[:12])
    assert not result.is_error, result.content
    kinds = [content.type for content in result.content]
    assert kinds == ["text", "image"]
    assert json.loads(result.content[0].text)["faces"][0]["image_id"] == image_id
    assert result.content[1].mime_type == "image/webp"


def test_labels_override_the_model(server: MCPServer) -> None:
    image_id = answer(server, "search", emotions=["happy"], limit=1)[0]["image_id"]
    assert answer(server, "label", image_ids=[image_id], emotion="angry") == {"changed": 1, "unchanged": 0}
    best = answer(server, "search", emotions=["angry"], limit=1)[0]
    assert (best["image_id"], best["label"], best["score"]) == (image_id, "angry", 1.0)
    assert answer(server, "label", image_ids=[image_id], emotion=None)["changed"] == 1
    assert "Unknown emotion" in error(server, "label", image_ids=[image_id], emotion="smug")


@pytest.mark.process
def test_a_program_starts_the_tools_and_speaks_over_its_input(examples_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(examples_home, tmp_path / "home"))
    started = StdioServerParameters(command=sys.executable, args=[str(ROOT / "cli.py"), "mcp"], env=environment(home))

    async def ask() -> Any:
        async with Client(stdio_client(started)) as client:
            return await client.call_tool("search", {"emotions": ["happy"], "limit": 2})

    result = anyio.run(ask)
    assert not result.is_error, result.content
    assert [hit["emotion"] in ("happy", "pleased") for hit in result.structured_content["result"]] == [True, True]


def test_the_status(server: MCPServer) -> None:
    assert answer(server, "status")["images"] == 66


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("show", {"image_id": "/etc/passwd"}),
        ("show", {"image_id": "ab" * 32}),
        ("search", {"like": "../secret"}),
        ("search", {"limit": 1000}),
        ("search", {"emotions": ["blue"]}),
        ("label", {"image_ids": [], "emotion": "sad"}),
        ("label", {"image_ids": ["ab" * 32], "emotion": "sad"}),
    ],
)
def test_what_tools_refuse(server: MCPServer, tool: str, arguments: dict[str, Any]) -> None:
    assert error(server, tool, **arguments)


def test_images_are_found_by_tag(server: MCPServer, tmp_path: Path) -> None:
    add_tags(tmp_path / "home/moodex.sqlite")
    found = answer(server, "search", tags=["comic"])
    assert [hit["tags"] for hit in found] == [{"1girl": 0.9, "comic": 0.5}] * 2
    assert "No image has the tag 'nonsense'" in error(server, "search", tags=["nonsense"])
