"""A folder of mixed pictures to index: drawn heads on photographic detail, in several formats, from 128 to 3000 pixels."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = (("jpg", 0.5, 256, 3000), ("png", 0.3, 200, 1200), ("webp", 0.12, 256, 2000), ("gif", 0.08, 128, 512))
"""Ending, share, and the shortest and longest side."""


def make(folder: Path, heads: Path, count: int, seed: int = 0, workers: int = 2) -> None:
    """Write so many pictures; `heads` is a folder of drawn pictures. The same arguments give the same pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = sorted(heads.rglob("*.png"))
    if not drawn:
        raise SystemExit(f"{heads} holds no PNG pictures.")
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(_write, folder, drawn, seed), range(count), chunksize=16))


def _write(folder: Path, drawn: list[Path], seed: int, number: int) -> None:
    random = np.random.default_rng((seed, number))
    ending, _, low, high = KINDS[random.choice(len(KINDS), p=[share for _, share, _, _ in KINDS])]
    longest = round(float(np.exp(random.uniform(np.log(low), np.log(high)))))
    sides = [longest, max(64, round(longest * random.uniform(0.5, 1)))]
    page = _detail((sides[0], sides[1]) if random.random() < 0.5 else (sides[1], sides[0]), random)
    for _ in range(random.integers(1, 4)):
        with Image.open(drawn[random.integers(len(drawn))]) as head:
            side = round(min(page.size) * random.uniform(0.3, 0.9))
            pasted = head.convert("RGBA").resize((side, side))
        at = [int(random.integers(0, max(1, length - side))) for length in page.size]
        page.paste(pasted, (at[0], at[1]), pasted)
    path = folder / f"{number % 20:02d}" / f"{number:06d}.{ending}"
    path.parent.mkdir(exist_ok=True)
    options = {
        "jpg": {"quality": int(random.integers(75, 96))},
        "webp": {"quality": 80, "method": 1},
        "png": {"compress_level": 3},
    }
    page.save(path, **options.get(ending, {}))


def _detail(size: tuple[int, int], random: np.random.Generator) -> Image.Image:
    """A page of photographic detail: pieces of scikit-learn's two photographs side by side."""
    page = Image.new("RGB", size)
    photographs = _photographs()
    piece = 256
    for top in range(0, size[1], piece):
        for left in range(0, size[0], piece):
            photograph = photographs[random.integers(len(photographs))]
            x, y = (int(random.integers(0, length - piece)) for length in photograph.size)
            page.paste(photograph.crop((x, y, x + piece, y + piece)), (left, top))
    return page


@cache
def _photographs() -> list[Image.Image]:
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [Image.open(folder / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
