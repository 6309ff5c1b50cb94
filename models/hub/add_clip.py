"""Addition of CLIP and SigLIP: the graphs of both encoders, and the vectors of the emotions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import HubSource
from indexer.system.optional import require_torch
from models.hub.addition import Addition, digests_of
from models.hub.clip_config import clip_options, read_clip_config
from models.hub.clip_engines import clip_builder
from models.hub.head import zero_shot_head
from models.hub.linked_graph import read_tensors
from models.hub.prompts import read_prompts
from models.hub.text_encoder import OnnxTextEncoder
from models.hub.tokens import EXTRA

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from indexer.ports.models import HubOptions
    from models.hub.addition import Finish, Paths
    from models.hub.layout import ModelFiles
    from models.hub.repository import Repository


def begin_clip(repository: Repository, files: ModelFiles, paths: Paths, options: HubOptions) -> Finish:
    """Read the prompts, and the configuration of a model. Raises UsageError, ModelUnavailable and MissingExtra."""
    require_torch(f"Adding the model {repository.name}", EXTRA)
    prompts = read_prompts(options.prompts)
    details = clip_options(files.kind, read_clip_config(files.kind, paths), paths, repository.name)
    return partial(_finish, repository, files, details, prompts)


def _finish(
    repository: Repository,
    files: ModelFiles,
    details: Mapping[str, Any],
    prompts: Mapping[str, Sequence[str]],
    paths: Paths,
) -> Addition:
    from models.hub.clip_export import export_encoders

    own = {name: paths[name] for name in files.names}
    source = HubSource(repository.name, repository.commit, files.kind, digests_of(files, own), details)
    network = clip_builder(source, own)()
    weights = own[files.weights]
    graphs = export_encoders(network, details, weights, read_tensors(weights))
    encoder = OnnxTextEncoder(source, graphs["text"], own)
    vectors = np.stack([_average(encoder.encode(texts)) for texts in prompts.values()])
    if not np.isfinite(vectors).all():
        raise ModelUnavailable(f"The text encoder of {repository.name} does not compute finite numbers.")
    scale, bias = network.scale_and_bias
    tensors = zero_shot_head(vectors, scale, bias, {name: graph.as_array() for name, graph in graphs.items()})
    facts = {"prompts": {emotion: list(texts) for emotion, texts in prompts.items()}}
    return Addition(source, tuple(prompts), vectors.shape[1], tensors, facts)


def _average(vectors: Floats) -> Floats:
    """Return the average of vectors, float32, (N, D), at length 1."""
    mean = vectors.mean(axis=0)
    average: Floats = mean / np.linalg.norm(mean)
    return average
