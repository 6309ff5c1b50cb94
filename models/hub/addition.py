"""What each kind of model contributes to the installation of one; see `models.hub.add`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

if TYPE_CHECKING:
    from indexer.domain.hub import HubSource
    from indexer.ports.models import HubOptions
    from models.checkpoint_arrays import Arrays
    from models.hub.layout import ModelFiles
    from models.hub.repository import Repository


@dataclass(frozen=True, slots=True)
class Addition:
    """A model whose network was tried on an image.

    - `source`: its files. `labels`: its emotions. `embedding_size`: numbers in an embedding.
    - `tensors`: what moodex puts on the network, by name.
    - `facts`: what its card says for people, besides source and license.
    """

    source: HubSource
    labels: tuple[str, ...]
    embedding_size: int
    tensors: Arrays
    facts: Mapping[str, Any]


Paths = Mapping[str, Path]
"""Files in the cache of the hub, by their names in the repository."""

Finish = Callable[[Paths], Addition]
"""Makes the addition from all files of a model. Raises ModelUnavailable and MissingExtra."""

Begin = Callable[["Repository", "ModelFiles", Paths, "HubOptions"], Finish]
"""Reads the small files of a model before its weights are downloaded: most unusable models show there what they are."""


def digests_of(files: ModelFiles, paths: Paths) -> dict[str, str]:
    """Return the BLAKE3 hex digests of the files of a model, by name."""
    return {name: blake3().update_mmap(paths[name]).hexdigest() for name in files.names}
