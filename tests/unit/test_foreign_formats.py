"""Files that are not images get a reason that names them and says what to do."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer.domain.errors import Damaged
from indexer.imaging.decode import decode
from indexer.imaging.foreign_formats import describe
from tests.support.builders import SPEC, encoded
from tests.support.effort import examples


def zipped(**entries: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in entries.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("1.png"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), ("damaged JPEG 2000", "download the image again")),
        (b"\0\0\x01\0" + bytes(60), ("damaged icon", "download the image again")),
        (b"<!DOCTYPE html><title>404</title>", ("HTML", "download the image again")),
        ("\ufeff<html><body>no".encode("utf-16-le"), ("HTML", "download the image again")),
        (b'{"error": "not found"}', ("JSON", "download the image again")),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", ("XML", "download the image again")),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", ("Git LFS", "git lfs pull")),
        (zipped(**{"1.png": "x"}), ("ZIP", "unpack it and index the folder")),
        (zipped(mimetype="application/epub+zip"), ("EPUB", "save its pages")),
        (tarred(), ("tar", "unpack")),
        (b"Rar!\x1a\x07\x01\0" + bytes(60), ("RAR", "unpack")),
        (b"7z\xbc\xaf\x27\x1c" + bytes(60), ("7z", "unpack")),
        (gzip.compress(b'{"error": "not found"}', mtime=0), ("gzip", "unpack")),
        (b"\x1f\x8b" + bytes(60), ("gzip", "unpack")),
        (b'{"v":"5.5.2","layers":[]}', ("JSON", "download the image again")),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(60), ("AVI", "frames")),
        (b"%PDF-1.4\n", ("PDF", "pages")),
        (b"\0" * 5000, ("zero bytes", "download")),
        (b"404: Not Found", ("text", "download the image again")),
        ("Zugriff verweigert: größer\r\n".encode() * 400, ("text", "download the image again")),
        (b"{ not json", ("text", "download the image again")),
        (b"wOFF\0\x01\0\0" + bytes(60), ("a font (WOFF)", "index images only")),
        (b"wOF2" + bytes(60), ("a font (WOFF2)", "index images only")),
        (b"\0\x01\0\0\0\x0c" + bytes(60), ("a font (TrueType)", "index images only")),
        (b"OTTO\0" + bytes(60), ("a font (OpenType)", "index images only")),
        (b"fLaC" + bytes(60), ("a sound (FLAC)", "index images only")),
        (b"CWS\x0a" + bytes(60), ("Flash", "frames")),
        (b"icns" + bytes(60), ("ICNS", "save it as PNG")),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), ("raw photo (CR2)", "save it as PNG")),
        (b"bplist00" + bytes(60), ("property list", "index images only")),
        (b"path,label\na.png,happy\n", ("a table as text (CSV)", "index images only")),
        (b"a;b;c\r\n1;2;3\r\n", ("a table as text (CSV)", "index images only")),
        ("path\tlabel\na.png\thappy\n".encode("utf-16"), ("a table as text (CSV)", "index images only")),
        ("404: Not Found".encode("utf-16"), ("text", "download the image again")),
        (b"", ("empty", "download it again")),
        (b"MZ\x90\0" + bytes(60), ("a program for Windows", "index images only")),
        (b"\x7fELF\x02" + bytes(60), ("a program", "index images only")),
        (b"#!/bin/sh\n\xff", ("a script", "index images only")),
        (b"\0\x05\x16\x07\0\x02" + bytes(60), ("macOS", "without ._ in its name")),
        (b"\x89PNG\n\x1a\n" + bytes(60), ("PNG", "transfer as text", "download the image again")),
        ("\ufffdPNG\r\n".encode() + bytes(60), ("PNG", "transfer as text", "download the image again")),
        (b"data:image/png;base64,iVBORw0KGgo=", ("text", "decode it")),
        (b64encode(encoded(Image.new("RGB", (20, 20)))), ("Base64", "decode it")),
        (b64encode(encoded(Image.new("RGB", (20, 20)), "JPEG")), ("Base64", "decode it")),
    ],
)
def test_common_files_are_named_with_what_to_do(data: bytes, words: tuple[str, ...]) -> None:
    with pytest.raises(Damaged) as caught:
        decode(data, SPEC)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("data", [b"\x01", b"\xe9t\xe9", b"\0" * 4096 + b"x", b"words\0", b"\xff\xfe\xfe", b" \n"])
def test_other_bytes_have_no_name(data: bytes) -> None:
    assert describe(data) is None
    with pytest.raises(Damaged, match="not an image in a supported format"):
        decode(data, SPEC)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"RIFF\0\0\0\0", b"\0\0\0\x18ftyp", b"{", b"<?xml", b"\xff\xfe"]),
)
@examples(200)
def test_any_bytes_give_a_sentence_or_nothing(data: bytes, start: bytes) -> None:
    sentence = describe(start + data)
    assert sentence is None or (sentence.startswith("it is ") and sentence.isprintable() and "; " in sentence)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_supported_image_is_decoded_whatever_its_first_bytes(form: str) -> None:
    assert decode(encoded(Image.new("RGB", (20, 20), (10, 20, 30)), form), SPEC).format == form
