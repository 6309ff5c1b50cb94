"""Listings of WebDAV servers (RFC 4918): the answers to PROPFIND."""

from __future__ import annotations

import xml.etree.ElementTree as ET  # it loads nothing, and expat limits how much entities inflate
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from indexer.domain.errors import Unreadable
from indexer.sources.remote.index_pages import name_below
from indexer.sources.remote.server import RemoteFile

REQUEST = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop>'
    b"<resourcetype/><getcontentlength/><getetag/><getlastmodified/></prop></propfind>"
)
"""The body of a request for the properties that `parse_listing` reads."""


class Resource(NamedTuple):
    """A file or folder in a listing. `file` is None if the server does not tell enough of it."""

    name: bytes
    is_folder: bool
    file: RemoteFile | None


def parse_listing(data: bytes, url: str) -> Iterator[Resource]:
    """Yield what is directly below a URL that ends with a slash. Raises Unreadable for anything but a listing."""
    try:
        root = ET.fromstring(data)  # noqa: S314
    except ET.ParseError as error:
        raise Unreadable("the listing of its server is not XML") from error
    if root.tag != "{DAV:}multistatus":
        raise Unreadable("the answer of its server is not a listing")
    for response in root.iterfind("{DAV:}response"):
        found = name_below((response.findtext("{DAV:}href") or "").strip(), url)
        if found is None:
            continue
        is_folder = response.find(".//{DAV:}resourcetype/{DAV:}collection") is not None
        yield Resource(found[0], is_folder, None if is_folder else _file(response))


def _file(response: ET.Element) -> RemoteFile | None:
    """Return what a listing tells of a file; None without a size and an ETag, by which its download is recognized."""
    size = response.findtext(".//{DAV:}getcontentlength") or ""
    tag = (response.findtext(".//{DAV:}getetag") or "").strip()
    if not size.isdecimal() or not tag:
        return None
    return RemoteFile(int(size), tag, time_of(response.findtext(".//{DAV:}getlastmodified")))


def time_of(text: str | None) -> int:
    """Return the time in a header, in nanoseconds since the epoch; 0 without a valid one."""
    try:
        return int(parsedate_to_datetime(text or "").timestamp() * 1e9)
    except (ValueError, OverflowError):
        return 0
