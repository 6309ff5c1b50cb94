"""Export of the encoders of CLIP and SigLIP as ONNX graphs, whose weights are linked to the file of the hub. Needs torch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from blake3 import blake3
from torch import Tensor, nn

from indexer.domain.errors import ModelUnavailable
from indexer.system.optional import require
from models.export import OPSET
from models.hub.clip_network import TextEncoderModule
from models.hub.linked_graph import LinkedGraph, digest_of
from models.hub.tokens import EXTRA
from models.inference.engines.onnx import open_session

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnx

    from models.hub.clip_network import ClipNetwork

_TOLERANCE = 1e-4
"""Largest difference between the results of ONNX Runtime and PyTorch, which are vectors of length 1."""

_LEAST_LINKED_BYTES = 1 << 12
"""Smaller constants stay in the graph."""

_MICROSOFT = "com.microsoft"
"""The domain of the operators of ONNX Runtime."""

_Content = tuple[str, tuple[int, ...], str]
"""Number type, shape and digest of the numbers of a tensor."""


def export_encoders(
    network: ClipNetwork, details: Mapping[str, Any], weights: Path, tensors: Mapping[str, npt.NDArray[Any]]
) -> dict[str, LinkedGraph]:
    """Export both encoders of a network, and compare them with PyTorch; return the graphs by the keys of `GRAPHS`.

    - `details`: the options of its source. `weights`: the file with its weights, and `tensors`: what is in it, by name.

    Raises MissingExtra, and ModelUnavailable if torch cannot export the network, or if the results differ.
    """
    for package in ("onnx", "onnxscript"):
        require(package, package, EXTRA, "Adding CLIP")
    random = np.random.default_rng(0)
    size, length = details["size"], details["context_length"]
    images = random.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    # Every text ends with padding: some networks look for its end.
    tokens = np.full((2, length), details["pad_id"], dtype=np.int64)
    tokens[:, : length // 2] = random.integers(0, network.vocabulary_size, (2, length // 2))
    inputs = {"image": (network, images), "text": (TextEncoderModule(network), tokens)}
    graphs = {}
    for name, (module, example) in inputs.items():
        has_inputs = name == "text"
        graphs[name] = _export_linked(module, torch.from_numpy(example), tensors, has_inputs)
        linked = graphs[name].load_weights(weights)
        session, _kept = open_session(graphs[name].onnx, {} if has_inputs else linked)
        found = session.run(None, {session.get_inputs()[0].name: example, **(linked if has_inputs else {})})[-1]
        with torch.inference_mode():
            result = module(torch.from_numpy(example))
        expected = (result if isinstance(result, Tensor) else result[-1]).numpy()
        if not np.abs(found - expected).max() <= _TOLERANCE:
            raise ModelUnavailable(f"ONNX Runtime computes another result than PyTorch with the {name} encoder of this network.")
    return graphs


def _export_linked(module: nn.Module, example: Tensor, tensors: Mapping[str, npt.NDArray[Any]], as_inputs: bool) -> LinkedGraph:
    """Export a module with one input, (N, ...), of which `example` has two rows. `as_inputs`: its weights are inputs, too."""
    model = _export(module, example)
    linked = _link(model, tensors, as_inputs)
    _remove_descriptions(model)
    onnx = model.SerializeToString(deterministic=True)
    return LinkedGraph(onnx, tuple(linked), digest_of([tensors[name] for name in linked]))


def _export(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """Return a module as ONNX with all its weights, for any number of rows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries, about their own code
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many types of errors
        raise ModelUnavailable(f"PyTorch cannot export the network to ONNX: {type(error).__name__}.") from error
    if program is None:
        raise ModelUnavailable("PyTorch cannot export the network to ONNX.")
    return program.model_proto


def _link(model: onnx.ModelProto, tensors: Mapping[str, npt.NDArray[Any]], as_inputs: bool) -> list[str]:
    """Replace the constants of a graph that equal a tensor, or its transpose, by that tensor; return the names of the tensors.

    They become external data, or inputs.

    The exporter transposes the matrices of linear layers. A product with a transposed matrix is one operator of ONNX Runtime,
    so the file need not be transposed when it is opened.
    """
    from onnx import TensorProto, helper, numpy_helper

    plain, transposed = _by_content(tensors)
    factors = _factors(model)
    linked: dict[str, onnx.TensorProto] = {}
    constants: dict[_Content, str] = {}
    renamed: dict[str, str] = {}
    kept = []
    for tensor in model.graph.initializer:
        content = _content(numpy_helper.to_array(tensor))
        is_transposed = content not in plain and content in transposed and tensor.name in factors
        found = transposed[content] if is_transposed else plain.get(content)
        if found is not None:
            linked.setdefault(found, _external(found, tensors[found].shape))
            for node in factors[tensor.name] if is_transposed else ():
                _multiply_by_transpose(node)
        elif content not in constants:
            kept.append(tensor)
        renamed[tensor.name] = found or constants.setdefault(content, tensor.name)
    for node in model.graph.node:
        names = [renamed.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(names)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept if as_inputs else [*kept, *linked.values()])
    if as_inputs:
        model.graph.input.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, tensors[name].shape) for name in linked)
    model.opset_import.add(domain=_MICROSOFT, version=1)
    return list(linked)


def _by_content(tensors: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[_Content, str], dict[_Content, str]]:
    """Return the names of large tensors by the contents of their float32 form, and those of matrices by their transposes."""
    plain: dict[_Content, str] = {}
    transposed: dict[_Content, str] = {}
    for name, values in tensors.items():
        if values.dtype.kind == "f" and 4 * values.size >= _LEAST_LINKED_BYTES:
            wide = values.astype(np.float32, copy=False)
            plain.setdefault(_content(wide), name)
            if wide.ndim == 2:
                transposed.setdefault(_content(wide.T), name)
    return plain, transposed


def _content(values: npt.NDArray[Any]) -> _Content:
    return values.dtype.str, values.shape, blake3(np.ascontiguousarray(values).tobytes()).hexdigest()


def _factors(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the tensors that are only used as the second factor of products, with these products."""
    products: dict[str, list[onnx.NodeProto]] = {}
    others: set[str] = set()
    for node in model.graph.node:
        is_product = node.op_type == "MatMul"
        others.update(name for position, name in enumerate(node.input) if not (is_product and position == 1))
        if is_product:
            products.setdefault(node.input[1], []).append(node)
    return {name: nodes for name, nodes in products.items() if name not in others}


def _multiply_by_transpose(node: onnx.NodeProto) -> None:
    from onnx import helper

    node.op_type, node.domain = "FusedMatMul", _MICROSOFT
    node.attribute.append(helper.make_attribute("transB", 1))


def _external(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    """Return a tensor, float32, that a session gets by its name."""
    from onnx import TensorProto

    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="hub")
    return tensor


def _remove_descriptions(model: onnx.ModelProto) -> None:
    """Remove what is for people: places in source files, and names of operations."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = node.name = ""
        del node.metadata_props[:]
