"""Write docs/cli.md from the help texts of the program. A test fails if the two differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import typer  # noqa: E402

from cli import app  # noqa: E402
from commands.examples import EXAMPLES  # noqa: E402

EXIT_CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | success |
| 1 | unexpected error; `--debug` shows the traceback |
| 2 | invalid command line or input |
| 3 | finished, but some files failed (`moodex status --failures 100` lists them), or a folder is missing or looks unmounted |
| 4 | another process is writing to this database |
| 5 | the database is damaged; `moodex doctor` lists the damage, `--repair` repairs it |
| 6 | the device or the model is unavailable |
| 129, 130, 143 | stopped by a closed terminal, Ctrl-C or SIGTERM; committed results stay |
"""


def reference() -> str:
    """Return the whole page as Markdown."""
    root = typer.main.get_command(app)
    parts = ["# Command line", "`make docs` generates this page from the help texts of the program.", _options(root)]
    parts += [_command(path, command) for path, command in _commands("moodex", root)]
    return "\n\n".join([*parts, EXIT_CODES])


def _commands(path: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name in sorted(group.list_commands(None)):
        command = group.get_command(None, name)
        if hasattr(command, "commands"):
            yield from _commands(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


def _command(path: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([path, *(_argument(argument) for argument in arguments), "[OPTIONS]"])
    lines = [f"## {path}", command.help.strip(), f"```\n{usage}\n```"]
    lines += ["\n".join(f"- `{_argument(argument)}`: {argument.help}" for argument in arguments)] if arguments else []
    examples = EXAMPLES.get(path.removeprefix("moodex "), ())
    lines += ["```sh\n" + "\n".join(examples) + "\n```"] if examples else []
    return "\n\n".join([*lines, _options(command)])


def _argument(argument: Any) -> str:
    return str(argument.metavar)


def _options(command: Any) -> str:
    rows = ["| option | meaning | default |", "|---|---|---|"]
    for option in command.params:
        if option.param_type_name == "option" and "completion" not in option.name and not option.hidden:
            names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
            meaning, _, default = option.help.partition(" (default: ")
            rows.append(f"| {names} | {meaning} | {default.rstrip(')') or _default_text(option.default)} |")
    return "\n".join(rows)


def _default_text(default: Any) -> str:
    if default is None or default is False or callable(default) or default in ([], ()) or "Sentinel" in type(default).__name__:
        return ""
    return f"{getattr(default, 'value', default)}"


if __name__ == "__main__":
    (ROOT / "docs/cli.md").write_text(reference() + "\n", encoding="utf-8")
