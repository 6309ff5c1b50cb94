"""Installation of a model of a hub: resolved, downloaded, verified, tried on an image, and registered with a card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

from indexer.domain.errors import MissingExtra, ModelUnavailable
from indexer.domain.hub import HubSource, parse_reference
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.system.optional import has_torch
from models import checkpoint_arrays
from models.hub.emotion_table import rules_for
from models.hub.head import tagger_head
from models.hub.kinds import KINDS, timm_builder
from models.hub.layout import CONFIG, ONNX_TAGGER, TIMM_TAGGER, WD_TAGS, TaggerFiles, find_tagger
from models.hub.normalization import Normalization
from models.hub.repository import README, Repository, download, resolve
from models.hub.tag_names import read_config, read_tag_names
from models.inference.loader import ComputeOptions, may_have_gpu

if TYPE_CHECKING:
    from indexer.ports.models import HubOptions
    from models.hub.emotion_table import TagRules

Announce = Callable[[str], None]
"""Receives a sentence for the user before a download."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a network computed for one image: numbers of tags, and of numbers in an embedding."""

    tags: int
    embedding_size: int


def add_hub_model(folder: Path, name: str, reference: str, options: HubOptions, announce: Announce) -> ModelCard:
    """Download a tagger, write its layers and its card to a folder, and return the card.

    Raises UsageError for an invalid reference or table, ModelUnavailable for a repository that cannot be used, MissingExtra, and
    MoodexError if the disk is full.
    """
    repository = resolve(parse_reference(reference))
    files = find_tagger(repository, _prefers_torch(options.engine))
    size = repository.size_of(files.names) / 1e6
    license = f"license {repository.license}" if repository.license else "no license named"
    announce(f"{repository.name} at commit {repository.commit[:10]}: {size:,.0f} MB, {license}.")
    # The weights last: most repositories that moodex cannot use show that in their small files.
    small = [file for file in files.names if file != files.weights]
    paths = download(repository, [*small, *([README] if README in repository.files else [])], options.quiet)
    tags = read_tag_names(paths)
    rules = rules_for(tags, options.tag_emotions)
    paths |= download(repository, [files.weights], options.quiet)
    own = {file: paths[file] for file in files.names}
    source = _source(repository, files, own, options.channels)
    spec = _input_spec(source)
    trial = _try(source, own)
    if trial.tags != len(tags):
        raise ModelUnavailable(f"{repository.name} computes {trial.tags:,} tags, but its list names {len(tags):,}.")
    card = ModelCard(
        name=name,
        architecture=source.architecture,
        weights_digest="",
        labels=rules.labels,
        input=spec,
        embedding_size=trial.embedding_size,
        hub=source,
        about=_about(repository, rules, tags),
    )
    path = checkpoint_arrays.save(folder, card, tagger_head(rules, options.tag_threshold))
    return checkpoint_arrays.load_all(path)[0]


def _input_spec(source: HubSource) -> InputSpec:
    """Return the input of a network, which normalizes it itself. Raises ModelUnavailable for an unsupported size."""
    try:
        return InputSpec(source.options["size"], mean=0, std=1)
    except ValueError as error:
        raise ModelUnavailable(f"{source.repository} reads images of {source.options['size']} pixels, not 16 to 1024.") from error


def _prefers_torch(engine: str) -> bool:
    """Return whether to take weights of PyTorch where a repository also has ONNX."""
    return engine == "torch" or (engine == "auto" and has_torch() and find_spec("timm") is not None and may_have_gpu())


def _source(repository: Repository, files: TaggerFiles, paths: Mapping[str, Path], channels: str | None) -> HubSource:
    """Describe the files of a tagger. `channels` replaces the order that the layout implies."""
    config = read_config(paths[CONFIG]) if CONFIG in paths else {}
    has_wd_tags = WD_TAGS in paths
    if files.kind == ONNX_TAGGER:
        from models.hub.onnx_tagger import inspect_onnx

        details = inspect_onnx(paths[files.weights], config, repository.name, has_wd_tags)
    else:
        details = _timm_details(config, repository.name, has_wd_tags)
    if channels is not None:
        details["channels"] = channels
    digests = {name: blake3().update_mmap(path).hexdigest() for name, path in paths.items()}
    return HubSource(repository.name, repository.commit, files.kind, digests, details)


def _timm_details(config: Mapping[str, Any], name: str, has_wd_tags: bool) -> dict[str, Any]:
    from indexer.system.optional import require_torch

    require_torch(f"The model {name}", "backbones")
    from models.hub.timm_tagger import input_size

    # WD taggers were trained on BGR, whatever the format of their weights.
    normalization = Normalization.from_timm(config, "bgr" if has_wd_tags else "rgb")
    return {"size": input_size(config, name), **normalization.as_options()}


def _try(source: HubSource, paths: Mapping[str, Path]) -> _Trial:
    """Compute one image on the CPU. Raises ModelUnavailable if the network does not compute tags and an embedding."""
    size = source.options["size"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    try:
        engine = KINDS[source.kind](source, paths, ComputeOptions(device="cpu", batch_size=1))
        tags, embeddings = engine.run(pixels)
        if source.kind == TIMM_TAGGER:
            timm_builder(source, paths)().check(pixels)
    except (ModelUnavailable, MissingExtra):
        raise
    except Exception as error:  # ONNX Runtime and PyTorch raise many types of errors
        reason = " ".join(str(error).split())[:200]
        raise ModelUnavailable(f"The network of {source.repository} does not run: {type(error).__name__}, {reason}.") from error
    if not (np.isfinite(tags).all() and np.isfinite(embeddings).all()) or tags.min() < 0 or tags.max() > 1:
        raise ModelUnavailable(f"The network of {source.repository} does not compute probabilities of tags.")
    return _Trial(tags.shape[1], embeddings.shape[1])


def _about(repository: Repository, rules: TagRules, tags: Sequence[str]) -> dict[str, Any]:
    """Return what a card says for people: the source, the license, and the tags of each emotion with their weights."""
    table = {
        label: {
            tags[column]: round(float(weight), 4)
            for column, weight in zip(rules.columns.tolist(), weights, strict=True)
            if weight
        }
        for label, weights in zip(rules.labels, rules.weights, strict=True)
    }
    return {
        "source": f"hf:{repository.name}@{repository.commit}",
        "license": repository.license,
        "emotions_by_tag": table,
    }
