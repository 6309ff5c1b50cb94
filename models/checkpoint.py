"""Checkpoints on disk: NAME.safetensors and its card NAME.json.

moodex unpickles nothing. It verifies the digest of the weights, and the names, shapes and values of all tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from blake3 import blake3
from safetensors.torch import load as parse
from safetensors.torch import save as serialize
from torch import Tensor

from indexer.domain.errors import ModelUnavailable, MoodexError
from indexer.system.atomic import write_file
from models.architectures.registry import architecture
from models.model_card import card_path, card_text, read_card
from models.safetensors_io import NO_TENSORS, not_safetensors, read_verified

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard

MEMORY = "memory."
"""Prefix of the names of the replay set: embeddings of training images (`vectors`) and their labels (`labels`)."""

_NOT_IN_EMBEDDING = ("classifier.", "usual.", MEMORY)
"""Prefixes of the names of tensors that do not affect the embeddings."""


def save(folder: Path, card: ModelCard, state: Mapping[str, Tensor]) -> Path:
    """Write weights and card, each atomically, and return the path of the weights.

    - `card`: its name becomes the file name; its digests are replaced by those of the written weights.
    - `state`: tensors by name, on any device. Matrices and kernels are stored as float16, floating-point vectors as float32:
      the range of biases and of batch norms is too wide for float16.

    Raises OSError if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.safetensors"
    stored = {name: _to_store(tensor) for name, tensor in state.items() if _is_weight(name)}
    data = serialize(stored)
    write_file(path, data)
    write_card(path, replace(card, weights_digest=blake3(data).hexdigest(), backbone_digest=backbone_digest(stored)))
    return path


def backbone_digest(stored: Mapping[str, Tensor]) -> str:
    """Return the BLAKE3 hex digest of the stored weights that affect the embeddings."""
    backbone = {name: tensor for name, tensor in stored.items() if not name.startswith(_NOT_IN_EMBEDDING)}
    return blake3(serialize(backbone)).hexdigest()


def write_card(weights: Path, card: ModelCard) -> None:
    """Write the card of a weights file, atomically. Raises OSError."""
    write_file(card_path(weights), card_text(card).encode())


def load(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read the card and the weights, float32 on the CPU, of a checkpoint.

    Raises ModelUnavailable for missing, damaged or changed files, and for weights that do not match the card.
    """
    card, stored = load_all(path)
    return card, {name: tensor for name, tensor in stored.items() if not name.startswith(MEMORY)}


def load_all(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read a checkpoint as `load` does, but with its replay set, whose names begin with `MEMORY`."""
    card = read_card(path)
    data = read_verified(path, card.weights_digest)
    try:
        stored = parse(data)
    except NO_TENSORS as error:
        raise not_safetensors(path, error) from error
    check(card, stored)
    return card, {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


def check(card: ModelCard, state: Mapping[str, Tensor]) -> None:
    """Raise ModelUnavailable if weights do not match the architecture and labels of their card.

    Also checks that all values are finite, and that the replay set, if there is one, has embeddings and labels of the model.
    """
    kind = architecture(card.architecture)
    try:
        with torch.device("meta"):
            network = kind.build(len(card.labels), card.input.size)
    except MoodexError:
        raise
    except Exception as error:  # networks raise many types of errors for unsuitable input sizes
        raise ModelUnavailable(f"{kind.name} cannot read images of {card.input.size} pixels: {error}") from error
    if network.spaces != card.spaces:
        raise ModelUnavailable(
            f"The card of {card.name!r} names the spaces {dict(card.spaces)}; {kind.name} has {dict(network.spaces)}."
        )
    if network.embedding_size != card.embedding_size:
        raise ModelUnavailable(
            f"The card of {card.name!r} gives an embedding size of {card.embedding_size}; "
            f"{kind.name} has {network.embedding_size}."
        )
    expected = {name: tensor for name, tensor in network.state_dict().items() if _is_weight(name)}
    present = {name for name in state if not name.startswith(MEMORY)}
    missing, extra = sorted(expected.keys() - present), sorted(present - expected.keys())
    if missing:
        raise ModelUnavailable(f"The model {card.name!r} lacks {len(missing)} tensors of {kind.name}, for example {missing[0]}.")
    if extra:
        raise ModelUnavailable(
            f"The model {card.name!r} has {len(extra)} tensors that {kind.name} does not have, for example {extra[0]}."
        )
    for name, reference in expected.items():
        tensor = state[name]
        if tensor.shape != reference.shape:
            raise ModelUnavailable(
                f"In the model {card.name!r}, {name} has shape {tuple(tensor.shape)}; {kind.name} has {tuple(reference.shape)}."
            )
        if tensor.is_floating_point() != reference.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise ModelUnavailable(f"In the model {card.name!r}, {name} holds values that are not finite numbers.")
    if card.backbone_digest and backbone_digest(state) != card.backbone_digest:
        raise ModelUnavailable(f"The card of {card.name!r} does not describe its weights: the digests differ.")
    _check_replay_set(card, state)


def _check_replay_set(card: ModelCard, state: Mapping[str, Tensor]) -> None:
    """Raise ModelUnavailable unless the replay set is absent or valid.

    A valid one has `vectors`, floating-point, (K, embedding size), finite, and `labels`, uint8, (K,), positions in the card's
    labels.
    """
    replay_set = {name.removeprefix(MEMORY): tensor for name, tensor in state.items() if name.startswith(MEMORY)}
    if not replay_set:
        return
    vectors, labels = replay_set.get("vectors"), replay_set.get("labels")
    if (
        len(replay_set) > 2
        or vectors is None
        or labels is None
        or labels.ndim != 1
        or vectors.shape != (len(labels), card.embedding_size)
        or labels.dtype != torch.uint8
        or not vectors.is_floating_point()
        or not bool(torch.isfinite(vectors).all())
        or bool((labels >= len(card.labels)).any())
    ):
        raise ModelUnavailable(f"The replay set of the model {card.name!r} is not embeddings with labels.")


def _is_weight(name: str) -> bool:
    """Return whether a tensor is needed for evaluation: the batch counters of batch norms are not."""
    return not name.endswith("num_batches_tracked")


def _to_store(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU in the number type that `save` documents."""
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous()
    return tensor.detach().cpu().contiguous().to(torch.float16 if tensor.ndim > 1 else torch.float32)
