from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from indexer.domain.errors import Damaged, ImageError
from indexer.domain.images import DecodeTarget, InputSpec
from indexer.imaging import decode as decode_module
from indexer.imaging import open_image as open_image_module
from indexer.imaging.cut_off import is_cut_off
from indexer.imaging.decode import MAX_FRAMES, decode, decode_for, page_side, prepare
from indexer.system.digest import digest
from tests.support.builders import SPEC, draw_blocks, encoded
from tests.support.effort import examples

RED = (255, 0, 0)


def solid(mode: str, color: object, size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def center_color(data: bytes) -> tuple[int, ...]:
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
def test_every_format_is_decoded(form: str, options: dict[str, object]) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = encoded(solid("RGB", (200, 30, 90), (40, 20)), form, **options)
    image = decode(data, SPEC)
    assert (image.width, image.height, image.format) == (40, 20, form)
    assert image.pixels.shape == (32, 32, 3)
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels[16, 16].astype(int) - (200, 30, 90)).max() <= 6


def test_only_equal_bytes_have_equal_digests() -> None:
    first, second = encoded(draw_blocks(1)), encoded(draw_blocks(2))
    assert decode(first, SPEC).digest == decode(first, SPEC).digest != decode(second, SPEC).digest
    assert len(decode(first, SPEC).digest) == 32


def test_an_image_keeps_its_aspect_ratio_on_white() -> None:
    wide = decode(encoded(solid("RGB", RED, (64, 16))), SPEC).pixels
    assert (wide[12:20] == RED).all()
    assert (wide[:12] == 255).all()
    assert (wide[20:] == 255).all()
    tall = decode(encoded(solid("RGB", RED, (16, 64))), SPEC).pixels
    assert (tall == wide.transpose(1, 0, 2)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (31, 33)])
def test_extreme_aspect_ratios_fit(size: tuple[int, int]) -> None:
    assert decode(encoded(solid("RGB", RED, size)), SPEC).pixels.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("image", "color"),
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
def test_alpha_is_composed_on_white_and_gray_stays(image: Image.Image, color: tuple[int, int, int]) -> None:
    assert center_color(encoded(image)) == color


def test_a_transparent_palette_color_is_white() -> None:
    image = solid("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert center_color(encoded(image)) == RED
    assert center_color(encoded(image, transparency=1)) == (255, 255, 255)


def test_float_and_integer_grays_are_scaled() -> None:
    ramp = Image.fromarray(np.linspace(-3, 5, 1024, dtype=np.float32).reshape(32, 32))
    pixels = decode(encoded(ramp, "TIFF"), SPEC).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)
    assert center_color(encoded(Image.fromarray(np.full((32, 32), 200, dtype=np.int32)), "TIFF")) == (200, 200, 200)


@pytest.mark.parametrize(("low", "high"), [(0, 2**31 - 1), (-(2**31), 2**31 - 1), (-100, 100), (70_000, 3_000_000)])
def test_32_bit_integer_grays_are_scaled_from_their_own_range(low: int, high: int) -> None:
    ramp = Image.fromarray(np.linspace(low, high, 1024).astype(np.int32).reshape(32, 32))
    pixels = decode(encoded(ramp, "TIFF"), SPEC).pixels
    assert (pixels[0, 0, 0], pixels[-1, -1, 0]) == (0, 255)
    assert abs(int(pixels[16, 0, 0]) - 128) <= 1


def test_a_bitmap_without_a_file_header_is_decoded() -> None:
    bitmap = encoded(draw_blocks(1, (24, 20)), "BMP")
    assert (decode(bitmap[14:], SPEC).pixels == decode(bitmap, SPEC).pixels).all()


def test_the_first_image_of_a_multi_picture_file_is_decoded() -> None:
    data = encoded(draw_blocks(1), "MPO", save_all=True, append_images=[draw_blocks(2)], quality=95)
    image = decode(data, SPEC)
    assert (image.frame, image.later, image.incomplete) == (None, (), False)
    assert (image.pixels == decode(encoded(draw_blocks(1), "JPEG", quality=95), SPEC).pixels).all()


