"""What a training knows when it stops in the middle, on disk: it goes on from there as if nothing had happened.

Every random choice is drawn from the recipe's seed and the step's number, so that no generator's state need be kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialise
from torch import Tensor

from indexer.domain.training import Epoch
from indexer.system.atomic import replace_file
from models.architectures.network import Network


@dataclass(slots=True)
class TrainingState:
    """A training under way. `average` is the weights' running mean, `best` that of the best epoch, both by name.

    `step` counts the batches of the present epoch that are done, `losses` and `hits` sum over them; `history` has the finished
    epochs; `scale` is the gradient scaler's state where float16 needs one.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    best: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    losses: float = 0.0
    hits: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    scale: dict[str, Any] = field(default_factory=dict)

    @property
    def best_epoch(self) -> int | None:
        """The position in the history of the epoch with the best balanced accuracy; of equals the one with the lowest loss."""
        measured = [number for number, epoch in enumerate(self.history) if epoch.validation_balanced is not None]
        if not measured:
            return None
        return max(measured, key=lambda n: (self.history[n].validation_balanced, -(self.history[n].validation_loss or 0.0)))


def save_state(training: TrainingState, path: Path, fingerprint: str) -> None:
    """Write a training's state, atomically."""
    tensors = {f"network.{name}": tensor for name, tensor in training.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in training.average.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in training.best.items()}
    for number, moments in training.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
    facts = {
        "fingerprint": fingerprint,
        "step": training.step,
        "losses": training.losses,
        "hits": training.hits,
        "seen": training.seen,
        "seconds": training.seconds,
        "history": [asdict(epoch) for epoch in training.history],
        "scale": training.scale,
    }
    data = serialise(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, {"progress": json.dumps(facts)}
    )
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def saved_fingerprint(path: Path) -> str | None:
    """Which training a state belongs to; None where there is none that can be read."""
    facts = _facts(path)
    return str(facts["fingerprint"]) if facts else None


def load_state(training: TrainingState, path: Path) -> None:
    """Bring a training back to the state that was kept."""
    facts, tensors = _facts(path), parse(path.read_bytes())
    if facts is None:
        raise ValueError(f"{path} holds no training")
    training.network.load_state_dict(_under("network.", tensors))
    for name, tensor in _under("average.", tensors).items():
        training.average[name].copy_(tensor)
    training.best = _under("best.", tensors)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimiser.", tensors).items():
        number, moment = name.split(".", 1)
        state.setdefault(int(number), {})[moment] = tensor
    training.optimiser.load_state_dict({"state": state, "param_groups": training.optimiser.state_dict()["param_groups"]})
    training.step, training.losses, training.hits = facts["step"], facts["losses"], facts["hits"]
    training.seen, training.seconds, training.scale = facts["seen"], facts["seconds"], facts["scale"]
    training.history = [Epoch(**epoch) for epoch in facts["history"]]


def _facts(path: Path) -> dict[str, Any] | None:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["progress"])
            return facts
    except (FileNotFoundError, SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
