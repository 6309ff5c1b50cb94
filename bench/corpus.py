"""A folder of mixed images to index.

Each image shows drawn heads on photographic detail. The files have several formats; their longer sides are 128 to 3000 pixels.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = (("jpg", 0.5, 256, 3000), ("png", 0.3, 200, 1200), ("webp", 0.12, 256, 2000), ("gif", 0.08, 128, 512))
"""Extension, share of the images, and the range of the longer side in pixels."""

_TILE_SIDE = 256


def make(folder: Path, heads: Path, count: int, seed: int = 0, workers: int = 2) -> None:
    """Write `count` images made from the drawn heads below `heads`. The same arguments give the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    head_paths = sorted(heads.rglob("*.png"))
    if not head_paths:
        raise SystemExit(f"Cannot find PNG images below {heads}.")
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(_write, folder, head_paths, seed), range(count), chunksize=16))


def _write(folder: Path, head_paths: list[Path], seed: int, number: int) -> None:
    random = np.random.default_rng((seed, number))
    extension, _, low, high = FORMATS[random.choice(len(FORMATS), p=[share for _, share, _, _ in FORMATS])]
    longest = round(float(np.exp(random.uniform(np.log(low), np.log(high)))))
    sides = [longest, max(64, round(longest * random.uniform(0.5, 1)))]
    image = _photographic_detail((sides[0], sides[1]) if random.random() < 0.5 else (sides[1], sides[0]), random)
    for _ in range(random.integers(1, 4)):
        with Image.open(head_paths[random.integers(len(head_paths))]) as head:
            side = round(min(image.size) * random.uniform(0.3, 0.9))
            scaled_head = head.convert("RGBA").resize((side, side))
        corner = [int(random.integers(0, max(1, length - side))) for length in image.size]
        image.paste(scaled_head, (corner[0], corner[1]), scaled_head)
    path = folder / f"{number % 20:02d}" / f"{number:06d}.{extension}"
    path.parent.mkdir(exist_ok=True)
    options = {
        "jpg": {"quality": int(random.integers(75, 96))},
        "webp": {"quality": 80, "method": 1},
        "png": {"compress_level": 3},
    }
    image.save(path, **options.get(extension, {}))


def _photographic_detail(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """Fill an image with tiles of scikit-learn's two photographs."""
    image = Image.new("RGB", size)
    photographs = _photographs()
    for top in range(0, size[1], _TILE_SIDE):
        for left in range(0, size[0], _TILE_SIDE):
            photograph = photographs[random.integers(len(photographs))]
            x, y = (int(random.integers(0, length - _TILE_SIDE)) for length in photograph.size)
            image.paste(photograph.crop((x, y, x + _TILE_SIDE, y + _TILE_SIDE)), (left, top))
    return image


@cache
def _photographs() -> list[Image.Image]:
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