def test_a_cmyk_jpeg_is_converted_to_rgb() -> None:
    red, green, blue = center_color(encoded(solid("CMYK", (0, 255, 255, 0)), "JPEG", quality=95))
    assert red > 230
    assert green < 30
    assert blue < 30


def interlaced_png(pixels: np.ndarray) -> bytes:
    """Return the file of a gray image, uint8, with sides that 8 divides. Pillow cannot write interlaced files."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = pixels.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [pixels[row, left::step] for top, left, down, step in passes for row in range(top, height, down)]
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_an_interlaced_png_equals_the_plain_one() -> None:
    # Only the first pass of Adam7 would be a wrong image.
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    data = interlaced_png(pixels)
    plain = encoded(Image.fromarray(pixels))
    assert (decode(data, SPEC).pixels == decode(plain, SPEC).pixels).all()


def test_exif_rotation_is_applied() -> None:
    image = draw_blocks(3, (40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = decode(encoded(image, exif=exif), SPEC)
    assert (rotated.width, rotated.height) == (20, 40)
    assert (rotated.pixels == decode(encoded(image.transpose(Image.Transpose.ROTATE_270)), SPEC).pixels).all()


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_is_decoded(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    first, second = solid("RGB", RED), solid("RGB", (0, 0, 255))
    data = encoded(first, form, save_all=True, append_images=[second], **options)
    red, _, blue = center_color(data)
    assert red > 240
    assert blue < 15


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\1\2\3 not an image", "not an image in a supported format"),
        (encoded(draw_blocks(1), "PPM"), "not an image in a supported format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "it is a PostScript document; save its pages as images"),
    ],
)
def test_undecodable_bytes_get_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Damaged, match=reason):
        decode(data, SPEC)


CUT_OFF = "^it is cut off: its end is missing; copy or download the image again$"


@pytest.mark.parametrize("share", [0.2, 0.6])
@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP", "AVIF", "JPEG2000"])
def test_a_file_without_its_end_is_named(form: str, share: float) -> None:
    whole = encoded(draw_blocks(1, (300, 300)), form)
    assert not is_cut_off(whole)
    with pytest.raises(Damaged, match=CUT_OFF):
        decode(whole[: int(len(whole) * share)], SPEC)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF"])
def test_a_file_of_which_a_few_bytes_are_left_is_named(form: str) -> None:
    with pytest.raises(Damaged, match=CUT_OFF):
        decode(encoded(draw_blocks(1, (300, 300)), form)[: 24 if form != "TIFF" else 8], SPEC)


@pytest.mark.parametrize(("form", "share"), [("TIFF", 0.2), ("TIFF", 0.9), ("ICO", 0.6)])
def test_a_file_that_states_no_end_is_named_too(form: str, share: float) -> None:
    data = encoded(draw_noise("RGB").resize((128, 128)), form)
    with pytest.raises(Damaged, match=CUT_OFF):
        decode(data[: int(len(data) * share)], SPEC)


@pytest.mark.parametrize("data", [b"", b"BM", b"\0\0\0\x01ftyp", b"GIF89a;", b"RIFF\0\0\0\0WEBP", b"words"])
def test_what_states_no_size_is_not_called_cut_off(data: bytes) -> None:
    assert not is_cut_off(data)


def draw_noise(mode: str) -> Image.Image:
    """Return an image, 320 x 320, whose file is as long as its pixels."""
    values = np.random.default_rng(1).integers(0, 256, (320, 320, 4), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[:, :, 0] * np.uint16(256))
    image = Image.fromarray(values)
    return image.quantize(200) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "1", "P", "I;16"])
def test_a_png_without_its_end_shows_what_there_is(mode: str) -> None:
    data = encoded(draw_noise(mode))
    cut = data[: len(data) * 6 // 10]
    whole, part = decode(data, SPEC), decode(cut, SPEC)
    assert (part.incomplete, whole.incomplete) == (True, False)
    assert (part.width, part.height, part.digest) == (320, 320, digest(cut))
    assert (part.pixels[:12] == whole.pixels[:12]).all()
    assert mode == "P" or (part.pixels[-4:] == 255).all()


def test_an_interlaced_png_without_its_end_shows_its_first_passes() -> None:
    pixels = np.asarray(draw_noise("L"))
    data = interlaced_png(pixels)
    part = decode(data[: len(data) * 9 // 10], SPEC)
    assert part.incomplete
    assert np.abs(part.pixels.astype(int) - decode(data, SPEC).pixels).mean() < 20


def test_a_png_that_lacks_no_more_than_its_last_chunk_is_complete() -> None:
    data = encoded(draw_blocks(1))
    assert decode(data[:-12], SPEC).pixels.tobytes() == decode(data, SPEC).pixels.tobytes()
    assert not decode(data[:-12], SPEC).incomplete


def test_a_jpeg_without_its_end_shows_what_there_is() -> None:
    whole = encoded(draw_blocks(1, (320, 320)), "JPEG", quality=95)
    for progressive in (False, True):
        data = encoded(draw_blocks(1, (320, 320)), "JPEG", quality=95, progressive=progressive)
        part = decode(data[: len(data) * 6 // 10], SPEC)
        assert part.incomplete
        assert (part.width, part.height, part.digest) == (320, 320, digest(data[: len(data) * 6 // 10]))
        difference = np.abs(part.pixels.astype(int) - decode(whole, SPEC).pixels.astype(int))
        assert difference[:12].mean() < 12
    assert not decode(whole, SPEC).incomplete


def test_a_jpeg_of_which_only_the_header_is_left_is_damaged() -> None:
    data = encoded(draw_blocks(1, (300, 300)), "JPEG")
    start_of_scan = data.index(b"\xff\xda")
    for length in (20, start_of_scan, start_of_scan + 14):
        with pytest.raises(Damaged):
            decode(data[:length], SPEC)


def animation(form: str, frames: list[Image.Image]) -> bytes:
    options: dict[str, object] = {"lossless": True} if form == "WEBP" else {}
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50, **options)


EMPTY = (0, 0, 0, 0)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_an_animation_begins_with_the_first_frame_that_is_not_empty(form: str) -> None:
    square = solid("RGBA", EMPTY)
    square.paste(RED, (8, 8, 24, 24))
    image = decode(animation(form, [solid("RGBA", EMPTY), solid("RGBA", EMPTY), square, square, square]), SPEC)
    assert image.frame in (2, 3)  # Pillow joins equal frames when it writes some formats
    assert [int(channel) for channel in image.pixels[16, 16]] == [255, 0, 0]
    assert not image.later


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
def test_frames_are_spread_over_the_length_of_an_animation(form: str) -> None:
    frames = [draw_blocks(number, (32, 32)) for number in range(41)]
    image = decode(animation(form, frames), SPEC)
    assert [frame.number for frame in image.frames] == [1, 11, 21, 31, 41]
    assert len(image.frames) == MAX_FRAMES
    for frame in image.frames:
        assert frame.number is not None
        expected = np.asarray(frames[frame.number - 1]).astype(int)
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 20


def test_a_still_image_and_the_pages_of_a_tiff_are_no_frames() -> None:
    assert decode(encoded(draw_blocks(1)), SPEC).frame is None
    pages = decode(encoded(draw_blocks(1), "TIFF", save_all=True, append_images=[draw_blocks(2)]), SPEC)
    assert (pages.frame, pages.later) == (None, ())


def test_an_animation_of_empty_frames_has_one_frame() -> None:
    image = decode(animation("PNG", [solid("RGBA", EMPTY), solid("RGB", (0, 0, 0)).convert("RGBA")] * 3), SPEC)
    assert (image.frame, image.later) == (1, ())


def test_an_animation_that_lacks_its_end_shows_the_frames_there_are() -> None:
    frames = [draw_blocks(number, (64, 64)) for number in range(9)]
    data = animation("GIF", frames)
    image = decode(data[: len(data) * 6 // 10], SPEC)
    assert image.frame == 1
    assert 1 <= len(image.frames) < MAX_FRAMES


def test_a_large_animation_is_decoded_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [draw_blocks(number, (32, 32)) for number in range(41)]
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 9 * 32 * 32)
    assert [frame.number for frame in decode(animation("GIF", frames), SPEC).frames] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize("color", [(255, 255, 255), (255, 250, 220), (230, 230, 255)])
def test_light_ink_on_nothing_is_composed_on_black(color: tuple[int, int, int]) -> None:
    image = solid("RGBA", (*color, 0))
    image.paste((*color, 255), (12, 0, 20, 32))
    pixels = decode(encoded(image), SPEC).pixels
    assert tuple(pixels[16, 16]) == color
    assert tuple(pixels[16, 2]) == (0, 0, 0)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 0, 0), (128, 128, 128)])
def test_other_ink_on_nothing_is_composed_on_white(color: tuple[int, int, int]) -> None:
    image = solid("RGBA", (*color, 0))
    image.paste((*color, 255), (12, 0, 20, 32))
    assert tuple(decode(encoded(image), SPEC).pixels[16, 2]) == (255, 255, 255)


def test_a_light_drawing_with_dark_lines_is_composed_on_white() -> None:
    image = solid("RGBA", EMPTY, (64, 64))
    image.paste((255, 250, 240, 255), (8, 8, 56, 56))
    image.paste((0, 0, 0, 255), (20, 20, 44, 24))
    assert tuple(decode(encoded(image), SPEC).pixels[16, 1]) == (255, 255, 255)


def drawing(ink: tuple[int, ...], fill: tuple[int, ...] | None = None) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Return a face of lines on a transparent background, 200 x 200, and its pen."""
    image = solid("RGBA", EMPTY, (200, 200))
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 10, 190, 190), fill=fill, outline=ink, width=6)
    for left in (55, 115):
        pen.ellipse((left, 60, left + 30, 90), outline=ink, width=5)
    pen.arc((60, 90, 140, 150), 20, 160, fill=ink, width=6)
    return image, pen


