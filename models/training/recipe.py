"""How to train, as data: a recipe with defaults, and the named ones of `recipes.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from indexer.domain.errors import ModelUnavailable, UsageError
from models.architectures.registry import architecture

NAMED = Path(__file__).parent / "recipes.toml"
STUDY = Path(__file__).parent / "study.toml"
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    The network: `architecture` with its words, `weights` to start from ("imagenet", "none" or a file), `size` of its input.
    How long: `epochs` of `pictures_per_epoch` (0: as many as there are), `batch_size`; `patience` stops after so many epochs
    without a better balanced accuracy on the validation part and takes the best one (0: never, and takes the last).
    How fast: `head_rate` and `backbone_rate` are AdamW's, the latter times `layer_decay` for every tenth of the network further
    from the head (discriminative rates); `schedule` is one of `SCHEDULES`, after `warm_up`, a share of all steps. The first
    `frozen` share of the tensors, counted from the input, stay as they are; the others thaw from the head on during the first
    `thaw` share of the steps (gradual unfreezing).
    Against learning by heart: `weight_decay`, `l2` (a penalty on the head's matrices), `label_smoothing`, `mixup` (Beta's
    parameter, 0: none), `strength` of the style augmentation, `balance` (0: pictures as often as they occur, 1: emotions and
    styles all equally often), `average` (the weights' running mean looks back over that share of the steps, 0: none).
    At the end: `views` of each picture are averaged when it is measured.
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
        try:
            architecture(self.architecture)
        except ModelUnavailable as error:
            raise UsageError(str(error)) from None
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


def varied(recipe: Recipe, changes: Mapping[str, Any], where: str) -> Recipe:
    """A recipe with some of its fields changed. Raises UsageError for a field that there is not, or of the wrong kind."""
    kinds = {field.name: type(field.default) for field in fields(Recipe)}
    for name, value in changes.items():
        if name not in kinds:
            raise UsageError(f"{where} sets {name!r}, which is no field of a recipe ({', '.join(kinds)} are).")
        right = isinstance(value, (int, float)) if kinds[name] is float else isinstance(value, kinds[name])
        if not right or isinstance(value, bool):
            raise UsageError(f"{where} sets {name} to {value!r}; it must be a {kinds[name].__name__}.")
    return replace(recipe, **changes)


@cache
def named_recipes() -> dict[str, Recipe]:
    """The recipes that come with moodex, by name; the first is the default."""
    return {name: varied(Recipe(), changes, f"{NAMED} in [{name}]") for name, changes in read_toml(NAMED).items()}


def find_recipe(name: str) -> Recipe:
    """A recipe by name, or from a TOML file of its fields. Raises UsageError."""
    if name.endswith(".toml"):
        written = read_toml(Path(name))
        base = written.pop("base", "default")
        return varied(find_recipe(str(base)), written, name)
    try:
        return named_recipes()[name]
    except KeyError:
        raise UsageError(f"There is no recipe {name!r}; known are {', '.join(named_recipes())}, or give a .toml file.") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain data. Raises UsageError for one that is missing or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"The file {path} does not exist.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from error
