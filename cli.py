#!/usr/bin/env python3
"""The command line: parse, make one call, render, exit. Commands import what they need, so that `--help` costs little."""

from __future__ import annotations

import gc

# Starting makes much and drops little: to look for garbage all the while is a twentieth of it. Set before the imports.
gc.set_threshold(200_000, 10, 10)

import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from commands import labels, maintenance, models, schedule, training
from commands.lazy_commands import build_only
from commands.options import (
    MOST,
    AsJson,
    BatchSize,
    Common,
    Device,
    Engine,
    Faces,
    Home,
    Model,
    Precision,
    RequireGpu,
    Workers,
    load_command_settings,
    stdout,
)
from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import DISK_ERRNOS, MoodexError, UsageError, disk_error

app = typer.Typer(
    name="moodex",
    help="Find drawn pictures by feeling: index folders of cartoons, manga, emoji and avatars, and search them by emotion.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_REFUSED: type[Exception] = typer.BadParameter.__bases__[0]
"""click's UsageError, which typer has from click or, since some version, brings itself."""


class Format(StrEnum):
    """How search results are written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PATHS = "paths"
    HTML = "html"


class LogFormat(StrEnum):
    """How warnings, errors and the service's log are written."""

    TEXT = "text"
    JSON = "json"


def _emotion_names(incomplete: str) -> Iterable[str]:
    return [emotion for emotion in EMOTIONS if emotion.startswith(incomplete.lower())]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"moodex {version('moodex')}")  # noqa: T201
        except PackageNotFoundError:
            print("moodex (not installed)")  # noqa: T201
        raise typer.Exit


Emotion = Annotated[
    list[str] | None,
    typer.Option("--emotion", "-e", help="An emotion to find, by any name; may be repeated.", autocompletion=_emotion_names),
]
Not = Annotated[list[str] | None, typer.Option("--not", help="An emotion to leave out.", autocompletion=_emotion_names)]


