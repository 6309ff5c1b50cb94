"""Checkpoints on disk as numpy arrays: NAME.safetensors and its card NAME.json. Imports torch only for networks without a graph.

moodex unpickles nothing. It verifies the digest of the weights, and the names, shapes and values of all tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from indexer.domain.errors import ModelUnavailable, MoodexError
from indexer.system.atomic import write_file
from indexer.system.optional import require_torch
from models.architectures.modifiers import modifiers_of
from models.inference.engines.onnx_graph import find_graph
from models.model_card import card_path, card_text, read_card
from models.safetensors_io import NO_TENSORS, not_safetensors, read_verified
from models.style_baseline import GROUPS, MODIFIER

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.models import ModelCard

    Array = npt.NDArray[Any]
    Arrays = Mapping[str, Array]

MEMORY = "memory."
"""Prefix of the names of the replay set: embeddings of training images (`vectors`) and their labels (`labels`)."""

_NOT_IN_EMBEDDING = ("classifier.", "usual.", MEMORY)
"""Prefixes of the names of tensors that do not affect the embeddings."""


@dataclass(frozen=True, slots=True)
class WeightShapes:
    """The weights that an architecture has.

    - `shapes`: shape of each tensor by name; `integers`: names of those that hold integers.
    - `spaces`, `embedding_size`: as in `ModelCard`.
    """

    shapes: Mapping[str, tuple[int, ...]]
    integers: frozenset[str]
    spaces: tuple[tuple[str, int], ...]
    embedding_size: int


def save(folder: Path, card: ModelCard, state: Arrays) -> Path:
    """Write weights and card, each atomically, and return the path of the weights.

    - `card`: its name becomes the file name; its digests are replaced by those of the written weights.
    - `state`: arrays by name. Matrices and kernels are stored as float16, floating-point vectors as float32: the range of biases
      and of batch norms is too wide for float16.

    Raises OSError if a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.safetensors"
    stored = {name: _to_store(values) for name, values in state.items() if is_weight(name)}
    data = serialize(stored)
    write_file(path, data)
    write_card(path, replace(card, weights_digest=blake3(data).hexdigest(), backbone_digest=_backbone_of(card, stored)))
    return path


def _backbone_of(card: ModelCard, stored: Arrays) -> str:
    """Return the digest of the network below the last layer: of its weights, or of the commit of a hub that has them."""
    if card.members:
        return card.backbone_digest  # of its first model
    return backbone_digest(stored) if card.hub is None else card.hub.digest


def backbone_digest(stored: Arrays) -> str:
    """Return the BLAKE3 hex digest of the stored weights that affect the embeddings."""
    backbone = {name: values for name, values in stored.items() if not name.startswith(_NOT_IN_EMBEDDING)}
    return blake3(serialize(backbone)).hexdigest()


def write_card(weights: Path, card: ModelCard) -> None:
    """Write the card of a weights file, atomically. Raises OSError."""
    write_file(card_path(weights), card_text(card).encode())


def load_all(path: Path) -> tuple[ModelCard, dict[str, Array]]:
    """Read the card and the weights, float32, of a checkpoint with its replay set, whose names begin with `MEMORY`.

    Raises ModelUnavailable for missing, damaged or changed files, and for weights that do not match the card; MissingExtra if
    only PyTorch knows the network and is not installed.
    """
    card = read_card(path)
    data = read_verified(path, card.weights_digest)
    try:
        stored = parse(data)
    except NO_TENSORS as error:
        raise not_safetensors(path, error) from error
    check(card, stored)
    return card, {name: values.astype(np.float32) if _is_floating(values) else values for name, values in stored.items()}


def check(card: ModelCard, state: Arrays) -> None:
    """Raise ModelUnavailable if weights do not match the architecture and labels of their card.

    Also checks that all values are finite, and that the replay set, if there is one, has embeddings and labels of the model.
    Raises MissingExtra like `load_all`.
    """
    expected = _weights_of_blend(card) or _weights_on_hub(card, state) or _weights_in_graph(card) or _weights_in_network(card)
    if expected.spaces != card.spaces:
        raise ModelUnavailable(
            f"The card of {card.name!r} names the spaces {dict(card.spaces)}; {card.architecture} has {dict(expected.spaces)}."
        )
    if expected.embedding_size != card.embedding_size:
        raise ModelUnavailable(
            f"The card of {card.name!r} gives an embedding size of {card.embedding_size}; "
            f"{card.architecture} has {expected.embedding_size}."
        )
    _check_names(card, expected, {name for name in state if not name.startswith(MEMORY)})
    for name, shape in expected.shapes.items():
        values = state[name]
        if values.shape != shape:
            raise ModelUnavailable(
                f"In the model {card.name!r}, {name} has shape {values.shape}; {card.architecture} has {tuple(shape)}."
            )
        if _is_floating(values) is (name in expected.integers) or not np.isfinite(values).all():
            raise ModelUnavailable(f"In the model {card.name!r}, {name} holds values that are not finite numbers.")
    if card.backbone_digest and _backbone_of(card, state) != card.backbone_digest:
        raise ModelUnavailable(f"The card of {card.name!r} does not describe its weights: the digests differ.")
    _check_replay_set(card, state)


