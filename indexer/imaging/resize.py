"""Resizing of images. The package that computes it is imported with the first image."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from PIL import Image
from PIL.Image import Resampling

Resize = Callable[[Image.Image, tuple[int, int], Resampling], Image.Image]


def resized(image: Image.Image, size: tuple[int, int], kernel: Resampling = Resampling.BICUBIC) -> Image.Image:
    """Resize an RGB or RGBA image to (width, height), antialiased, by BICUBIC or BILINEAR.

    Colors are weighted by their opacity. Uses SIMD if cykooz-resizer is installed (it has no wheels for some machines), else
    Pillow, which takes several times as long. The results differ by one level in a few pixels (bench/results/fidelity.md).
    """
    return image if size == image.size else _fastest()(image, size, kernel)


def by_pillow(image: Image.Image, size: tuple[int, int], kernel: Resampling) -> Image.Image:
    """Resize like `resized`, by Pillow: first vertically, then horizontally, in the order of cykooz-resizer.

    Bicubic overshoot is clipped between the two passes. Pillow's own order would therefore give line art other grays.
    """
    mode, (width, height) = image.mode, size
    image = image.convert("RGBa") if mode == "RGBA" else image
    return image.resize((image.width, height), kernel).resize((width, height), kernel).convert(mode)


def by_simd(image: Image.Image, size: tuple[int, int], kernel: Resampling) -> Image.Image:
    """Resize like `resized`, by cykooz-resizer. Raises ImportError if it is not installed."""
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer

    # Pillow's bicubic kernel is Catmull-Rom: a = -0.5.
    kind = {Resampling.BICUBIC: FilterType.catmull_rom, Resampling.BILINEAR: FilterType.bilinear}[kernel]
    result = Image.new(image.mode, size)
    # One resizer for each image: a shared one would keep the memory of the largest image, and threads would wait for it.
    Resizer().resize_pil(image, result, ResizeOptions(resize_alg=ResizeAlg.convolution(kind)))
    return result


@cache
def _fastest() -> Resize:
    try:
        import cykooz_resizer  # noqa: F401
    except ImportError:
        return by_pillow
    return by_simd
