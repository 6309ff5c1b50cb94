"""Sprites: drawings of whole characters on a transparent background, with the boxes of their heads.

A folder of sprites, as recipes/sprites makes it, has `sets.csv`, and a folder for each set with `regions.csv`. A region is the
part of a drawing that changes between the expressions of a character: brows to mouth. `project_head` extends it to the head.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from recipes.detector.cutouts import Box, Cutout, load_cutout

MOUTHS_ONLY = frozenset({"vn_bytes_of_love"})
"""Sets that are not used, because their regions are mouths only."""

HEAD_ONLY_PREFIXES = ("emoji", "pixel_lpc_heads")
"""Prefixes of the sets whose drawings are heads without bodies."""

_FIGURE_PREFIX, _CROPPED_SUFFIX = "vn_", "_bust"
_HEAD_PIXELS = 72
"""Width to which larger heads are reduced."""

_MIN_ASPECT, _MAX_ASPECT = 0.5, 1.7
"""Height of a region in widths. Flatter regions are mouths or eyes alone; taller ones contain more than a face."""

_HEAD_WIDTHS = 2.0
"""Width of a head in widths of its region."""

_MAX_REGION_HEIGHTS = 1.15
"""Height of a region, in widths, above which only the width counts."""

_SHARE_ABOVE = 0.57
"""Share of the height of a head above the middle of its region."""

_NECK_HEADS = 0.1
"""Distance from the chin to the part that counts as the body, in heights of the head."""

_MAX_BODIES, _MIN_BODY_PIXELS = 20, 16
"""Bodies of an artist, and the shorter side of the smallest one."""


def load_sprites(folder: Path) -> Iterator[Cutout]:
    """Read the sprites whose background is transparent and whose head is known."""
    with (folder / "sets.csv").open(newline="") as file:
        artists = {row["set"]: row["artist"] for row in csv.DictReader(file)}
    for name, artist in sorted(artists.items()):
        path = folder / name
        if name in MOUTHS_ONLY or name.endswith(_CROPPED_SUFFIX):
            continue
        if name.startswith(HEAD_ONLY_PREFIXES):
            images = sorted(image for image in path.rglob("*") if image.suffix in (".png", ".webp"))
            yield from (load_cutout(image, None, artist, bare=True) for image in images if _is_cut_out(image))
        elif name.startswith(_FIGURE_PREFIX) and (path / "regions.csv").exists():
            yield from _figures(path, artist)


def bodies(sprites: Iterable[Cutout]) -> list[Image.Image]:
    """Return the bodies below the heads of figures, RGBA; at most `_MAX_BODIES` for each artist."""
    by_artist: dict[str, list[Image.Image]] = {}
    for sprite in sprites:
        neck = round(sprite.box[3] + _NECK_HEADS * (sprite.box[3] - sprite.box[1]))
        if sprite.is_figure and neck < sprite.image.height:
            body = sprite.image.crop((0, neck, sprite.image.width, sprite.image.height))
            visible = body.getchannel("A").getbbox()
            if visible and min(visible[2] - visible[0], visible[3] - visible[1]) >= _MIN_BODY_PIXELS:
                by_artist.setdefault(sprite.artist, []).append(body.crop(visible))
    return [body for own in by_artist.values() for body in own[:: max(1, -(-len(own) // _MAX_BODIES))]]


def project_head(region: Box) -> Box:
    """Return the box of a head, from crown to chin and ear to ear, for the region of its face."""
    left, top, right, bottom = region
    side = _HEAD_WIDTHS * max(right - left, min(bottom - top, _MAX_REGION_HEIGHTS * (right - left)))
    x, y = (left + right) / 2, (top + bottom) / 2
    return (x - side / 2, y - _SHARE_ABOVE * side, x + side / 2, y + (1 - _SHARE_ABOVE) * side)


def _figures(folder: Path, artist: str) -> Iterator[Cutout]:
    with (folder / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = folder / row["file"]
        if not _is_cut_out(path):
            continue
        with Image.open(path) as opened:
            image = opened.convert("RGBA")
        left, right = (float(row[edge]) * image.width for edge in ("left", "right"))
        top, bottom = (float(row[edge]) * image.height for edge in ("top", "bottom"))
        if not _MIN_ASPECT <= (bottom - top) / (right - left) <= _MAX_ASPECT:
            continue
        head = project_head((left, top, right, bottom))
        scale = min(1.0, _HEAD_PIXELS / (head[2] - head[0]))
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        box = (head[0] * scale, head[1] * scale, head[2] * scale, head[3] * scale)
        yield Cutout(image.resize(size, Image.Resampling.BOX), box, artist, bare=False)


def _is_cut_out(path: Path) -> bool:
    """Return whether an image has transparent pixels."""
    with Image.open(path) as image:
        lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return lowest == 0
