"""A group of commands that imports and builds a command only when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

COMMANDS = {
    "index": "commands.index:index",
    "search": "commands.search:search",
    "show": "commands.search:show",
    "status": "commands.status:status",
    "label": "commands.labels:label",
    "doubts": "commands.labels:doubts",
    "teach": "commands.labels:teach",
    "train": "commands.training:train",
    "evaluate": "commands.training:evaluate",
    "compare": "commands.training:compare",
    "explain": "commands.training:explain",
    "runs": "commands.schedule:runs",
    "schedule": "commands.schedule:app",
    "doctor": "commands.maintenance:doctor",
    "backup": "commands.transfer:backup",
    "restore": "commands.transfer:restore",
    "export": "commands.transfer:export",
    "import": "commands.transfer:import_command",
    "models": "commands.models:app",
}
"""Where each command is: a function, or an app with commands of its own. In the order of the help text."""


class LazyCommands(TyperGroup):
    """The commands of `COMMANDS`. To import and build all of them takes longer than a search."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = _build(cmd_name, COMMANDS[cmd_name])
        return self.commands.get(cmd_name)


def _build(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        group = typer.main.get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(found)
    return typer.main.get_command(single)
