"""The commands that find images: search, show."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
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
from commands.path_lists import FilesFrom, Null, all_paths, has_list
from indexer.domain.emotions import OUTCOMES
from indexer.domain.errors import UsageError
from indexer.library import Library
from indexer.system.events import log_event


class OutputFormat(StrEnum):
    """The formats of search results."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PATHS = "paths"
    HTML = "html"


_MAX_COUNTED = 10_000
"""Results that a table counts at most, because counting takes longer than searching."""


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
    image: Annotated[
        Path | None,
        typer.Argument(help="An image or a text that results must resemble, or an emotion.", metavar="[IMAGE|TEXT]"),
    ] = None,
    emotion: Emotion = None,
    excluded: Not = None,
    min_score: Annotated[float, typer.Option("--min-score", help="Minimum probability of the emotion, 0 to 1.")] = 0.0,
    like: Annotated[
        str | None, typer.Option("--like", help="An indexed image that results must resemble, by id or path.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", help="A text that results must resemble: girl + umbrella - rain."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag that images must have, by a tagger; may be repeated.")
    ] = None,
    excluded_tag: Annotated[list[str] | None, typer.Option("--not-tag", help="A tag that images must not have.")] = None,
    emotions_by: Annotated[
        str | None, typer.Option("--emotions-by", help="The model of the emotions, as --model.", metavar="MODEL")
    ] = None,
    similar_by: Annotated[
        str | None, typer.Option("--similar-by", help="Another model, by which images resemble each other.", metavar="MODEL")
    ] = None,
    under: Under = None,
    limit: Annotated[int, typer.Option("-k", max=MAX_COUNT, help="Number of results.")] = 20,
    offset: Annotated[int, typer.Option("--offset", max=MAX_COUNT, help="Number of results to skip.")] = 0,
    exact_label: Annotated[bool, typer.Option("--exact-label", help="Exclude sub-emotions ('sad' without 'crying').")] = False,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Show near-duplicates once.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Include hidden images.")] = False,
    form: Annotated[OutputFormat, typer.Option("--format", "-f", help="Output format.")] = OutputFormat.TABLE,
    null: Annotated[bool, typer.Option("-0", "--null", help="End paths with NUL for xargs -0; implies --format paths.")] = False,
    open_sheet: Annotated[bool, typer.Option("--open", help="Open a contact sheet in the browser; implies html.")] = False,
    copy_to: Annotated[
        Path | None, typer.Option("--copy-to", help="Copy the files into a folder; equal names get an ending.", metavar="FOLDER")
    ] = None,
    link_to: Annotated[Path | None, typer.Option("--link-to", help="Link to the files in a folder.", metavar="FOLDER")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the results, and their total without --dedupe.")
    ] = False,
) -> None:
    """Find images by emotion, by similarity to an image or a text, or all of these."""
    from indexer.domain.queries import SearchRequest, SearchResult
    from indexer.search import service as search_service

    if copy_to is not None and link_to is not None:
        raise UsageError("Give either --copy-to or --link-to, not both.")
    if as_json and (null or open_sheet or form not in (OutputFormat.TABLE, OutputFormat.JSON)):
        raise UsageError("--json is an output format; omit --format, --null and --open.")
    request = SearchRequest(
        image=os.fsencode(image) if image else None,
        like=os.fsencode(like) if like else None,
        emotions=tuple(emotion or ()),
        excluded=tuple(excluded or ()),
        exact_label=exact_label,
        min_score=min_score,
        under=tuple(map(os.fsencode, under or ())),
        limit=limit,
        offset=offset,
        dedupe=dedupe,
        hidden=hidden,
        tags=tuple(tag or ()),
        excluded_tags=tuple(excluded_tag or ()),
        similar_by=similar_by,
        texts=tuple(text or ()),
    )
    if emotions_by is not None:
        library = library.reopen(replace(library.settings, model=emotions_by))
    is_table = form is OutputFormat.TABLE and not (null or open_sheet)
    if as_json or is_table:
        result = search_service.search_and_count(library, request, None if as_json else _MAX_COUNTED)
    else:
        result = SearchResult(search_service.search(library, request))
    with stdout() as out:
        if open_sheet or form is OutputFormat.HTML:
            from functools import partial

            from commands.output.contact_sheet import show_sheet
            from indexer.imaging.thumbnail import thumbnail

            read = library.source.read
            show_sheet(result.hits, request, partial(thumbnail, read=read), library.settings.home, open_sheet, out)
        elif as_json or is_table:
            from commands.output.hits import write_result

            write_result(result, offset, as_json, out)
        else:
            from commands.output.hits import write_hits

            write_hits(result.hits, "paths" if null else form.value, "\0" if null else "\n", out)
    if offset and not result.hits and not is_table:
        from commands.output.hits import warn_past_the_end

        warn_past_the_end(offset)
    target = copy_to or link_to
    if target is not None:
        from commands.output.hits import report_collected
        from indexer.search.collect import collect

        report = collect(result.hits, os.fsencode(target), library.source, link=link_to is not None)
        with stdout() as out:
            report_collected(report, out if is_table and not as_json else None)
        raise typer.Exit(3 if report.missing else 0)


@with_library("faces", "model", "device", "require_gpu", "engine", "precision")
def show(
    library: Library,
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Images, indexed or not, or ids, or - for a list.", metavar="PATH...")
    ] = None,
    files_from: FilesFrom = None,
    null: Null = False,
    as_json: AsJson = False,
) -> None:
    """Show the emotion probabilities of images, face by face."""
    from commands.output.probabilities import write_bars, write_json
    from indexer.search import service as search_service

    wanted = all_paths(paths, files_from, null)
    if not wanted and not has_list(paths, files_from):
        raise UsageError("Give the images to show: PATH..., or a list with --files-from FILE.")
    is_single = len(wanted) == 1 and not has_list(paths, files_from)
    failed = 0

    def skip(error: UsageError) -> None:
        nonlocal failed
        if is_single:
            raise error
        failed += 1
        log_event("error", "failed", str(error))

    shown = search_service.show_all(library, wanted, skip)
    with stdout() as out:
        if as_json:
            write_json(list(shown), is_single, out)
        else:
            for hits in shown:
                write_bars(hits, out)
    raise typer.Exit(3 if failed else 0)
