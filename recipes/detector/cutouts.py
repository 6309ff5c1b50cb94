"""Heads on a transparent background with their boxes, from which scenes are composed.

`recipes/faces/render.mjs --cut-out` draws the avatars and emoji, `recipes/faces/things.mjs` the animals and objects,
`recipes.drawn.make --cut-out` the generated faces.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

HEAD_BOXES: dict[str, Box] = {
    "avatar_adventurer": (0.18, 0.20, 0.84, 0.80),
    "avatar_avataaars": (0.27, 0.11, 0.73, 0.60),
    "avatar_big-smile": (0.13, 0.10, 0.88, 0.84),
    "avatar_bigheads": (0.06, 0.10, 0.94, 0.90),
    "avatar_dylan": (0.11, 0.12, 0.90, 0.84),
    "avatar_lorelei": (0.15, 0.13, 0.75, 0.75),
    "avatar_micah": (0.24, 0.08, 0.78, 0.72),
    "avatar_open-peeps": (0.27, 0.13, 0.83, 0.70),
    "avatar_personas": (0.22, 0.15, 0.77, 0.76),
    "avatar_toon-head": (0.23, 0.14, 0.76, 0.76),
}
"""Head boxes from crown to chin and ear to ear, as shares of the drawing: each style has one head shape under any hair."""

BARE_PREFIXES = ("avatar_adventurer", "avatar_big-smile", "avatar_dylan", "emoji", "heads")
"""Prefixes of the sets that draw heads without shoulders."""

_MAX_SIDE_PIXELS = 160
_FIGURE_HEADS = 2.2
"""Height in heads from which a drawing is a figure with a body."""

_MIN_ALPHA = 40
"""Lowest alpha of a pixel that counts as part of a drawing, 0-255."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A head: an RGBA image and its box in pixels. `bare`: the drawing ends at the chin."""

    image: Image.Image
    box: Box
    artist: str
    bare: bool

    @property
    def is_figure(self) -> bool:
        """Whether the drawing has a body: it is more than twice as high as the head."""
        return not self.bare and self.image.height > _FIGURE_HEADS * (self.box[3] - self.box[1])


def load_heads(folder: Path) -> list[Cutout]:
    """Read all heads below a folder that the programs above have filled."""
    with (folder / "sets.csv").open(newline="") as file:
        artists = {row["set"]: row["artist"] for row in csv.DictReader(file)}
    heads = []
    for name, artist in artists.items():
        if name in {"avatar_kawaii", "avatar_fun-emoji"}:
            continue  # objects with faces have no head, and faces alone have no outline
        paths = sorted((folder / name).rglob("*.png"))
        heads += [load_cutout(path, HEAD_BOXES.get(name), artist, name.startswith(BARE_PREFIXES)) for path in paths]
    heads += [load_cutout(path, None, path.parent.name, True) for path in sorted((folder / "heads").rglob("*.png"))]
    return heads


def load_drawn(folder: Path) -> Iterator[Cutout]:
    """Read the generated faces below a folder."""
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            box = (float(row["left"]), float(row["top"]), float(row["right"]), float(row["bottom"]))
            yield load_cutout(folder / row["path"], box, "moodex", False)


def load_things(folder: Path) -> list[Image.Image]:
    """Read drawings without a face, RGBA; only one flag in ten, because there are hundreds."""
    paths = sorted((folder / "things").rglob("*.png"))
    return [_open(path) for number, path in enumerate(paths) if "flag" not in path.stem or number % 10 == 0]


def load_cutout(path: Path, head: Box | None, artist: str, bare: bool) -> Cutout:
    """Read a drawing. `head` is the box of the head in shares of the drawing; None if the head is all of it."""
    image = _open(path)
    if head is None:
        alpha = np.asarray(image.getchannel("A")) >= _MIN_ALPHA
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    else:
        box = (head[0] * image.width, head[1] * image.height, head[2] * image.width, head[3] * image.height)
    return Cutout(image, box, artist, bare)


def _open(path: Path) -> Image.Image:
    with Image.open(path) as file:
        image = file.convert("RGBA")
    image.thumbnail((_MAX_SIDE_PIXELS, _MAX_SIDE_PIXELS), Image.Resampling.BOX)
    return image
