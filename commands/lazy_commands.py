"""A group of commands that imports and builds a command only when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from commands.command import Command, Group, refuse_repeated_options
from commands.examples import epilog
from commands.options import with_options

COMMANDS = {
    "index": "commands.index:index",
    "search": "commands.search:search",
    "show": "commands.search:show",
    "serve": "commands.serve:serve",
    "map": "commands.mapping:map_command",
    "mcp": "commands.mcp:mcp",
    "status": "commands.status:status",
    "roots": "commands.roots:roots",
    "forget": "commands.roots:forget",
    "move": "commands.roots:move",
    "label": "commands.labels:label",
    "hide": "commands.labels:hide",
    "doubts": "commands.labels:doubts",
    "teach": "commands.labels:teach",
    "train": "commands.training:train",
    "evaluate": "commands.training:evaluate",
    "compare": "commands.training:compare",
    "compare-models": "commands.training:compare_models",
    "explain": "commands.training:explain",
    "runs": "commands.schedule:runs",
    "schedule": "commands.schedule:app",
    "doctor": "commands.maintenance:doctor",
    "backup": "commands.transfer:backup",
    "restore": "commands.transfer:restore",
    "migrate": "commands.migrate:migrate",
    "export": "commands.transfer:export",
    "sidecars": "commands.transfer:sidecars",
    "import": "commands.transfer:import_command",
    "models": "commands.models:app",
    "cluster": "commands.cluster:app",
}
"""The module and the name of each command, which is a function or a group. In the order of the help text."""


class LazyCommands(TyperGroup):
    """The commands of `COMMANDS`.

    Building all of them takes longer than a search. The list of commands needs only their help texts.
    """

    _is_listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._is_listing = True
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_repeated_options(self, ctx, args)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._is_listing:
            return _summary(cmd_name, COMMANDS[cmd_name])
        if cmd_name not in self.commands and cmd_name in COMMANDS:
            self.commands[cmd_name] = _build(cmd_name, COMMANDS[cmd_name])
        return self.commands.get(cmd_name)


def _import(location: str) -> Any:
    module, _, attribute = location.partition(":")
    return getattr(import_module(module), attribute)


def _summary(name: str, location: str) -> TyperCommand:
    """Return a command without options, which is enough for a list of commands."""
    command = _import(location)
    return TyperCommand(name, help=command.info.help if isinstance(command, typer.Typer) else command.__doc__)


def _build(name: str, location: str) -> Any:
    command = _import(location)
    if isinstance(command, typer.Typer):
        for subcommand in command.registered_commands:
            subcommand.cls = Command
            if subcommand.callback is not None:
                subcommand.callback = with_options(subcommand.callback)
        command.info.cls = Group
        group = typer.main.get_group(command)
        group.name = name
        return group
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name, cls=Command, epilog=epilog(name))(with_options(command))
    return typer.main.get_command(single)
