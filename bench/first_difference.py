"""Find the first layer whose outputs depend on the batch.

The outputs of one batch are compared with those of batches of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch

from models.inference.engines.onnx import OnnxEngine

COMPARED_BATCH_SIZE = 16
"""Batch size at which the outputs of every layer are compared."""


def first_module(engine: Any, inputs: Any) -> str:
    """Return the first layer of a torch module whose outputs differ, with its type and the difference."""
    module = engine._module
    leaves = [(name, part) for name, part in module.named_modules() if name and not list(part.children())]
    with _recorded_outputs(leaves) as recorded:
        engine.run(inputs[:COMPARED_BATCH_SIZE])
        batch_outputs = list(recorded)
        single_outputs = []
        for number in range(COMPARED_BATCH_SIZE):
            recorded.clear()
            engine.run(inputs[number : number + 1])
            single_outputs.append(list(recorded))
    for index, (name, kind, values) in enumerate(batch_outputs):
        parts = [outputs[index][2] for outputs in single_outputs]
        if values.shape[0] == sum(part.shape[0] for part in parts):
            gap = float((torch.cat(parts) - values).abs().max())
        else:  # the output does not depend on the images, as a table of relative positions
            gap = max(float((part - values).abs().max()) for part in parts)
        if gap:
            return f"{name} ({kind}, layer {index + 1} of {len(batch_outputs)}): {gap:.1e}"
    return f"none of {len(batch_outputs)} layers: functions between layers or after the last one"


@contextmanager
def _recorded_outputs(leaves: Sequence[tuple[str, Any]]) -> Iterator[list[tuple[str, str, Any]]]:
    """Record the name, type and output of each layer, in the order in which they are computed."""
    recorded: list[tuple[str, str, Any]] = []

    def hook_of(name: str) -> Callable[[Any, Any, Any], None]:
        def hook(module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                recorded.append((name, type(module).__name__, output.detach().clone()))  # the next layer may write to it

        return hook

    handles = [part.register_forward_hook(hook_of(name)) for name, part in leaves]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def first_node(model: bytes, weights: Mapping[str, Any], threads: int, inputs: Any) -> str:
    """Return the first operation of an ONNX graph whose outputs differ.

    Every intermediate value becomes an output, so that ONNX Runtime merges fewer operations than it usually does.
    """
    graph = onnx.load_model_from_string(model)
    graph_outputs = {output.name for output in graph.graph.output}
    nodes = {name: node for node in graph.graph.node for name in node.output if name}
    added = (onnx.helper.make_empty_tensor_value_info(name) for name in nodes if name not in graph_outputs)
    graph.graph.output.extend(added)
    engine = OnnxEngine(graph.SerializeToString(), weights, threads, len(inputs))
    session, input_name = engine._session, engine._input
    batch_outputs = session.run(list(nodes), {input_name: inputs[:COMPARED_BATCH_SIZE]})
    single_outputs = [
        session.run(list(nodes), {input_name: inputs[number : number + 1]}) for number in range(COMPARED_BATCH_SIZE)
    ]
    for index, (name, values) in enumerate(zip(nodes, batch_outputs, strict=True)):
        parts = [outputs[index] for outputs in single_outputs]
        if values.dtype.kind != "f" or values.shape[:1] != (COMPARED_BATCH_SIZE,):
            continue
        gap = largest_gap(np.concatenate(parts), values)
        if gap:
            return f"{nodes[name].name} ({nodes[name].op_type}, operation {index + 1} of {len(nodes)}): {gap:.1e}"
    return f"none of {len(nodes)} operations: merged operations or code after the graph"


def largest_gap(one: Any, other: Any) -> float:
    """Return the largest absolute difference of two arrays; 0 if they are empty."""
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max(initial=0.0))