def background_of(image: Image.Image) -> int:
    """Return the level of the background on which an image is composed, which is the same for pages and for whole images."""
    levels = {int(decode(encoded(image), SPEC, side).pixels[0, -1].max()) for side in (0, 400)}
    assert len(levels) == 1
    return levels.pop()


@pytest.mark.parametrize("ink", [(255, 255, 255), (255, 240, 200), (255, 255, 0), (210, 210, 210), (200, 255, 255)])
@pytest.mark.parametrize("bar", [(0, 92, 199, 103), (0, 185, 199, 199), (20, 0, 32, 199), (0, 0, 40, 12)])
def test_a_dark_bar_does_not_hide_a_drawing_in_light_ink(ink: tuple[int, ...], bar: tuple[int, ...]) -> None:
    image, pen = drawing(ink)
    pen.rectangle(bar, fill=(20, 20, 20, 255))
    assert background_of(image) == 0


def test_faint_light_ink_is_composed_on_black() -> None:
    image, _ = drawing((255, 255, 255, 70))
    assert background_of(image) == 0


def test_light_figures_with_dark_lines_are_composed_on_white() -> None:
    outlined, _ = drawing((20, 20, 20), fill=(255, 255, 255))
    cut_out, pen = drawing((20, 20, 20), fill=(255, 255, 255))
    pen.ellipse((10, 10, 190, 190), outline=(255, 255, 255), width=6)
    yellow, pen = drawing((70, 40, 20), fill=(253, 216, 53))
    pen.ellipse((10, 10, 190, 190), outline=(253, 216, 53), width=6)
    red, pen = drawing((255, 255, 255), fill=(220, 40, 50))
    dark, pen = drawing((60, 60, 60))
    pen.rectangle((0, 92, 199, 103), fill=(255, 255, 255, 255))
    assert [background_of(image) for image in (outlined, cut_out, yellow, red, dark)] == [255] * 5


