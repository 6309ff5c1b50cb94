"""Checkpoints on disk: NAME.safetensors and its card NAME.json. Nothing is unpickled, everything is verified."""

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
"""Prefix of the tensors of the replay set: embeddings of some training images."""

_NOT_IN_EMBEDDING = ("classifier.", "usual.", MEMORY)
"""Prefixes of the tensors that the embeddings do not depend on."""


def save(folder: Path, card: ModelCard, state: Mapping[str, Tensor]) -> Path:
    """Write weights and card, each atomically; return the path of the weights.

    The digests of the card are replaced. Matrices and kernels are stored as float16, vectors (biases and
    batch norms, whose range is wide) as float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.safetensors"
    stored = {name: _to_store(tensor) for name, tensor in state.items() if _is_weight(name)}
    data = serialize(stored)
    write_file(path, data)
    write_card(path, replace(card, weights_digest=blake3(data).hexdigest(), backbone_digest=backbone_digest(stored)))
    return path


def backbone_digest(stored: Mapping[str, Tensor]) -> str:
    """Return the BLAKE3 hex digest of the stored weights that decide the embeddings."""
    backbone = {name: tensor for name, tensor in stored.items() if not name.startswith(_NOT_IN_EMBEDDING)}
    return blake3(serialize(backbone)).hexdigest()


def write_card(weights: Path, card: ModelCard) -> None:
    """Write the card of a weights file, atomically."""
    write_file(card_path(weights), card_text(card).encode())


def load(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read the card and the weights, float32 on the CPU, of a checkpoint.

    Raises ModelUnavailable for missing, damaged or changed files, and for weights that do not match the card.
    """
    card, stored = load_all(path)
    return card, {name: tensor for name, tensor in stored.items() if not name.startswith(MEMORY)}


def load_all(path: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read a checkpoint as `load` does, with its replay set under names that begin with `MEMORY`."""
    card = read_card(path)
    data = read_verified(path, card.weights_digest)
    try:
        stored = parse(data)
    except NO_TENSORS as error:
        raise not_safetensors(path, error) from error
    check(card, stored)
    return card, {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}


def check(card: ModelCard, state: Mapping[str, Tensor]) -> None:
    """Check that the weights match the architecture and labels of the card. Raises ModelUnavailable."""
    kind = architecture(card.architecture)
    try:
        with torch.device("meta"):
            network = kind.build(len(card.labels), card.input.size)
    except MoodexError:
        raise
    except Exception as error:  # networks raise many types for unsuitable sizes
        raise ModelUnavailable(f"{kind.name} cannot read images of {card.input.size} pixels: {error}") from error
    if network.spaces != card.spaces:
        raise ModelUnavailable(
            f"The card of {card.name!r} names the spaces {dict(card.spaces)}; {kind.name} has {dict(network.spaces)}."
        )
    if network.embedding_size != card.embedding_size:
        raise ModelUnavailable(
            f"The card of {card.name!r} says {card.embedding_size} numbers per embedding; "
            f"{kind.name} has {network.embedding_size}."
        )
    expected = {name: tensor for name, tensor in network.state_dict().items() if _is_weight(name)}
    given = {name for name in state if not name.startswith(MEMORY)}
    missing, extra = sorted(expected.keys() - given), sorted(given - expected.keys())
    if missing or extra:
        kind_of, names = ("lacks", missing) if missing else ("has, beyond its architecture,", extra)
        raise ModelUnavailable(f"The model {card.name!r} {kind_of} {len(names)} tensors, among them {names[0]}.")
    for name, like in expected.items():
        if state[name].shape != like.shape:
            raise ModelUnavailable(
                f"In the model {card.name!r}, {name} has shape {tuple(state[name].shape)}; {kind.name} has {tuple(like.shape)}."
            )
        if state[name].is_floating_point() != like.is_floating_point() or not bool(torch.isfinite(state[name]).all()):
            raise ModelUnavailable(f"In the model {card.name!r}, {name} holds values that are not finite numbers.")
    if card.backbone_digest and backbone_digest(state) != card.backbone_digest:
        raise ModelUnavailable(f"The card of {card.name!r} describes another network than its weights hold: the digests differ.")
    _check_memory(card, state)


def _check_memory(card: ModelCard, state: Mapping[str, Tensor]) -> None:
    memory = {name.removeprefix(MEMORY): tensor for name, tensor in state.items() if name.startswith(MEMORY)}
    if not memory:
        return
    vectors, labels = memory.get("vectors"), memory.get("labels")
    if (
        len(memory) > 2
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
    """Return whether a tensor is needed: batch norms count their batches, which evaluation never reads."""
    return not name.endswith("num_batches_tracked")


def _to_store(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.detach().cpu().contiguous()
    return tensor.detach().cpu().contiguous().to(torch.float16 if tensor.ndim > 1 else torch.float32)
