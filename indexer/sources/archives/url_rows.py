"""Tables of URLs: the names that their rows have as images."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes, urlsplit

from indexer.ports.sources import EXTENSIONS, EXTRA_EXTENSIONS, extension_of
from indexer.sources.archives.contents import inner_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from indexer.sources.archives.formats import Entry

URL_COLUMNS, KEY_COLUMN = {"url", "image_url"}, "key"
"""Names of columns in tables for img2dataset."""

_MAX_NAME_BYTES = 200
_VERSION_BYTES = 8


class UrlNames:
    """Gives each URL of a table a path: its key, or without one its host and its path. Each URL is one image."""

    def __init__(self) -> None:
        self._urls: dict[bytes, str] = {}
        self._number = 0

    def entries(self, url: str, key: str) -> Iterator[Entry]:
        """Yield the entry of a row; none for an empty URL, and for one that an earlier row has under the same name."""
        from indexer.sources.archives.formats import Entry

        self._number += 1
        if not url:
            return
        name = _with_image_extension(key.encode("utf-8", "surrogatepass"), url) if key else _name_of(url)
        if self._urls.get(name, url) != url:  # another URL has this name: this one also gets a digest
            folder, slash, last = name.rpartition(b"/")
            name = folder + slash + _digest(url).hex().encode() + b"-" + last
        if name in self._urls:
            return
        self._urls[name] = url
        version = int.from_bytes(_digest(url), "little", signed=True)
        yield Entry(self._number, name, 0, version, problem=_problem(url), url=url)


def _name_of(url: str) -> bytes:
    """Return the host and the path of a URL, such as b"example.com/a/b.png"; a digest stands for a query, and for a bad path."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return _digest(url).hex().encode() + b".jpg"
    *folders, last = unquote_to_bytes(parts.path).lstrip(b"/").split(b"/")
    if parts.query:
        last = _digest(url).hex().encode() + b"-" + last
    name = b"/".join((host.encode(), *folders, _with_image_extension(last or b"index", url)))
    is_good = inner_path(name) == name and all(len(part) <= _MAX_NAME_BYTES for part in name.split(b"/"))
    return name if is_good else host.encode() + b"/" + _digest(url).hex().encode() + b".jpg"


def _with_image_extension(name: bytes, url: str) -> bytes:
    """Return a name with the extension of an image: its own, else that of the URL, else .jpg. The bytes decide what it is."""
    if _is_image(name):
        return name
    extension = extension_of(url.partition("?")[0].encode("utf-8", "surrogatepass"))
    return name + (extension if _is_image(extension) else b".jpg")


def _is_image(name: bytes) -> bool:
    return extension_of(name) in EXTENSIONS or extension_of(name) in EXTRA_EXTENSIONS


def _problem(url: str) -> str:
    """Return why a URL is not read; "" for one that is."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_web = False
    if not is_web:
        return "its address does not begin with http:// or https://, or is invalid"
    return "its address contains credentials" if "@" in parts.netloc else ""


def _digest(url: str) -> bytes:
    return blake2b(url.encode("utf-8", "surrogatepass"), digest_size=_VERSION_BYTES).digest()
