"""Installation of a model of a hub: resolved, downloaded, verified, tried on an image, and registered with a card."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP, OPEN_CLIP_PREFIX, TRANSFORMERS_CLIP, parse_reference
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.system.optional import has_torch
from models import checkpoint_arrays
from models.hub.add_clip import begin_clip
from models.hub.add_tagger import begin_tagger
from models.hub.layout import ONNX_TAGGER, TIMM_TAGGER, find_model
from models.hub.repository import README, download, resolve
from models.inference.loader import may_have_gpu

if TYPE_CHECKING:
    from indexer.domain.hub import HubReference, HubSource
    from indexer.ports.models import HubOptions
    from models.hub.addition import Begin

Announce = Callable[[str], None]
"""Receives a sentence for the user before a download."""

BEGIN: dict[str, Begin] = {
    ONNX_TAGGER: begin_tagger,
    TIMM_TAGGER: begin_tagger,
    OPEN_CLIP: begin_clip,
    TRANSFORMERS_CLIP: begin_clip,
}
"""How each kind of model is added."""


def hub_reference(text: str) -> HubReference:
    """Return the repository that a user named, also as open_clip:ARCHITECTURE/WEIGHTS. Raises UsageError and ModelUnavailable."""
    if not text.startswith(OPEN_CLIP_PREFIX):
        return parse_reference(text)
    from models.hub.open_clip_names import repository_of

    return parse_reference(repository_of(text))


def add_hub_model(folder: Path, name: str, reference: str, options: HubOptions, announce: Announce) -> ModelCard:
    """Download a model, write its layers and its card to a folder, and return the card.

    Raises UsageError for an invalid reference or table, ModelUnavailable for a repository that cannot be used, MissingExtra, and
    MoodexError if the disk is full.
    """
    repository = resolve(hub_reference(reference))
    files = find_model(repository, _prefers_torch(options.engine), reference.startswith(OPEN_CLIP_PREFIX))
    size = repository.size_of(files.names) / 1e6
    license = f"license {repository.license}" if repository.license else "no license named"
    announce(f"{repository.name} at commit {repository.commit[:10]}: {size:,.0f} MB, {license}.")
    small = [file for file in files.names if file != files.weights]
    paths = download(repository, [*small, *([README] if README in repository.files else [])], options.quiet)
    finish = BEGIN[files.kind](repository, files, paths, options)
    paths |= download(repository, [files.weights], options.quiet)
    added = finish(paths)
    card = ModelCard(
        name=name,
        architecture=added.source.architecture,
        weights_digest="",
        labels=added.labels,
        input=_input_spec(added.source),
        embedding_size=added.embedding_size,
        hub=added.source,
        about={"source": f"hf:{repository.name}@{repository.commit}", "license": repository.license, **added.facts},
    )
    path = checkpoint_arrays.save(folder, card, added.tensors)
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
