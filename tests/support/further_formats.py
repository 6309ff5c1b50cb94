"""Small files in the formats of stickers and of programs for drawing."""

from __future__ import annotations

import gzip
import json
import struct
from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from PIL import Image

from indexer.domain.images import DecodedImage
from tests.support.builders import draw_blocks, encoded

_NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


COLOR = (200, 30, 90)
"""The color of `solid` and of `svg`."""


def solid(mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> Image.Image:
    return Image.new("RGB", size, COLOR).convert(mode)


def center(image: DecodedImage) -> tuple[int, ...]:
    """Return the color in the middle of an image that was decoded for `builders.SPEC`."""
    return tuple(int(channel) for channel in image.pixels[16, 16])


def words(value: object) -> str:
    """Return the part of a test's name for a parameter; bytes, which may differ in every run, have none."""
    return value if isinstance(value, str) else ""


def one_of_each() -> dict[str, bytes]:
    """Return a file in each format, by name; the names begin with letters in order."""
    frames = [draw_blocks(seed) for seed in range(5)]
    return {
        "a.jxl": jxl(draw_blocks(1)),
        "b.svg": svg(),
        "c.tgs": tgs(),
        "d.lottie": dotlottie(w=50),
        "e.webm": video(frames),
        "f.mp4": video(frames, "mp4", "libx264"),
        "g.psd": psd(draw_blocks(2)),
        "h.kra": layered(draw_blocks(3), "application/x-krita"),
        "i.ora": layered(draw_blocks(4)),
        "j.ico": encoded(draw_blocks(5), "ICO"),
        "k.jp2": encoded(draw_blocks(6), "JPEG2000"),
    }


def svg(content: str = '<rect width="50" height="40" fill="#c81e5a"/>', width: int = 50, height: int = 40) -> bytes:
    return f'<svg {_NAMESPACES} viewBox="0 0 {width} {height}">{content}</svg>'.encode()


def rich_svg() -> bytes:
    """Return a drawing with most kinds of elements."""
    picture = b64encode(encoded(draw_blocks(1, (8, 8)))).decode()
    content = f"""<style>.a {{fill: #c81e5a; stroke: rgb(0, 20, 90)}} #b > path {{opacity: .5}}</style>
<defs><linearGradient id="g"><stop offset="0" stop-color="red"/><stop offset="1" stop-color="blue"/></linearGradient>
<radialGradient id="h" xlink:href="#g" r=".7"/><clipPath id="c"><circle cx="25" cy="20" r="18"/></clipPath>
<mask id="m"><rect width="50" height="40" fill="url(#g)"/></mask>
<pattern id="p" width="4" height="4" patternUnits="userSpaceOnUse"><circle cx="2" cy="2" r="1"/></pattern>
<filter id="f"><feGaussianBlur stdDeviation="2"/><feTurbulence baseFrequency=".05"/><feComposite in2="SourceGraphic"/></filter>
<marker id="k" markerWidth="4" markerHeight="4"><path d="M0 0 4 2 0 4z"/></marker>
<symbol id="s"><path d="M1 1h9v9z"/></symbol></defs><g id="b" transform="translate(2 3) rotate(10)">
<path class="a" d="M10 10C20 0 30 40 40 20S5 5 9 9Q1 2 3 4A5 6 10 1 0 20 20Z"/></g>
<rect width="20" height="10" rx="3" fill="url(#h)" clip-path="url(#c)" mask="url(#m)"/><ellipse cx="9" cy="9" rx="9" ry="4"/>
<polyline points="1,2 3,9 8,1" marker-end="url(#k)" stroke="#000" stroke-dasharray="3 1"/><use xlink:href="#s" x="9" y="2"/>
<rect y="20" width="30" height="9" fill="url(#p)" filter="url(#f)"/><text y="9">text</text><line x2="50" y2="40" stroke="red"/>
<image width="9" height="9" xlink:href="data:image/png;base64,{picture}"/>"""
    return svg(content)


def jxl(image: Image.Image | Sequence[Image.Image], **options: Any) -> bytes:
    """Return an image, or an animation of several images."""
    import imagecodecs

    pixels = np.asarray(image) if isinstance(image, Image.Image) else np.stack([np.asarray(frame) for frame in image])
    return bytes(imagecodecs.jpegxl_encode(pixels, **{"lossless": True, **options}))


def psd(image: Image.Image) -> bytes:
    from psd_tools import PSDImage

    file = BytesIO()
    PSDImage.frompil(image).save(file)
    return file.getvalue()


def raw_psd(pixels: np.ndarray[Any, Any]) -> bytes:
    """Return gray pixels, (H, W), as a Photoshop file without compression; their type gives its depth."""
    depth = 8 * pixels.dtype.itemsize
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, *pixels.shape, depth, 1)
    return header + bytes(12) + struct.pack(">H", 0) + pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()


def layered_psd(image: Image.Image) -> bytes:
    """Return a Photoshop file with a layer in a group."""
    from psd_tools import PSDImage

    document = PSDImage.frompil(image)
    group = document.create_group(name="group")
    group.append(document.create_pixel_layer(image, name="layer"))
    file = BytesIO()
    document.save(file)
    return file.getvalue()


def layered(image: Image.Image, kind: str = "image/openraster") -> bytes:
    """Return an OpenRaster or Krita file with a merged image."""
    return layered_png(encoded(image), kind)


def layered_png(png: bytes, kind: str = "image/openraster") -> bytes:
    return zipped(mimetype=kind.encode(), **{"mergedimage.png": png, "stack.xml": b"<image/>"})


