from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.domain.errors import Damaged, ImageError
from indexer.domain.images import InputSpec
from indexer.imaging import decode as module
from indexer.imaging.decode import decode, prepare
from tests.support.builders import SPEC, draw_blocks, encoded
from tests.support.effort import examples

RED = (255, 0, 0)


def solid(mode: str, colour: object, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new(mode, size, colour)  # type: ignore[arg-type]


def middle(data: bytes) -> tuple[int, ...]:
    return tuple(int(channel) for channel in decode(data, SPEC).pixels[16, 16])


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("PNG", {"optimize": True}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"quality": 100}),
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("HEIF", {"quality": 95}),
    ],
)
def test_every_format_gives_the_picture(form: str, options: dict[str, object]) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(solid("RGB", (200, 30, 90), (40, 20)), form, **options)
    image = decode(data, SPEC)
    assert (image.width, image.height, image.format) == (40, 20, form)
    assert image.pixels.shape == (32, 32, 3)
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels[16, 16].astype(int) - (200, 30, 90)).max() <= 6


def test_equal_bytes_have_equal_digests_and_others_do_not() -> None:
    one, two = encoded(draw_blocks(1)), encoded(draw_blocks(2))
    assert decode(one, SPEC).digest == decode(one, SPEC).digest != decode(two, SPEC).digest
    assert len(decode(one, SPEC).digest) == 32


def test_the_shape_is_kept_on_white() -> None:
    wide = decode(encoded(solid("RGB", RED, (64, 16))), SPEC).pixels
    assert (wide[12:20] == RED).all()
    assert (wide[:12] == 255).all()
    assert (wide[20:] == 255).all()
    tall = decode(encoded(solid("RGB", RED, (16, 64))), SPEC).pixels
    assert (tall == wide.transpose(1, 0, 2)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (31, 33)])
def test_extreme_shapes_fit(size: tuple[int, int]) -> None:
    assert decode(encoded(solid("RGB", RED, size)), SPEC).pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (solid("RGBA", (255, 0, 0, 0)), (255, 255, 255)),
        (solid("RGBA", (255, 0, 0, 128)), (255, 127, 127)),
        (solid("LA", (0, 0)), (255, 255, 255)),
        (solid("L", 90), (90, 90, 90)),
        (solid("1", 1), (255, 255, 255)),
        (solid("I;16", 257 * 90), (90, 90, 90)),
        (solid("P", 0), (0, 0, 0)),
    ],
)
def test_alpha_is_composed_on_white_and_greys_are_kept(image: Image.Image, colour: tuple[int, int, int]) -> None:
    assert middle(encoded(image)) == colour


def test_a_transparent_palette_colour_is_white() -> None:
    image = solid("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert middle(encoded(image)) == RED
    assert middle(encoded(image, transparency=1)) == (255, 255, 255)


def test_float_and_long_greys_are_scaled() -> None:
    ramp = Image.fromarray(np.linspace(-3, 5, 1024, dtype=np.float32).reshape(32, 32))
    pixels = decode(encoded(ramp, "TIFF"), SPEC).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)
    assert middle(encoded(Image.fromarray(np.full((32, 32), 200, dtype=np.int32)), "TIFF")) == (200, 200, 200)


def test_cmyk_jpeg_is_turned_to_rgb() -> None:
    red, green, blue = middle(encoded(solid("CMYK", (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 230
    assert green < 30
    assert blue < 30


def test_interlaced_png_equals_the_plain_one() -> None:
    # The first pass of Adam7 alone would give the wrong picture; the bytes were made by hand, for Pillow cannot write them.
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b"".join(b"\0" + pixels[row, left::step].tobytes() for top, left, down, step in passes for row in range(top, 8, down))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    plain = encoded(Image.fromarray(pixels))
    assert (decode(data, SPEC).pixels == decode(plain, SPEC).pixels).all()


def test_exif_rotation_is_applied() -> None:
    image = draw_blocks(3, (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encoded(image, exif=exif), SPEC)
    assert (turned.width, turned.height) == (20, 40)
    assert (turned.pixels == decode(encoded(image.transpose(Image.Transpose.ROTATE_270)), SPEC).pixels).all()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_of_animations_the_first_frame_counts(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    first, second = solid("RGB", RED), solid("RGB", (0, 0, 255))
    data = encoded(first, form, save_all=True, append_images=[second], **options)
    red, _, blue = middle(data)
    assert red > 240
    assert blue < 15


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am no picture", "not an image in a supported format"),
        (encoded(draw_blocks(1, (200, 200)))[:-60], "cannot be decoded"),
        (encoded(draw_blocks(1, (300, 300)), "JPEG")[:700], "cannot be decoded"),
        (encoded(draw_blocks(1, (300, 300)), "WEBP")[:100], "cannot be decoded|not an image"),
        (encoded(draw_blocks(1, (300, 300)), "GIF")[:200], "cannot be decoded"),
        (encoded(draw_blocks(1), "PPM"), "not an image in a supported format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not an image in a supported format"),
    ],
)
def test_bad_bytes_get_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        decode(data, SPEC)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    sides = "exceeds the limit of 262144"
    shapes = [(12_000, 12_000, ""), (30_000, 30_000, ""), (2**31 - 1, 2**31 - 1, ""), (262_145, 1, sides), (2, 30_000_000, sides)]
    for width, height, reason in shapes:
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
        with pytest.raises(Damaged, match=reason or "exceeds the limit of 128 million pixels"):
            decode(data, SPEC)


def test_heic_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_decoders", lambda: ("PNG",))
    with pytest.raises(ImageError, match=r"pip install 'moodex\[heic\]'") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, SPEC)
    assert caught.value.kind == "unsupported"


def test_prepare_needs_no_file() -> None:
    assert prepare(solid("RGB", RED), InputSpec(16, 0, 1)).shape == (16, 16, 3)


@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@examples(60)
def test_whatever_the_bytes_a_picture_or_a_reason_comes_back(form: str, cut: int, flips: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(draw_blocks(1, (24, 24)), form))
    for place, value in flips:
        data[place % len(data)] = value
    try:
        assert decode(bytes(data[: len(data) - cut % len(data)]), SPEC).pixels.shape == (32, 32, 3)
    except ImageError as error:
        assert str(error)


def test_a_large_jpeg_looks_the_same_decoded_smaller() -> None:
    waves = np.sin(np.arange(2400) / 40)
    picture = Image.fromarray(np.uint8(127 + 60 * (waves[None, :, None] + waves[:1800, None, None]) * np.ones(3)))
    data = encoded(picture, "JPEG", quality=95)
    small = decode(data, SPEC).pixels.astype(int)
    whole = prepare(picture, SPEC).astype(int)
    assert (decode(data, SPEC).width, decode(data, SPEC).height) == (2400, 1800)
    assert np.abs(small - whole).mean() < 1
