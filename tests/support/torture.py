"""A folder of good images and of everything that an image folder should not contain."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.builders import draw_blocks, encoded

GOOD_NAMES = (
    b"plain.png",
    b"new\nline.png",
    b"\xff\xfe bytes.png",
    "\U0001f600 \u200b.png".encode(),
    b"-rf.png",
    b"x" * 251 + b".png",
)


@dataclass(frozen=True)
class Torture:
    """The folder, the paths of its `good` images, and for each `bad` file a part of the expected reason."""

    folder: Path
    good: frozenset[bytes]
    bad: dict[bytes, str]


def png(width: int, height: int, body: bytes) -> bytes:
    """Return an RGB PNG with any size in its header and any body."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def build(folder: Path) -> Torture:
    """Create the folder."""
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 8
    base = draw_blocks(1, (120, 90))
    grays = Image.fromarray(np.asarray(draw_blocks(2).convert("L")).astype(np.uint16) * 257)
    good: dict[bytes, bytes] = {name: encoded(draw_blocks(100 + i)) for i, name in enumerate(GOOD_NAMES)}
    good |= {
        b"cmyk.jpg": encoded(base.convert("CMYK"), "JPEG"),
        b"progressive.jpeg": encoded(base, "JPEG", progressive=True),
        b"turned.jpg": encoded(base, "JPEG", exif=exif),
        b"palette.png": encoded(base.quantize(16)),
        b"alpha.png": encoded(draw_blocks(3).convert("RGBA").rotate(30, expand=True)),
        b"deep.png": encoded(grays),
        b"still.webp": encoded(base, "WEBP"),
        b"moving.webp": encoded(base, "WEBP", save_all=True, append_images=[draw_blocks(4, (120, 90))]),
        b"moving.gif": encoded(base, "GIF", save_all=True, append_images=[draw_blocks(4, (120, 90))]),
        b"moving.apng": encoded(draw_blocks(5), "PNG", save_all=True, append_images=[draw_blocks(6)]),
        b"flat.bmp": encoded(base, "BMP"),
        b"pages.tiff": encoded(base, "TIFF", save_all=True, append_images=[draw_blocks(4, (120, 90))]),
        b"modern.avif": encoded(base, "AVIF"),
        b"LOUD.PNG": encoded(draw_blocks(7)),
        b"truly a jpeg.png": encoded(draw_blocks(8), "JPEG"),
        b"x.png/inside.png": encoded(draw_blocks(9)),
    }
    bad: dict[bytes, tuple[bytes | None, str]] = {
        b"bomb.png": (png(30_000, 30_000, b"\0" * 1000), "exceeds the limit"),
        b"truncated.jpg": (encoded(draw_blocks(1, (400, 400)), "JPEG")[:300], "it is cut off"),
        b"truncated.png": (encoded(draw_blocks(1, (400, 400)))[:45], "it is cut off"),
        b"lying header.png": (png(50, 50, b"\0" * 10), "it is cut off"),
        b"empty.png": (b"", "the file is empty; copy or download it again"),
        b"words.jpg": (b"these are words", "it is text, perhaps the error message of a failed download"),
        b"pipe.png": (None, "it is a pipe"),
    }
    for name, data in {**good, **{name: data for name, (data, _) in bad.items() if data is not None}}.items():
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), name)))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    os.mkfifo(folder / "pipe.png")
    (folder / "notes.txt").write_text("skipped")
    (folder / ".hidden.png").write_bytes(b"also skipped")
    (folder / "round").symlink_to(folder)
    if os.geteuid() != 0:  # root can read every file
        (folder / "secret.png").write_bytes(encoded(draw_blocks(10)))
        (folder / "secret.png").chmod(0)
        bad[b"secret.png"] = (None, "it cannot be read: Permission denied")
    root = os.fsencode(os.path.realpath(folder))
    return Torture(
        folder,
        frozenset(os.path.join(root, name) for name in good),
        {os.path.join(root, name): reason for name, (_, reason) in bad.items()},
    )
