"""Pictures in another size. What computes it is imported with the first picture."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from PIL import Image
from PIL.Image import Resampling

Resize = Callable[[Image.Image, tuple[int, int], Resampling], Image.Image]


def resized(image: Image.Image, size: tuple[int, int], kernel: Resampling = Resampling.BICUBIC) -> Image.Image:
    """An RGB or RGBA picture in another (width, height), antialiased, by BICUBIC or BILINEAR; colours count by their opacity.

    Computed by SIMD where the package for it is installed (it has no wheels for some machines), else by Pillow, which takes
    several times as long for the same picture, but for a level here and there (bench/results/fidelity.md).
    """
    return image if size == image.size else _fastest()(image, size, kernel)


def by_pillow(image: Image.Image, size: tuple[int, int], kernel: Resampling) -> Image.Image:
    """As `resized`: first up and down, then across, as the other does it. What bicubic overshoots is cut off between the two, so
    that Pillow's own order gives line art other greys.
    """
    mode, (width, height) = image.mode, size
    image = image.convert("RGBa") if mode == "RGBA" else image
    return image.resize((image.width, height), kernel).resize((width, height), kernel).convert(mode)


def by_simd(image: Image.Image, size: tuple[int, int], kernel: Resampling) -> Image.Image:
    """As `resized`. Raises ImportError where cykooz-resizer is not installed."""
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions, Resizer

    # Pillow's bicubic is Catmull-Rom's: a = -0.5.
    kind = {Resampling.BICUBIC: FilterType.catmull_rom, Resampling.BILINEAR: FilterType.bilinear}[kernel]
    smaller = Image.new(image.mode, size)
    # One resizer a picture: it keeps the memory of the largest it ever saw, and threads would wait for one another.
    Resizer().resize_pil(image, smaller, ResizeOptions(resize_alg=ResizeAlg.convolution(kind)))
    return smaller


@cache
def _fastest() -> Resize:
    try:
        import cykooz_resizer  # noqa: F401
    except ImportError:
        return by_pillow
    return by_simd