@app.callback()
def common(
    context: typer.Context,
    home: Home = None,
    log_format: Annotated[
        LogFormat | None, typer.Option("--log-format", help="What stderr is written as: text or json. (MOODEX_LOG_FORMAT)")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr. (MOODEX_VERBOSITY=verbose)")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, and errors alone on stderr. (MOODEX_VERBOSITY=quiet)")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a trace with errors; may stand anywhere. (MOODEX_DEBUG)")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""
    _speak_as(log_format)
    if verbose and quiet:
        raise UsageError("Say either --verbose or --quiet, not both.")
    verbosity = "verbose" if verbose else "quiet" if quiet else None
    context.obj = Common(home, log_format and log_format.value, verbosity)


@app.command("index")
def index_command(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Folders and picture files.", metavar="PATH...")],
    model: Model = None,
    device: Device = None,
    require_gpu: RequireGpu = None,
    batch_size: BatchSize = None,
    workers: Workers = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Skip what matches, as in .gitignore; may be repeated.")] = None,
    follow_symlinks: Annotated[bool, typer.Option("--follow-symlinks", help="Follow links to files and folders.")] = False,
    prune: Annotated[
        bool | None,
        typer.Option("--prune/--no-prune", help="Forget vanished files, or keep them. (default: forget them where it is safe)"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --prune: even where a folder is missing, empty, or has lost most of its files.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Look at every file anew.")] = False,
    faces: Faces = None,
    engine: Engine = None,
    precision: Precision = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and index what changes within seconds, until stopped.")] = False,
    poll: Annotated[
        float | None,
        typer.Option("--poll", min=1, help="With --watch: look every so often instead of being told.", metavar="SECONDS"),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> NoReturn:
    """Look at every picture under the given paths and remember what it feels like."""
    from commands.logs import say
    from commands.output.progress import TerminalProgress
    from commands.output.summary import write_summary
    from indexer.ingest import service as ingest_service
    from indexer.ingest.run import IndexOptions
    from indexer.ports.sources import ScanOptions

    settings = load_command_settings(
        context,
        service=watch,
        home=home,
        model=model,
        device=device,
        require_gpu=require_gpu,
        batch_size=batch_size,
        workers=workers,
        faces=faces,
        engine=engine,
        precision=precision,
    )
    if yes and not prune:
        raise UsageError("--yes confirms --prune; say both.")
    if poll is not None and not watch:
        raise UsageError("--poll says how --watch looks; say both.")
    scan = ScanOptions(exclude=tuple(exclude or ()), follow_symlinks=follow_symlinks)
    options = IndexOptions(scan=scan, prune=None if prune and not yes else prune, force=force)
    given = [os.fsencode(path) for path in paths]
    if watch:
        from indexer.scheduling.watch import watch as run_watch

        with stdout() as out:
            run_watch(
                settings, given, options, poll, schedule.run_callbacks(), lambda done: write_summary(done, as_json, out, now=True)
            )
    summary = ingest_service.index(settings, given, options, TerminalProgress())
    say("info", "run_done", f"Indexed in {summary.seconds:.1f} s.", **summary.as_dict())
    with stdout() as out:
        write_summary(summary, as_json, out)
    raise typer.Exit(summary.exit_code)


@app.command("search")
def search_command(
    context: typer.Context,
    image: Annotated[Path | None, typer.Argument(help="A picture that results must resemble.", metavar="[IMAGE]")] = None,
    emotion: Emotion = None,
    excluded: Not = None,
    min_score: Annotated[float, typer.Option("--min-score", help="The least probability, 0 to 1.")] = 0.0,
    like: Annotated[str | None, typer.Option("--like", help="As IMAGE, but an indexed picture, by id or path.")] = None,
    under: Annotated[Path | None, typer.Option("--under", help="Only pictures below this folder.")] = None,
    limit: Annotated[int, typer.Option("-k", max=MOST, help="How many results.")] = 20,
    offset: Annotated[int, typer.Option("--offset", max=MOST, help="How many results to skip.")] = 0,
    exact_label: Annotated[bool, typer.Option("--exact-label", help="'sad' no longer finds 'crying'.")] = False,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Show equal and nearly equal pictures once.")] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to write the results.")] = Format.TABLE,
    null: Annotated[bool, typer.Option("-0", "--null", help="End paths with NUL, for xargs -0; implies --format paths.")] = False,
    open_sheet: Annotated[bool, typer.Option("--open", help="Show a contact sheet in the browser; implies html.")] = False,
    faces: Faces = None,
    model: Model = None,
    device: Device = None,
    require_gpu: RequireGpu = None,
    engine: Engine = None,
    precision: Precision = None,
    home: Home = None,
) -> None:
    """Find pictures by what they feel like, by what they look like, or both at once."""
    from indexer.domain.queries import SearchRequest
    from indexer.search import service as search_service

    settings = load_command_settings(
        context,
        home=home,
        model=model,
        device=device,
        require_gpu=require_gpu,
        faces=faces,
        engine=engine,
        precision=precision,
    )
    question = SearchRequest(
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
    hits = search_service.search(settings, question)
    if open_sheet or form is Format.HTML:
        from commands.output.contact_sheet import show_sheet
        from indexer.imaging.thumbnail import thumbnail

        with stdout() as out:
            show_sheet(hits, question, thumbnail, settings.home, open_sheet, out)
    else:
        from commands.output.hits import write_hits

        with stdout() as out:
            write_hits(hits, "paths" if null else form.value, "\0" if null else "\n", out)


@app.command("show")
def show_command(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A picture, indexed or not.", metavar="PATH")],
    as_json: AsJson = False,
    faces: Faces = None,
    model: Model = None,
    device: Device = None,
    require_gpu: RequireGpu = None,
    engine: Engine = None,
    precision: Precision = None,
    home: Home = None,
) -> None:
    """Show how probable every emotion is for one picture, or for each face in it."""
    from commands.output.probabilities import write_bars
    from indexer.search import service as search_service

    settings = load_command_settings(
        context,
        home=home,
        model=model,
        device=device,
        require_gpu=require_gpu,
        faces=faces,
        engine=engine,
        precision=precision,
    )
    hits = search_service.show(settings, os.fsencode(path))
    with stdout() as out:
        write_bars(hits, as_json, out)


@app.command("status")
def status_command(
    context: typer.Context,
    failures: Annotated[int, typer.Option("--failures", min=0, max=MOST, help="How many failed files to list.")] = 5,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show what is indexed, with which models, what failed and why."""
    from commands.output.status import write_status
    from indexer.maintenance import status as status_service

    status = status_service.status(load_command_settings(context, home=home), failures)
    with stdout() as out:
        write_status(status, as_json, out)


labels.add_to(app)
training.add_to(app)
schedule.add_to(app)
maintenance.add_to(app)
app.add_typer(models.app, name="models")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: errors become one sentence on stderr."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called: what is written there goes nowhere
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    words, debug = _without_debug(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse_empty(words)
        code = app(words, prog_name="moodex", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except _REFUSED as error:
        return _refused(error)
    except KeyboardInterrupt:
        return _report("Interrupted.", 130)
    except MoodexError as error:
        if debug and not isinstance(error, UsageError):
            _trace()
        return _report(str(error), error.exit_code)
    except Exception as error:
        if debug:
            _trace()
        return _report(_sentence(error), 1)
    return code if isinstance(code, int) else 0


def _sentence(error: Exception) -> str:
    """What is said of an error that nobody foresaw."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return str(disk_error(error.filename or "A file", error))
    return f"Unexpected {type(error).__name__}: {error}. Please report it; moodex --debug ... shows where."


def _refuse_empty(words: Sequence[str]) -> None:
    """Raise UsageError for an argument without a letter: as a path it would be the current folder."""
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
        raise UsageError("An argument is empty, perhaps for a variable that is not set; leave it out, or say . for this folder.")


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """`--debug` is about the program, not about a command: it may stand anywhere before a bare `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != "--debug"]
    return [*words, *arguments[end:]], len(words) < end or bool(os.environ.get("MOODEX_DEBUG"))


def _trace() -> None:
    """Write where the error at hand came from; the files and words in it are shown as safely as everywhere."""
    import traceback

    from indexer.system.text import printable

    sys.stderr.write("".join(f"{printable(line)}\n" for line in traceback.format_exc().splitlines()))


def _refused(error: Any) -> int:
    """Say what is wrong with a command line as all errors are said: typer would let its words reach the terminal raw."""
    if type(error).__name__ == "NoArgsIsHelpError":  # nothing is wrong, and help was asked for without a word
        error.show()
        return int(error.exit_code)
    where = error.ctx.command_path if error.ctx else "moodex"
    if error.ctx:
        _speak_as(error.ctx.find_root().params.get("log_format"))  # `common` is not called for a command that does not exist
    return _report(f"{error.format_message()} See: {where} --help", int(error.exit_code))


def _speak_as(log_format: str | None) -> None:
    """Choose how errors are written before the settings are known."""
    from commands import logs

    logs.speak_as(str(log_format or os.environ.get("MOODEX_LOG_FORMAT") or "text"))


def _report(sentence: str, code: int) -> int:
    from commands import logs

    logs.say("error", "error", sentence, exit_code=code)
    return code


def main() -> NoReturn:
    """The entry point of the installed `moodex`."""
    if not any(name.endswith("_COMPLETE") for name in os.environ):  # what a shell asks for to complete a word
        build_only(app, set(sys.argv[1:]))
    code = run()
    gc.freeze()  # the memory goes back as it is: to look for garbage in it once more would take a sixth of a search's time
    sys.exit(code)


if __name__ == "__main__":
    main()
