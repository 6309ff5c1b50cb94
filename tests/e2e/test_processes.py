"""Every command prints the same in a separate process as in the process of the tests, on the same data folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

import cli
from tests.e2e.conftest import EXAMPLES, run_cli, run_process
from tests.support import drawn

HEAD = str(EXAMPLES / "bigheads/head-01.png")
QUICK_TRAINING = [
    "--weights", "none", "--architecture", "baseline_cnn", "--size", "32", "--epochs", "1", "--pictures-per-epoch", "32",
]  # fmt: skip

_MEASURED = r'\d+(\.\d+)? (s|MB|KB|images/s)\b|(?<="seconds": )[0-9.e-]+'

COMMANDS: dict[str, list[str]] = {
    "backup": ["backup", "OUT.zip"],
    "cluster plan": ["cluster", "plan", "/no/such/folder", "--images", "1000000"],
    "compare": ["compare", "FACES", "--only", "VGG*"],
    "compare-models": ["compare-models", "FACES", "default", "--json"],
    "doctor": ["doctor", "--deep"],
    "doubts": ["doubts", "--json"],
    "evaluate": ["evaluate", "default", "FACES", "--json"],
    "explain": ["explain", HEAD, "--output", "OUT.png"],
    "export": ["export", "OUT.csv"],
    "import": ["import", "/no/such/table.csv"],
    "forget": ["forget", "/no/such/folder"],
    "index": ["index", str(EXAMPLES)],
    "label": ["label", HEAD, "-e", "sad"],
    "hide": ["hide", HEAD],
    "map": ["map", "--json"],
    "mcp": ["mcp", "--faces", "perhaps"],
    "migrate": ["migrate", "--from", "sqlite:/no/such/moodex.sqlite", "--to", "sqlite:OUT"],
    "models add": ["models", "add", "/no/such/model.safetensors"],
    "models blend": ["models", "blend", "both", "default", "nonesuch"],
    "models calibrate": ["models", "calibrate", "default", "FACES"],
    "models default": ["models", "default", "--json"],
    "models export": ["models", "export", "nonesuch", "--output", "OUT.onnx"],
    "models list": ["models", "list"],
    "models remove": ["models", "remove", "nonesuch"],
    "move": ["move", "/no/such/folder", str(EXAMPLES)],
    "restore": ["restore", "/no/such/backup.zip"],
    "roots": ["roots"],
    "runs": ["runs"],
    "schedule add": ["schedule", "add", "daily", str(EXAMPLES), "--cron", "0 0 29 2 *"],
    "schedule list": ["schedule", "list"],
    "schedule remove": ["schedule", "remove", "nonesuch"],
    "schedule run": ["schedule", "run", "--once"],
    "schedule unit": ["schedule", "unit"],
    "search": ["search", HEAD, "--emotion", "sad", "-f", "csv"],
    "serve": ["serve", "--port", "70000"],
    "show": ["show", HEAD],
    "sidecars": ["sidecars", "--xmp", "--dry-run", "--json"],
    "status": ["status", "--json"],
    "teach": ["teach", "--suggest", "4"],
    "train": ["train", "FACES", "--name", "mine", *QUICK_TRAINING, "--check"],
}


def all_commands() -> set[str]:
    """Return the names of all commands that the program defines."""
    names = set()
    group = get_command(cli.app)
    for name in group.list_commands(None):  # type: ignore[attr-defined]
        subcommands = getattr(group.get_command(None, name), "commands", None)  # type: ignore[attr-defined]
        names |= {f"{name} {subcommand}" for subcommand in subcommands} if subcommands else {name}
    return names


@pytest.mark.process
def test_nothing_is_written_to_the_home_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime would write an identifier of the computer there, and send it."""
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    for variable in [name for name in os.environ if name.startswith("XDG_") or name in ("CI", "ORT_DISABLE_TELEMETRY")]:
        monkeypatch.delenv(variable)
    assert run_process(tmp_path / "home", "index", EXAMPLES / "bigheads").returncode == 0
    assert run_process(tmp_path / "home", "search", HEAD, "--emotion", "sad").returncode == 0
    assert not list(user.iterdir())


def test_every_command_is_compared() -> None:
    assert set(COMMANDS) == all_commands()


@pytest.mark.process
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_separate_process_prints_the_same(examples_home: Path, tmp_path: Path, words: list[str]) -> None:
    faces = drawn.two_artists(tmp_path / "faces", count=4)
    results = []
    for run in (run_process, run_cli):
        shutil.copytree(examples_home, tmp_path / "home")
        arguments = [word.replace("FACES", str(faces)).replace("OUT", str(tmp_path / "out")) for word in words]
        results.append(comparable(run(tmp_path / "home", *arguments)))
        for path in (tmp_path / "home", *tmp_path.glob("out*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert results[0] == results[1]


def comparable(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str, str]:
    """Return the exit code and the output, without sizes, rates and durations."""
    out, error = (re.sub(_MEASURED, "#", text.decode()) for text in (done.stdout, done.stderr))
    return done.returncode, out, error
