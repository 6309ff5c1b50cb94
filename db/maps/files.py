"""Maps in a folder, one safetensors file for each embedder."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from indexer.domain.maps import LibraryMap
from indexer.system.atomic import replace_file

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard

_log = logging.getLogger(__name__)
_UNUSABLE = (SafetensorError, ValueError, KeyError, TypeError)


_Stamp = tuple[int, int, int] | None
"""What changes whenever a map is replaced; None without one."""


class _Kept(NamedTuple):
    stamp: _Stamp
    made: LibraryMap | None


class MapFiles:
    """Implements `indexer.ports.maps.MapStorage` in a folder. The map that was loaded last is kept until its file changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, _Kept] = {}

    def load(self, card: ModelCard) -> LibraryMap | None:
        path = self._path(card.embedder_key)
        stamp, kept = _stamp(path), self._kept.get(card.embedder_key)
        if kept is None or kept.stamp != stamp:
            kept = _Kept(stamp, None if stamp is None else _read(path, card))
            self._kept = {card.embedder_key: kept}
        return kept.made

    def is_current(self, made: LibraryMap) -> bool:
        kept = self._kept.get(made.embedder_key)
        return kept is not None and kept.made is made and kept.stamp == _stamp(self._path(made.embedder_key))

    def save(self, made: LibraryMap) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "model": made.model,
            "model_key": made.model_key,
            "embedder_key": made.embedder_key,
            "version": made.version,
            "made_at": made.made_at,
            "fitted": made.fitted,
        }
        tensors: dict[str, Any] = {"keys": made.keys, "places": np.ascontiguousarray(made.places)}
        about = {"map": json.dumps(facts)}
        replace_file(self._path(made.embedder_key), lambda temporary: save_file(tensors, temporary, about))

    def _path(self, embedder_key: str) -> Path:
        return self._folder / f"{embedder_key}.safetensors"


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _read(path: Path, card: ModelCard) -> LibraryMap | None:
    """Return the map in a file; None, with a warning, if it is not one of this model."""
    try:
        with safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["map"])
            keys, places = file.get_tensor("keys"), file.get_tensor("places")
        if facts["embedder_key"] != card.embedder_key or keys.dtype != np.int64 or places.dtype != np.uint16:
            raise ValueError("it holds another map")
        if places.shape != (len(keys), 2) or not len(keys) or np.any(keys[1:] <= keys[:-1]):
            raise ValueError("its keys and places do not fit together")
        return LibraryMap(keys=keys, places=places, **facts)
    except FileNotFoundError:
        return None
    except (*_UNUSABLE, OSError) as error:
        _log.warning("The map %s is damaged (%s); make it again with: moodex map", path, error)
        return None
