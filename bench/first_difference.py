"""Find the first layer of a network of which the outputs differ between one batch and batches of one image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch

from models.inference.engines.onnx import OnnxEngine

LAYERS_BATCH = 16
"""Images in the batch of which every layer is compared."""


def first_module(engine: Any, inputs: Any) -> str:
    """The first layer of a torch module of which the outputs differ, with its type and the difference."""
    module = engine._module
    leaves = [(name, part) for name, part in module.named_modules() if name and not list(part.children())]
    with _outputs_noted(leaves) as noted:
        engine.run(inputs[:LAYERS_BATCH])
        together = list(noted)
        alone = []
        for number in range(LAYERS_BATCH):
            noted.clear()
            engine.run(inputs[number : number + 1])
            alone.append(list(noted))
    for place, (name, kind, values) in enumerate(together):
        parts = [one[place][2] for one in alone]
        if values.shape[0] == sum(part.shape[0] for part in parts):
            gap = float((torch.cat(parts) - values).abs().max())
        else:  # it does not depend on the images, as a table of relative positions
            gap = max(float((part - values).abs().max()) for part in parts)
        if gap:
            return f"{name} ({kind}, layer {place + 1} of {len(together)}): {gap:.1e}"
    return f"none of {len(together)} layers: functions between layers or after the last one"


@contextmanager
def _outputs_noted(leaves: Sequence[tuple[str, Any]]) -> Iterator[list[tuple[str, str, Any]]]:
    """Name, type and output of each layer, in the order in which they are computed."""
    noted: list[tuple[str, str, Any]] = []

    def hook_of(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                noted.append((name, type(module).__name__, output.detach().clone()))  # the next layer may write to it

        return hook

    handles = [part.register_forward_hook(hook_of(name)) for name, part in leaves]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


def first_node(model: bytes, weights: Mapping[str, Any], threads: int, inputs: Any) -> str:
    """The first operation of an ONNX graph of which the outputs differ.

    Every intermediate value becomes an output, so that ONNX Runtime merges fewer operations than it usually does.
    """
    graph = onnx.load_model_from_string(model)
    own = {output.name for output in graph.graph.output}
    nodes = {name: node for node in graph.graph.node for name in node.output if name}
    graph.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in nodes if name not in own)
    engine = OnnxEngine(graph.SerializeToString(), weights, threads, len(inputs))
    session, given = engine._session, engine._input
    together = session.run(list(nodes), {given: inputs[:LAYERS_BATCH]})
    alone = [session.run(list(nodes), {given: inputs[number : number + 1]}) for number in range(LAYERS_BATCH)]
    for place, (name, values) in enumerate(zip(nodes, together, strict=True)):
        parts = [one[place] for one in alone]
        if values.dtype.kind != "f" or values.shape[:1] != (LAYERS_BATCH,):
            continue
        gap = largest_gap(np.concatenate(parts), values)
        if gap:
            return f"{nodes[name].name} ({nodes[name].op_type}, operation {place + 1} of {len(nodes)}): {gap:.1e}"
    return f"none of {len(nodes)} operations: merged operations or what follows the graph"


def largest_gap(one: Any, other: Any) -> float:
    """The largest absolute difference of two arrays; 0 where they are empty."""
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
