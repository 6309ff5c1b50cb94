"""Errors of the command line: one sentence on stderr, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer._click.exceptions import NoArgsIsHelpError
from typer._click.exceptions import UsageError as ClickUsageError  # typer contains a copy of click, and does not export these

from commands import logs
from indexer.domain.errors import DISK_ERRNOS, MoodexError, UsageError, disk_error
from indexer.system.events import log_event


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one sentence on stderr."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # the caller closed it: discard what is written there
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logs.configure()
    words, debug = _without_debug(arguments)
    try:
        _require_current_folder()
        _refuse_empty_arguments(words)
        code = app(words, prog_name="moodex", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except ClickUsageError as error:
        return _report_usage_error(error)
    except KeyboardInterrupt:
        return _report("Interrupted.", 130)
    except MoodexError as error:
        if debug and not isinstance(error, UsageError):
            _write_traceback()
        return _report(str(error), error.exit_code)
    except Exception as error:
        if debug:
            _write_traceback()
        return _report(_describe(error), 1)
    return code if isinstance(code, int) else 0


def _describe(error: Exception) -> str:
    """Return the message of an unexpected error."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return str(disk_error(error.filename or "A file", error))
    return f"Unexpected {type(error).__name__}: {error}. Please report it, with the traceback that moodex --debug shows."


def _require_current_folder() -> None:
    """Raise UsageError if the current folder was removed: no path can be shown, or be relative to it."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("The current folder does not exist any more. Change to another one, as with: cd ~") from error


def _refuse_empty_arguments(words: Sequence[str]) -> None:
    """Raise UsageError for an empty argument: as a path, it would mean the current folder."""
    if any(not word or (word.startswith("--") and word.endswith("=")) for word in words):
        raise UsageError(
            "An argument is empty, perhaps because a variable is not set. Omit it, or write . for the current folder."
        )


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Return the arguments without --debug, and whether debugging is on.

    `--debug` is an option of the program, not of a command. It may be anywhere before a bare `--`.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word != "--debug"]
    return [*words, *arguments[end:]], len(words) < end or bool(os.environ.get("MOODEX_DEBUG"))


def _write_traceback() -> None:
    """Write the traceback of the current error, with printable names."""
    import traceback

    from indexer.system.text import printable

    sys.stderr.write("".join(f"{printable(line)}\n" for line in traceback.format_exc().splitlines()))


def _report_usage_error(error: ClickUsageError) -> int:
    """Report an invalid command line like every other error. typer would write its words to the terminal without escapes."""
    if isinstance(error, NoArgsIsHelpError):  # a group without a command shows its help
        error.show()
        return int(error.exit_code)
    where = error.ctx.command_path if error.ctx else "moodex"
    if error.ctx:  # `cli.common`, which chooses the format of the log, is not called for a command that does not exist
        logs.configure(error.ctx.find_root().params.get("log_format") or os.environ.get("MOODEX_LOG_FORMAT") or "text")
    return _report(f"{error.format_message()} See: {where} --help", int(error.exit_code))


def _report(sentence: str, code: int) -> int:
    log_event("error", "error", sentence, exit_code=code)
    return code
