"""Which commands are built: the parser of a command takes time to make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def build_only(group: typer.Typer, named: set[str]) -> None:
    """Leave commands that the command line does not name without options: to read all of them takes longer than a search."""
    for command in group.registered_commands:
        if command.name not in named and command.callback is not None:
            command.callback = _without_options(command.callback)
    for part in group.registered_groups:
        if part.typer_instance is not None and part.name not in named:
            build_only(part.typer_instance, named)


def _without_options(callback: Callable[..., Any]) -> Callable[[], None]:
    def described() -> None: ...

    described.__doc__ = callback.__doc__
    return described
