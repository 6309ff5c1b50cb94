"""Mutate image files. The same random numbers give the same bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from random import Random

from tests.fuzz import raw, text_mutations

_EDGE_VALUES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_EDGE_SIDES = (0, 1, 2, 3, 255, 256, 4095, 4096, 11_313, 11_314, 16_383, 16_384, 32_767, 65_500, 65_535, 128_000_000, 0x7FFFFFFF)
_KEYWORDS = (
    *(
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"iCCP",
        b"zTXt",
        b"iTXt",
        b"tEXt",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"cICP",
    ),
    *(
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xc4",
        b"\xff\xdb",
        b"\xff\xdd",
        b"\xff\xe1",
        b"\xff\xed",
    ),
    *(b"Exif\0\0", b"ICC_PROFILE\0\x01\x01", b"MPF\0", b"Adobe\0", b"II*\0", b"MM\0*", b"II+\0", b"8BIM", b"Photoshop 3.0\0"),
    *(b"GIF87a", b"GIF89a", b"\x21\xf9\x04", b"\x21\xff\x0b", b"NETSCAPE2.0", b"\x2c", b"\x3b"),
    *(b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"EXIF", b"XMP ", b"BM"),
    *(
        b"ftypavif",
        b"ftypavis",
        b"ftypheic",
        b"meta",
        b"iloc",
        b"ipco",
        b"ispe",
        b"av1C",
        b"hvcC",
        b"mdat",
        b"iref",
        b"grid",
        b"irot",
    ),
    *(b"ftypisom", b"moov", b"trak", b"stsd", b"stco", b"stsz", b"avc1", b"avcC", b"jP  ", b"ihdr", b"jp2c", b"JXL ", b"jxlc"),
    *(b"\x1b]0;owned\x07", b"\x9b31m", b"\r\n", b"\0" * 8, b"\xff" * 8, "\u202e".encode()),
)

_PACKED = ("svg", "lottie", "layered")
"""Formats of text, or of packed files."""

Corpus = Mapping[str, bytes]
Change = Callable[[Random, bytes, Corpus], bytes]


def mutate(random: Random, corpus: Corpus, name: str) -> bytes:
    """Return the seed with that name after one to five changes.

    In formats with checksums or tables, many changes keep the structure valid, so that the decoder does not stop at the checksum.
    """
    data = corpus[name]
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        change = random.choice(_FILE_CHANGES)
        if name.startswith("png") and random.random() < 0.6:
            change = _change_png_chunk
        elif name.startswith("webp") and random.random() < 0.4:
            change = _change_webp_chunk
        elif name.startswith("tiff") and random.random() < 0.5:
            change = _change_tiff_tag
        elif name.startswith(_PACKED) and random.random() < 0.8:
            change = _change_content
        data = change(random, data, corpus)
    return data


def _random_offset(random: Random, data: bytes) -> int:
    """Return an offset in a file, more often near its start, where headers are."""
    end = max(1, len(data))
    return random.randrange(min(end, 128)) if random.random() < 0.5 else random.randrange(end)


def _flip(random: Random, data: bytes, _: Corpus) -> bytes:
    changed = bytearray(data)
    for _bit in range(random.choice((1, 1, 2, 4, 16)) if data else 0):
        changed[_random_offset(random, data)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwrite(random: Random, data: bytes, _: Corpus) -> bytes:
    start, block = _random_offset(random, data), random.randbytes(random.choice((1, 2, 4, 16, 64)))
    return data[:start] + block + data[start + len(block) :]


def _insert(random: Random, data: bytes, _: Corpus) -> bytes:
    start = _random_offset(random, data)
    return data[:start] + random.randbytes(random.choice((1, 2, 3, 8, 100))) + data[start:]


def _delete(random: Random, data: bytes, _: Corpus) -> bytes:
    start = _random_offset(random, data)
    return data[:start] + data[start + random.choice((1, 2, 4, 12, 100)) :]


def _duplicate(random: Random, data: bytes, _: Corpus) -> bytes:
    start = _random_offset(random, data)
    block = data[start : start + random.choice((1, 4, 16, 64, 512))]
    return data[:start] + block * random.choice((2, 3, 50)) + data[start + len(block) :]


def _truncate(random: Random, data: bytes, _: Corpus) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _write_keyword(random: Random, data: bytes, _: Corpus) -> bytes:
    start, word = _random_offset(random, data), random.choice(_KEYWORDS)
    return data[:start] + word + data[start + (len(word) if random.random() < 0.7 else 0) :]


def _change_number(random: Random, data: bytes, _: Corpus) -> bytes:
    """Change a number, in either byte order, to an extreme value, by one, or to its double."""
    form = random.choice(("<H", ">H", "<I", ">I", "<Q"))
    size = struct.calcsize(form)
    start = _random_offset(random, data)
    if len(data) < start + size:
        return data
    (old,) = struct.unpack_from(form, data, start)
    new = random.choice((old + 1, old - 1, old * 2, random.choice(_EDGE_VALUES), random.choice(_EDGE_VALUES)))
    return data[:start] + struct.pack(form, new % (1 << 8 * size)) + data[start + size :]


def _change_sides(random: Random, data: bytes, _: Corpus) -> bytes:
    """Change the width and height in the header, if the format has them."""
    width, height = random.choice(_EDGE_SIDES), random.choice(_EDGE_SIDES)
    if data.startswith(raw.SIGNATURE) and len(data) > 33:
        return data[:8] + raw.png_chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29]) + data[33:]
    if data.startswith(b"GIF"):
        return data[:6] + struct.pack("<HH", width % 65_536, height % 65_536) + data[10:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<II", width, height) + data[26:]
    if data.startswith(b"\xff\xd8"):
        start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        return data if start < 0 else data[: start + 5] + struct.pack(">HH", height % 65_536, width % 65_536) + data[start + 9 :]
    start = data.find(b"ispe")
    return data if start < 0 else data[: start + 8] + struct.pack(">II", width, height) + data[start + 16 :]


def _splice(random: Random, data: bytes, corpus: Corpus) -> bytes:
    other = corpus[random.choice(sorted(corpus))]
    return data[: _random_offset(random, data)] + other[_random_offset(random, other) :]


def _change_png_chunk(random: Random, data: bytes, corpus: Corpus) -> bytes:
    """Change a chunk, its deflated content, or the list of chunks; write correct checksums."""
    chunks = raw.png_chunks(data)
    if not chunks:
        return data
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    match random.randrange(6):
        case 0:
            chunks[number] = kind, random.choice(_BYTE_CHANGES)(random, body, corpus)
        case 1:
            chunks[number] = kind, _change_deflated(random, body, corpus)
        case 2:
            chunks.insert(number, (random.choice(_KEYWORDS)[:4].ljust(4, b"x"), body))
        case 3:
            del chunks[number]
        case 4:
            chunks[number:number] = [chunks[number]] * random.choice((1, 2, 40))
        case _:
            rest = chunks[1:]
            random.shuffle(rest)
            chunks[1:] = rest
            chunks[0] = raw.png_header(
                random.choice(_EDGE_SIDES),
                random.choice(_EDGE_SIDES),
                random.choice((1, 2, 4, 8, 16)),
                random.randrange(8),
                random.randrange(2),
            )
    return raw.png(chunks)


def _change_deflated(random: Random, body: bytes, corpus: Corpus) -> bytes:
    try:
        content = zlib.decompress(body)
    except zlib.error:
        return _flip(random, body, corpus)
    return zlib.compress(random.choice(_BYTE_CHANGES)(random, content, corpus))


def _change_webp_chunk(random: Random, data: bytes, corpus: Corpus) -> bytes:
    chunks = raw.riff_chunks(data)
    if not chunks:
        return data
    number = random.randrange(len(chunks))
    kind, body = chunks[number]
    match random.randrange(4):
        case 0 | 1:
            chunks[number] = kind, random.choice(_BYTE_CHANGES)(random, body, corpus)
        case 2:
            chunks[number:number] = [chunks[number]] * random.choice((1, 30))
        case _:
            chunks[number] = random.choice((b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"EXIF")), body
    return raw.riff(chunks)


def _change_content(random: Random, data: bytes, corpus: Corpus) -> bytes:
    """Change text, or what is packed in a file, so that it stays well-formed."""

    def change(random: Random, content: bytes) -> bytes:
        if content.startswith(b"{"):
            return text_mutations.change_lottie(random, content)
        if content.startswith(b"<svg"):
            return text_mutations.change_svg(random, content)
        if content.startswith(raw.SIGNATURE):
            return _change_png_chunk(random, content, corpus)
        return random.choice(_BYTE_CHANGES)(random, content, corpus)

    if data.startswith(b"\x1f\x8b"):
        return text_mutations.inside_gzip(random, data, change)
    return text_mutations.inside_zip(random, data, change) if data.startswith(b"PK\x03\x04") else change(random, data)


def _change_tiff_tag(random: Random, data: bytes, _: Corpus) -> bytes:
    """Change the number, type, count or value of a tag of the first page."""
    if len(data) < 8 or data[:4] != b"II*\0":
        return data
    (first,) = struct.unpack_from("<I", data, 4)
    count = int.from_bytes(data[first : first + 2], "little")
    start = first + 2 + 12 * random.randrange(max(1, min(count, 200)))
    if start + 12 > len(data):
        return data
    tag, kind, number, value = struct.unpack_from("<HHII", data, start)
    match random.randrange(4):
        case 0:
            tag = random.choice(
                (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 330, 338, 339, 347)
            )
        case 1:
            kind = random.randrange(20)
        case 2:
            number = random.choice(_EDGE_VALUES)
        case _:
            value = random.choice((*_EDGE_VALUES, *_EDGE_SIDES, random.randrange(len(data)), random.randrange(10)))
    return data[:start] + struct.pack("<HHII", tag, kind, number, value) + data[start + 12 :]


_BYTE_CHANGES: tuple[Change, ...] = (_flip, _overwrite, _insert, _delete, _duplicate, _truncate, _write_keyword, _change_number)
_FILE_CHANGES: tuple[Change, ...] = (*_BYTE_CHANGES, _change_number, _change_sides, _change_sides, _splice)
