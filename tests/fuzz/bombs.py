"""Small files that are expensive to decode: metadata that inflates, many frames, pages or scans, extreme shapes."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable, Iterator
from itertools import count
from math import ceil

from PIL import Image

from tests.fuzz import raw
from tests.support import further_formats as files
from tests.support.builders import draw_blocks, encoded

_REPETITIONS = 100_000
"""Frames or comments in a file with many of them."""

_BILLION_LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "' + b"ha" * 50 + b'">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, (b"&%c;" % (97 + n)) * 10) for n in range(9)) + b"]>"
)  # fmt: skip
_BILLION_LAUGHS_XMP = _BILLION_LAUGHS + b"<x:xmpmeta>&j;</x:xmpmeta>"

Bomb = Callable[[], bytes]

MAX_PEAK_BYTES = {
    "tiff-strips": 400_000_000,
    "tiff-tile-of-a-gigapixel": 1_200_000_000,
    "bmp-jumps": 1_000_000_000,
    "layered-member-inflates": 700_000_000,
}
"""Memory limits of the files that need more than 200 MB."""


def bombs() -> dict[str, Bomb]:
    """Return the function that builds each file, by name."""
    return {
        "png-text-inflates": lambda: _png_with((b"zTXt", b"Comment\0\0" + raw.zeros(1 << 28))),
        "png-international-text-inflates": lambda: _png_with((b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + raw.zeros(1 << 28))),
        "png-profile-inflates": lambda: _png_with((b"iCCP", b"name\0\0" + raw.zeros(1 << 28))),
        "png-many-texts": lambda: _png_with(*[(b"zTXt", b"a\0\0" + raw.zeros(1 << 19))] * 500),
        "png-many-chunks": lambda: _png_with(*[(b"prVt", b"")] * 500_000),
        "png-lines-inflate": lambda: raw.png([raw.png_header(16, 16), (b"IDAT", raw.zeros(1 << 28)), (b"IEND", b"")]),
        "png-billion-laughs-xmp": lambda: _png_with((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _BILLION_LAUGHS_XMP)),
        "png-frames": _apng,
        "gif-frames": _gif,
        "gif-comments": lambda: _gif_with(b"\x21\xfe" + (b"\xff" + b"c" * 255) * _REPETITIONS + b"\0"),
        "webp-frames": _webp,
        "webp-billion-laughs-xmp": lambda: encoded(draw_blocks(1), "WEBP", xmp=_BILLION_LAUGHS_XMP),
        "tiff-pages": lambda: raw.tiff([raw.gray_page(4, 4)] * 20_000, bytes(16)),
        "tiff-page-cycle": lambda: raw.tiff([raw.gray_page(4, 4)] * 3, bytes(16), loops=True),
        "tiff-strips": _tiff_strips,
        "tiff-tags": lambda: raw.tiff([raw.gray_page(4, 4, *((40_000 + n, 3, 1, b"\1\0") for n in range(20_000)))], bytes(16)),
        "tiff-samples": lambda: raw.tiff([raw.gray_page(4, 4, raw.short(277, 65_535))], bytes(16)),
        "tiff-counts": lambda: raw.tiff([raw.gray_page(4, 4, (258, 3, 0xFFFFFFFF, b"\\8\0\0\0"))], bytes(16)),
        "tiff-tile-of-a-gigapixel": lambda: raw.tiff([_one_tile(32_768)], bytes(16)),
        "jpeg-profile": lambda: _jpeg_with(*(_profile_part(n) for n in range(1, 256))),
        "jpeg-segments": lambda: _jpeg_with(*[raw.jpeg_segment(0xE5, bytes(65_533))] * 1000),
        "jpeg-comments": lambda: _jpeg_with(*[raw.jpeg_segment(0xFE, b"\x1b[2J" * 10)] * 20_000),
        "jpeg-billion-laughs-xmp": lambda: _jpeg_with(
            raw.jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + _BILLION_LAUGHS_XMP)
        ),
        "jpeg-exif-cycle": lambda: _with_exif(_exif_cycle()),
        "jpeg-exif-counts": lambda: _with_exif(raw.tiff([[(0x0112, 3, 0xFFFFFFFF, b"\6\0\0\0")]])),
        "jpeg-orientation-text": lambda: _with_exif(raw.tiff([[(0x0112, 2, 4, b"six\0")]])),
        "jpeg-orientation-by-zero": lambda: _with_exif(raw.tiff([[(0x0112, 5, 1, struct.pack("<II", 6, 0))]])),
        "jpeg-orientation-large": lambda: _with_exif(raw.tiff([[raw.short(0x0112, 65_535)]])),
        "jpeg-exif-invalid": lambda: _with_exif(b"\x1b]0;owned\x07" * 100),
        "svg-text-inflates": lambda: gzip.compress(files.svg(" " * (1 << 28))),
        "svg-billion-laughs": lambda: _BILLION_LAUGHS + files.svg("<text>&j;</text>"),
        "svg-uses": _uses,
        "svg-huge": lambda: files.svg(width=10**9, height=10**9),
        "svg-blur": lambda: _filtered('<feGaussianBlur stdDeviation="1e9"/>'),
        "svg-dashes": lambda: files.svg('<path d="M0 0H1e9" stroke="red" stroke-dasharray=".0001"/>'),
        "lottie-text-inflates": lambda: gzip.compress(b" " * (1 << 28) + files.lottie()),
        "lottie-frames": lambda: files.tgs(op=10**9),
        "lottie-member-inflates": lambda: files.zipped(**{"manifest.json": b"{}", "animations/a.json": bytes(1 << 28)}),
        "psd-sides": lambda: _psd_of(300_000, 300_000),
        "psd-lines": lambda: _psd_of(1, 262_144),
        "layered-member-inflates": lambda: files.zipped(mimetype=b"image/openraster", **{"mergedimage.png": bytes(1 << 29)}),
        "layered-png-inflates": lambda: files.layered_png(raw.png([raw.png_header(16, 16), (b"IDAT", raw.zeros(1 << 28))])),
        "icon-png-sides": _icon,
        "jp2-sides": _jp2,
        "bmp-empty-line": lambda: raw.bmp(4_000_000, 1, 8, 1, bytes([1, 1, 0, 0]), 16),
        "bmp-nibbles": lambda: raw.bmp(11_313, 11_313, 4, 2, bytes([255, 0x12]) * 200_000, 16),
        "bmp-jumps": lambda: raw.bmp(11_313, 11_313, 8, 1, bytes([0, 2, 255, 255]) * 1000, 16),
        "bmp-runs-of-one": lambda: raw.bmp(4000, 4000, 8, 1, (bytes([1, 7]) * 4000 + b"\0\0") * 200, 16),
    }


def shapes() -> Iterator[tuple[str, bytes]]:
    """Yield images with the longest possible side, one or two pixels wide."""
    for width, height in ((1, 128_000_000), (128_000_000, 1), (2, 64_000_000), (64_000_000, 2)):
        line = (width * 1 + 7) // 8 + 1
        header = raw.png_header(width, height, 1, 0)
        yield f"png-{width}x{height}", raw.png([header, (b"IDAT", raw.zeros(line * height)), (b"IEND", b"")])
        yield f"tiff-{width}x{height}", raw.tiff([_deflated(width, height)], raw.zeros(width * height))
    yield "jpeg-1x65500", encoded(Image.new("RGB", (1, 65_500)), "JPEG")
    yield "gif-1x65535", encoded(Image.new("P", (1, 65_535)), "GIF")
    yield "webp-16383x1", encoded(Image.new("RGB", (16_383, 1)), "WEBP")
    yield "bmp-1x1000000", encoded(Image.new("L", (1, 1_000_000)), "BMP")


def scans(side: int, number: int) -> bytes:
    """Return a gray progressive JPEG with `number` scans, none of which changes a block.

    A scan has a few bytes for every 32,767 blocks, but libjpeg goes over all coefficients: a known way to keep it busy.
    """
    tables = raw.jpeg_segment(0xDB, b"\0" + b"\1" * 64)
    frame = raw.jpeg_segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    # One code of one bit each: "no difference" for DC coefficients, "32,767 blocks end here" for AC coefficients.
    huffman = b"".join(
        raw.jpeg_segment(0xC4, bytes([kind]) + b"\1" + bytes(15) + symbol) for kind, symbol in ((0x00, b"\0"), (0x10, b"\xe0"))
    )
    blocks = ceil(side / 8) ** 2
    dc_scan = raw.jpeg_segment(0xDA, b"\1\1\0\0\0\0") + bytes(ceil(blocks / 8))
    end_of_block_runs = ceil(blocks / 32_767)
    # The code 0, then 14 bits of ones: 16,384 + 16,383 blocks.
    bits = ("0" + "1" * 14) * end_of_block_runs
    bits += "1" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    ac_scan = raw.jpeg_segment(0xDA, b"\1\1\0\x01\x3f\x00") + packed
    return b"\xff\xd8" + tables + frame + huffman + dc_scan + ac_scan * number + b"\xff\xd9"


def nibbles() -> bytes:
    """Return a bitmap of 127 million pixels of 4 bits in runs, which Pillow unpacks one by one in Python."""
    width = 255 * 44
    return raw.bmp(width, 11_314, 4, 2, (bytes([255, 0x12]) * 44 + b"\0\0") * 11_314, 16)


def _png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    first, *rest = raw.png_chunks(encoded(draw_blocks(1)))
    return raw.png([first, *chunks, *rest])


def _jpeg_with(*segments: bytes) -> bytes:
    return raw.with_segments(encoded(draw_blocks(1), "JPEG"), b"".join(segments))


def _with_exif(exif: bytes) -> bytes:
    return _jpeg_with(raw.jpeg_segment(0xE1, b"Exif\0\0" + exif))


def _profile_part(number: int) -> bytes:
    return raw.jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(65_000))


def _exif_cycle() -> bytes:
    """Return EXIF tags that refer to themselves, as sub-tags and as the next page."""
    own_offset = struct.pack("<I", 8)
    return raw.tiff([[(tag, 4, 1, own_offset) for tag in (0x8769, 0x8825, 0xA005)]], loops=True)


def _apng() -> bytes:
    chunks = raw.png_chunks(encoded(draw_blocks(1, (8, 8))))
    pixels = next(body for kind, body in chunks if kind == b"IDAT")
    numbers = count(1)
    first = [chunks[0], (b"acTL", struct.pack(">II", _REPETITIONS, 0)), _frame_control(0), *chunks[1:-1]]
    more = [
        chunk
        for _ in range(_REPETITIONS)
        for chunk in (_frame_control(next(numbers)), (b"fdAT", struct.pack(">I", next(numbers)) + pixels))
    ]
    return raw.png([*first, *more, chunks[-1]])


def _frame_control(number: int) -> tuple[bytes, bytes]:
    return b"fcTL", struct.pack(">IIIIIHHBB", number, 8, 8, 0, 0, 1, 10, 0, 0)


def _gif() -> bytes:
    still = encoded(draw_blocks(1, (8, 8)), "GIF")
    start = still.index(b",\0\0\0\0")
    return still[:start] + still[start:-1] * _REPETITIONS + b";"


def _gif_with(extension: bytes) -> bytes:
    still = encoded(draw_blocks(1, (8, 8)), "GIF")
    start = still.index(b",\0\0\0\0")
    return still[:start] + extension + still[start:]


def _webp() -> bytes:
    moving = encoded(draw_blocks(1, (8, 8)), "WEBP", save_all=True, append_images=[draw_blocks(2, (8, 8))])
    chunks = raw.riff_chunks(moving)
    return raw.riff([*chunks[:-1], *chunks[-1:] * _REPETITIONS])


def _uses() -> bytes:
    """Return a drawing whose elements use each other ten times each."""
    groups = (f'<g id="a{n}">' + f'<use xlink:href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 10))
    return files.svg('<g id="a0"><rect width="9" height="9"/></g>' + "".join(groups))


def _filtered(steps: str) -> bytes:
    return files.svg(f'<filter id="f">{steps}</filter><rect width="50" height="40" filter="url(#f)"/>')


def _psd_of(width: int, height: int) -> bytes:
    data = files.psd(draw_blocks(1))
    return data[:14] + struct.pack(">II", height, width) + data[22:]


def _icon() -> bytes:
    png = raw.png([raw.png_header(20_000, 20_000), (b"IDAT", raw.zeros(1 << 24)), (b"IEND", b"")])
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 0, 0, 0, 0, 1, 32, len(png), 22) + png


def _jp2() -> bytes:
    data = encoded(draw_blocks(1), "JPEG2000")
    sides = data.index(b"ihdr") + 4
    return data[:sides] + struct.pack(">II", 11_000, 11_000) + data[sides + 8 :]


def _tiff_strips() -> bytes:
    strips = 200_000
    return raw.tiff(
        [raw.gray_page(4, strips, raw.long(278, 1), raw.long(273, *[8] * strips), raw.long(279, *[4] * strips))],
        bytes(16),
    )


def _one_tile(side: int) -> list[raw.Entry]:
    page = [entry for entry in raw.gray_page(16, 16) if entry[0] not in (273, 278, 279)]
    tile = [raw.short(259, 8), raw.long(322, side), raw.long(323, side), raw.long(324, 8), raw.long(325, 16)]
    return sorted([*(entry for entry in page if entry[0] != 259), *tile])


def _deflated(width: int, height: int) -> list[raw.Entry]:
    return raw.gray_page(width, height, raw.short(259, 8), raw.long(279, len(raw.zeros(width * height))))
