"""What commands share: options with their help, the settings that they add up to, where results go."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from indexer.domain.errors import disk_error

if TYPE_CHECKING:
    from indexer.settings import Settings

MOST = 2**31 - 1
"""Of anything that is counted: SQLite's own numbers end not much later."""

Home = Annotated[Path | None, typer.Option("--home", help="Where the database lives. (MOODEX_HOME)", show_default=False)]
Model = Annotated[str | None, typer.Option("--model", help="A model's name, or a .safetensors file. (MOODEX_MODEL)")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps. (MOODEX_DEVICE)")]
RequireGpu = Annotated[bool | None, typer.Option("--require-gpu", help="Fail rather than run on the CPU.", show_default=False)]
BatchSize = Annotated[str | None, typer.Option("--batch-size", help="Pictures a batch: auto or a number.")]
Workers = Annotated[str | None, typer.Option("--workers", help="Threads that read and decode: auto or a number.")]
Faces = Annotated[
    str | None, typer.Option("--faces", help="on, to judge each face found, or off, to take pictures as a whole. (MOODEX_FACES)")
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="auto, torch, or onnx: faster on a CPU, where installed. (MOODEX_ENGINE)")
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, or bf16 or fp16: faster on some machines, other answers. (MOODEX_PRECISION)"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True, slots=True)
class Common:
    """What stands before the command. None was not given."""

    home: Path | None = None
    log_format: str | None = None
    verbosity: str | None = None


@contextmanager
def stdout() -> Iterator[TextIO]:
    """Where results go; a reader that has had enough of them is no error."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise  # of another file, which was to be written meanwhile
        # The interpreter must not try to flush the rest either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise disk_error("The output", error) from error


def load_command_settings(context: typer.Context, service: bool = False, **flags: Any) -> Settings:
    """The settings in force for one command line, those for what is said on stderr applied. Raises UsageError.

    A `service` says there what it does, and when.
    """
    from commands import logs
    from indexer.settings import load_settings

    common: Common = context.obj
    flags["home"] = flags.get("home") or common.home
    settings = load_settings({**flags, "log_format": common.log_format, "verbosity": common.verbosity})
    logs.configure(settings.log_format, settings.verbosity, service)
    return settings
