"""Checkpoints of face detectors on disk: NAME.safetensors, and its card NAME.json with the digest of the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from blake3 import blake3
from safetensors import SafetensorError
from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from indexer.domain.errors import ModelUnavailable
from indexer.system.atomic import write_file
from models.faces.card import SHIPPED, FaceCard, read_card
from models.safetensors_io import read_verified


def save(folder: Path, name: str, state: Mapping[str, Tensor], side: int, least: float, about: Mapping[str, Any]) -> Path:
    """Write weights and card, each atomically, and return the path of the weights.

    - `state`: tensors by name; kernels are stored as float16, vectors as float32.
    - `side`, `least`: as in `FaceCard`.
    - `about`: training data and measurements, for people; anything that JSON can hold.

    Raises OSError if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    stored = {
        key: tensor.detach().contiguous().to(torch.float16 if tensor.ndim > 1 else torch.float32)
        for key, tensor in state.items()
        if not key.endswith("num_batches_tracked")
    }
    data = serialize(stored)
    write_file(path, data)
    card = {"weights_digest": blake3(data).hexdigest(), "side": side, "least": least, "about": dict(about)}
    write_file(path.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def load(path: Path = SHIPPED) -> tuple[FaceCard, dict[str, Tensor]]:
    """Read the card and the weights, float32 on the CPU, of a face detector.

    Raises ModelUnavailable for missing, damaged or changed files.
    """
    card = read_card(path)
    data = read_verified(path, card.weights_digest)
    try:
        return card, {name: tensor.float() for name, tensor in parse(data).items()}
    except SafetensorError as error:
        raise ModelUnavailable(f"{path} is not a safetensors file: {error}.") from error
