"""Tools for an assistant or a chat bot: search, show, label and status. Images are named by id; no tool takes a path."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from indexer.bootstrap import open_serving_library
from indexer.domain.errors import MoodexError
from indexer.domain.queries import SearchRequest
from indexer.imaging.decoder_pool import DecoderPool
from indexer.imaging.thumbnail import isolated_thumbnail
from indexer.labels import service as labels_service
from indexer.maintenance import status as status_service
from indexer.plain_data.hits import hit_as_dict
from indexer.plain_data.labels import changes_as_dict
from indexer.plain_data.runs import status_as_dict
from indexer.search import pictures
from indexer.search import service as search_service
from indexer.search.texts import MAX_CHARACTERS

if TYPE_CHECKING:
    from indexer.domain.queries import Hit
    from indexer.library import Library
    from indexer.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

_MAX_RESULTS, _MAX_LABELED, _MAX_WORDS = 50, 1000, 20
_PICTURE_SIDE = 384
_SHOWN_FAILURES = 5
_INSTRUCTIONS = (
    "A library of drawings with the emotions of their faces. Search by emotion, by an image of the library (more of this "
    "character), or both (this character, but happy). Results name images by image_id, and give the path of each file."
)

ImageId = Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$", description="The image_id of a result, or its first digits.")]
Words = Annotated[list[str], Field(max_length=_MAX_WORDS)]

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


def run(settings: Settings) -> None:
    """Answer an assistant on standard input and output, until the input ends."""
    decoders = DecoderPool()
    library, close = open_serving_library(settings, decoders)
    try:
        tools_of(library, decoders).run("stdio")
    finally:
        close()
        decoders.end()


def tools_of(library: Library, decoders: DecoderPool) -> MCPServer:
    """Return a server with the tools of a library. Images are decoded in the child processes of `decoders`."""
    server = MCPServer("moodex", instructions=_INSTRUCTIONS)

    @server.tool(annotations=_READS)
    @_explained
    def search(
        emotions: Words = [],  # noqa: B006  # the library of the tools reads it, and nobody changes it
        exclude: Words = [],  # noqa: B006
        tags: Words = [],  # noqa: B006
        like: ImageId | None = None,
        text: Annotated[str, Field(min_length=1, max_length=MAX_CHARACTERS)] | None = None,
        min_score: Annotated[float, Field(ge=0, le=1)] = 0.0,
        limit: Annotated[int, Field(ge=1, le=_MAX_RESULTS)] = 10,
        distinct: bool = False,
    ) -> list[dict[str, Any]]:
        """Find images by emotion, by similarity to an image of the library, by text, or all of these; best first.

        `emotions` and `exclude` are words such as happy, sad, crying or angry. `distinct` shows near-duplicates once.
        `tags` are words of a tagger, such as smile or 1girl, that images must have.
        `text` needs a model with a text encoder; its terms may be added and subtracted, as in: girl + umbrella - rain.
        """
        request = SearchRequest(
            emotions=tuple(emotions),
            excluded=tuple(exclude),
            tags=tuple(tags),
            like=None if like is None else os.fsencode(like),
            texts=() if text is None else (text,),
            min_score=min_score,
            limit=limit,
            dedupe=distinct,
            all_images=True,
        )
        return [_as_text(hit) for hit in search_service.search(library, request)]

    @server.tool(annotations=_READS, structured_output=False)
    @_explained
    def show(image_id: ImageId) -> list[Any]:
        """Show an image: the emotion probabilities of each face, the largest first, and a small picture."""
        full = pictures.full_id(library, image_id)
        image = pictures.image(library, full)
        with pictures.open_unchanged(pictures.files_of(library, full), library.source).file as file:
            thumbnail, _ = isolated_thumbnail(file.read(), _PICTURE_SIDE, decoders)
        return [{"faces": [_as_text(hit) for hit in image.hits], "hidden": image.hidden}, Image(data=thumbnail, format="webp")]

    @server.tool(annotations=_WRITES)
    @_explained
    def label(
        image_ids: Annotated[list[ImageId], Field(min_length=1, max_length=_MAX_LABELED)],
        emotion: str | None,
        new: bool = False,
    ) -> dict[str, Any]:
        """Label images with an emotion, which overrides the model; null removes their labels.

        `new` allows an emotion that moodex does not know.
        """
        emotions = {pictures.full_id(library, image_id): emotion for image_id in image_ids}
        return changes_as_dict(labels_service.label_images(library, emotions, new).changed)

    @server.tool(annotations=_READS)
    @_explained
    def status() -> dict[str, Any]:
        """Tell how many images the library has, by which models, and how the last index runs ended."""
        return status_as_dict(status_service.status(library, _SHOWN_FAILURES))

    return server


def _explained(tool: Callable[P, T]) -> Callable[P, T]:
    """Let a tool answer an error of moodex with its sentence."""

    @wraps(tool)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return tool(*args, **kwargs)
        except MoodexError as error:
            raise ToolError(str(error)) from error

    return call


def _as_text(hit: Hit) -> dict[str, Any]:
    """Return a hit as data for JSON. Bytes of the path that are not UTF-8 are escaped: the protocol cannot carry them."""
    return {**hit_as_dict(hit), "path": hit.path.decode("utf-8", "backslashreplace")}
