"""Measure the largest accepted image of each format and mode: python -m tests.fuzz.limits

Decodes each image in a separate process and prints a Markdown table: file size, outcome, seconds and memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.fuzz import bombs
from tests.fuzz.sandbox import Sandbox
from tests.support.builders import encoded

_SIDE_PIXELS = 11_313
"""The side of a square of just below 128 million pixels."""

_WEBP_SIZE = (16_383, 7812)
"""Width and height of just below 128 million pixels; WebP allows no longer side."""


def largest() -> Iterator[tuple[str, bytes]]:
    """Yield the largest images, of one color, by format and mode."""
    square = (_SIDE_PIXELS, _SIDE_PIXELS)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield f"PNG {mode}", encoded(Image.new(mode, square, 1), compress_level=1)
    yield "PNG P transparent", encoded(Image.new("P", square, 1), transparency=1, compress_level=1)
    yield "PNG 16-bit", encoded(Image.fromarray(np.full((_SIDE_PIXELS, _SIDE_PIXELS), 999, dtype=np.uint16)), compress_level=1)
    for mode in ("L", "RGB", "CMYK"):
        yield f"JPEG {mode}", encoded(Image.new(mode, square, 1), "JPEG")
    yield "JPEG RGB progressive", encoded(Image.new("RGB", square, 1), "JPEG", progressive=True)
    yield "JPEG 100 scans", bombs.scans(_SIDE_PIXELS, 100)
    yield "GIF", encoded(Image.new("P", square, 1), "GIF")
    yield "WebP lossy", encoded(Image.new("RGB", _WEBP_SIZE, 1), "WEBP", method=0)
    yield "WebP lossless, alpha", encoded(Image.new("RGBA", _WEBP_SIZE, 1), "WEBP", lossless=True, method=0, quality=0)
    yield "BMP RGB", encoded(Image.new("RGB", square, 1), "BMP")
    yield "BMP RLE", bombs.nibbles()
    for mode in ("1", "L", "RGB", "RGBA", "CMYK", "I", "F"):
        yield f"TIFF {mode}", encoded(Image.new(mode, square, 1), "TIFF", compression="tiff_adobe_deflate")
    yield (
        "TIFF 16-bit",
        encoded(Image.fromarray(np.full((_SIDE_PIXELS, _SIDE_PIXELS), 999, dtype=np.uint16)), "TIFF", compression="tiff_lzw"),
    )
    yield "AVIF", encoded(Image.new("RGB", square, 1), "AVIF", speed=10, quality=30)
    yield from ((f"{name} long", data) for name, data in bombs.shapes())


def main() -> None:
    print("| image | file, MB | outcome | seconds | memory, MB |\n|---|---|---|---|---|")
    with Sandbox(memory_bytes=16 << 30, seconds=120) as sandbox:
        for name, data in largest():
            outcome = sandbox.decode(data)
            sys.stdout.write(
                f"| {name} | {len(data) / 1e6:.1f} | {outcome.kind} | {outcome.seconds:.1f} | {outcome.peak_bytes / 1e6:,.0f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
