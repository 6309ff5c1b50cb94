"""Training recipes: the parameters of a training, and the named recipes of `recipes.toml`. Imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from indexer.domain.errors import UsageError

NAMED = Path(__file__).parent / "recipes.toml"
"""The file of the named recipes."""

STUDY = Path(__file__).parent / "study.toml"
"""The grid file of the study (docs/explanation/study.md)."""

SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The parameters of a training. `_RANGES` has the ranges of numbers.

    Network:

    - `architecture`: its name with modifiers; `models.training.trainer.recipe_architecture` checks it.
    - `weights`: initial weights: "imagenet", "none" (random), or a file.
    - `size`: side of the input in pixels.

    Distillation (`models.training.distillation`):

    - `teachers`: checkpoint files from which the network learns, too. `teacher_share`: their share of the loss.

    Length:

    - `epochs`: number of epochs. `pictures_per_epoch`: images in each; 0 takes the size of the data set.
    - `batch_size`: images per batch.
    - `patience`: epochs without a better balanced accuracy on the validation part after which the training stops; the result is
      the best epoch. With 0, it does not stop early, and the result is the last epoch.

    Learning rates of AdamW:

    - `head_rate`: peak rate of the head.
    - `backbone_rate`, `layer_decay`: the peak rate of the n-th tenth of the backbone from the head is `backbone_rate` times
      `layer_decay` to the power of n.
    - `warm_up`: share of all steps during which the rates rise linearly. `schedule`: one of `SCHEDULES` after that.
    - `frozen`: share of the tensors, counted from the input, that are never trained.
    - `thaw`: share of all steps during which the other tensors are unfrozen, from the head to the input (gradual unfreezing).

    Regularization:

    - `weight_decay`: that of AdamW. `l2`: factor of the squares of the head's matrices in the loss. `label_smoothing`: share.
    - `mixup`: parameter of the beta distribution; 0 switches mixup off.
    - `strength`: that of the style augmentation; see `models.training.augment.Augment`.
    - `balance`: 0 draws images as often as they occur, 1 draws emotions and sets equally often.
    - `average`: share of all steps over which the weights are averaged exponentially; 0 switches the average off.
    - `keep`: share of the initial weights in the result. A network that was trained further is often more right about unseen data
      if it keeps a part of them (Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv:2109.01903).

    Measurement and computation:

    - `views`: augmented views of each test image that are averaged.
    - `precision`: one of `PRECISIONS`. `seed`: seed of all random choices.
    """

    architecture: str = "efficientnet_lite0"
    weights: str = "imagenet"
    size: int = 128
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.7
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
    keep: float = 0.0
    views: int = 1
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be between {low} and {high}.")
        for name, values in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in values:
                raise UsageError(f"{name} is {getattr(self, name)!r}; choose {', '.join(values)}.")


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("size", 32, 512),
    ("teacher_share", 0, 1),
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
    ("keep", 0, 1),
    ("views", 1, 6),
    ("seed", 0, 2**31),
)
"""The least and the greatest value of each field that is a number."""


@dataclass(frozen=True, slots=True)
class RecipeOverrides:
    """Fields of a recipe that a user sets; None keeps the value of the recipe.

    `assignments` are strings FIELD=VALUE for any field, with values in TOML. They override the other fields.
    """

    architecture: str | None = None
    weights: str | None = None
    size: int | None = None
    teachers: tuple[str, ...] | None = None
    epochs: int | None = None
    pictures_per_epoch: int | None = None
    batch_size: int | None = None
    patience: int | None = None
    seed: int | None = None
    assignments: tuple[str, ...] = ()

    def apply(self, recipe: Recipe, source: str) -> Recipe:
        """Return a recipe with these fields changed; `source` names their origin in errors.

        Raises UsageError for an invalid assignment, and the errors of `change_recipe`.
        """
        changes = {name: value for name, value in asdict(self).items() if value is not None and name != "assignments"}
        return change_recipe(recipe, {**changes, **parse_assignments(self.assignments)}, source)


def parse_assignments(assignments: Iterable[str]) -> dict[str, object]:
    """Parse strings FIELD=VALUE into values by field. A value that is not TOML is text. Raises UsageError."""
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
    changes = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    for name, value in changes.items():
        if name not in types:
            raise UsageError(f"{source} sets {name!r}, which is not a field of a recipe. Fields are: {', '.join(types)}.")
        valid = isinstance(value, (int, float)) if types[name] is float else isinstance(value, types[name])
        if not valid or isinstance(value, bool):
            raise UsageError(f"{source} sets {name} to {value!r}; it must be of type {types[name].__name__}.")
        if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
            raise UsageError(f"{source} sets {name} to {list(value)!r}; it must be a list of names.")
    return replace(recipe, **changes)  # type: ignore[arg-type]


@cache
def named_recipes() -> dict[str, Recipe]:
    """Return the shipped recipes by name; the first is the default."""
    return {name: change_recipe(Recipe(), changes, f"{NAMED} in [{name}]") for name, changes in read_toml(NAMED).items()}


def find_recipe(name: str) -> Recipe:
    """Return a shipped recipe by name, or read one from a .toml file.

    The fields in the file override those of the recipe that it names as `base`. Raises UsageError for an unknown name, and for
    an unreadable or invalid file.
    """
    if name.endswith(".toml"):
        changes = read_toml(Path(name))
        base = changes.pop("base", "default")
        return change_recipe(find_recipe(str(base)), changes, name)
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
