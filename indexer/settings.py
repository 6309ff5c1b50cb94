"""The settings. Each has the value of its flag, environment variable, configuration file or default, in this order."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from platformdirs import user_config_path, user_data_path

from indexer.domain.errors import MoodexError, UsageError
from indexer.system.ignore_rules import check_exclude_patterns

_MAX_WORKERS = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of all commands.

    - `batch_size`, `workers`: 0 means a value chosen for the machine.
    - `store`: the address of a PostgreSQL database, with its password; None for a file in the data folder.
    - `faces`, `look_alikes`, `engine`, `precision`: one of `_CHOICES`.
    - `tag_emotions`: the file of a table of tags and emotions for taggers that are added; None uses the shipped one.
    - `exclude`: gitignore patterns of files and folders that no run indexes; in the environment, one in each line.
    - `inventory`: the address or path of the manifest of an S3 Inventory, which replaces the listing of its bucket.
    - `private_urls`: whether tables of URLs may name addresses in private networks.
    - `grace_days`: days after which a missing file loses its entry.
    - `cluster`: "auto" or HOST:PORT, the Ray cluster that analyzes images in index runs; None for this process.
    - `log_format`: text or json. `verbosity`: quiet, normal or verbose.
    """

    home: Path
    model: str | None = None
    device: str = "auto"
    require_gpu: bool = False
    batch_size: int = 0
    workers: int = 0
    faces: str = "on"
    look_alikes: str = "on"
    engine: str = "auto"
    precision: str = "fp32"
    tag_emotions: str | None = None
    inventory: str | None = None
    private_urls: bool = False
    grace_days: int = 30
    exclude: tuple[str, ...] = ()
    log_format: str = "text"
    verbosity: str = "normal"
    store: str | None = field(default=None, repr=False)
    cluster: str | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "moodex.sqlite"

    @property
    def vectors(self) -> Path:
        """The folder of derived vector indexes."""
        return self.home / "vectors"

    @property
    def maps(self) -> Path:
        """The folder of derived maps."""
        return self.home / "maps"

    @property
    def archives(self) -> Path:
        """The folder of the contents of archives, by which archives that did not change are not opened again."""
        return self.home / "archives"

    @property
    def models(self) -> Path:
        """The folder of the user's own checkpoints."""
        return self.home / "models"

    @property
    def trainings(self) -> Path:
        """The folder of training records, with one subfolder for each training."""
        return self.home / "trainings"

    @property
    def worker_count(self) -> int:
        """The number of batches that are processed in parallel."""
        return self.workers or min(_MAX_WORKERS, available_cores())

    def make_home(self) -> None:
        """Create the data folder if it does not exist. Raises MoodexError if that fails."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MoodexError(
                f"Cannot create the data folder {self.home}: {error.strerror}. Choose another one with --home."
            ) from error


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str] = os.environ) -> Settings:
    """Load the settings. A flag is None if the user did not give it.

    The configuration file is `MOODEX_CONFIG`, or `config.toml` in the platform's configuration folder.
    Raises UsageError for a file that is not TOML, an unknown key, or an invalid value; and for a user without a home folder, if
    nothing sets the data folder.
    """
    path = Path(environ["MOODEX_CONFIG"]) if environ.get("MOODEX_CONFIG") else _default_path(user_config_path, "config.toml")
    file_values = _read(path) if path else {}
    values: dict[str, object] = {"home": _default_path(user_data_path)}
    for name, type_name in _TYPES.items():
        variable = f"MOODEX_{name.upper()}"
        if flags.get(name) is not None:
            values[name] = _parse(type_name, flags[name], f"--{name.replace('_', '-')}")
        elif environ.get(variable):
            values[name] = _parse(type_name, environ[variable], variable)
        elif name in file_values:
            values[name] = _parse(type_name, file_values[name], f"{name} in {path}")
    for name, choices in _CHOICES.items():
        if values.get(name, choices[0]) not in choices:
            source = f"--{name.replace('_', '-')}" if flags.get(name) is not None else f"The setting {name}"
            raise UsageError(f"{source} is {values[name]!r}; choose {', '.join(choices[:-1])} or {choices[-1]}.")
    for name, choices in (("log_format", ("text", "json")), ("verbosity", ("quiet", "normal", "verbose"))):
        if values.get(name, choices[0]) not in choices:
            raise UsageError(f"The setting {name} is {values[name]!r}; it must be {' or '.join(map(repr, choices))}.")
    if values.get("store") is not None and not str(values["store"]).startswith(_STORE_SCHEMES):
        raise UsageError(
            "The store must be an address like postgresql://USER@HOST:5432/DATABASE; without one, it is in the data folder."
        )
    if values.get("grace_days") == 0:  # "auto"
        del values["grace_days"]
    values["home"] = _home_path(values["home"])
    return Settings(**values)  # type: ignore[arg-type]


def _default_path(find: Callable[[str], Path], *name: str) -> Path | None:
    """Return the path of a file in a folder of the platform; None for a user without a home folder, as in some containers."""
    try:
        return find("moodex").joinpath(*name)
    except RuntimeError:
        return None


def _home_path(home: object) -> Path:
    """Return the absolute path of the data folder. Raises UsageError if it needs a home folder that the user does not have."""
    try:
        if home is not None:
            return Path(str(home)).expanduser().absolute()
    except RuntimeError:  # the user of ~ or ~name has no home folder
        pass
    raise UsageError("This user has no home folder for the data folder of moodex; choose one with --home or MOODEX_HOME.")


_MAX_CONFIG_BYTES = 1 << 20
"""Only the first megabyte of a configuration file is read."""

_STORE_SCHEMES = ("postgresql://", "postgres://")

_CHOICES = {
    "faces": ("on", "off"),
    "look_alikes": ("on", "off"),
    "engine": ("auto", "torch", "onnx"),
    "precision": ("fp32", "bf16", "fp16"),
}
_TYPES: dict[str, str] = {field.name: str(field.type) for field in fields(Settings)}


def _read(path: Path) -> dict[str, object]:
    if not path.exists():
        return {}
    if path.is_fifo():  # opening it would wait for a writer
        raise UsageError(f"The configuration file {path} is a pipe, not a file.")
    import tomllib

    try:
        with path.open("rb") as file:
            file_values = tomllib.loads(file.read(_MAX_CONFIG_BYTES).decode())
    except RecursionError:
        raise UsageError(f"The configuration file {path} is nested too deeply.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"The configuration file {path} cannot be read as TOML: {error}.") from error
    unknown = sorted(set(file_values) - set(_TYPES))
    if unknown:
        raise UsageError(
            f"Unknown setting {unknown[0]!r} in the configuration file {path}; the settings are {', '.join(_TYPES)}."
        )
    return file_values


def _parse(type_name: str, value: object, source: str) -> object:
    text = str(value).strip()
    match type_name:
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
        case "tuple[str, ...]":
            patterns = str(value).splitlines() if not isinstance(value, list) else value
            if not all(isinstance(pattern, str) for pattern in patterns):
                raise UsageError(f"{source} is {text!r}; it must be a list of patterns, such as ['*.gif', 'drafts/'].")
            check_exclude_patterns(patterns)
            return tuple(patterns)
        case _:
            return text
