"""Archives for tests, in every format that moodex reads."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile
from zlib import crc32

from backports import zstd
from py7zr import SevenZipFile

Members = Mapping[str, bytes]

_ENCRYPTED = 0x1


def zipped(members: Members) -> bytes:
    file = BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def encrypted_zip(members: Members, only: str = "") -> bytes:
    """Return an archive whose members, or the one with the name `only`, claim to be encrypted."""
    data = bytearray(zipped(members))
    for signature, flags, name in ((b"PK\x03\x04", 6, 30), (b"PK\x01\x02", 8, 46)):
        start = -1
        while (start := data.find(signature, start + 1)) >= 0:
            if data[start + name :].startswith(only.encode()):
                data[start + flags] |= _ENCRYPTED
    return bytes(data)


def tarred(members: Members, mode: str = "w:") -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, BytesIO(data))
    return file.getvalue()


def sevenzipped(members: Members, password: str | None = None, header_encryption: bool = False) -> bytes:
    file = BytesIO()
    with SevenZipFile(file, "w", password=password, header_encryption=header_encryption) as archive:
        for name, data in members.items():
            archive.writestr(data, name)
    return file.getvalue()


def rarred(members: Members, flags: int = 0) -> bytes:
    """Return a RAR 5 archive whose members are stored; `flags` are added to those of the main header."""
    archive = b"Rar!\x1a\x07\x01\x00" + _rar_block(_vint(1) + _vint(0) + _vint(flags))
    for name, data in members.items():
        encoded = name.encode()
        header = _vint(2) + _vint(2) + _vint(len(data)) + _vint(4) + _vint(len(data)) + _vint(0o100644)
        header += crc32(data).to_bytes(4, "little") + _vint(0) + _vint(1) + _vint(len(encoded)) + encoded
        archive += _rar_block(header) + data
    return archive + _rar_block(_vint(5) + _vint(0) + _vint(0))


def _rar_block(header: bytes) -> bytes:
    sized = _vint(len(header)) + header
    return crc32(sized).to_bytes(4, "little") + sized


def _vint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


FORMATS: Mapping[str, Callable[[Members], bytes]] = {
    "a.zip": zipped,
    "a.cbz": zipped,
    "a.tar": tarred,
    "a.tar.gz": lambda members: tarred(members, "w:gz"),
    "a.tar.bz2": lambda members: tarred(members, "w:bz2"),
    "a.tar.xz": lambda members: tarred(members, "w:xz"),
    "a.tar.zst": lambda members: zstd.compress(tarred(members)),
    "a.7z": sevenzipped,
    "a.cbr": rarred,
}
"""A function for each format, by the name of an archive."""
