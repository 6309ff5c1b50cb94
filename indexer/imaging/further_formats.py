"""Formats that Pillow does not read: the choice of the module, and of the package behind it, that reads a file's bytes."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import Unsupported
from indexer.imaging.foreign_formats import recognize
from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS
from indexer.system.optional import install_command

if TYPE_CHECKING:
    from PIL import Image


class _Extra(NamedTuple):
    """The extra of moodex that installs the package of a reader, and the module of that package."""

    name: str
    module: str


_EXTRAS = {
    "jxl": _Extra("jxl", "imagecodecs"),
    "svg": _Extra("svg", "resvg_py"),
    "lottie": _Extra("lottie", "rlottie_python"),
    "video": _Extra("video", "av"),
    "psd": _Extra("psd", "psd_tools"),
}
"""The extras by reader; the other readers need none."""


def open_image(data: bytes) -> Image.Image | None:
    """Open an image in a format that Pillow does not read; return None if no reader knows its bytes.

    Raises Unsupported if the reader needs a package that is not installed, and whatever the reader raises on damaged bytes.
    """
    found = recognize(data)
    if found is None or not found.reader:
        return None
    if not _is_installed(found.reader):
        extra = _EXTRAS[found.reader].name
        raise Unsupported(f"it is {found.name}, which needs an extra decoder: {install_readers([extra])}")
    image: Image.Image = import_module(f"indexer.imaging.readers.{found.reader}").open_image(data)
    return image


def install_readers(extras: Collection[str]) -> str:
    """Return the command that installs the packages of some extras."""
    packages = sorted(extra.module.replace("_", "-") for extra in _EXTRAS.values() if extra.name in extras)
    return install_command(" ".join(packages), ",".join(sorted(extras)))


def needs_isolation(data: bytes) -> bool:
    """Return whether the package of an extra would read a file: moodex runs such a package only in a child process."""
    found = recognize(data)
    return found is not None and found.reader in _EXTRAS and _is_installed(found.reader)


def readable_extensions() -> frozenset[bytes]:
    """Return the extensions of the images that the installed packages read."""
    readable = {extra for reader, (extra, _) in _EXTRAS.items() if _is_installed(reader)}
    return EXTENSIONS | {extension for extension, extra in EXTRA_EXTENSIONS.items() if extra in readable}


def _is_installed(reader: str) -> bool:
    return reader not in _EXTRAS or find_spec(_EXTRAS[reader].module) is not None
