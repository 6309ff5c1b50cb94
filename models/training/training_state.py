"""The state of an interrupted training on disk.

A resumed training ends with the same weights as an uninterrupted one. All random choices depend only on the seed of the recipe
and on the number of the step, so the state of random generators is not saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialize

from indexer.domain.training import Epoch
from indexer.system.atomic import replace_file

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from models.architectures.network import Network


@dataclass(slots=True)
class TrainingState:
    """The state of a running training.

    - `average`: moving average of the weights, by name. `best`: the average after the best epoch; empty without `patience`.
    - `step`: number of finished batches of the current epoch, and sums over them: `losses`, in nats; `correct`, images that
      were classified correctly; `seen`, images; `seconds`.
    - `history`: the finished epochs.
    - `scale`: state of the gradient scaler, which float16 requires.
    """

    network: Network
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    losses: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    scale: dict[str, Any] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        """Position in the history of the epoch with the best balanced accuracy on the validation part.

        Of equal epochs, that with the lowest loss is the best. None if no epoch was measured.
        """
        measured = [number for number, epoch in enumerate(self.history) if epoch.validation_balanced is not None]
        if not measured:
            return None
        return max(measured, key=lambda n: (self.history[n].validation_balanced, -(self.history[n].validation_loss or 0.0)))


def save_state(training: TrainingState, path: Path, fingerprint: str) -> None:
    """Write the state of a training, atomically.

    `fingerprint` identifies the training: only a training with the same inputs may resume from the state.
    """
    tensors = {f"network.{name}": tensor for name, tensor in training.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in training.average.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in training.best.items()}
    for number, moments in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
    fields = {
        "fingerprint": fingerprint,
        "step": training.step,
        "losses": training.losses,
        "hits": training.correct,
        "seen": training.seen,
        "seconds": training.seconds,
        "history": [asdict(epoch) for epoch in training.history],
        "scale": training.scale,
    }
    data = serialize(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, {"progress": json.dumps(fields)}
    )
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def saved_fingerprint(path: Path) -> str | None:
    """Return the fingerprint of the training whose state a file holds; None if the file is missing or unreadable."""
    fields = _read_fields(path)
    return str(fields["fingerprint"]) if fields else None


def load_state(training: TrainingState, path: Path) -> None:
    """Restore a training, in place, from a saved state. Raises ValueError if the file is not a state."""
    fields, tensors = _read_fields(path), parse(path.read_bytes())
    if fields is None:
        raise ValueError(f"{path} is not the state of a training")
    training.network.load_state_dict(_with_prefix("network.", tensors))
    for name, tensor in _with_prefix("average.", tensors).items():
        training.average[name].copy_(tensor)
    training.best = _with_prefix("best.", tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _with_prefix("optimiser.", tensors).items():
        number, moment = name.split(".", 1)
        state.setdefault(int(number), {})[moment] = tensor
    training.optimizer.load_state_dict({"state": state, "param_groups": training.optimizer.state_dict()["param_groups"]})
    training.step, training.losses, training.correct = fields["step"], fields["losses"], fields["hits"]
    training.seen, training.seconds, training.scale = fields["seen"], fields["seconds"], fields["scale"]
    training.history = [Epoch(**epoch) for epoch in fields["history"]]


def _read_fields(path: Path) -> dict[str, Any] | None:
    """Return the fields of a state that are not tensors; None if the file is missing or unreadable."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            fields: dict[str, Any] = json.loads(file.metadata()["progress"])
            return fields
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
