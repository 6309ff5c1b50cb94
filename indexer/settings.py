"""The settings: each from its flag, else its environment variable, else the configuration file, else its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from platformdirs import user_config_path, user_data_path

from indexer.domain.errors import UsageError

_MAX_WORKERS = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command may need to know. `batch_size` and `workers` of 0 mean: chosen for the machine.

    `faces`, `engine` and `precision` are of `_CHOICES`. `grace_days` is for how long files that are gone are remembered.
    `log_format` is text or json; `verbosity` quiet, normal or verbose.
    """

    home: Path
    model: str | None = None
    device: str = "auto"
    require_gpu: bool = False
    batch_size: int = 0
    workers: int = 0
    faces: str = "on"
    engine: str = "auto"
    precision: str = "fp32"
    grace_days: int = 30
    log_format: str = "text"
    verbosity: str = "normal"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "moodex.sqlite"

    @property
    def vectors(self) -> Path:
        """The folder of derived vector indexes."""
        return self.home / "vectors"

    @property
    def models(self) -> Path:
        """The folder of the user's own checkpoints."""
        return self.home / "models"

    @property
    def trainings(self) -> Path:
        """The folder of what trainings leave beside their checkpoints, a folder each."""
        return self.home / "trainings"

    @property
    def worker_count(self) -> int:
        """How many batches are worked on at a time."""
        return self.workers or min(_MAX_WORKERS, available_cores())

    def make_home(self) -> None:
        """Make the data folder where there is none. Raises UsageError where that cannot be done."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The data folder {self.home} cannot be made ({error.strerror}); choose another with --home."
            ) from error


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. `flags` that are None were not given.

    The file is `MOODEX_CONFIG`, or `config.toml` in the platform's folder for configuration. Raises UsageError for a file that is
    not TOML, a key nobody knows, or a value of the wrong kind.
    """
    path = Path(environ.get("MOODEX_CONFIG") or user_config_path("moodex") / "config.toml")
    written = _read(path)
    values: dict[str, object] = {"home": user_data_path("moodex")}
    for name, kind in _KINDS.items():
        variable = f"MOODEX_{name.upper()}"
        if flags.get(name) is not None:
            values[name] = _as(kind, flags[name], f"--{name.replace('_', '-')}")
        elif environ.get(variable):
            values[name] = _as(kind, environ[variable], variable)
        elif name in written:
            values[name] = _as(kind, written[name], f"{name} in {path}")
    for name, known in _CHOICES.items():
        if values.get(name, known[0]) not in known:
            source = f"--{name}" if flags.get(name) is not None else f"The setting {name}"
            raise UsageError(f"{source} is {values[name]!r}; choose {', '.join(known[:-1])} or {known[-1]}.")
    for name, words in (("log_format", ("text", "json")), ("verbosity", ("quiet", "normal", "verbose"))):
        if values.get(name, words[0]) not in words:
            raise UsageError(f"The setting {name} is {values[name]!r}; it must be {' or '.join(map(repr, words))}.")
    if values.get("grace_days") == 0:  # "auto"
        del values["grace_days"]
    values["home"] = Path(str(values["home"])).expanduser().absolute()
    return Settings(**values)  # type: ignore[arg-type]


_LONGEST = 1 << 20
"""Bytes of a configuration file that are read."""

_CHOICES = {"faces": ("on", "off"), "engine": ("auto", "torch", "onnx"), "precision": ("fp32", "bf16", "fp16")}
_KINDS: dict[str, str] = {field.name: str(field.type) for field in fields(Settings)}


def _read(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    if path.is_fifo():  # opening it would wait for whoever writes there
        raise UsageError(f"The configuration file {path} is a pipe, not a file.")
    import tomllib

    try:
        with path.open("rb") as file:
            written = tomllib.loads(file.read(_LONGEST).decode())
    except RecursionError:
        raise UsageError(f"The configuration file {path} is nested too deep.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"The configuration file {path} cannot be read as TOML: {error}.") from error
    unknown = sorted(set(written) - set(_KINDS))
    if unknown:
        raise UsageError(f"The configuration file {path} sets {unknown[0]!r}, which is no setting ({', '.join(_KINDS)} are).")
    return written


def _as(kind: str, value: object, source: str) -> object:
    text = str(value).strip()
    match kind:
        case "int":
            if text == "auto":
                return 0
            if not text.isdecimal() or not int(text):
                raise UsageError(f"{source} is {text!r}; it must be 'auto' or a number of at least 1.")
            return int(text)
        case "bool":
            if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
                raise UsageError(f"{source} is {text!r}; it must be true or false.")
            return text.lower() in ("true", "1", "yes")
        case _:
            return text
