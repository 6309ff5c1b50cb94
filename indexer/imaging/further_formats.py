"""Formats that Pillow does not read: the choice of the module, and of the package behind it, that reads a file's bytes."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from indexer.domain.errors import Unsupported
from indexer.imaging.foreign_formats import recognize
from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS
from indexer.system.optional import install_command

if TYPE_CHECKING:
    from PIL import Image


_PACKAGES = {"jxl": "imagecodecs", "svg": "resvg_py", "lottie": "rlottie_python", "video": "av", "psd": "psd_tools"}
"""The packages that readers need, by reader. The extra that installs a package has the name of its reader."""

_DRAWINGS = ("svg", "lottie")
"""The readers that draw shapes."""


def open_image(data: bytes) -> Image.Image | None:
    """Open an image in a format that Pillow does not read; return None if no reader knows its bytes.

    Raises Unsupported if the reader needs a package that is not installed, and whatever the reader raises on damaged bytes.
    """
    found = recognize(data)
    if found is None or not found.reader:
        return None
    if not _is_installed(found.reader):
        raise Unsupported(f"it is {found.name}, which needs an extra decoder: {install_readers([found.reader])}")
    image: Image.Image = import_module(f"indexer.imaging.readers.{found.reader}").open_image(data)
    return image


def install_readers(extras: Collection[str]) -> str:
    """Return the command that installs the packages of some extras."""
    packages = sorted(_PACKAGES[extra].replace("_", "-") for extra in extras)
    return install_command(" ".join(packages), ",".join(sorted(extras)))


def needs_isolation(data: bytes) -> bool:
    """Return whether the package of an extra would read a file: moodex runs such a package only in a child process."""
    found = recognize(data)
    return found is not None and found.reader in _PACKAGES and _is_installed(found.reader)


def is_drawing(data: bytes) -> bool:
    """Return whether a file describes shapes: drawing them can take any time, however small the file and the image are."""
    found = recognize(data)
    return found is not None and found.reader in _DRAWINGS


def readable_extensions() -> frozenset[bytes]:
    """Return the extensions of the images that the installed packages read."""
    return EXTENSIONS | {extension for extension, reader in EXTRA_EXTENSIONS.items() if _is_installed(reader)}


def _is_installed(reader: str) -> bool:
    return reader not in _PACKAGES or find_spec(_PACKAGES[reader]) is not None
