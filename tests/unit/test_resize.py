from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.Image import Resampling

from indexer.imaging import resize as resize_module
from indexer.imaging.resize import Resize, by_pillow, by_simd, resized
from tests.support.builders import draw_blocks
from tests.support.effort import examples

SIDE = st.integers(1, 300)
KERNELS = [Resampling.BICUBIC, Resampling.BILINEAR]


def drawn(seed: int, size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Return blocks of soft colors with hard edges, as in drawings; in RGBA with a separate alpha channel."""
    image = draw_blocks(seed, size)
    if mode == "RGBA":
        image.putalpha(draw_blocks(seed + 1, size).convert("L"))
    return image.convert(mode)


def on_white(image: Image.Image) -> np.ndarray:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")).astype(int)


@pytest.fixture(params=[by_pillow, by_simd])
def resize(request: pytest.FixtureRequest) -> Resize:
    if request.param is by_simd:
        pytest.importorskip("cykooz_resizer")
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("kernel", KERNELS)
@given(st.integers(0, 1000), st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE))
@examples(40)
def test_both_implementations_give_the_same_image(
    mode: str, kernel: Resampling, seed: int, old: tuple[int, int], new: tuple[int, int]
) -> None:
    pytest.importorskip("cykooz_resizer")
    image = drawn(seed, old, mode)
    simd, pillow = by_simd(image, new, kernel), by_pillow(image, new, kernel)
    assert (simd.size, simd.mode) == (pillow.size, pillow.mode) == (new, mode)
    assert np.abs(on_white(simd) - on_white(pillow)).max() <= (2 if mode == "RGB" else 4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_result_is_close_to_the_kernel_of_training(resize: Resize, kernel: Resampling) -> None:
    image = drawn(4, (700, 500))
    difference = np.abs(np.asarray(resize(image, (224, 160), kernel)).astype(int) - np.asarray(image.resize((224, 160), kernel)))
    assert difference.mean() < 0.5


def test_an_image_of_one_color_keeps_that_color(resize: Resize) -> None:
    image = Image.new("RGB", (700, 300), (201, 33, 90))
    for kernel in KERNELS:
        for size in ((128, 55), (900, 400), (1, 1)):
            assert resize(image, size, kernel).getextrema() == ((201, 201), (33, 33), (90, 90))


def test_transparent_pixels_do_not_color_their_neighbors(resize: Resize) -> None:
    pixels = np.zeros((64, 64, 4), dtype=np.uint8)
    pixels[:, :32] = (255, 0, 0, 255)
    pixels[:, 32:] = (0, 255, 0, 0)
    red, green, _, alpha = np.moveaxis(np.asarray(resize(Image.fromarray(pixels), (8, 8), Resampling.BICUBIC)), 2, 0)
    assert red[alpha > 16].min() > 240
    assert green[alpha > 16].max() < 16


@pytest.mark.parametrize("old", [(1, 1), (1, 70_000), (70_000, 1), (3, 5000), (2500, 2500)])
@pytest.mark.parametrize("new", [(1, 1), (1, 768), (768, 1), (128, 128)])
def test_extreme_sizes_are_resized(resize: Resize, old: tuple[int, int], new: tuple[int, int]) -> None:
    assert resize(Image.new("RGB", old, (9, 9, 9)), new, Resampling.BICUBIC).getextrema() == ((9, 9),) * 3


def test_the_given_image_is_unchanged(resize: Resize) -> None:
    image = drawn(7, (200, 90), "RGBA")
    before = np.asarray(image).copy()
    resize(image, (31, 14), Resampling.BICUBIC)
    assert (np.asarray(image) == before).all()
    assert image.mode == "RGBA"


def test_an_image_of_the_requested_size_is_returned_itself() -> None:
    image = drawn(3, (40, 20))
    assert resized(image, (40, 20)) is image


def test_pillow_resizes_if_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = drawn(5, (200, 100))
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    resize_module._fastest.cache_clear()
    try:
        assert resize_module._fastest() is by_pillow
        assert resized(image, (50, 25)).size == (50, 25)
    finally:
        monkeypatch.undo()
        resize_module._fastest.cache_clear()
