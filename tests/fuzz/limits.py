"""What the largest picture that is accepted costs, in each format and mode: python -m tests.fuzz.limits

Prints a Markdown table: the file's size, what came of it, the seconds and the memory that it took, in a process of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.fuzz import bombs
from tests.fuzz.bench import Bench
from tests.support.builders import encoded

_SIDE = 11_313
"""Of a square of just below 128 million pixels."""

_WEBP = (16_383, 7812)
"""The longest side that WebP has."""


def largest() -> Iterator[tuple[str, bytes]]:
    """The largest pictures, of one colour, by format and mode."""
    square = (_SIDE, _SIDE)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"PNG {mode}", encoded(Image.new(mode, square, 1), compress_level=1)
    yield "PNG P transparent", encoded(Image.new("P", square, 1), transparency=1, compress_level=1)
    yield "PNG 16-bit", encoded(Image.fromarray(np.full((_SIDE, _SIDE), 999, dtype=np.uint16)), compress_level=1)
    for mode in ("L", "RGB", "CMYK"):
        yield f"JPEG {mode}", encoded(Image.new(mode, square, 1), "JPEG")
    yield "JPEG RGB progressive", encoded(Image.new("RGB", square, 1), "JPEG", progressive=True)
    yield "JPEG 100 scans", bombs.scans(_SIDE, 100)
    yield "GIF", encoded(Image.new("P", square, 1), "GIF")
    yield "WebP lossy", encoded(Image.new("RGB", _WEBP, 1), "WEBP", method=0)
    yield "WebP lossless, alpha", encoded(Image.new("RGBA", _WEBP, 1), "WEBP", lossless=True, method=0, quality=0)
    yield "BMP RGB", encoded(Image.new("RGB", square, 1), "BMP")
    yield "BMP RLE", bombs.nibbles()
    for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I", "F"):
        yield f"TIFF {mode}", encoded(Image.new(mode, square, 1), "TIFF", compression="tiff_adobe_deflate")
    yield "TIFF 16-bit", encoded(Image.fromarray(np.full((_SIDE, _SIDE), 999, dtype=np.uint16)), "TIFF", compression="tiff_lzw")
    yield "AVIF", encoded(Image.new("RGB", square, 1), "AVIF", speed=10, quality=30)
    yield from ((f"{name} long", data) for name, data in bombs.shapes())


def main() -> None:
    print("| picture | file, MB | outcome | seconds | memory, MB |\n|---|---|---|---|---|")
    with Bench(memory=16 << 30, seconds=120) as bench:
        for name, data in largest():
            outcome = bench.try_(data)
            sys.stdout.write(
                f"| {name} | {len(data) / 1e6:.1f} | {outcome.kind} | {outcome.seconds:.1f} | {outcome.peak / 1e6:,.0f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
