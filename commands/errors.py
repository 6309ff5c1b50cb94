"""Errors as the command line reports them: one sentence on stderr, and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer._click.exceptions import NoArgsIsHelpError
from typer._click.exceptions import UsageError as UsageRefused  # typer brings its own click, and exports none of these

from commands import logs
from indexer.domain.errors import DISK_ERRNOS, MoodexError, UsageError, disk_error
from indexer.system.events import log_event


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; an error becomes one sentence on stderr."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who called: what is written there goes nowhere
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    logs.configure()
    words, debug = _without_debug(arguments)
    try:
        _refuse_empty(words)
        code = app(words, prog_name="moodex", standalone_mode=False)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except UsageRefused as error:
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


def _refused(error: UsageRefused) -> int:
    """Say what is wrong with a command line as all errors are said: typer would let its words reach the terminal raw."""
    if isinstance(error, NoArgsIsHelpError):  # nothing is wrong, and help was asked for without a word
        error.show()
        return int(error.exit_code)
    where = error.ctx.command_path if error.ctx else "moodex"
    if error.ctx:  # `cli.common`, which chooses the format of the log, is not called for a command that does not exist
        logs.configure(error.ctx.find_root().params.get("log_format") or os.environ.get("MOODEX_LOG_FORMAT") or "text")
    return _report(f"{error.format_message()} See: {where} --help", int(error.exit_code))


def _report(sentence: str, code: int) -> int:
    log_event("error", "error", sentence, exit_code=code)
    return code
