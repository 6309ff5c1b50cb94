"""Models of a hub: how a user names one, and what a model card records of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from indexer.domain.errors import UsageError

PREFIX = "hf:"
"""Beginning of the name of a repository on the Hugging Face Hub, or on another server with its interface."""

OPEN_CLIP_PREFIX = "open_clip:"
"""Beginning of the name of a model of open_clip: ARCHITECTURE/WEIGHTS, or a repository in its layout."""

OPEN_CLIP, TRANSFORMERS_CLIP = "open-clip", "transformers-clip"
TEXT_KINDS = (OPEN_CLIP, TRANSFORMERS_CLIP)
"""Kinds of `HubSource` that have a text encoder."""

_REFERENCE = re.compile(r"hf:([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@([\w./-]{1,100}))?", re.ASCII)


class HubReference(NamedTuple):
    """A repository, OWNER/NAME, and a revision of it: a branch, a tag or a commit."""

    repository: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class HubSource:
    """The files of a hub that a model needs.

    - `repository`: OWNER/NAME. `revision`: the commit, 40 hex digits.
    - `kind`: how the files are opened: a key of `models.hub.kinds.KINDS`.
    - `files`: BLAKE3 hex digests by file name.
    - `options`: what a kind needs to know in addition, as JSON values.
    - `faces`: whether the network reads faces; otherwise it reads whole images.
    """

    repository: str
    revision: str
    kind: str
    files: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    faces: bool = False

    @property
    def architecture(self) -> str:
        """The name of the architecture on a card, which pins the commit."""
        return f"{PREFIX}{self.repository}@{self.revision}"

    @property
    def digest(self) -> str:
        """Hex digest that models with the same network share, whatever the format of its weights."""
        return hashlib.blake2b(self.architecture.encode(), digest_size=32).hexdigest()


def parse_reference(text: str) -> HubReference:
    """Parse `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`. Raises UsageError for anything else."""
    match = _REFERENCE.fullmatch(text)
    if match is None or ".." in text:
        raise UsageError(f"{text!r} does not name a repository of a hub; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION.")
    return HubReference(match[1], match[2] or "main")
