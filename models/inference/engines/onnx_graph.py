"""Networks as ONNX graphs without their weights, which come from checkpoints.

A graph serves every checkpoint of its architecture, whatever it was trained or taught to say: it ends before the classifier.
`recipes/graphs` draws them; the weights are external data in them. Imports neither torch nor onnx.
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
"""What weights are called in a graph, before the name that they have in a checkpoint."""

_FOLDER = Path(__file__).parent / "graphs"
_ANY_SIZE = "any"


class Norm(NamedTuple):
    """A layer with a batch norm after it, by the names that their weights begin with, and what is added to the variance."""

    layer: str
    norm: str
    eps: float


@dataclass(frozen=True, slots=True)
class Graph:
    """A network's operations: `onnx` is a model that reads the weights called `weights`, with the batch norms merged into the
    layers before. Its input is pixels, which it normalises by `mean` and `std`.

    `shapes` are those of the network's own weights, by name. Where a classifier follows, it reads `reads` numbers a picture;
    `spaces` and `embedding_size` are as on the cards of such networks.
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
    """Where the graph of an architecture, for inputs of that size or of any, belongs; its facts lie beside it as JSON."""
    return _FOLDER / f"{architecture}@{_ANY_SIZE if size is None else size}.onnx"


def find_graph(architecture: str, spec: InputSpec) -> Graph | None:
    """The graph that computes an architecture, by the name on a card, for such an input; None where none was drawn."""
    base, *words = architecture.split("+")
    # Dropout is for training alone; what is usual is taken off between the graph and the classifier.
    undrawn = {"dropout", "usual"} if {"spaces", "whole"} <= set(words) else {"dropout"}
    name = "+".join([base, *(word for word in words if word not in undrawn)])
    there = {path.name for path in _FOLDER.iterdir()}  # a name from a card is no path
    for size in (spec.size, _ANY_SIZE):
        if f"{name}@{size}.onnx" in there:
            graph = read_graph(_FOLDER / f"{name}@{size}.onnx")
            return graph if (graph.mean, graph.std) == (spec.mean, spec.std) else None
    return None


@cache
def read_graph(path: Path) -> Graph:
    """A graph that comes with the program."""
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
    """A checkpoint's weights as the graph reads them, by the names that they have there.

    Raises ModelUnavailable where some are missing, or have other shapes.
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
    """The weights with every batch norm, in evaluation a scale and a shift, merged into its layer."""
    merged = dict(state)
    for layer, norm, eps in ((one.layer, one.norm, one.eps) for one in graph.norms):
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(eps))
        matrix = state[f"{layer}.weight"]
        merged[f"{layer}.weight"] = matrix * scale.reshape(-1, *[1] * (matrix.ndim - 1))
        shift = state.get(f"{layer}.bias", np.float32(0)) - state[f"{norm}.running_mean"]
        merged[f"{layer}.bias"] = state[f"{norm}.bias"] + shift * scale
    return merged
