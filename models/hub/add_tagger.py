"""Addition of a tagger: its tags, their emotions, and a trial of its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import MissingExtra, ModelUnavailable
from indexer.domain.hub import HubSource
from models.hub.addition import Addition, digests_of
from models.hub.emotion_table import rules_for
from models.hub.head import tagger_head
from models.hub.layout import CONFIG, ONNX_TAGGER, TIMM_TAGGER, WD_TAGS
from models.hub.normalization import Normalization
from models.hub.tag_names import read_config, read_tag_names
from models.hub.tagger_engines import open_tagger_engine, timm_builder
from models.inference.loader import ComputeOptions

if TYPE_CHECKING:
    from indexer.ports.models import HubOptions
    from models.hub.addition import Finish, Paths
    from models.hub.emotion_table import TagRules
    from models.hub.layout import ModelFiles
    from models.hub.repository import Repository


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a network computed for one image: numbers of tags, and of numbers in an embedding."""

    tags: int
    embedding_size: int


def begin_tagger(repository: Repository, files: ModelFiles, paths: Paths, options: HubOptions) -> Finish:
    """Read the tags of a tagger and the table of their emotions. Raises UsageError and ModelUnavailable."""
    tags = read_tag_names(paths)
    return partial(_finish, repository, files, options, tags, rules_for(tags, options.tag_emotions))


def _finish(
    repository: Repository, files: ModelFiles, options: HubOptions, tags: Sequence[str], rules: TagRules, paths: Paths
) -> Addition:
    own = {name: paths[name] for name in files.names}
    source = _source(repository, files, own, options.channels)
    trial = _try(source, own)
    if trial.tags != len(tags):
        raise ModelUnavailable(f"{repository.name} computes {trial.tags:,} tags, but its list names {len(tags):,}.")
    tensors = tagger_head(rules, options.tag_threshold)
    return Addition(source, rules.labels, trial.embedding_size, tensors, {"emotions_by_tag": _table(rules, tags)})


def _source(repository: Repository, files: ModelFiles, paths: Paths, channels: str | None) -> HubSource:
    """Describe the files of a tagger. `channels` replaces the order that the layout implies."""
    config = read_config(paths[CONFIG]) if CONFIG in paths else {}
    has_wd_tags = WD_TAGS in paths
    if files.kind == ONNX_TAGGER:
        from models.hub.onnx_tagger import inspect_onnx

        details = inspect_onnx(Path(paths[files.weights]), config, repository.name, has_wd_tags)
    else:
        details = _timm_details(config, repository.name, has_wd_tags)
    if channels is not None:
        details["channels"] = channels
    return HubSource(repository.name, repository.commit, files.kind, digests_of(files, paths), details)


def _timm_details(config: Mapping[str, Any], name: str, has_wd_tags: bool) -> dict[str, Any]:
    from indexer.system.optional import require_torch

    require_torch(f"The model {name}", "backbones")
    from models.hub.timm_tagger import input_size

    # WD taggers were trained on BGR, whatever the format of their weights.
    normalization = Normalization.from_timm(config, "bgr" if has_wd_tags else "rgb")
    return {"size": input_size(config, name), **normalization.as_options()}


def _try(source: HubSource, paths: Paths) -> _Trial:
    """Compute one image on the CPU. Raises ModelUnavailable if the network does not compute tags and an embedding."""
    size = source.options["size"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    try:
        engine = open_tagger_engine(source, paths, ComputeOptions(device="cpu", batch_size=1))
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


def _table(rules: TagRules, tags: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the tags of each emotion with their weights, for people."""
    return {
        label: {
            tags[column]: round(float(weight), 4)
            for column, weight in zip(rules.columns.tolist(), weights, strict=True)
            if weight
        }
        for label, weights in zip(rules.labels, rules.weights, strict=True)
    }
