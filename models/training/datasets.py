"""Labelled pictures from folders: `<set>/<emotion>/<file>`, one set or a folder of many, each set one style by one artist."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from tqdm import tqdm

from indexer.domain import InputSpec
from indexer.emotions import EMOTIONS, canonical
from indexer.errors import ImageError, UnknownEmotion, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

    from indexer.domain import Ids, Pixels

_log = logging.getLogger(__name__)

Decode = Callable[[Path, InputSpec], "Pixels"]
"""Reads one picture as the product does: uint8, (size, size, 3). Raises ImageError for what is no picture."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"})

ARTISTS: dict[str, str] = {
    "avatar_open-peeps": "pablo-stanley",
    "avatar_avataaars": "pablo-stanley",
    "avatar_lorelei": "lisa-wischofsky",
    "avatar_adventurer": "lisa-wischofsky",
    "emoji_noto": "google",
    "emoji_noto-v1": "google",
    "emoji_fluent-emoji": "microsoft",
    "emoji_fluent-emoji-flat": "microsoft",
    "emoji_emojione": "emojione",
    "emoji_emojione-v1": "emojione",
}
"""Sets that share an artist, for data that comes without `sets.csv`. Any other set is its own artist."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set: where it lies, who drew it, and on what terms."""

    name: str
    folder: Path
    artist: str
    licence: str = ""
    credit: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled file."""

    path: Path
    emotion: str
    source: Source


@dataclass(frozen=True, slots=True)
class Pictures:
    """N decoded pictures.

    `pixels` is uint8, (N, size, size, 3); `labels` int64, (N,), positions in `emotions`; `sources` has one entry a picture.
    """

    pixels: Pixels = field(repr=False)
    labels: Ids
    sources: tuple[Source, ...] = field(repr=False)
    emotions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artist of each picture."""
        return tuple(source.artist for source in self.sources)

    def where(self, chosen: npt.ArrayLike) -> Pictures:
        """The chosen ones, one truth value a picture."""
        rows = np.flatnonzero(np.asarray(chosen, dtype=bool))
        return Pictures(self.pixels[rows], self.labels[rows], tuple(self.sources[row] for row in rows), self.emotions)

    def without(self, names: Iterable[str]) -> tuple[Pictures, Pictures]:
        """What is left, and what was taken away: every picture of an artist or set among `names`.

        Naming a set takes all sets of its artist. Raises UsageError for a name that nothing here has.
        """
        names = set(names)
        known = {source.name for source in self.sources} | set(self.artists)
        if unknown := sorted(names - known):
            raise UsageError(f"Cannot hold out {unknown[0]!r}: no artist or set of that name is in the data ({_listed(known)}).")
        out = {source.artist for source in self.sources if names & {source.artist, source.name}}
        taken = [artist in out for artist in self.artists]
        return self.where([not one for one in taken]), self.where(taken)


def find_pictures(folders: Iterable[Path]) -> list[Picture]:
    """Every labelled picture below the folders, in a fixed order, each distinct file once.

    A folder is one set when its subfolders are emotions, else each of its subfolders is a set. Raises UsageError for a folder
    that is missing or empty, and for a label that is no emotion.
    """
    found = [picture for folder in folders for source in _sources(folder) for picture in _labelled(source)]
    distinct: dict[bytes, Picture] = {}
    for picture in found:
        distinct.setdefault(blake3(picture.path.read_bytes()).digest(), picture)
    if len(distinct) < len(found):
        _log.info("Left out %d exact copies among %d pictures.", len(found) - len(distinct), len(found))
    return list(distinct.values())


def load_pictures(pictures: Sequence[Picture], spec: InputSpec, decode: Decode, workers: int = 0) -> Pictures:
    """Decode pictures into memory, `workers` at a time (0: one a core); those that cannot be read are left out with a warning.

    Raises UsageError where none is left.
    """
    with ThreadPoolExecutor(workers or None) as pool:
        decoded = list(
            tqdm(
                pool.map(partial(_decoded, spec=spec, decode=decode), (picture.path for picture in pictures)),
                total=len(pictures), desc="decoding", unit="picture", disable=None, leave=False,
            )
        )  # fmt: skip
    usable = [(picture, pixels) for picture, pixels in zip(pictures, decoded, strict=True) if pixels is not None]
    if not usable:
        raise UsageError("None of the pictures to train on can be read.")
    kept = [picture for picture, _ in usable]
    emotions = tuple(emotion for emotion in EMOTIONS if any(picture.emotion == emotion for picture in kept))
    return Pictures(
        np.stack([pixels for _, pixels in usable]),
        np.array([emotions.index(picture.emotion) for picture in kept], dtype=np.int64),
        tuple(picture.source for picture in kept),
        emotions,
    )


def _decoded(path: Path, spec: InputSpec, decode: Decode) -> Pixels | None:
    try:
        return decode(path, spec)
    except (ImageError, OSError) as error:
        _log.warning("Left out %s: %s", path, error)
        return None


def _sources(folder: Path) -> list[Source]:
    inside = _folders(folder)
    if not inside:
        raise UsageError(f"{folder} has no pictures in folders named after emotions, as in SET/happy/picture.png.")
    if any(_emotion(part.name) for part in inside):
        return [_source(folder, _read_sets(folder.parent))]
    sets = _read_sets(folder)
    return [_source(part, sets) for part in inside if _folders(part)]


def _source(folder: Path, sets: dict[str, dict[str, str]]) -> Source:
    name = folder.resolve().name
    facts = sets.get(name, {})
    artist = facts.get("artist") or ARTISTS.get(name, name)
    return Source(name, folder, artist, facts.get("licence", ""), facts.get("credit", ""), facts.get("url", ""))


def _read_sets(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the optional `sets.csv` (set, artist, licence, credit, url) by set."""
    path = folder / "sets.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["set"]: {name: value or "" for name, value in row.items()} for row in csv.DictReader(file) if row.get("set")}


def _labelled(source: Source) -> list[Picture]:
    pictures = []
    for part in _folders(source.folder):
        emotion = _emotion(part.name)
        if emotion is None:
            raise UsageError(f"{part} is not named after an emotion; moodex knows {', '.join(EMOTIONS)} and their synonyms.")
        files = sorted(file for file in part.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        pictures += [Picture(file, emotion, source) for file in files]
    if not pictures:
        raise UsageError(f"The data set {source.folder} holds no pictures.")
    return pictures


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"The data set folder {folder} does not exist.")
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def _emotion(word: str) -> str | None:
    try:
        return canonical(word)
    except UnknownEmotion:
        return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
