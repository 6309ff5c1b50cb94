"""Export of models to ONNX without torch: the ONNX graph of the architecture, completed with weights and last layer.

See `models.exported_file` for what the file computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.domain.models import APPEARANCE, EXPRESSION
from indexer.system.optional import require, require_torch
from models.architectures.modifiers import modifiers_of
from models.checkpoint_arrays import load_all
from models.exported_file import OUTPUTS, TOLERANCE, load_onnx, onnx_metadata, write_checked
from models.inference.classifier import OnnxClassifier
from models.inference.engines.onnx_graph import find_graph, weights_for
from models.scaling import EMBEDDING_LENGTH
from models.style_baseline import load_baseline

if TYPE_CHECKING:
    import onnx

    from indexer.domain.models import ModelCard
    from indexer.domain.reports import ExportedModel
    from indexer.domain.types import Pixels
    from models.checkpoint_arrays import Array, Arrays
    from models.exported_file import Outputs
    from models.inference.engines.onnx_graph import Graph
    from models.style_baseline import StyleBaseline


def export_graph(path: Path, checkpoint_path: Path, tolerance: float = TOLERANCE) -> ExportedModel:
    """Write a checkpoint as ONNX, with the metadata of `models.exported_file.onnx_metadata`.

    Replaces `path` only if the outputs agree with those of `OnnxClassifier` within `tolerance`, an absolute difference. Raises
    ModelUnavailable if they do not and for an unusable checkpoint; MissingExtra if onnx is not installed, or if the architecture
    has no graph, so that only PyTorch can export it; OSError if the file cannot be written.
    """
    require("onnx", "onnx", "export", "Exporting to ONNX")
    card, state = load_all(checkpoint_path)
    graph = find_graph(card.architecture, card.input)
    if graph is None:
        require_torch(f"The model {card.name!r}")
        raise ModelUnavailable(f"moodex has no ONNX graph of {card.architecture} for images of {card.input.size} pixels.")
    classifier = OnnxClassifier.open(checkpoint_path)

    def classify(pixels: Pixels) -> Outputs:
        scores = classifier.classify(pixels)
        return scores.probabilities, scores.embeddings

    def write(temporary: Path) -> None:
        temporary.write_bytes(_complete_model(card, graph, state).SerializeToString())

    return write_checked("onnx", path, card, classify, write, load_onnx, tolerance)


def _complete_model(card: ModelCard, graph: Graph, state: Arrays) -> onnx.ModelProto:
    """Return a model with all weights, whose outputs are probabilities and embeddings."""
    builder = _Builder.load(graph, state)
    last_input, embedding = (output.name for output in builder.model.graph.output)
    if "unit" in modifiers_of(card.architecture) and not card.spaces:
        last_input = builder.add("Mul", embedding, builder.constant("length", np.array([EMBEDDING_LENGTH], dtype=np.float32)))
    baseline = load_baseline(state)
    if baseline is not None:
        last_input = builder.add("Sub", last_input, _expected_expression(card, graph, baseline, builder, embedding))
    layer = [builder.constant(name, state[f"classifier.{name}"]) for name in ("weight", "bias")]
    builder.add("Softmax", builder.add("Gemm", last_input, *layer, transB=1), output=OUTPUTS[0], axis=1)
    builder.add("Identity", embedding, output=OUTPUTS[1])
    builder.set_outputs({OUTPUTS[0]: len(card.labels), OUTPUTS[1]: card.embedding_size})
    return builder.with_metadata(onnx_metadata(card))


def _expected_expression(card: ModelCard, graph: Graph, baseline: StyleBaseline, builder: _Builder, embedding: str) -> str:
    """Add the style baseline of an embedding, as wide as the input of the last layer; return the name of the result."""
    appearance = card.space_slice(APPEARANCE)
    bounds = {"from": appearance.start, "to": appearance.stop, "axis": 1}
    part = builder.add("Slice", embedding, *(builder.constant(name, np.array([value])) for name, value in bounds.items()))
    similarities = builder.add("MatMul", part, builder.constant("looks", baseline.appearances.T))
    expected = np.zeros((len(baseline.expressions), graph.reads), dtype=np.float32)
    expected[:, card.space_slice(EXPRESSION)] = EMBEDDING_LENGTH * baseline.expressions
    group = builder.add("ArgMax", similarities, axis=1, keepdims=0)
    return builder.add("Gather", builder.constant("feels", expected), group, axis=0)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Adds constants and operations to a model."""

    model: onnx.ModelProto

    @classmethod
    def load(cls, graph: Graph, state: Arrays) -> _Builder:
        """Load a graph, with weights from a checkpoint in it."""
        import onnx
        from onnx import numpy_helper

        model, weights = onnx.load_from_string(graph.onnx), weights_for(graph, state)
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
        return cls(model)

    def constant(self, name: str, values: Array) -> str:
        """Add an array, and return its name."""
        from onnx import numpy_helper

        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add an operation, and return the name of its output."""
        from onnx import helper

        output = output or f"last_{len(self.model.graph.node)}"
        self.model.graph.node.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def set_outputs(self, widths: Mapping[str, int]) -> None:
        """Make the named arrays, float32, (N, width), the outputs of the model."""
        from onnx import TensorProto, helper

        del self.model.graph.output[:]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", width]) for name, width in widths.items()]
        self.model.graph.output.extend(outputs)

    def with_metadata(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the model, with metadata."""
        from onnx import helper

        helper.set_model_props(self.model, dict(metadata))
        return self.model
