"""The commands that find images: search, show."""

from __future__ import annotations

import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from commands.options import (
    MAX_COUNT,
    AsJson,
    Under,
    stdout,
    with_library,
)
from indexer.domain.emotions import OUTCOMES
from indexer.library import Library


class OutputFormat(StrEnum):
    """The formats of search results."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PATHS = "paths"
    HTML = "html"


def _emotion_names(incomplete: str) -> Iterable[str]:
    return [emotion for emotion in OUTCOMES if emotion.startswith(incomplete.lower())]


Emotion = Annotated[
    list[str] | None,
    typer.Option("--emotion", "-e", help="An emotion to find, by any synonym; may be repeated.", autocompletion=_emotion_names),
]
Not = Annotated[list[str] | None, typer.Option("--not", help="An emotion to exclude.", autocompletion=_emotion_names)]


@with_library("faces", "model", "device", "require_gpu", "engine", "precision")
def search(
    library: Library,
    image: Annotated[Path | None, typer.Argument(help="An image that results must resemble.", metavar="[IMAGE]")] = None,
    emotion: Emotion = None,
    excluded: Not = None,
    min_score: Annotated[float, typer.Option("--min-score", help="Minimum probability of the emotion, 0 to 1.")] = 0.0,
    like: Annotated[
        str | None, typer.Option("--like", help="An indexed image that results must resemble, by id or path.")
    ] = None,
    under: Under = None,
    limit: Annotated[int, typer.Option("-k", max=MAX_COUNT, help="Number of results.")] = 20,
    offset: Annotated[int, typer.Option("--offset", max=MAX_COUNT, help="Number of results to skip.")] = 0,
    exact_label: Annotated[bool, typer.Option("--exact-label", help="Exclude sub-emotions ('sad' without 'crying').")] = False,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Show near-duplicates once.")] = False,
    form: Annotated[OutputFormat, typer.Option("--format", "-f", help="Output format.")] = OutputFormat.TABLE,
    null: Annotated[bool, typer.Option("-0", "--null", help="End paths with NUL for xargs -0; implies --format paths.")] = False,
    open_sheet: Annotated[bool, typer.Option("--open", help="Open a contact sheet in the browser; implies html.")] = False,
) -> None:
    """Find images by emotion, by similarity to an image, or both."""
    from indexer.domain.queries import SearchRequest
    from indexer.search import service as search_service

    request = SearchRequest(
        image=os.fsencode(image) if image else None,
        like=os.fsencode(like) if like else None,
        emotions=tuple(emotion or ()),
        excluded=tuple(excluded or ()),
        exact_label=exact_label,
        min_score=min_score,
        under=os.fsencode(under) if under else None,
        limit=limit,
        offset=offset,
        dedupe=dedupe,
    )
    hits = search_service.search(library, request)
    if open_sheet or form is OutputFormat.HTML:
        from commands.output.contact_sheet import show_sheet
        from indexer.imaging.thumbnail import thumbnail

        with stdout() as out:
            show_sheet(hits, request, thumbnail, library.settings.home, open_sheet, out)
    else:
        from commands.output.hits import write_hits

        with stdout() as out:
            write_hits(hits, "paths" if null else form.value, "\0" if null else "\n", out)


@with_library("faces", "model", "device", "require_gpu", "engine", "precision")
def show(
    library: Library,
    path: Annotated[Path, typer.Argument(help="An image, indexed or not.", metavar="PATH")],
    as_json: AsJson = False,
) -> None:
    """Show the emotion probabilities of one image, face by face."""
    from commands.output.probabilities import write_bars
    from indexer.search import service as search_service

    hits = search_service.show(library, os.fsencode(path))
    with stdout() as out:
        write_bars(hits, as_json, out)