def test_a_light_image_without_transparency_stays() -> None:
    assert (decode(encoded(solid("RGBA", (250, 250, 250, 255), (32, 16))), SPEC).pixels >= 250).all()


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
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


def test_heic_without_a_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_image_module, "_decoders", lambda: ("PNG",))
    with pytest.raises(ImageError, match=r"pip install 'moodex\[heic\]'") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, SPEC)
    assert caught.value.kind == "unsupported"


def test_prepare_accepts_an_image_in_memory() -> None:
    assert prepare(solid("RGB", RED), InputSpec(16, 0, 1)).shape == (16, 16, 3)


@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
@examples(60)
def test_any_bytes_give_an_image_or_a_reason(form: str, cut: int, flips: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(draw_blocks(1, (24, 24)), form))
    for position, value in flips:
        data[position % len(data)] = value
    try:
        assert decode(bytes(data[: len(data) - cut % len(data)]), SPEC).pixels.shape == (32, 32, 3)
    except ImageError as error:
        assert str(error)


def test_a_large_jpeg_decoded_at_a_smaller_scale_looks_the_same() -> None:
    waves = np.sin(np.arange(2400) / 40)
    image = Image.fromarray(np.uint8(127 + 60 * (waves[None, :, None] + waves[:1800, None, None]) * np.ones(3)))
    data = encoded(image, "JPEG", quality=95)
    scaled = decode(data, SPEC).pixels.astype(int)
    whole = prepare(image, SPEC).astype(int)
    assert (decode(data, SPEC).width, decode(data, SPEC).height) == (2400, 1800)
    assert np.abs(scaled - whole).mean() < 1