def zipped(**members: bytes) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, data in members.items():
            # The same bytes at any time: the members state no time.
            archive.writestr(ZipInfo(name), data, compress_type=0 if name == "mimetype" else ZIP_DEFLATED)
    return file.getvalue()


def video(frames: Sequence[Image.Image], form: str = "webm", codec: str = "libvpx-vp9", rate: int = 10, **options: str) -> bytes:
    """Return a video; RGBA frames give one with transparency."""
    import av

    file = BytesIO()
    with av.open(file, "w", format=form, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuva420p" if frames[0].mode == "RGBA" else "yuv420p"
        stream.codec_context.thread_count = 1
        for image in frames:
            pixels = "rgba" if image.mode == "RGBA" else "rgb24"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(image), format=pixels)))
        container.mux(stream.encode())
    return file.getvalue()


def av1() -> bytes:
    """Return a video of the first twelve images of `draw_blocks`.

    Its encoder, SVT-AV1, gives the process of a root user real-time priority. The tests and all processes that they start would
    keep it, and one that waits in a loop would stop the machine.
    """
    return (Path(__file__).parent / "av1.mp4").read_bytes()


def hevc() -> bytes:
    """Return a video of the first twelve images of `draw_blocks`. Its encoder, x265, may damage memory at such small sizes."""
    return (Path(__file__).parent / "hevc.mp4").read_bytes()


def lottie(**changes: Any) -> bytes:
    """Return an animation of 60 frames in which a circle grows, as JSON."""
    return json.dumps({**animation(), **changes}).encode()


def tgs(**changes: Any) -> bytes:
    return gzip.compress(lottie(**changes), mtime=0)


def dotlottie(**changes: Any) -> bytes:
    return zipped(**{"manifest.json": b'{"animations": [{"id": "a"}]}', "animations/a.json": lottie(**changes)})


def animation() -> dict[str, Any]:
    """Return an animation with most kinds of layers and shapes."""
    circle = {"ty": "el", "d": 1, "p": _still([0, 0]), "s": _moving([20, 20], [90, 70])}
    rectangle = {"ty": "rc", "p": _still([0, 0]), "s": _still([40, 30]), "r": _still(6)}
    star = {"ty": "sr", "sy": 1, **{key: _still(value) for key, value in _STAR.items()}}
    path = {"ty": "sh", "ks": _still(_TRIANGLE)}
    fill = {"ty": "fl", "c": _moving([1, 0.5, 0, 1], [0, 0.5, 1, 1]), "o": _still(100)}
    gradient = {
        "ty": "gf",
        "t": 2,
        "g": {"p": 2, "k": _still([0, 1, 0, 0, 1, 0, 0, 1])},
        "s": _still([0, 0]),
        "e": _still([30, 0]),
    }
    gradient |= {"o": _still(100), "h": _still(0), "a": _still(0)}
    dashes = [{"n": "d", "v": _still(4)}, {"n": "g", "v": _still(2)}]
    stroke = {"ty": "st", "c": _still([0, 0, 0, 1]), "o": _still(100), "w": _still(3), "lc": 2, "lj": 2, "d": dashes}
    trim = {"ty": "tm", "s": _still(0), "e": _moving([10], [100]), "o": _still(0), "m": 1}
    repeater = {"ty": "rp", "c": _still(3), "o": _still(0), "m": 1, "tr": {**_TRANSFORM, "so": _still(100), "eo": _still(50)}}
    mask = {"mode": "a", "pt": _still(_TRIANGLE), "o": _still(100), "inv": False, "x": _still(0)}
    layers = [
        _layer(1, [circle, fill]),
        _layer(2, [star, gradient, stroke], parent=1),
        _layer(3, [rectangle, fill], td=1),
        _layer(4, [path, fill, trim], repeater, tt=1),
        _layer(5, [rectangle, stroke], hasMask=True, masksProperties=[mask]),
        {**_layer(6), "ty": 0, "refId": "inner", "w": 100, "h": 100},
        {**_layer(7), "ty": 1, "sw": 30, "sh": 30, "sc": "#ffeecc"},
    ]
    assets = [{"id": "inner", "layers": [_layer(1, [path, stroke])]}]
    return {"v": "5.5.2", "fr": 30, "ip": 0, "op": 60, "w": 100, "h": 80, "ddd": 0, "assets": assets, "layers": layers}


def _layer(number: int, shapes: Sequence[dict[str, Any]] = (), *more: dict[str, Any], **changes: Any) -> dict[str, Any]:
    group = {"ty": "gr", "it": [*shapes, {"ty": "tr", **_TRANSFORM}]}
    facts = {"ddd": 0, "ind": number, "ty": 4, "sr": 1, "ip": 0, "op": 60, "st": 0, "bm": 0}
    return {**facts, "ks": {**_TRANSFORM, "p": _still([50, 40, 0])}, "shapes": [group, *more] if shapes else [], **changes}


def _still(value: Any) -> dict[str, Any]:
    return {"a": 0, "k": value}


def _moving(first: Any, last: Any) -> dict[str, Any]:
    return {"a": 1, "k": [{"t": 0, "s": first, "i": {"x": [0.8], "y": [1]}, "o": {"x": [0.2], "y": [0]}}, {"t": 59, "s": last}]}


_TRIANGLE = {"i": [[0, 0]] * 3, "o": [[0, 0]] * 3, "v": [[-20, -20], [20, -20], [0, 25]], "c": True}
_STAR = {"p": [0, 0], "pt": 5, "r": 0, "ir": 10, "or": 25, "is": 0, "os": 0}
_TRANSFORM = {"p": _still([0, 0]), "a": _still([0, 0]), "s": _still([100, 100]), "r": _still(0), "o": _still(100)}
