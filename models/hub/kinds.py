"""The kinds of models of a hub, and how each is opened. A new kind is a line of `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP, TRANSFORMERS_CLIP
from indexer.domain.models import ModelCard, with_precision
from models.checkpoint_arrays import load_all
from models.hub.layout import ONNX_TAGGER, TIMM_TAGGER
from models.hub.repository import cached_file
from models.model_card import read_card

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain.hub import HubSource
    from indexer.ports.models import Classifier
    from models.inference.loader import ComputeOptions

OpenKind = Callable[
    [ModelCard, "HubSource", Mapping[str, "npt.NDArray[Any]"], Mapping[str, Path], "ComputeOptions"], "Classifier"
]
"""Opens a model of a kind: from its card, its source, the tensors of moodex, the paths of its files by name, and the options."""


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
    return KINDS[source.kind](with_precision(card, options.precision), source, state, files_of(source), options)


def files_of(source: HubSource) -> dict[str, Path]:
    """Return the paths of the files of a model, by name. Raises ModelUnavailable if one is not in the cache, and MissingExtra."""
    return {name: cached_file(source.repository, source.revision, name) for name in source.files}


def _open_tagger(
    card: ModelCard,
    source: HubSource,
    state: Mapping[str, npt.NDArray[Any]],
    paths: Mapping[str, Path],
    options: ComputeOptions,
) -> Classifier:
    from models.hub.tag_names import read_tag_names
    from models.hub.tagger import TaggerClassifier
    from models.hub.tagger_engines import open_tagger_engine

    return TaggerClassifier(card, open_tagger_engine(source, paths, options), state, read_tag_names(paths))


def _open_clip(
    card: ModelCard,
    source: HubSource,
    state: Mapping[str, npt.NDArray[Any]],
    paths: Mapping[str, Path],
    options: ComputeOptions,
) -> Classifier:
    from models.hub.clip_engines import open_image_engine
    from models.hub.zero_shot import ZeroShotClassifier

    return ZeroShotClassifier(card, open_image_engine(source, state, paths, options), state)


KINDS: dict[str, OpenKind] = {
    ONNX_TAGGER: _open_tagger,
    TIMM_TAGGER: _open_tagger,
    OPEN_CLIP: _open_clip,
    TRANSFORMERS_CLIP: _open_clip,
}
