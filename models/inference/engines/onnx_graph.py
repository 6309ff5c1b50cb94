"""ONNX graphs of networks without weights, which come from checkpoints.

A graph serves every checkpoint of its architecture, trained or taught: it ends before the classifier. `recipes/graphs` writes
them; weights are external data in them. Imports neither torch nor onnx.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexer.domain.errors import ModelUnavailable

if TYPE_CHECKING:
    from indexer.domain.images import InputSpec
    from indexer.domain.types import Floats

PREFIX = "network."
"""Prefix of the weights in a graph, before their name in a checkpoint."""

_FOLDER = Path(__file__).parent / "graphs"
_ANY_SIZE = "any"


class Norm(NamedTuple):
    """A layer and the batch norm after it, as prefixes of their weights, and the epsilon of the norm."""

    layer: str
    norm: str
    eps: float


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations of a network.

    - `onnx`: a model that reads the weights named `weights`, with batch norms fused; normalizes its input by `mean` and `std`.
    - `norms`: the fused batch norms.
    - `shapes`: shapes of the weights of the network, by name.
    - `reads`: number of inputs of the classifier, if one follows; `spaces`, `embedding_size`: as in `ModelCard`.
    """

    onnx: bytes
    weights: tuple[str, ...]
    norms: tuple[Norm, ...]
    mean: float = 0.0
    std: float = 1.0
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reads: int = 0
    spaces: tuple[tuple[str, int], ...] = ()
    embedding_size: int = 0


def graph_path(architecture: str, size: int | None = None) -> Path:
    """Return the path of the graph of an architecture, for one input size or any; a JSON file of the same stem has its facts."""
    return _FOLDER / f"{architecture}@{_ANY_SIZE if size is None else size}.onnx"


def find_graph(architecture: str, spec: InputSpec) -> Graph | None:
    """Return the graph of an architecture, by its name on a card, for an input; None if there is none."""
    base, *words = architecture.split("+")
    # Dropout acts only in training; the style baseline is subtracted between graph and classifier.
    undrawn = {"dropout", "usual"} if {"spaces", "whole"} <= set(words) else {"dropout"}
    name = "+".join([base, *(word for word in words if word not in undrawn)])
    there = {path.name for path in _FOLDER.iterdir()}  # a name from a card must not be used as a path
    for size in (spec.size, _ANY_SIZE):
        if f"{name}@{size}.onnx" in there:
            graph = read_graph(_FOLDER / f"{name}@{size}.onnx")
            return graph if (graph.mean, graph.std) == (spec.mean, spec.std) else None
    return None


@cache
def read_graph(path: Path) -> Graph:
    """Read a graph that is shipped with the program."""
    facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Graph(
        path.read_bytes(),
        tuple(facts["weights"]),
        tuple(Norm(*norm) for norm in facts["norms"]),
        facts["mean"],
        facts["std"],
        {name: tuple(shape) for name, shape in facts["shapes"].items()},
        facts["reads"],
        tuple(facts["spaces"].items()),
        facts["embedding_size"],
    )


def weights_for(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the weights of a checkpoint as the graph reads them, by their names in the graph.

    Raises ModelUnavailable for missing weights and wrong shapes.
    """
    for name, shape in graph.shapes.items():
        if name in state and state[name].shape != shape:
            raise ModelUnavailable(
                f"The weights are not those of the architecture: {name} has shape {state[name].shape}, not {shape}."
            )
    try:
        merged = _merged(graph, state)
        return {PREFIX + name: np.ascontiguousarray(merged[name], dtype=np.float32) for name in graph.weights}
    except KeyError as error:
        raise ModelUnavailable(f"The weights are not those of the architecture: {error} is missing.") from error


def _merged(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Fuse every batch norm, which is a scale and a shift in evaluation, into its layer."""
    merged = dict(state)
    for layer, norm, eps in ((one.layer, one.norm, one.eps) for one in graph.norms):
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(eps))
        matrix = state[f"{layer}.weight"]
        merged[f"{layer}.weight"] = matrix * scale.reshape(-1, *[1] * (matrix.ndim - 1))
        shift = state.get(f"{layer}.bias", np.float32(0)) - state[f"{norm}.running_mean"]
        merged[f"{layer}.bias"] = state[f"{norm}.bias"] + shift * scale
    return merged
