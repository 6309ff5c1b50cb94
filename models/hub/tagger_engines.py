"""The engines of taggers: ONNX Runtime for ONNX files, PyTorch for networks of timm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import UsageError
from indexer.system.optional import require_torch
from models.hub.layout import CONFIG, ONNX_TAGGER
from models.hub.normalization import Normalization
from models.hub.tag_names import read_config
from models.safetensors_io import read_verified

if TYPE_CHECKING:
    from indexer.domain.hub import HubSource
    from models.hub.timm_tagger import TimmTagger
    from models.inference.engines.base import Engine
    from models.inference.loader import ComputeOptions

_SUFFIXES = (".onnx", ".safetensors")
"""Ends of the names of files with weights."""


def open_tagger_engine(source: HubSource, paths: Mapping[str, Path], options: ComputeOptions) -> Engine:
    """Open the network of a tagger on the device that the options choose; the paths are those of its files, by name.

    Raises ModelUnavailable, DeviceUnavailable, MissingExtra, and UsageError for an engine that cannot compute its weights.
    """
    return (_open_onnx if source.kind == ONNX_TAGGER else _open_timm)(source, paths, options)


def _open_onnx(source: HubSource, paths: Mapping[str, Path], options: ComputeOptions) -> Engine:
    from models.hub.onnx_tagger import OnnxTaggerEngine

    is_possible = options.device in ("auto", "cpu") and not options.require_gpu and options.precision == "fp32"
    if options.engine == "torch" or not is_possible:
        raise UsageError(
            f"The model of {source.repository} was added as ONNX, which computes on the CPU in fp32; for another engine, "
            f"device or precision: moodex models add hf:{source.repository}@{source.revision} --engine torch --force"
        )
    return OnnxTaggerEngine(_weights(source, paths), source.options, options.threads, options.batch_size)


def _open_timm(source: HubSource, paths: Mapping[str, Path], options: ComputeOptions) -> Engine:
    if options.engine == "onnx":
        raise UsageError(
            f"The model of {source.repository} was added for PyTorch; to use ONNX Runtime: "
            f"moodex models add hf:{source.repository}@{source.revision} --engine onnx --force"
        )
    build = timm_builder(source, paths)
    from models.inference.engines.pytorch import open_torch_engine

    return open_torch_engine(build, source.options["size"], options)


def timm_builder(source: HubSource, paths: Mapping[str, Path]) -> Callable[[], TimmTagger]:
    """Return a function that builds the network of a model of timm. Raises ModelUnavailable and MissingExtra."""
    require_torch(f"The model of {source.repository}", "backbones")
    from models.hub.timm_tagger import build_tagger

    config, normalization = read_config(paths[CONFIG]), Normalization.from_options(source.options)
    return partial(build_tagger, config, _weights(source, paths), normalization, source.repository)


def _weights(source: HubSource, paths: Mapping[str, Path]) -> bytes:
    """Return the weights of a model, after all its files were verified. Raises ModelUnavailable."""
    contents = {name: read_verified(path, source.files[name]) for name, path in paths.items()}
    return next(content for name, content in contents.items() if name.endswith(_SUFFIXES))
