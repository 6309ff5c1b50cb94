"""Taggers as ONNX files, on ONNX Runtime: without PyTorch, and with the input of their last layer as embedding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.system.optional import require
from models.hub.layout import CONFIG
from models.hub.normalization import Normalization
from models.hub.repository import EXTRA
from models.inference.engines.onnx import OnnxEngine

if TYPE_CHECKING:
    import onnx

    from indexer.domain.types import Floats, Pixels
    from models.inference.engines.base import Outputs

_PASSED = {"Sigmoid", "Identity", "Cast", "Reshape", "Squeeze", "Flatten", "GlobalAveragePool", "ReduceMean", "Add", "Dropout"}
"""Operations after the last layer. An Add adds its bias."""

_LAYERS = {"MatMul", "Gemm", "Conv"}
_OF_CONSTANTS = {"Identity", "Cast", "Transpose", "Reshape", "DequantizeLinear"}
_TINY = np.float32(1e-12)


class OnnxTaggerEngine(OnnxEngine):
    """Computes the probabilities of tags, and embeddings of length 1, with the ONNX file of a tagger.

    `model` is the content of the file; `options` are those of `inspect_onnx`.
    """

    def __init__(self, model: bytes, options: Mapping[str, Any], threads: int = 0, batch_size: int = 0) -> None:
        batch_size = 1 if options["single"] else batch_size
        super().__init__(model + output_message(options["embedding"]), {}, threads, batch_size)
        self._normalization = Normalization.from_options(options)
        self._is_channels_last, self._is_probability = options["layout"] == "nhwc", options["sigmoid"]
        self._outputs = [options["output"], options["embedding"]]

    def _prepare(self, pixels: Pixels) -> Floats:
        images = self._normalization.apply(pixels)
        return np.ascontiguousarray(images if self._is_channels_last else images.transpose(0, 3, 1, 2))

    def run(self, pixels: Pixels) -> Outputs:
        tags, features = super().run(pixels)
        tags = tags.reshape(len(tags), -1)
        if features.ndim == 4:  # the input of a convolution, of which the outputs are averaged
            features = features.mean(axis=(2, 3))
        features = features.reshape(len(features), -1)
        lengths = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _TINY)
        chances: Floats = tags if self._is_probability else (1 / (1 + np.exp(-tags))).astype(np.float32)
        return chances, features / lengths


def inspect_onnx(path: Path, config: Mapping[str, Any], name: str, has_wd_tags: bool) -> dict[str, Any]:
    """Return what is needed to open the ONNX file of a tagger, as JSON values.

    - `output`, `embedding`: names of the tensors with the tags, and of the input of the last layer.
    - `sigmoid`: whether the file computes probabilities, not logits. `single`: whether it reads one image at a time.
    - `layout`: "nhwc" or "nchw". `size`: side of the input in pixels. The rest is that of `Normalization.as_options`.

    `config` is the content of `config.json`, or empty; `name` is that of the repository. Raises ModelUnavailable for another
    network, MissingExtra if onnx is not installed.
    """
    require("onnx", "onnx", EXTRA, "Adding an ONNX model of a hub")
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # protobuf has errors of its own
        raise ModelUnavailable(f"The file {path.name} of {name} is not an ONNX model: {type(error).__name__}.") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise ModelUnavailable(f"The file {path.name} of {name} keeps its weights in other files, which moodex does not open.")
    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [entry for entry in graph.input if entry.name not in initializers]
    if len(inputs) != 1 or not graph.output:
        raise ModelUnavailable(f"The file {path.name} of {name} is not a tagger: it does not read one image.")
    layout, size, is_single = _input_shape(inputs[0], name)
    output = graph.output[0].name
    embedding, is_sigmoid = _last_layer(graph, output, initializers, name)
    return {
        "output": output,
        "embedding": embedding,
        "sigmoid": is_sigmoid,
        "single": is_single,
        "layout": layout,
        "size": size,
        **_normalization(layout, config, name, has_wd_tags).as_options(),
    }


def output_message(name: str) -> bytes:
    """Return what makes a tensor, float32, an output of an ONNX model if it is appended to the file.

    A file is a ModelProto. Protocol buffers merge a repeated embedded message, here the graph, into the first one, and append to
    its lists. The numbers are the fields of onnx.proto: ModelProto.graph 7, GraphProto.output 12, ValueInfoProto.name 1 and type
    2, TypeProto.tensor_type 1, Tensor.elem_type 1 with FLOAT = 1.
    """
    value_info = _field(1, name.encode()) + _field(2, _field(1, b"\x08\x01"))
    return _field(7, _field(12, value_info))


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a protocol buffer."""
    length, digits = len(content), bytearray()
    while length > 0x7F:
        digits.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *digits, length]) + content


def _input_shape(entry: onnx.ValueInfoProto, name: str) -> tuple[str, int, bool]:
    """Return layout, side and whether the number of images is fixed to 1."""
    shape = [dimension.dim_value for dimension in entry.type.tensor_type.shape.dim]  # 0 if it is not fixed
    if len(shape) == 4 and shape[3] == 3 and shape[1] == shape[2] > 0:
        return "nhwc", shape[1], shape[0] == 1
    if len(shape) == 4 and shape[1] == 3 and shape[2] == shape[3] > 0:
        return "nchw", shape[2], shape[0] == 1
    raise ModelUnavailable(f"The ONNX file of {name} does not read square images of three channels: its input is {shape}.")


def _normalization(layout: str, config: Mapping[str, Any], name: str, has_wd_tags: bool) -> Normalization:
    """Return how the input is normalized: WD taggers read BGR, 0-255; DeepDanbooru RGB, 0-1; others what timm's config says."""
    if layout == "nhwc":
        return Normalization("bgr", (0.0,) * 3, (1.0,) * 3) if has_wd_tags else Normalization("rgb", (0.0,) * 3, (255.0,) * 3)
    if not config:
        raise ModelUnavailable(f"Nothing says how images are normalized for {name}: it has no {CONFIG}.")
    return Normalization.from_timm(config, "rgb")


def _last_layer(graph: onnx.GraphProto, output: str, initializers: set[str], name: str) -> tuple[str, bool]:
    """Return the name of the input of the last layer, and whether a sigmoid follows it."""
    makers = {tensor: node for node in graph.node for tensor in node.output}

    def is_constant(tensor: str) -> bool:
        node = makers.get(tensor)
        if node is None:
            return tensor in initializers
        return node.op_type == "Constant" or (node.op_type in _OF_CONSTANTS and all(map(is_constant, node.input)))

    is_sigmoid = False
    for node in _chain(makers, output, is_constant):
        is_sigmoid |= node.op_type == "Sigmoid"
        if node.op_type in _LAYERS and len(node.input) > 1 and is_constant(node.input[1]):
            return str(node.input[0]), is_sigmoid
    raise ModelUnavailable(
        f"No last layer is found in the ONNX file of {name}, so it gives no embeddings; if it has weights of timm, add it with "
        "--engine torch."
    )


def _chain(makers: Mapping[str, onnx.NodeProto], output: str, is_constant: Any) -> Iterator[onnx.NodeProto]:
    """Yield the nodes from the output back to the last layer."""
    tensor = output
    while (node := makers.get(tensor)) is not None:
        yield node
        variable = [name for name in node.input if name and not is_constant(name)]
        if node.op_type not in _PASSED or len(variable) != 1:
            return
        tensor = variable[0]