@pytest.mark.parametrize(
    ("longer", "shorter", "expected"),
    [
        (500, 300, 500),
        (3000, 2000, 768),
        (1000, 500, 768),
        (1000, 400, 768),
        (1000, 240, 1000),
        (10_000, 800, 4800),
        (30_000, 800, 12_288),
    ],
)
def test_a_long_page_keeps_the_width_that_faces_need(longer: int, shorter: int, expected: int) -> None:
    assert page_side(longer, shorter, 768) == expected


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
@pytest.mark.parametrize("size", [(90, 60), (3000, 2200), (40, 1400)])
def test_an_image_that_is_decoded_once_for_several_targets_equals_that_for_each(form: str, size: tuple[int, int]) -> None:
    frames = [draw_blocks(seed, size) for seed in (1, 2, 2, 3)]
    options = {"save_all": True, "append_images": frames[1:]} if form in ("GIF", "WEBP") and size[0] < 1000 else {}
    data = encoded(frames[0], form, **options)
    # A JPEG of 3000 pixels is shrunk by 8 for the first one, and not at all for the last one.
    targets = [DecodeTarget(InputSpec(size=side, mean=127.5, std=127.5), page) for side, page in ((32, 0), (96, 200), (400, 0))]
    together = decode_for(data, targets)
    for image, target in zip(together, targets, strict=True):
        alone = decode(data, *target)
        assert image == alone
        assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(image.frames, alone.frames, strict=True))


def test_a_cut_off_image_is_incomplete_for_every_target() -> None:
    data = encoded(draw_blocks(5, (200, 200)), "JPEG", quality=90)
    images = decode_for(data[: len(data) * 2 // 3], [DecodeTarget(SPEC), DecodeTarget(SPEC, 100)])
    assert [image.incomplete for image in images] == [True, True]
