"""Names of files that are not images in a supported format, with advice what to do about them."""

from __future__ import annotations

import json
from typing import NamedTuple

_HEAD_BYTES = 4096
"""The first bytes of a file, which name its format."""

_SAVE_AS = "save it as PNG"
_TAKE_FRAMES = "save its frames as images, or save it as WebP"
_UNPACK = "unpack it and index the folder"
_DOWNLOAD_AGAIN = "download the image again"


class _Format(NamedTuple):
    """The name of a format and what to do: the end of the sentence "it is NAME; ADVICE"."""

    name: str
    advice: str


_BY_START: tuple[tuple[bytes, _Format], ...] = (
    (b"8BPS", _Format("a Photoshop file (PSD)", _SAVE_AS)),
    (b"\xff\x0a", _Format("a JPEG XL image (JXL)", _SAVE_AS)),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _Format("a JPEG XL image (JXL)", _SAVE_AS)),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _Format("a JPEG 2000 image", _SAVE_AS)),
    (b"\xff\x4f\xff\x51", _Format("a JPEG 2000 image", _SAVE_AS)),
    (b"\0\0\x01\0", _Format("an icon (ICO)", _SAVE_AS)),
    (b"gimp xcf", _Format("a GIMP file (XCF)", _SAVE_AS)),
    (b"qoif", _Format("a QOI image", _SAVE_AS)),
    (b"farbfeld", _Format("a farbfeld image", _SAVE_AS)),
    (b"\x76\x2f\x31\x01", _Format("an OpenEXR image", _SAVE_AS)),
    (b"#?RADIANCE", _Format("a Radiance HDR image", _SAVE_AS)),
    (b"DDS ", _Format("a DirectDraw texture (DDS)", _SAVE_AS)),
    (b"BPG\xfb", _Format("a BPG image", _SAVE_AS)),
    (b"CSFCHUNK", _Format("a Clip Studio Paint file", _SAVE_AS)),
    (b"SAI-CANVAS", _Format("a PaintTool SAI file", _SAVE_AS)),
    (b"AT&TFORM", _Format("a DjVu document", "save its pages as images")),
    (b"%PDF-", _Format("a PDF document", "save its pages as images")),
    (b"%!PS", _Format("a PostScript document", "save its pages as images")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _Format("an Office document", "save its images as files")),
    (b"{\\rtf", _Format("a text document (RTF)", "save its images as files")),
    (b"\x1aE\xdf\xa3", _Format("a video (WebM or Matroska)", _TAKE_FRAMES)),
    (b"OggS", _Format("a video or sound (Ogg)", _TAKE_FRAMES)),
    (b"FLV\x01", _Format("a Flash video", _TAKE_FRAMES)),
    (b"\0\0\x01\xba", _Format("a video (MPEG)", _TAKE_FRAMES)),
    (b"\0\0\x01\xb3", _Format("a video (MPEG)", _TAKE_FRAMES)),
    (b"Rar!\x1a\x07", _Format("an archive (RAR)", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", _Format("an archive (7z)", _UNPACK)),
    (b"\xfd7zXZ\0", _Format("an archive (XZ)", _UNPACK)),
    (b"BZh", _Format("an archive (bzip2)", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", _Format("an archive (Zstandard)", _UNPACK)),
    (b"\x1f\x8b", _Format("compressed data (gzip), for example an animated sticker (TGS)", _TAKE_FRAMES)),
    (b"ID3", _Format("a sound (MP3)", "index images only")),
    (b"version https://git-lfs.github.com/", _Format("a Git LFS pointer, not the image itself", "run git lfs pull")),
    (b"SQLite format 3\0", _Format("a database", "index images only")),
)

_BY_BRAND: tuple[tuple[tuple[bytes, ...], _Format], ...] = (
    ((b"jp2 ", b"jpx ", b"jpm "), _Format("a JPEG 2000 image", _SAVE_AS)),
    ((b"crx ",), _Format("a raw photo (CR3)", _SAVE_AS)),
)
_VIDEO = _Format("a video (MP4 or QuickTime)", _TAKE_FRAMES)

_BY_RIFF_KIND = {
    b"AVI ": _Format("a video (AVI)", _TAKE_FRAMES),
    b"WAVE": _Format("a sound (WAV)", "index images only"),
    b"ACON": _Format("an animated cursor (ANI)", _SAVE_AS),
}

_BY_ZIP_CONTENT: tuple[tuple[bytes, _Format], ...] = (
    (b"mimetypeapplication/x-krita", _Format("a Krita file", _SAVE_AS)),
    (b"mimetypeimage/openraster", _Format("an OpenRaster file", _SAVE_AS)),
    (b"mimetypeapplication/epub+zip", _Format("an e-book (EPUB)", "save its pages as images")),
    (b"mimetypeapplication/vnd.oasis", _Format("an office document", "save its images as files")),
    (b"[Content_Types].xml", _Format("an office document", "save its images as files")),
)

_HTML = _Format("a web page (HTML), perhaps the error page of a failed download", _DOWNLOAD_AGAIN)
_SVG = _Format("a vector drawing (SVG)", _SAVE_AS)
_XML = _Format("an XML document, perhaps the error message of a failed download", _DOWNLOAD_AGAIN)
_JSON = _Format("JSON text, perhaps the error message of a failed download", _DOWNLOAD_AGAIN)
_LOTTIE = _Format("a vector animation (Lottie)", _TAKE_FRAMES)
_ZEROS = _Format("a file of zero bytes, perhaps an unfinished download", _DOWNLOAD_AGAIN)
_LINK = _Format("an internet shortcut", "download the image that it names")


def describe(data: bytes) -> str | None:
    """Return what the bytes of a file are and what to do, such as "it is an archive (ZIP); unpack it"; None if unknown."""
    found = _recognize(data)
    return None if found is None else f"it is {found.name}; {found.advice}"


def _recognize(data: bytes) -> _Format | None:
    head = data[:_HEAD_BYTES]
    if head.startswith(b"PK\x03\x04"):
        return next((kind for mark, kind in _BY_ZIP_CONTENT if mark in head), _Format("an archive (ZIP)", _UNPACK))
    if head[4:8] == b"ftyp":
        return next((kind for brands, kind in _BY_BRAND if head[8:12] in brands), _VIDEO)
    if head.startswith(b"RIFF") and head[8:12] in _BY_RIFF_KIND:
        return _BY_RIFF_KIND[head[8:12]]
    if head[257:262] == b"ustar":
        return _Format("an archive (tar)", _UNPACK)
    found = next((kind for start, kind in _BY_START if head.startswith(start)), None)
    if found is None and head and not head.strip(b"\0"):
        return None if data.strip(b"\0") else _ZEROS
    return found or _recognize_text(data, head)


def _recognize_text(data: bytes, head: bytes) -> _Format | None:
    text = _decoded(head).lstrip("\ufeff \t\r\n").lower()
    if text.startswith(("<!doctype html", "<html", "<head", "<body")) or (text.startswith("<!--") and "<html" in text):
        return _HTML
    if text.startswith("<svg") or (text.startswith(("<?xml", "<!doctype svg", "<!--")) and "<svg" in text):
        return _SVG
    if text.startswith("<?xml"):
        return _XML
    if text.startswith("[internetshortcut]"):
        return _LINK
    if text.startswith(("{", "[")):
        return _LOTTIE if '"layers"' in text and '"v"' in text else _JSON if _is_json(data) else None
    return None


def _decoded(head: bytes) -> str:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    return head.decode(encoding, "replace")


def _is_json(data: bytes) -> bool:
    """Return whether short bytes are JSON. Longer ones are no error message of a server."""
    try:
        return len(data) <= _HEAD_BYTES and isinstance(json.loads(data), dict | list)
    except (ValueError, RecursionError):
        return False
