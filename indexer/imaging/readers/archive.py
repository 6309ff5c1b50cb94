"""Reading of one member of a ZIP archive, with a limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from io import BytesIO
from zipfile import BadZipFile, ZipFile

from indexer.domain.errors import Damaged


def read_member(data: bytes, accept: Callable[[str], bool], max_bytes: int) -> bytes | None:
    """Return the first member of an archive whose name `accept` accepts; None if there is none.

    Raises Damaged if the archive is damaged or encrypted, or the member is larger than `max_bytes`, whatever size it states.
    """
    try:
        with ZipFile(BytesIO(data)) as archive:
            name = next(filter(accept, archive.namelist()), None)
            if name is None:
                return None
            with archive.open(name) as member:
                content = member.read(max_bytes + 1)
    except (BadZipFile, RuntimeError, zlib.error, EOFError) as error:
        raise Damaged("its archive is damaged or encrypted") from error
    if len(content) > max_bytes:
        raise Damaged(f"its content exceeds the limit of {max_bytes >> 20} MiB")
    return content
