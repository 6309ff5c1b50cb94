"""The packages that some archives need: the extras `archives` and `parquet`."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec

from indexer.ports.sources import ARCHIVE_EXTENSIONS, TABLE_EXTENSIONS, extension_of
from indexer.system.optional import install_command

_MODULES = {"7z": "py7zr", "rar": "unrar.cffi", "zstd": "backports.zstd", "parquet": "pyarrow"}
"""The module that reads each kind of archive; Python 3.14 reads Zstandard itself."""

_PACKAGES = {"archives": "py7zr unrar2-cffi backports.zstd", "parquet": "pyarrow"}

_EXTENSIONS = tuple(ARCHIVE_EXTENSIONS)


@cache
def is_installed(package: str) -> bool:
    """Return whether archives that need a package, as in `ARCHIVE_EXTENSIONS`, can be read; "" needs none."""
    if not package or (package == "zstd" and sys.version_info >= (3, 14)):
        return True
    try:
        return find_spec(_MODULES[package]) is not None
    except ModuleNotFoundError:
        return False


def install_packages(packages: Collection[str]) -> str:
    """Return the command that installs what some archives need, as in `ARCHIVE_EXTENSIONS`."""
    extras = [
        name for name in ("archives", "parquet") if any((package == "parquet") == (name == "parquet") for package in packages)
    ]
    return install_command(" ".join(_PACKAGES[extra] for extra in extras), ",".join(extras))


def archive_extension(name: bytes) -> bytes | None:
    """Return the extension of the name of an archive, such as ".tar.gz", in lower case; None for any other file."""
    lowered = name.lower()
    if not lowered.endswith(_EXTENSIONS):  # most files are no archives: all extensions are compared at once
        return None
    return next(extension for extension in _EXTENSIONS if lowered.endswith(extension))


def is_archive_if_named(name: bytes) -> bool:
    """Return whether a file that a user names is opened as an archive: other scans pass over tables of URLs."""
    return is_readable_archive(name) or extension_of(name) in TABLE_EXTENSIONS


def is_readable_archive(name: bytes) -> bool:
    """Return whether a file has the name of an archive that the installed packages read."""
    extension = archive_extension(name)
    return extension is not None and is_installed(ARCHIVE_EXTENSIONS[extension])
