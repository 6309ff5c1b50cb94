"""The class of every command: the options of the program after the command, and no option twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from commands.options import Common
from indexer.domain.errors import UsageError

LOG_FORMATS = ("text", "json")


class Command(TyperCommand):
    """A command that accepts the options of the program, and refuses an option with one value that is given twice."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.params = [*self.params, *_program_options({parameter.name for parameter in self.params})]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_repeated_options(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """A group of commands with the same rules."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.params = [*self.params, *_program_options({parameter.name for parameter in self.params})]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_repeated_options(self, ctx, args)
        return super().parse_args(ctx, args)


def refuse_repeated_options(command: Any, ctx: Any, args: list[str]) -> None:
    """Raise a usage error if an option that takes one value is given twice: one of the values would be ignored."""
    if ctx.resilient_parsing:
        return
    _, _, order = command.make_parser(ctx).parse_args(args=list(args))
    given = Counter(map(id, order))
    for parameter in order:
        if given[id(parameter)] > 1 and _takes_one_value(parameter):
            ctx.fail(f"{parameter.opts[0]} is given more than once; give it once.")


def _takes_one_value(parameter: Any) -> bool:
    is_option = parameter.param_type_name == "option" and not parameter.multiple and not parameter.count
    # A switch that is on twice is on; one that has an opposite may contradict itself.
    return is_option and (not parameter.is_flag or bool(parameter.secondary_opts))


def _program_options(own: set[str | None]) -> list[TyperOption]:
    """Return the options of the program, without those that a command has itself. The help of the program lists them."""
    options = [
        TyperOption(param_decls=["verbose", "--verbose", "-v"], is_flag=True, callback=_choose_verbosity("verbose"), **_HIDDEN),
        TyperOption(param_decls=["quiet", "--quiet", "-q"], is_flag=True, callback=_choose_verbosity("quiet"), **_HIDDEN),
        TyperOption(param_decls=["log_format", "--log-format"], callback=_choose_log_format, metavar="FORMAT", **_HIDDEN),
        TyperOption(param_decls=["home", "--home"], callback=_choose_home, metavar="PATH", **_HIDDEN),
        TyperOption(param_decls=["store", "--store"], callback=_choose_store, metavar="ADDRESS", **_HIDDEN),
    ]
    return [option for option in options if option.name not in own]


_HIDDEN: dict[str, Any] = {"expose_value": False, "hidden": True}


def _choose_verbosity(verbosity: str) -> Callable[[Any, Any, bool | None], None]:
    def choose(ctx: Any, _parameter: Any, wanted: bool | None) -> None:
        if wanted and isinstance(ctx.obj, Common):
            if ctx.obj.verbosity not in (None, verbosity):
                raise UsageError("Give either --verbose or --quiet, not both.")
            ctx.obj = replace(ctx.obj, verbosity=verbosity)

    return choose


def _choose_log_format(ctx: Any, _parameter: Any, form: str | None) -> None:
    if form is not None and isinstance(ctx.obj, Common):
        if form not in LOG_FORMATS:
            raise UsageError(f"--log-format is {form!r}; it must be {' or '.join(LOG_FORMATS)}.")
        ctx.obj = replace(ctx.obj, log_format=form)


def _choose_home(ctx: Any, _parameter: Any, home: str | None) -> None:
    if home is not None and isinstance(ctx.obj, Common):
        ctx.obj = replace(ctx.obj, home=Path(home))


def _choose_store(ctx: Any, _parameter: Any, store: str | None) -> None:
    if store is not None and isinstance(ctx.obj, Common):
        ctx.obj = replace(ctx.obj, store=store)
