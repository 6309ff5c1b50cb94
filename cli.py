#!/usr/bin/env python3
"""The program moodex, with the options of all commands. A command is imported when it is used, so that `--help` is fast."""

from __future__ import annotations

import gc

# Start-up allocates many objects and frees few: the default garbage collection takes 5% of it. Set this before the imports.
gc.set_threshold(200_000, 10, 10)

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, NoReturn

try:
    import typer
except ModuleNotFoundError:
    sys.stderr.write("moodex: This Python lacks moodex's packages; install them with make demo, then run .venv/bin/moodex.\n")
    sys.exit(6)

from commands import errors, logs
from commands.lazy_commands import LazyCommands
from commands.options import Common, Home, StoreAddress
from indexer.domain.errors import UsageError

app = typer.Typer(
    name="moodex",
    cls=LazyCommands,
    help="Search drawings by emotion: index folders of cartoons, manga, emoji and avatars.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


class LogFormat(StrEnum):
    """The formats of the log on stderr."""

    TEXT = "text"
    JSON = "json"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"moodex {version('moodex')}")  # noqa: T201
        except PackageNotFoundError:
            print("moodex (not installed)")  # noqa: T201
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    home: Home = None,
    store: StoreAddress = None,
    log_format: Annotated[
        LogFormat | None, typer.Option("--log-format", help="Format of the log on stderr: text or json. (MOODEX_LOG_FORMAT)")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more to stderr. (MOODEX_VERBOSITY=verbose)")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress, only errors on stderr. (MOODEX_VERBOSITY=quiet)")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may be given anywhere. (MOODEX_DEBUG)")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of every command, before or after it."""
    logs.configure((log_format and log_format.value) or os.environ.get("MOODEX_LOG_FORMAT") or "text")
    if verbose and quiet:
        raise UsageError("Give either --verbose or --quiet, not both.")
    verbosity = "verbose" if verbose else "quiet" if quiet else None
    context.obj = Common(home, log_format and log_format.value, verbosity, store)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; see `commands.errors.run`."""
    return errors.run(app, sys.argv[1:] if arguments is None else arguments)


def main() -> NoReturn:
    """The entry point of the installed `moodex`."""
    code = run()
    gc.freeze()  # skip the last garbage collection: it would take a sixth of the time of a search
    sys.exit(code)


if __name__ == "__main__":
    main()
