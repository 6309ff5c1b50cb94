"""The repositories of the models of open_clip, by the names that open_clip gives them."""

from __future__ import annotations

from difflib import get_close_matches

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP_PREFIX, PREFIX
from indexer.system.optional import require, require_torch
from models.hub.tokens import EXTRA


def repository_of(text: str) -> str:
    """Return hf:OWNER/NAME[@REVISION] for open_clip:ARCHITECTURE/WEIGHTS or open_clip:OWNER/NAME, with a revision or without.

    Raises ModelUnavailable for an unknown architecture, for weights that no repository has as safetensors, and MissingExtra.
    """
    require_torch(f"The model {text}", EXTRA)
    require("open_clip", "open-clip-torch", EXTRA, f"The model {text}")
    import open_clip

    name, _, revision = text.removeprefix(OPEN_CLIP_PREFIX).partition("@")
    architecture, _, weights = name.partition("/")
    available = open_clip.list_pretrained_tags_by_model(architecture)
    if not available and not weights:
        similar = get_close_matches(architecture, open_clip.list_models(), n=3, cutoff=0)
        raise ModelUnavailable(f"open_clip has no architecture {architecture!r}; similar ones are {', '.join(similar)}.")
    if not available:
        return PREFIX + text.removeprefix(OPEN_CLIP_PREFIX)
    if weights not in available:
        similar = get_close_matches(weights, available, n=3, cutoff=0) or available[:3]
        raise ModelUnavailable(f"open_clip has no weights {weights!r} of {architecture}; it has {', '.join(similar)}.")
    repository = str(open_clip.get_pretrained_cfg(architecture, weights).get("hf_hub", "")).rstrip("/")
    if repository.count("/") != 1:
        raise ModelUnavailable(f"The weights {weights!r} of {architecture} are in no repository in the layout of open_clip.")
    return f"{PREFIX}{repository}{'@' + revision if revision else ''}"
