"""ONNX graphs of networks, without weights.

A graph ends before the classifier, so one graph serves every trained or taught checkpoint of its architecture. Its weights are
external data, which this module takes from a checkpoint. `recipes/graphs` writes the graphs. This module imports neither torch
nor onnx.
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
"""Prefix of the name of a weight in a graph; its name in a checkpoint follows."""

_FOLDER = Path(__file__).parent / "graphs"
_ANY_SIZE = "any"


class Norm(NamedTuple):
    """A batch norm and the layer before it, as prefixes of the names of their weights, with the epsilon of the norm."""

    layer: str
    norm: str
    eps: float


@dataclass(frozen=True, slots=True)
class Graph:
    """The operations of a network, with fused batch norms.

    - `onnx`: an ONNX model without weights; `weights`: names of the weights that it needs, without `PREFIX`.
    - `norms`: the batch norms that are fused into other layers.
    - `mean`, `std`: the graph normalizes its input as (x - mean) / std from 0-255.
    - `shapes`: shapes of the weights in a checkpoint, by name.
    - `reads`: number of inputs of the classifier after the graph; 0 for a network without a classifier.
    - `spaces`, `embedding_size`: as in `ModelCard`.
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
    """Return the path of the graph of an architecture.

    `size` is the side of the input in pixels; None stands for any size. A JSON file with the same stem has the other fields of
    `Graph`.
    """
    return _FOLDER / f"{architecture}@{_ANY_SIZE if size is None else size}.onnx"


def find_graph(architecture: str, spec: InputSpec) -> Graph | None:
    """Return the graph of an architecture for an input; None if moodex has no such graph.

    `architecture` is the name on a card, with modifiers.
    """
    base, *modifiers = architecture.split("+")
    # Dropout acts only in training; the style baseline is subtracted between the graph and the classifier. A classifier with the
    # modifier unit reads the embedding, which every graph computes.
    not_in_graph = {"dropout", "usual" if {"spaces", "whole"} <= set(modifiers) else "unit"}
    name = "+".join([base, *(modifier for modifier in modifiers if modifier not in not_in_graph)])
    file_names = {path.name for path in _FOLDER.iterdir()}  # a name from a card must not become a path
    for size in (spec.size, _ANY_SIZE):
        if f"{name}@{size}.onnx" in file_names:
            graph = read_graph(_FOLDER / f"{name}@{size}.onnx")
            return graph if (graph.mean, graph.std) == (spec.mean, spec.std) else None
    return None


@cache
def read_graph(path: Path) -> Graph:
    """Read a shipped graph and its JSON file."""
    fields = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return Graph(
        path.read_bytes(),
        tuple(fields["weights"]),
        tuple(Norm(*norm) for norm in fields["norms"]),
        fields["mean"],
        fields["std"],
        {name: tuple(shape) for name, shape in fields["shapes"].items()},
        fields["reads"],
        tuple(fields["spaces"].items()),
        fields["embedding_size"],
    )


def weights_for(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the weights that a graph needs, with fused batch norms, by their names in the graph.

    `state` are the weights of a checkpoint by name, float32. Raises ModelUnavailable for missing weights and wrong shapes.
    """
    for name, shape in graph.shapes.items():
        if name in state and state[name].shape != shape:
            raise ModelUnavailable(
                f"The weights are not those of the architecture: {name} has shape {state[name].shape}, not {shape}."
            )
    try:
        fused = _fuse_norms(graph, state)
        return {PREFIX + name: np.ascontiguousarray(fused[name], dtype=np.float32) for name in graph.weights}
    except KeyError as error:
        raise ModelUnavailable(f"The weights are not those of the architecture: {error} is missing.") from error


def _fuse_norms(graph: Graph, state: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the weights with every batch norm, which is a scale and a shift in evaluation, fused into its layer."""
    fused = dict(state)
    for layer, norm, eps in graph.norms:
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(eps))
        weight = state[f"{layer}.weight"]
        fused[f"{layer}.weight"] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        shift = state.get(f"{layer}.bias", np.float32(0)) - state[f"{norm}.running_mean"]
        fused[f"{layer}.bias"] = state[f"{norm}.bias"] + shift * scale
    return fused
