"""Names of files that Pillow does not read: what they are, which module reads them, or what to do about them."""

from __future__ import annotations

import codecs
import json
import zlib
from typing import NamedTuple

_HEAD_BYTES = 4096
"""The first bytes of a file, which name its format."""

_INNER_BYTES = 1 << 20
"""The first bytes of compressed data that are inspected."""

_GZIP_WBITS = 31
"""The value for zlib that selects the format of gzip, with its largest window."""

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_SAVE_AS = "save it as PNG"
_TAKE_FRAMES = "save its frames as images, or save it as WebP"
_UNPACK = "unpack it and index the folder"
_DOWNLOAD_AGAIN = "download the image again"
_IMAGES_ONLY = "index images only"
_DECODE_TEXT = "decode it to the image, for example with base64 -d"


class Format(NamedTuple):
    """The name of a format and what to do: the end of the sentence "it is NAME; ADVICE".

    `reader` is the module of `indexer.imaging.readers` that reads such files; "" if none does.
    """

    name: str
    advice: str
    reader: str = ""


_BY_START: tuple[tuple[bytes, Format], ...] = (
    (b"8BPS", Format("a Photoshop file (PSD)", _SAVE_AS, "psd")),
    (b"\xff\x0a", Format("a JPEG XL image (JXL)", _SAVE_AS, "jxl")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Format("a JPEG XL image (JXL)", _SAVE_AS, "jxl")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Format("a damaged JPEG 2000 image", _DOWNLOAD_AGAIN)),
    (b"\xff\x4f\xff\x51", Format("a damaged JPEG 2000 image", _DOWNLOAD_AGAIN)),
    (b"\0\0\x01\0", Format("a damaged icon (ICO)", _DOWNLOAD_AGAIN)),
    (b"gimp xcf", Format("a GIMP file (XCF)", _SAVE_AS)),
    (b"qoif", Format("a QOI image", _SAVE_AS)),
    (b"farbfeld", Format("a farbfeld image", _SAVE_AS)),
    (b"\x76\x2f\x31\x01", Format("an OpenEXR image", _SAVE_AS)),
    (b"#?RADIANCE", Format("a Radiance HDR image", _SAVE_AS)),
    (b"DDS ", Format("a DirectDraw texture (DDS)", _SAVE_AS)),
    (b"BPG\xfb", Format("a BPG image", _SAVE_AS)),
    (b"CSFCHUNK", Format("a Clip Studio Paint file", _SAVE_AS)),
    (b"SAI-CANVAS", Format("a PaintTool SAI file", _SAVE_AS)),
    (b"AT&TFORM", Format("a DjVu document", "save its pages as images")),
    (b"%PDF-", Format("a PDF document", "save its pages as images")),
    (b"%!PS", Format("a PostScript document", "save its pages as images")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format("an Office document", "save its images as files")),
    (b"{\\rtf", Format("a text document (RTF)", "save its images as files")),
    (b"\x1aE\xdf\xa3", Format("a video (WebM or Matroska)", _TAKE_FRAMES, "video")),
    (b"OggS", Format("a video or sound (Ogg)", _TAKE_FRAMES)),
    (b"FLV\x01", Format("a Flash video", _TAKE_FRAMES)),
    (b"\0\0\x01\xba", Format("a video (MPEG)", _TAKE_FRAMES)),
    (b"\0\0\x01\xb3", Format("a video (MPEG)", _TAKE_FRAMES)),
    (b"Rar!\x1a\x07", Format("an archive (RAR)", _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", Format("an archive (7z)", _UNPACK)),
    (b"\xfd7zXZ\0", Format("an archive (XZ)", _UNPACK)),
    (b"BZh", Format("an archive (bzip2)", _UNPACK)),
    (b"\x28\xb5\x2f\xfd", Format("an archive (Zstandard)", _UNPACK)),
    (b"ID3", Format("a sound (MP3)", _IMAGES_ONLY)),
    (b"fLaC", Format("a sound (FLAC)", _IMAGES_ONLY)),
    (b"wOFF", Format("a font (WOFF)", _IMAGES_ONLY)),
    (b"wOF2", Format("a font (WOFF2)", _IMAGES_ONLY)),
    (b"OTTO\0", Format("a font (OpenType)", _IMAGES_ONLY)),
    (b"ttcf\0", Format("a collection of fonts (TTC)", _IMAGES_ONLY)),
    (b"\0\x01\0\0\0", Format("a font (TrueType)", _IMAGES_ONLY)),
    (b"FWS", Format("a Flash animation (SWF)", _TAKE_FRAMES)),
    (b"CWS", Format("a Flash animation (SWF)", _TAKE_FRAMES)),
    (b"ZWS", Format("a Flash animation (SWF)", _TAKE_FRAMES)),
    (b"icns", Format("an icon of macOS (ICNS)", _SAVE_AS)),
    (b"\xabKTX ", Format("a texture (KTX)", _SAVE_AS)),
    (b"BLENDER", Format("a Blender file", "render it to an image")),
    (b"FUJIFILMCCD-RAW", Format("a raw photo (RAF)", _SAVE_AS)),
    (b"IIRO", Format("a raw photo (ORF)", _SAVE_AS)),
    (b"IIU\0", Format("a raw photo (RW2)", _SAVE_AS)),
    (b"MZ", Format("a program for Windows", _IMAGES_ONLY)),
    (b"\x7fELF", Format("a program", _IMAGES_ONLY)),
    (b"\0asm", Format("a program (WebAssembly)", _IMAGES_ONLY)),
    (b"#!", Format("a script", _IMAGES_ONLY)),
    (b"bplist0", Format("a property list of macOS", _IMAGES_ONLY)),
    (b"L\0\0\0\x01\x14\x02\0", Format("a shortcut of Windows", "index the image that it names")),
    (b"\0\x05\x16\x07", Format("what macOS stores about another file (AppleDouble)", "index the file without ._ in its name")),
    (b"\x89PNG\n", Format("a PNG image that a transfer as text damaged", _DOWNLOAD_AGAIN)),
    (b"\x89PNG\r\r", Format("a PNG image that a transfer as text damaged", _DOWNLOAD_AGAIN)),
    (b"\xef\xbf\xbdPNG", Format("a PNG image that a transfer as text damaged", _DOWNLOAD_AGAIN)),
    (b"data:image/", Format("an image as text (data URL)", _DECODE_TEXT)),
    (b"iVBORw0KGgo", Format("an image as text (Base64)", _DECODE_TEXT)),
    (b"/9j/", Format("an image as text (Base64)", _DECODE_TEXT)),
    (b"R0lGOD", Format("an image as text (Base64)", _DECODE_TEXT)),
    (b"UklGR", Format("an image as text (Base64)", _DECODE_TEXT)),
    (b"version https://git-lfs.github.com/", Format("a Git LFS pointer, not the image itself", "run git lfs pull")),
    (b"SQLite format 3\0", Format("a database", _IMAGES_ONLY)),
)

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

_BY_BRAND: tuple[tuple[tuple[bytes, ...], Format], ...] = (
    ((b"crx ",), Format("a raw photo (CR3)", _SAVE_AS)),
    ((b"avif", b"avis"), Format("a damaged AVIF image", _DOWNLOAD_AGAIN)),
    (HEIF_BRANDS, Format("a damaged HEIC image", _DOWNLOAD_AGAIN)),
)
_VIDEO = Format("a video (MP4 or QuickTime)", _TAKE_FRAMES, "video")

_BY_RIFF_KIND = {
    b"AVI ": Format("a video (AVI)", _TAKE_FRAMES),
    b"WAVE": Format("a sound (WAV)", _IMAGES_ONLY),
    b"ACON": Format("an animated cursor (ANI)", _SAVE_AS),
}

_LOTTIE_ARCHIVE = Format("a vector animation (dotLottie)", _TAKE_FRAMES, "lottie")

_BY_ZIP_CONTENT: tuple[tuple[bytes, Format], ...] = (
    (b"mimetypeapplication/x-krita", Format("a Krita file (KRA)", _SAVE_AS, "layered")),
    (b"mimetypeimage/openraster", Format("an OpenRaster file (ORA)", _SAVE_AS, "layered")),
    (b"manifest.json", _LOTTIE_ARCHIVE),
    (b"mimetypeapplication/epub+zip", Format("an e-book (EPUB)", "save its pages as images")),
    (b"mimetypeapplication/vnd.oasis", Format("an office document", "save its images as files")),
    (b"[Content_Types].xml", Format("an office document", "save its images as files")),
)

_HTML = Format("a web page (HTML), perhaps the error page of a failed download", _DOWNLOAD_AGAIN)
_SVG = Format("a vector drawing (SVG)", _SAVE_AS, "svg")
_XML = Format("an XML document, perhaps the error message of a failed download", _DOWNLOAD_AGAIN)
_JSON = Format("JSON text, perhaps the error message of a failed download", _DOWNLOAD_AGAIN)
_LOTTIE = Format("a vector animation (Lottie)", _TAKE_FRAMES, "lottie")
_GZIP = Format("compressed data (gzip)", _UNPACK)
_LOTTIE_MEMBERS = (b'"layers"', b'"fr"', b'"op"')
"""Members of every animation: its layers, its frame rate and its last frame."""

_ZEROS = Format("a file of zero bytes, perhaps an unfinished download", _DOWNLOAD_AGAIN)
_LINK = Format("an internet shortcut", "download the image that it names")
_TABLE = Format("a table as text (CSV)", _IMAGES_ONLY)
_TEXT = Format("text, perhaps the error message of a failed download", _DOWNLOAD_AGAIN)


def describe(data: bytes) -> str | None:
    """Return what the bytes of a file are and what to do, such as "it is an archive (ZIP); unpack it"; None if unknown."""
    found = recognize(data)
    return None if found is None else f"it is {found.name}; {found.advice}"


def recognize(data: bytes) -> Format | None:
    """Return the format of the bytes of a file; None if it is unknown or the format of an image that Pillow reads."""
    head = data[:_HEAD_BYTES]
    if head.startswith(b"\x1f\x8b"):
        return _recognize_compressed(data)
    found = _recognize_container(head) or next((kind for start, kind in _BY_START if head.startswith(start)), None)
    if found is None and head and not head.strip(b"\0"):
        return None if data.strip(b"\0") else _ZEROS
    return found or _recognize_text(data, head)


def _recognize_container(head: bytes) -> Format | None:
    if head.startswith(b"PK\x03\x04"):
        return next((kind for mark, kind in _BY_ZIP_CONTENT if mark in head), Format("an archive (ZIP)", _UNPACK))
    if head[4:8] == b"ftyp":
        return next((kind for brands, kind in _BY_BRAND if head[8:12] in brands), _VIDEO)
    if head.startswith((b"II*\0", b"MM\0*")) and head[8:10] == b"CR":
        return Format("a raw photo (CR2)", _SAVE_AS)
    if head.startswith(b"RIFF"):
        return _BY_RIFF_KIND.get(head[8:12])
    return Format("an archive (tar)", _UNPACK) if head[257:262] == b"ustar" else None


def _recognize_compressed(data: bytes) -> Format:
    """Return the format of gzip data: stickers of Telegram (TGS) are compressed Lottie animations."""
    try:
        inner = zlib.decompressobj(wbits=_GZIP_WBITS).decompress(data, _INNER_BYTES)
    except zlib.error:
        return _GZIP
    found = _recognize_text(inner, inner[:_HEAD_BYTES])
    return found if found in (_SVG, _LOTTIE) else _GZIP


def _recognize_text(data: bytes, head: bytes) -> Format | None:
    text = _decoded(head).lstrip("\ufeff \t\r\n").lower()
    found = _recognize_markup(text)
    if found is None and text.startswith(("{", "[")):
        found = _LOTTIE if all(member in data for member in _LOTTIE_MEMBERS) else _JSON if _is_json(data) else None
    if found is None and _is_text(head):
        return _TABLE if _is_table(_decoded(head)) else _TEXT
    return found


def _recognize_markup(text: str) -> Format | None:
    if text.startswith(("<!doctype html", "<html", "<head", "<body")) or (text.startswith("<!--") and "<html" in text):
        return _HTML
    if text.startswith("<svg") or (text.startswith(("<?xml", "<!doctype svg", "<!--")) and "<svg" in text):
        return _SVG
    if text.startswith("<?xml"):
        return _XML
    return _LINK if text.startswith("[internetshortcut]") else None


def _is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text that a person can read, in UTF-8, or in UTF-16 with a byte order mark.

    The last letter may be cut off.
    """
    decode = codecs.utf_16_decode if head.startswith(_UTF16_MARKS) else codecs.utf_8_decode
    try:
        text = decode(head, "strict", False)[0].removeprefix("\ufeff")
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and all(letter.isprintable() or letter.isspace() for letter in text)


def _is_table(text: str) -> bool:
    """Return whether the first two lines of a text have as many fields, divided by the same character."""
    first, second, *_ = [*text.splitlines(), "", ""]
    return any(0 < first.count(divider) == second.count(divider) for divider in ",;\t")


def _decoded(head: bytes) -> str:
    encoding = "utf-16" if head.startswith(_UTF16_MARKS) else "utf-8"
    return head.decode(encoding, "replace")


def _is_json(data: bytes) -> bool:
    """Return whether short bytes are JSON. Longer ones are no error message of a server."""
    try:
        return len(data) <= _HEAD_BYTES and isinstance(json.loads(data), dict | list)
    except (ValueError, RecursionError):
        return False
