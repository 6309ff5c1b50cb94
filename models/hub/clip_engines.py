"""The engines of CLIP and SigLIP: ONNX Runtime with the graphs that were exported when a model was added, or PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP
from indexer.system.optional import require_torch
from models.hub.clip_config import read_clip_config
from models.hub.head import GRAPHS
from models.hub.layout import OPEN_CLIP_WEIGHTS, WEIGHTS
from models.hub.linked_graph import LinkedGraph
from models.hub.normalization import Normalization
from models.inference.engines.onnx import OnnxEngine
from models.inference.loader import uses_onnx
from models.safetensors_io import read_verified

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.hub import HubSource
    from models.hub.clip_network import ClipNetwork
    from models.inference.engines.base import Engine
    from models.inference.loader import ComputeOptions


def open_image_engine(
    source: HubSource, state: Mapping[str, npt.NDArray[Any]], paths: Mapping[str, Path], options: ComputeOptions
) -> Engine:
    """Open the image encoder of a model on the device that the options choose.

    `state` are the tensors of `models.hub.head`, `paths` those of its files, by name. Raises ModelUnavailable, DeviceUnavailable,
    MissingExtra and UsageError.
    """
    if uses_onnx(options, has_graph=True):
        graph = graph_of(source, state, "image")
        return OnnxEngine(graph.onnx, graph.load_weights(paths[weights_name(source)]), options.threads, options.batch_size)
    build = clip_builder(source, paths)
    from models.inference.engines.pytorch import open_torch_engine

    return open_torch_engine(build, source.options["size"], options)


def graph_of(source: HubSource, state: Mapping[str, npt.NDArray[Any]], encoder: str) -> LinkedGraph:
    """Return the graph of an encoder, "image" or "text". Raises ModelUnavailable."""
    if GRAPHS[encoder] not in state:
        raise ModelUnavailable(f"The model of {source.repository} lacks the graph of its {encoder} encoder; add it again.")
    return LinkedGraph.from_array(state[GRAPHS[encoder]])


def clip_builder(source: HubSource, paths: Mapping[str, Path]) -> Callable[[], ClipNetwork]:
    """Return a function that builds the network with PyTorch. Raises ModelUnavailable and MissingExtra."""
    require_torch(f"The model of {source.repository}", "clip")
    from models.hub.clip_network import build_clip

    weights = {name: read_verified(path, source.files[name]) for name, path in paths.items()}[weights_name(source)]
    config, normalization = read_clip_config(source.kind, paths), Normalization.from_options(source.options)
    return partial(build_clip, source.kind, config, weights, normalization, source.repository)


def weights_name(source: HubSource) -> str:
    """Return the name of the file with the weights."""
    return OPEN_CLIP_WEIGHTS if source.kind == OPEN_CLIP else WEIGHTS
