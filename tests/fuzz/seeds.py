"""Generate small images in every format and mode that moodex decodes: the seeds of the mutations."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.fuzz import raw
from tests.support import further_formats as files
from tests.support.builders import draw_blocks, encoded

_SIZE_PIXELS = (37, 29)
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description tiff:Orientation='6'/></rdf:RDF></x:xmpmeta>"
_LZW_OPTIONS = {"compression": "tiff_lzw"}

Seeds = Iterator[tuple[str, bytes]]


def seeds() -> dict[str, bytes]:
    """Return the images by name; the name begins with the format."""
    images: dict[str, bytes] = {}
    for form in _FORMATS:
        images |= {f"{form.__name__.strip('_')}-{name}": data for name, data in form()}
    return images


def _jpeg() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    for name, options in _JPEG_OPTIONS.items():
        yield name, encoded(base, "JPEG", **options)
    for mode in ("L", "CMYK"):
        yield mode.lower(), encoded(base.convert(mode), "JPEG")
    yield "cut", encoded(base, "JPEG", quality=95)[:-200]
    yield "cmyk-progressive", encoded(base.convert("CMYK"), "JPEG", progressive=True)
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"orientation{orientation}", encoded(base, "JPEG", exif=exif)
    exif = Image.Exif()
    exif[0x010E] = "made here"
    exif.get_ifd(0x8769)[0x9286] = b"a comment"
    exif.get_ifd(0x8825)[1] = "N"
    yield "exif", encoded(base, "JPEG", exif=exif)
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + _XMP
    yield "xmp", raw.with_segments(encoded(base, "JPEG"), raw.jpeg_segment(0xE1, xmp))
    photoshop = (
        b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0" + struct.pack(">I", 16) + struct.pack(">IHHIHH", 72 << 16, 1, 2, 72 << 16, 1, 2)
    )
    yield "photoshop", raw.with_segments(encoded(base, "JPEG"), raw.jpeg_segment(0xED, photoshop))
    yield "mpo", _multi_picture(base)


def _multi_picture(base: Image.Image) -> bytes:
    return encoded(base, "MPO", save_all=True, append_images=[draw_blocks(2, _SIZE_PIXELS)])


def _png() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    for mode in ("RGB", "RGBA", "L", "LA", "1"):
        yield mode.lower(), encoded(base.convert(mode))
    for colors in (2, 4, 16, 200):
        yield f"palette{colors}", encoded(base.quantize(colors))
    yield "transparent-palette", encoded(base.quantize(16), transparency=bytes(range(0, 160, 10)))
    yield "transparent-gray", encoded(base.convert("L"), transparency=90)
    yield "transparent-color", encoded(base, transparency=(1, 2, 3))
    yield "deep-gray", encoded(Image.fromarray(np.arange(37 * 29, dtype=np.uint16).reshape(29, 37) * 60))
    for color, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        yield f"deep{channels}", _raw_png(16, color, channels, 0)
        yield f"interlaced{channels}", _raw_png(8, color, channels, 1)
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "a title")
    info.add_text("Long", "words " * 200, zip=True)
    info.add_itxt("XML:com.adobe.xmp", _XMP.decode(), "", "", zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "texts", encoded(base, pnginfo=info, exif=exif, icc_profile=_profile(), dpi=(72, 72))
    frames = [draw_blocks(seed, _SIZE_PIXELS) for seed in (2, 3, 4)]
    yield "apng", encoded(base, save_all=True, append_images=frames, duration=50)
    yield (
        "apng-hidden",
        encoded(base.convert("RGBA"), save_all=True, append_images=frames, default_image=True, disposal=2, blend=1),
    )


def _raw_png(depth: int, color: int, channels: int, interlaced: int) -> bytes:
    width, height = 16, 16
    steps = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    passes = steps if interlaced else [(0, 0, 1, 1)]
    pixel = bytes(range(50, 50 + channels * depth // 8))
    lines = [
        b"\0" + pixel * len(range(left, width, across)) for top, left, down, across in passes for _ in range(top, height, down)
    ]
    header = raw.png_header(width, height, depth, color, interlaced)
    return raw.png([header, (b"IDAT", zlib.compress(b"".join(lines))), (b"IEND", b"")])


def _gif() -> Seeds:
    base, frames = draw_blocks(1, _SIZE_PIXELS), [draw_blocks(seed, _SIZE_PIXELS) for seed in (2, 3)]
    yield "still", encoded(base, "GIF")
    yield "interlaced", encoded(base, "GIF", interlace=1)
    yield "transparent", encoded(base.quantize(16), "GIF", transparency=3)
    yield "moving", encoded(base, "GIF", save_all=True, append_images=frames, duration=50, loop=0, disposal=2, comment=b"hello")
    still = encoded(base.quantize(4), "GIF")
    # The frame is partly or completely outside the logical screen.
    offset = still.index(b",\0\0\0\0")
    yield "outside", still[: offset + 1] + struct.pack("<HH", 30, 20) + still[offset + 5 :]
    yield "small-screen", still[:6] + struct.pack("<HH", 5, 5) + still[10:]
    yield "no-palette", still[:10] + b"\x70" + still[11:]


def _webp() -> Seeds:
    base, frames = draw_blocks(1, _SIZE_PIXELS), [draw_blocks(seed, _SIZE_PIXELS) for seed in (2, 3)]
    exif = Image.Exif()
    exif[0x0112] = 8
    for name, lossless in (("lossy", False), ("lossless", True)):
        yield name, encoded(base, "WEBP", lossless=lossless)
        yield f"{name}-alpha", encoded(base.convert("RGBA").rotate(20), "WEBP", lossless=lossless)
        yield f"{name}-moving", encoded(base, "WEBP", lossless=lossless, save_all=True, append_images=frames)
    yield "texts", encoded(base, "WEBP", exif=exif, xmp=_XMP, icc_profile=_profile())


def _bmp() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    for mode in ("RGB", "RGBA", "L", "1"):
        yield mode.lower(), encoded(base.convert(mode), "BMP")
    yield "palette", encoded(base.quantize(16), "BMP")
    yield "headless", encoded(base, "BMP")[14:]
    yield "rle8", raw.bmp(8, 4, 8, 1, bytes([8, 1, 0, 0, 3, 2, 0, 3, 1, 2, 3, 0, 2, 7, 0, 0, 0, 2, 4, 1, 4, 9, 0, 1]), 16)
    yield "rle4", raw.bmp(8, 4, 4, 2, bytes([8, 0x12, 0, 0, 0, 4, 0x12, 0x34, 4, 0x56, 0, 0, 0, 2, 2, 1, 6, 0x77, 0, 1]), 16)
    yield "nibbles", raw.bmp(16, 4, 4, 0, bytes(range(32)), 16)
    yield "sixteen", raw.bmp(8, 4, 16, 0, bytes(range(64)))
    yield "upside-down", raw.bmp(8, -4, 24, 0, bytes(range(96)))
    yield "fields", raw.bmp(8, 4, 32, 3, struct.pack("<III", 0xFF0000, 0xFF00, 0xFF) + bytes(range(128)))
    yield (
        "old-header",
        b"BM" + struct.pack("<IHHI", 26 + 96, 0, 0, 26) + struct.pack("<IHHHH", 12, 8, 4, 1, 24) + bytes(range(96)),
    )


def _tiff() -> Seeds:
    base, more = draw_blocks(1, _SIZE_PIXELS), [draw_blocks(2, _SIZE_PIXELS)]
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield compression, encoded(base, "TIFF", compression=compression)
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "LAB", "I", "F"):
        yield f"mode-{mode.lower()}", encoded(_to_lab(base) if mode == "LAB" else base.convert(mode), "TIFF", **_LZW_OPTIONS)
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield compression, encoded(base.convert("1"), "TIFF", compression=compression)
    yield "deep-gray", encoded(Image.fromarray(np.arange(37 * 29, dtype=np.uint16).reshape(29, 37)), "TIFF")
    yield "signed-gray", encoded(Image.fromarray(np.arange(-500, 573, dtype=np.int32).reshape(29, 37)), "TIFF")
    yield "predicted", encoded(base, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "pages", encoded(base, "TIFF", save_all=True, append_images=more, **_LZW_OPTIONS)
    yield "large", encoded(base, "TIFF", big_tiff=True)
    yield (
        "texts",
        encoded(base, "TIFF", tiffinfo={274: 6, 270: "words", 700: _XMP, 33723: b"\x1c\x02\x05"}, icc_profile=_profile()),
    )
    gray = bytes(range(256)) * 4
    yield "strips", raw.tiff([raw.gray_page(32, 32, raw.long(278, 8), _strip_offsets(4), raw.long(279, *[256] * 4))], gray)
    tiles = [raw.short(322, 16), raw.short(323, 16), raw.long(324, *range(8, 1032, 256)), raw.long(325, *[256] * 4)]
    page = [entry for entry in raw.gray_page(32, 32) if entry[0] not in (273, 278, 279)]
    yield "tiles", raw.tiff([sorted([*page, *tiles])], gray)
    packed = zlib.compress(gray)
    deflated = [raw.short(259, 8), raw.long(279, len(packed))]
    yield "deflated-strip", raw.tiff([raw.gray_page(32, 32, *deflated)], packed)
    yield "planes", raw.tiff([raw.gray_page(16, 16, *_PLANAR_TAGS)], gray[:768])


def _to_lab(base: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(base, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    assert converted is not None
    return converted


def _strip_offsets(count: int) -> raw.Entry:
    return raw.long(273, *range(8, 8 + 256 * count, 256))


_PLANAR_TAGS = (
    raw.short(258, 8, 8, 8),
    raw.short(262, 2),
    raw.short(277, 3),
    raw.short(284, 2),
    raw.long(273, 8, 264, 520),
    raw.long(279, 256, 256, 256),
)
_JPEG_OPTIONS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"progressive": True},
    "whole-color": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 1},
    "profile": {"icc_profile": b"no profile at all"},
    "comment": {"comment": b"\x1b]0;a comment\x07"},
}


def _avif() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "lossy", encoded(base, "AVIF", speed=10)
    yield "alpha", encoded(base.convert("RGBA").rotate(20), "AVIF", speed=10)
    yield "moving", encoded(base, "AVIF", speed=10, save_all=True, append_images=[draw_blocks(2, _SIZE_PIXELS)])
    yield "texts", encoded(base, "AVIF", speed=10, exif=exif, xmp=_XMP, icc_profile=_profile())


def _heif() -> Seeds:
    if find_spec("pillow_heif") is None:
        return
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)
    base = draw_blocks(1, _SIZE_PIXELS)
    yield "lossy", encoded(base, "HEIF")
    yield "alpha", encoded(base.convert("RGBA").rotate(20), "HEIF")


def _icon() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    sizes = [(16, 16), (24, 24), (29, 29)]
    for bitmap_format in ("png", "bmp"):
        yield bitmap_format, encoded(base.convert("RGBA").resize((29, 29)), "ICO", sizes=sizes, bitmap_format=bitmap_format)
    ico = encoded(base.resize((29, 29)), "ICO", sizes=[(29, 29)], bitmap_format="bmp")
    yield "cursor", ico[:2] + b"\2" + ico[3:]


def _jp2() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield mode.lower(), encoded(base.convert(mode), "JPEG2000")
    yield "stream", encoded(base, "JPEG2000", no_jp2=True)
    yield "lossy", encoded(base, "JPEG2000", irreversible=True, quality_layers=[40, 20], tile_size=(16, 16))


def _jxl() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    yield "rgb", files.jxl(base)
    yield "rgba", files.jxl(base.convert("RGBA"))
    yield "container", files.jxl(base, usecontainer=True)
    yield "lossy", files.jxl(base, lossless=False, level=60)
    yield "moving", files.jxl([draw_blocks(seed, _SIZE_PIXELS) for seed in (1, 2, 3)])


def _svg() -> Seeds:
    yield "simple", files.svg()
    yield "rich", files.rich_svg()
    yield "compressed", gzip.compress(files.rich_svg(), mtime=0)


def _lottie() -> Seeds:
    yield "json", files.lottie()
    yield "sticker", files.tgs()
    yield "archive", files.dotlottie()


def _video() -> Seeds:
    frames = [draw_blocks(seed, (48, 40)) for seed in range(6)]
    for form, codec in (("webm", "libvpx-vp9"), ("webm", "libvpx"), ("mp4", "libx264")):
        yield f"{codec}", files.video(frames, form, codec)
    yield "av1", files.av1()
    yield "hevc", files.hevc()
    yield "alpha", files.video([frame.convert("RGBA") for frame in frames])


def _psd() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    for mode in ("L", "RGB", "RGBA", "CMYK"):
        yield mode.lower(), files.psd(base.convert(mode))
    yield "raw", files.raw_psd(np.arange(37 * 29, dtype=np.uint16).reshape(29, 37) * 60)
    yield "layers", files.layered_psd(base)


def _layered() -> Seeds:
    base = draw_blocks(1, _SIZE_PIXELS)
    yield "ora", files.layered(base)
    yield "kra", files.layered(base.convert("RGBA"), "application/x-krita")


def _profile() -> bytes:
    make: Callable[[], Any] = partial(ImageCms.createProfile, "sRGB")
    profile = bytearray(ImageCms.ImageCmsProfile(make()).tobytes())
    profile[24:36] = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)  # the time at which it was made
    return bytes(profile)


_FORMATS = (
    *(_jpeg, _png, _gif, _webp, _bmp, _tiff, _avif, _heif),
    *(_icon, _jp2, _jxl, _svg, _lottie, _video, _psd, _layered),
)
