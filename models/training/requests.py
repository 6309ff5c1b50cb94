"""Requests of a user to train, check, evaluate or compare models, which the command line builds. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.training.label_mapping import Labels
from models.training.recipe import Recipe
from models.training.splits import SplitPlan


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The request to train a model.

    - `datasets`, `labels`, `plan`: the data sets, the mapping of their labels, and how they are divided.
    - `name`, `output`: name of the model, and folder of its checkpoint.
    - `work`: folder of the split, the history, the TensorBoard events, the image cache, and the state from which an interrupted
      training resumes.
    - `temperature`: divisor of the logits; None fits it to the validation part, or uses 1 if that part is empty.
    - `device`: as in `models.inference.device.select_device`.
    - `workers`: images decoded in parallel; 0 chooses a number for the machine.
    - `force`: replace a model with the same name, and discard an interrupted training with that name.
    """

    datasets: tuple[Path, ...]
    name: str
    output: Path
    work: Path
    recipe: Recipe = field(default_factory=Recipe)
    plan: SplitPlan = field(default_factory=SplitPlan)
    labels: Labels = field(default_factory=Labels)
    temperature: float | None = None
    device: str = "auto"
    workers: int = 0
    force: bool = False


@dataclass(frozen=True, slots=True)
class InspectOptions:
    """The request to check data sets, and how a training would divide them; fields are those of `TrainOptions`."""

    datasets: tuple[Path, ...]
    work: Path
    recipe: Recipe
    plan: SplitPlan
    labels: Labels = field(default_factory=Labels)
    workers: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """The request to compare trainings.

    Every variant is trained on every data set with every split plan and every seed. `variants` are recipes by name; `output` is
    the folder of the results.
    """

    variants: Mapping[str, Recipe]
    datasets: tuple[Path, ...]
    plans: tuple[SplitPlan, ...]
    seeds: tuple[int, ...]
    output: Path
    labels: Labels = field(default_factory=Labels)
    device: str = "auto"
    workers: int = 0
