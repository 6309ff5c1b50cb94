"""The kinds of models of a hub, and how each is opened. A new kind is a line of `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import with_precision
from indexer.system.optional import require_torch
from models.checkpoint_arrays import load_all
from models.hub.layout import CONFIG, ONNX_TAGGER, TIMM_TAGGER
from models.hub.normalization import Normalization
from models.hub.repository import cached_file
from models.hub.tag_names import read_config, read_tag_names
from models.hub.tagger import TaggerClassifier
from models.model_card import read_card
from models.safetensors_io import read_verified

if TYPE_CHECKING:
    from indexer.domain.hub import HubSource
    from indexer.ports.models import Classifier
    from models.hub.timm_tagger import TimmTagger
    from models.inference.engines.base import Engine
    from models.inference.loader import ComputeOptions

_SUFFIXES = (".onnx", ".safetensors")
"""Ends of the names of files with weights."""

OpenEngine = Callable[["HubSource", Mapping[str, Path], "ComputeOptions"], "Engine"]
"""Opens the network of a model on the device that the options choose; the paths are those of its files, by name."""


def open_hub_classifier(path: Path, options: ComputeOptions) -> Classifier:
    """Open a model of a hub, whose layers are in the checkpoint at `path`.

    Raises ModelUnavailable if a file is missing in the cache or has changed, DeviceUnavailable, MissingExtra, and UsageError for
    an engine that cannot compute the format of the weights.
    """
    card = read_card(path)
    source = card.hub
    if source is None or source.kind not in KINDS:
        raise ModelUnavailable(f"The model {card.name!r} is of a kind that this version of moodex does not know.")
    card, state = load_all(path)
    paths = {name: cached_file(source.repository, source.revision, name) for name in source.files}
    engine = KINDS[source.kind](source, paths, options)
    return TaggerClassifier(with_precision(card, options.precision), engine, state, read_tag_names(paths))


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
    import torch

    from models.inference.device import select_device, tune_malloc
    from models.inference.engines.pytorch import torch_engine

    tune_malloc()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = select_device(options.device, options.require_gpu)
    return torch_engine(build, device, source.options["size"], options.batch_size, options.precision)


def timm_builder(source: HubSource, paths: Mapping[str, Path]) -> Callable[[], TimmTagger]:
    """Return a function that builds the network of a model of timm. Raises ModelUnavailable and MissingExtra."""
    require_torch(f"The model of {source.repository}", "backbones")
    from models.hub.timm_tagger import build_tagger

    config, normalization = read_config(paths[CONFIG]), Normalization.from_options(source.options)
    return partial(build_tagger, config, _weights(source, paths), normalization, source.repository)


KINDS: dict[str, OpenEngine] = {ONNX_TAGGER: _open_onnx, TIMM_TAGGER: _open_timm}


def _weights(source: HubSource, paths: Mapping[str, Path]) -> bytes:
    """Return the weights of a model, after all its files were verified. Raises ModelUnavailable."""
    contents = {name: read_verified(path, source.files[name]) for name, path in paths.items()}
    return next(content for name, content in contents.items() if name.endswith(_SUFFIXES))
