"""The options that commands share, the library that they describe, and the output of results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from indexer.domain.errors import disk_error

if TYPE_CHECKING:
    from indexer.library import Library
    from indexer.settings import Settings

MAX_COUNT = 2**31 - 1
"""Upper limit of options that are counts: SQLite computes with 64-bit integers."""

Home = Annotated[Path | None, typer.Option("--home", help="The data folder of the library. (MOODEX_HOME)", show_default=False)]
StoreAddress = Annotated[
    str | None,
    typer.Option("--store", help="postgresql://... : keep the library on a server. (MOODEX_STORE)", show_default=False),
]
Model = Annotated[str | None, typer.Option("--model", help="A model, by name or .safetensors file. (MOODEX_MODEL)")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model, by name or file; several share one pass. (MOODEX_MODEL)")
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps. (MOODEX_DEVICE)")]
RequireGpu = Annotated[bool | None, typer.Option("--require-gpu", help="Fail instead of running on the CPU.", show_default=False)]
BatchSize = Annotated[str | None, typer.Option("--batch-size", help="Images per batch: auto or a number.")]
Workers = Annotated[str | None, typer.Option("--workers", help="Threads that decode and classify: auto or a number.")]
Faces = Annotated[str | None, typer.Option("--faces", help="on: classify each face; off: classify whole images. (MOODEX_FACES)")]
LookAlikes = Annotated[
    str | None, typer.Option("--look-alikes", help="on: read each face beside similar ones; off: alone. (MOODEX_LOOK_ALIKES)")
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Analyze on a Ray cluster: auto or HOST:PORT. (MOODEX_CLUSTER)", metavar="ADDRESS")
]
Engine = Annotated[str | None, typer.Option("--engine", help="auto, torch or onnx (faster on CPU). (MOODEX_ENGINE)")]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="fp32, bf16 or fp16 (faster on some hardware; results differ slightly). (MOODEX_PRECISION)"),
]
TagEmotions = Annotated[
    str | None,
    typer.Option("--tag-emotions", help="Own table of tags and emotions. (MOODEX_TAG_EMOTIONS)", metavar="FILE"),
]
InventoryPlace = Annotated[
    str | None,
    typer.Option("--inventory", help="S3 Inventory (manifest.json) instead of a listing. (MOODEX_INVENTORY)", metavar="PLACE"),
]
Under = Annotated[list[Path] | None, typer.Option("--under", help="Only images below this folder; may be repeated.")]
Datasets = Annotated[
    list[Path],
    typer.Argument(
        help="Folders EMOTION/FILE, SET/EMOTION/FILE or FERG-DB, or tables (.csv: path, label).", metavar="DATASET..."
    ),
]
LabelRules = Annotated[
    list[str] | None,
    typer.Option("--map", help="Map a label as WORD=EMOTION; WORD= skips its images. Repeatable."),
]
New = Annotated[bool, typer.Option("--new", help="Allow labels outside the built-in emotions.")]
SkipUnknown = Annotated[bool, typer.Option("--skip-unknown", help="Skip images that are not indexed instead of failing.")]
Exclude = Annotated[list[str] | None, typer.Option(help="Skip files that match a .gitignore pattern; may be repeated.")]
FollowSymlinks = Annotated[bool, typer.Option("--follow-symlinks", help="Follow links to files and folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


SETTINGS: dict[str, Any] = {
    "faces": Faces,
    "look_alikes": LookAlikes,
    "model": Model,
    "device": Device,
    "require_gpu": RequireGpu,
    "batch_size": BatchSize,
    "workers": Workers,
    "engine": Engine,
    "precision": Precision,
    "tag_emotions": TagEmotions,
    "inventory": InventoryPlace,
    "cluster": Cluster,
    "home": Home,
    "store": StoreAddress,
}
"""The options that choose settings, by the name of the setting."""


@dataclass(frozen=True, slots=True)
class Common:
    """The options before the command; None if the user did not give one."""

    home: Path | None = None
    log_format: str | None = None
    verbosity: str | None = None
    store: str | None = None


@contextmanager
def stdout() -> Iterator[TextIO]:
    """Yield standard output for results. A program that stops reading is not an error."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise  # the error is about another file
        # The interpreter must not try to flush the rest either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise disk_error("The output", error) from error


Command = Callable[..., None]

_FIRST_ARGUMENTS: dict[Command, tuple[Callable[..., object], tuple[str, ...]]] = {}
"""For each command, the function that makes its first argument, and the names of the settings that this function needs."""


def with_library(*names: str) -> Callable[[Command], Command]:
    """Pass a command its library as the first argument.

    The command gets the options that choose the settings of the library: --home, --store, and those of `SETTINGS` with these
    `names`.
    """
    return _register(open_command_library, names)


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Pass a command its settings as the first argument; otherwise like `with_library`."""
    return _register(load_command_settings, names)


def with_options(command: Command) -> Command:
    """Return a command with the options of `with_library` or `with_settings`; return any other command unchanged.

    Commands are registered when they are imported, and get their options when they are built, because that takes longer.
    """
    if command not in _FIRST_ARGUMENTS:
        return command
    prepare, names = _FIRST_ARGUMENTS[command]

    def run(context: typer.Context, **values: Any) -> None:
        flags = {name: values.pop(name) for name in names}
        command(prepare(context, **flags), **values)

    own_parameters = list(signature(command, eval_str=True).parameters.values())[1:]
    options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=SETTINGS[name]) for name in names]
    context = Parameter("context", Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own_parameters), *options]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    return run


def load_command_settings(context: typer.Context, **flags: Any) -> Settings:
    """Load the settings of one command line and configure logging. Raises UsageError."""
    from commands import logs
    from indexer.settings import load_settings

    common: Common = context.obj
    flags["home"] = flags.get("home") or common.home
    flags["store"] = flags.get("store") or common.store
    settings = load_settings({**flags, "log_format": common.log_format, "verbosity": common.verbosity})
    logs.configure(settings.log_format, settings.verbosity)
    return settings


def open_command_library(context: typer.Context, **flags: Any) -> Library:
    """Open the library that the settings of one command line describe; see `load_command_settings`."""
    from indexer.bootstrap import open_library

    return open_library(load_command_settings(context, **flags))


def _register(prepare: Callable[..., object], names: tuple[str, ...]) -> Callable[[Command], Command]:
    def register(command: Command) -> Command:
        _FIRST_ARGUMENTS[command] = prepare, (*names, "home", "store")
        return command

    return register
