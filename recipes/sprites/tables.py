"""The tables of the recipe: `sources.csv`, and `pictures/SET.csv` with the images of a set."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Source:
    """A set and where it comes from.

    - `used`: whether the set is gathered; otherwise `note` has the reason.
    - `repository`: OWNER/NAME on GitHub, or npm:PACKAGE.
    - `commit`: the commit, or the version of the package.
    - `folder`: the folder in the repository to which the paths of the images are relative; "" for its root.
    - `finish`: how an image is trimmed and scaled; `finish.py` lists the words.
    - `artist`: key for hold-out; sets that share an artist, a studio or a design have the same key.
    """

    name: str
    used: bool
    repository: str
    commit: str
    folder: str
    finish: str
    artist: str
    licence: str
    credit: str
    url: str
    note: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a set.

    - `file`: its path in the set, EMOTION/NAME.
    - `confidence`: A, the artist's own name is the emotion; B, a looser word, or parts with names; C, read off the drawing.
    - `original_name`: the artist's own name of the image.
    - `layers`: what is drawn, in the language of `layers.py`.
    - `box`: left, top, right and bottom of the part that is kept, in pixels of the drawing; None for the whole drawing.
    """

    file: str
    label: str
    confidence: str
    original_name: str
    character: str
    layers: str
    box: tuple[int, int, int, int] | None


def read_sources(folder: Path = HERE) -> list[Source]:
    """Read the rows of `sources.csv`."""
    with (folder / "sources.csv").open(encoding="utf-8", newline="") as file:
        return [_source(row) for row in csv.DictReader(file)]


def read_pictures(name: str, folder: Path = HERE) -> list[Picture]:
    """Read the images of a set."""
    with (folder / "pictures" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [_picture(row) for row in csv.DictReader(file)]


def _source(row: dict[str, str]) -> Source:
    if row["used"] not in ("yes", "no"):
        raise ValueError(f"The column used of the set {row['set']} is {row['used']!r}; write yes or no.")
    return Source(
        name=row["set"],
        used=row["used"] == "yes",
        repository=row["repository"],
        commit=row["commit"],
        folder=row["folder"],
        finish=row["finish"],
        artist=row["artist"],
        licence=row["licence"],
        credit=row["credit"],
        url=row["url"],
        note=row["note"],
    )


def _picture(row: dict[str, str]) -> Picture:
    box = None
    if numbers := row.get("box"):
        left, top, right, bottom = map(int, numbers.split())
        box = left, top, right, bottom
    return Picture(
        file=row["file"],
        label=row["label"],
        confidence=row["confidence"],
        original_name=row["original_name"],
        character=row["character"],
        layers=row["layers"],
        box=box,
    )
