"""Checkpoints on disk as torch tensors: `models.checkpoint_arrays` for programs that compute with torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models import checkpoint_arrays
from models.checkpoint_arrays import MEMORY

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard


def save(folder: Path, card: ModelCard, state: Mapping[str, Tensor]) -> Path:
    """Write weights, which are tensors by name on any device, as `models.checkpoint_arrays.save` does."""
    return checkpoint_arrays.save(folder, card, {name: tensor.detach().cpu().numpy() for name, tensor in state.items()})


def load(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read the card and the weights, float32 on the CPU, of a checkpoint without its replay set.

    Raises the errors of `models.checkpoint_arrays.load_all`.
    """
    card, state = checkpoint_arrays.load_all(path)
    return card, {name: torch.from_numpy(values) for name, values in state.items() if not name.startswith(MEMORY)}
