"""Training recipes as data: defaults, and the named recipes of `recipes.toml`. Imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from indexer.domain.errors import UsageError

NAMED = Path(__file__).parent / "recipes.toml"
STUDY = Path(__file__).parent / "study.toml"
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides how a network is trained.

    Network:

    - `architecture`: name with its modifiers; `models.training.trainer.recipe_architecture` checks it.
    - `weights`: "imagenet", "none" or a file to start from.
    - `size`: side of the input in pixels.

    Length:

    - `epochs` of `pictures_per_epoch` images (0: the size of the data set), in batches of `batch_size`.
    - `patience`: stop after that many epochs without a better balanced accuracy on the validation part and keep the best epoch;
      0 never stops and keeps the last epoch.

    Learning rates of AdamW:

    - `head_rate`, and `backbone_rate` times `layer_decay` for each tenth of the network further from the head.
    - `schedule`: one of `SCHEDULES`, after a linear `warm_up` of that share of all steps.
    - `frozen`: share of the tensors, counted from the input, that never change.
    - `thaw`: share of the steps during which the others are unfrozen, from the head down (gradual unfreezing).

    Regularization:

    - `weight_decay`, `l2` (penalty on the matrices of the head), `label_smoothing`, `mixup` (parameter of the beta distribution).
    - `strength` of the style augmentation.
    - `balance`: 0 samples images as often as they occur, 1 samples emotions and styles equally often.
    - `average`: share of the steps over which the moving average of the weights looks back; 0 switches it off.

    Measuring: `views` of each image are averaged.
    """

    architecture: str = "efficientnet_lite0"
    weights: str = "imagenet"
    size: int = 128
    epochs: int = 3
    pictures_per_epoch: int = 5000
    batch_size: int = 32
    patience: int = 0
    backbone_rate: float = 3e-3
    head_rate: float = 3e-3
    layer_decay: float = 1.0
    schedule: str = "cosine"
    warm_up: float = 0.1
    frozen: float = 0.3
    thaw: float = 0.0
    weight_decay: float = 0.02
    l2: float = 0.0
    label_smoothing: float = 0.1
    mixup: float = 0.0
    strength: float = 1.0
    balance: float = 0.5
    average: float = 0.1
    views: int = 1
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}; it must lie between {low} and {high}.")
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is {getattr(self, name)!r}; choose {', '.join(known)}.")


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("size", 32, 512),
    ("epochs", 1, 10_000),
    ("pictures_per_epoch", 0, 10_000_000),
    ("batch_size", 1, 4096),
    ("patience", 0, 10_000),
    ("backbone_rate", 0, 10),
    ("head_rate", 0, 10),
    ("layer_decay", 0.01, 1),
    ("warm_up", 0, 1),
    ("frozen", 0, 1),
    ("thaw", 0, 1),
    ("weight_decay", 0, 1),
    ("l2", 0, 1),
    ("label_smoothing", 0, 0.9),
    ("mixup", 0, 10),
    ("strength", 0, 2),
    ("balance", 0, 1),
    ("average", 0, 1),
    ("views", 1, 6),
    ("seed", 0, 2**31),
)


@dataclass(frozen=True, slots=True)
class RecipeOverrides:
    """Fields of a recipe that a user sets; None keeps the value of the recipe.

    `assignments` are FIELD=VALUE strings for any other field, with values in TOML; they win over the other fields.
    """

    architecture: str | None = None
    weights: str | None = None
    size: int | None = None
    epochs: int | None = None
    pictures_per_epoch: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int | None = None
    assignments: tuple[str, ...] = ()

    def apply(self, recipe: Recipe, source: str) -> Recipe:
        """Return the recipe with these fields changed; `source` names their origin in errors. Raises UsageError."""
        given = {name: value for name, value in asdict(self).items() if value is not None and name != "assignments"}
        return change_recipe(recipe, {**given, **parse_assignments(self.assignments)}, source)


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """Parse FIELD=VALUE strings; a value that is not TOML is taken as text. Raises UsageError."""
    parsed: dict[str, object] = {}
    for assignment in assignments:
        field, equals, value = (part.strip() for part in assignment.partition("="))
        if not field or not equals:
            raise UsageError(f"{assignment!r} does not set a field; write --set FIELD=VALUE.")
        try:
            parsed[field] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[field] = value
    return parsed


def change_recipe(recipe: Recipe, changes: Mapping[str, object], source: str) -> Recipe:
    """Return a recipe with some fields changed; `source` names the origin of the changes in errors.

    Raises UsageError for an unknown field and for a value of the wrong type or out of range.
    """
    types = {field.name: type(field.default) for field in fields(Recipe)}
    for name, value in changes.items():
        if name not in types:
            raise UsageError(f"{source} sets {name!r}, which is not a field of a recipe. Fields are: {', '.join(types)}.")
        valid = isinstance(value, (int, float)) if types[name] is float else isinstance(value, types[name])
        if not valid or isinstance(value, bool):
            raise UsageError(f"{source} sets {name} to {value!r}; it must be of type {types[name].__name__}.")
    return replace(recipe, **changes)  # type: ignore[arg-type]


@cache
def named_recipes() -> dict[str, Recipe]:
    """Return the shipped recipes by name; the first is the default."""
    return {name: change_recipe(Recipe(), changes, f"{NAMED} in [{name}]") for name, changes in read_toml(NAMED).items()}


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name, or read it from a .toml file of its fields. Raises UsageError."""
    if name.endswith(".toml"):
        written = read_toml(Path(name))
        base = written.pop("base", "default")
        return change_recipe(find_recipe(str(base)), written, name)
    try:
        return named_recipes()[name]
    except KeyError:
        raise UsageError(f"There is no recipe {name!r}; choose {', '.join(named_recipes())}, or give a .toml file.") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises UsageError if it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"The file {path} does not exist.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from error
