"""Compare libraries that decode image files, by processor time and by pixels.

    python bench/decoders.py HEADS [--images N] [--output FILE.md]

HEADS is a folder of drawn heads (PNG). The script makes a folder of mixed images (bench/corpus.py) and decodes each file to RGB
with every library, one after the other, three times, in one thread. Of JPEG files it also decodes the scaled size that indexing
asks for, and resizes that to the input of the classifier, which takes an image of Pillow: one with a copy of the pixels, or one
that reads those of the decoder in place. The figures are the medians, over the files of a format, of the fastest of the three
times, and the largest difference to Pillow's pixels. Needs simplejpeg, imagecodecs, opencv-python-headless and pyvips[binary]
beside moodex; libraries that are not installed are left out.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench import corpus  # noqa: E402
from bench.machine import machine  # noqa: E402
from indexer.imaging.resize import resized  # noqa: E402

TIMES = 3
WHOLE_SIDE, FACTOR = 160, 8
"""Side of the classifier's input, and the least size to which a JPEG is decoded for it, in such sides."""

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Method = Callable[[bytes], Pixels]


def pillow(data: bytes, scaled: bool = False) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        if scaled:
            _shrink(image)
        return np.asarray(image.convert("RGB"))


def pillow_for_input(data: bytes) -> Pixels:
    """Decode as indexing does, with the resizing to the classifier's input."""
    with Image.open(io.BytesIO(data)) as image:
        _shrink(image)
        return np.asarray(_input(image))


def simplejpeg_for_input(data: bytes) -> Pixels:
    return np.asarray(_input(Image.fromarray(simplejpeg(data, True))))


def simplejpeg_in_place(data: bytes) -> Pixels:
    """Resize the pixels of the decoder without a copy: with a fourth byte for each, as Pillow has them in memory.

    Pillow reads arrays of such images in place only in a few modes; CMYK is the one whose channels are resized each alone.
    """
    pixels = simplejpeg(data, True, "RGBX")
    height, width = pixels.shape[:2]
    return np.asarray(_input(Image.frombuffer("CMYK", (width, height), pixels.data, "raw", "CMYK", 0, 1)))[..., :3]


def simplejpeg(data: bytes, scaled: bool = False, channels: str = "RGB") -> Pixels:
    package = import_module("simplejpeg")
    if not scaled:
        return np.asarray(package.decode_jpeg(data))
    width, height = _scaled_size(data)
    return np.asarray(package.decode_jpeg(data, channels, min_height=height, min_width=width, min_factor=1))


def imagecodecs(name: str) -> Method:
    def decode(data: bytes) -> Pixels:
        return _rgb(getattr(import_module("imagecodecs"), f"{name}_decode")(data))

    return decode


def opencv(data: bytes) -> Pixels:
    cv2 = import_module("cv2")
    cv2.setNumThreads(1)
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))


def vips(data: bytes) -> Pixels:
    package = import_module("pyvips")
    package.cache_set_max(0)
    return _rgb(package.Image.new_from_buffer(data, "").numpy())


METHODS: dict[str, dict[str, Method]] = {
    "jpg": {"Pillow": pillow, "simplejpeg": simplejpeg, "imagecodecs": imagecodecs("jpeg8"), "OpenCV": opencv, "pyvips": vips},
    "jpg, scaled": {"Pillow": lambda data: pillow(data, True), "simplejpeg": lambda data: simplejpeg(data, True)},
    "jpg, to the input": {
        "Pillow": pillow_for_input,
        "simplejpeg, copied": simplejpeg_for_input,
        "simplejpeg, in place": simplejpeg_in_place,
    },
    "png": {
        "Pillow": pillow,
        "imagecodecs, spng": imagecodecs("spng"),
        "imagecodecs, libpng": imagecodecs("png"),
        "OpenCV": opencv,
        "pyvips": vips,
    },
    "webp": {"Pillow": pillow, "imagecodecs": imagecodecs("webp"), "OpenCV": opencv, "pyvips": vips},
    "gif": {"Pillow": pillow, "imagecodecs": imagecodecs("gif"), "pyvips": vips},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        corpus.make(Path(scratch), options.heads, options.images)
        paths = {extension: sorted(Path(scratch).rglob(f"*.{extension}")) for extension, *_ in corpus.FORMATS}
        files = {extension: [path.read_bytes() for path in some] for extension, some in paths.items()}
    lines = [
        "# Libraries that decode images",
        "",
        f"`python bench/decoders.py HEADS` on {machine()}: {options.images} mixed images, decoded to RGB in one thread.",
        "CPU ms: median over the files of the fastest of three times. Times: the median of each file's time with Pillow divided",
        "by that of the library. To the input: decoded as for indexing, and resized to the input of the classifier.",
        "",
        "| format | files | library | CPU ms | times | largest difference of a pixel | files with a difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, methods in METHODS.items():
        lines += compare(name, files[name.split(",")[0]], methods)
    page = "\n".join(lines) + "\n"
    print(page)
    if options.output:
        options.output.write_text(page)


def compare(name: str, files: list[bytes], methods: dict[str, Method]) -> list[str]:
    """Return a row of the table for each library that is installed and reads the format."""
    milliseconds: dict[str, list[float]] = {}
    differences: dict[str, list[int]] = {}
    for data in files:
        expected = methods["Pillow"](data)
        for library, method in methods.items():
            try:
                pixels = method(data)
            except (ImportError, AttributeError):
                continue
            same_shape = pixels.shape == expected.shape
            differences.setdefault(library, []).append(int(np.abs(pixels.astype(int) - expected).max()) if same_shape else 255)
            milliseconds.setdefault(library, []).append(min(_timed(method, data) for _ in range(TIMES)))
    rows = []
    for library, times in milliseconds.items():
        ratio = statistics.median(first / own for first, own in zip(milliseconds["Pillow"], times, strict=True))
        different = sum(value > 0 for value in differences[library])
        largest = max(differences[library])
        rows.append(
            f"| {name} | {len(files)} | {library} | {statistics.median(times):.2f} | {ratio:.2f} | {largest} | {different} |"
        )
    return rows


def _shrink(image: Image.Image) -> None:
    """Let the decoder of a JPEG shrink it, as indexing does."""
    scale = min(1.0, WHOLE_SIDE * FACTOR / max(image.size))
    image.draft(None, (ceil(image.width * scale), ceil(image.height * scale)))


def _scaled_size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        _shrink(image)
        return image.size


def _input(image: Image.Image) -> Image.Image:
    scale = WHOLE_SIDE / max(image.size)
    return resized(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale))))


def _timed(method: Method, data: bytes) -> float:
    start = time.process_time()
    method(data)
    return 1000 * (time.process_time() - start)


def _rgb(pixels: Any) -> Pixels:
    """Return RGB of gray, RGB or RGBA pixels, or of the first frame of an animation."""
    array = np.asarray(pixels)
    if array.ndim == 4:
        array = array[0]
    return np.asarray(array[..., :3] if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1))


if __name__ == "__main__":
    main()