def is_weight(name: str) -> bool:
    """Return whether a tensor is needed for evaluation: the batch counters of batch norms are not."""
    return not name.endswith("num_batches_tracked")


def _weights_of_blend(card: ModelCard) -> WeightShapes | None:
    """Return the tensors of a blend; None for another model."""
    if not card.members:
        return None
    shapes = {"blend.weights": (len(card.members),), "blend.temperature": (1,)}
    return WeightShapes(shapes, frozenset(), card.spaces, card.embedding_size)


def _weights_on_hub(card: ModelCard, state: Arrays) -> WeightShapes | None:
    """Return the tensors of moodex on a network of a hub; None for a model that is whole."""
    if card.hub is None:
        return None
    if card.architecture.partition("+")[0] != card.hub.architecture:
        raise ModelUnavailable(f"The card of {card.name!r} names another commit as its architecture than as its source.")
    from models.hub.head import head_shapes

    shapes, integers = head_shapes(card, state)
    return WeightShapes(shapes, integers, (), card.embedding_size)


def _weights_in_graph(card: ModelCard) -> WeightShapes | None:
    """Return the weights of an architecture that has an ONNX graph; None if there is no graph of it."""
    graph = find_graph(card.architecture, card.input)
    if graph is None:
        return None
    shapes = {**graph.shapes, "classifier.weight": (len(card.labels), graph.reads), "classifier.bias": (len(card.labels),)}
    if MODIFIER in modifiers_of(card.architecture):
        size = graph.embedding_size // 2
        shapes |= {f"{MODIFIER}.looks": (GROUPS, size), f"{MODIFIER}.feels": (GROUPS, size)}
    return WeightShapes(shapes, frozenset(), graph.spaces, graph.embedding_size)


def _weights_in_network(card: ModelCard) -> WeightShapes:
    """Return the weights of an architecture, from its network. Raises ModelUnavailable and MissingExtra."""
    require_torch(f"The model {card.name!r}, of the architecture {card.architecture},")
    import torch

    from models.architectures.registry import architecture

    kind = architecture(card.architecture)
    try:
        with torch.device("meta"):
            network = kind.build(len(card.labels), card.input.size)
    except MoodexError:
        raise
    except Exception as error:  # networks raise many types of errors for unsuitable input sizes
        raise ModelUnavailable(f"{kind.name} cannot read images of {card.input.size} pixels: {error}") from error
    tensors = {name: tensor for name, tensor in network.state_dict().items() if is_weight(name)}
    integers = frozenset(name for name, tensor in tensors.items() if not tensor.is_floating_point())
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return WeightShapes(shapes, integers, network.spaces, network.embedding_size)


def _check_names(card: ModelCard, expected: WeightShapes, present: set[str]) -> None:
    """Raise ModelUnavailable if tensors are missing, or unknown to the architecture."""
    missing, extra = sorted(expected.shapes.keys() - present), sorted(present - expected.shapes.keys())
    if missing:
        raise ModelUnavailable(
            f"The model {card.name!r} lacks {len(missing)} tensors of {card.architecture}, for example {missing[0]}."
        )
    if extra:
        raise ModelUnavailable(
            f"The model {card.name!r} has {len(extra)} tensors that {card.architecture} does not have, for example {extra[0]}."
        )


def _check_replay_set(card: ModelCard, state: Arrays) -> None:
    """Raise ModelUnavailable unless the replay set is absent or valid.

    A valid one has `vectors`, floating-point, (K, embedding size), finite, and `labels`, uint8, (K,), positions in the card's
    labels.
    """
    replay_set = {name.removeprefix(MEMORY): values for name, values in state.items() if name.startswith(MEMORY)}
    if not replay_set:
        return
    vectors, labels = replay_set.get("vectors"), replay_set.get("labels")
    if (
        len(replay_set) > 2
        or vectors is None
        or labels is None
        or labels.ndim != 1
        or vectors.shape != (len(labels), card.embedding_size)
        or labels.dtype != np.uint8
        or not _is_floating(vectors)
        or not np.isfinite(vectors).all()
        or (labels >= len(card.labels)).any()
    ):
        raise ModelUnavailable(f"The replay set of the model {card.name!r} is not embeddings with labels.")


def _is_floating(values: Array) -> bool:
    return values.dtype.kind == "f"


def _to_store(values: Array) -> Array:
    """Return an array in the number type that `save` documents."""
    if not _is_floating(values):
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):  # weights that exceed float16 become infinite, which `load_all` reports
        return np.ascontiguousarray(values, dtype=np.float16 if values.ndim > 1 else np.float32)
