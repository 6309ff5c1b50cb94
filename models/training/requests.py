"""What a user asks of training: typed requests that the command line builds. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.training.label_mapping import Labels
from models.training.recipe import Recipe
from models.training.splits import SplitPlan


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train, on what data, and where to write it.

    - `output`: folder of the checkpoint, which is named `name`.safetensors.
    - `work`: folder of the split, the history, the TensorBoard events and the state from which an interrupted training resumes.
    - `temperature`: calibrates the result; None fits it on the validation part, or uses 1 if that part is empty.
    - `workers`: images decoded in parallel; 0 chooses a number for the machine.
    - `force`: replace a model of the same name, and discard an interrupted training of that name.
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
    """Which data to check, and how a training would divide them. `work` and `workers` are as in `TrainOptions`."""

    datasets: tuple[Path, ...]
    work: Path
    recipe: Recipe
    plan: SplitPlan
    labels: Labels = field(default_factory=Labels)
    workers: int = 0


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Which checkpoint to measure, and on what data.

    - `closed`: consider only the emotions that occur in the data.
    - `views`: augmented views of each image that are averaged, 1-6.
    - `batch_size`: images per batch; 0 chooses a number for the device.
    """

    weights: Path
    datasets: tuple[Path, ...]
    labels: Labels = field(default_factory=Labels)
    closed: bool = False
    views: int = 1
    device: str = "auto"
    require_gpu: bool = False
    batch_size: int = 0


@dataclass(frozen=True, slots=True)
class Grid:
    """Which trainings to compare: every variant on every data set, under every split plan, with every seed."""

    variants: Mapping[str, Recipe]
    datasets: tuple[Path, ...]
    plans: tuple[SplitPlan, ...]
    seeds: tuple[int, ...]
    output: Path
    labels: Labels = field(default_factory=Labels)
    device: str = "auto"
    workers: int = 0
