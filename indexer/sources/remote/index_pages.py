"""The pages on which web servers list a folder: those of Apache, nginx, lighttpd and Python's http.server."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from indexer.domain.errors import Unreadable
from indexer.sources.remote.server import Denied

MAX_PAGE_BYTES = 1 << 26
MAX_ENTRIES = 1_000_000

_TITLE = re.compile(r"\s*(index of|directory listing for)\b", re.IGNORECASE)


class Listed(NamedTuple):
    """The names in a folder, and those that are folders themselves."""

    files: set[bytes]
    subfolders: set[bytes]


def parse_index_page(page: str, url: str) -> Listed:
    """Return the names that a page lists directly below its URL, which ends with a slash.

    Links to anything else are ignored. Raises Denied for a page that is not a listing, such as a form to log in, and Unreadable
    for too many links.
    """
    parser = _Links()
    parser.feed(page)
    parser.close()
    if not any(map(_TITLE.match, parser.titles)):
        raise Denied("its page is not a listing of a folder")
    listed = Listed(set(), set())
    for link in parser.links:
        found = name_below(link, url)
        if found is None:
            continue
        name, is_folder = found
        (listed.subfolders if is_folder else listed.files).add(name)
        if len(listed.files) + len(listed.subfolders) > MAX_ENTRIES:
            raise Unreadable(f"it lists more than {MAX_ENTRIES:,} files")
    return listed


def name_below(link: str, url: str) -> tuple[bytes, bool] | None:
    """Return the name of a link directly below a URL that ends with a slash, and whether it is a folder; None for other links."""
    try:
        target, base = urlsplit(urljoin(url, link)), urlsplit(url)
    except ValueError:
        return None
    if target.query or (target.scheme, target.netloc.lower()) != (base.scheme, base.netloc.lower()):
        return None
    *above, name = map(unquote_to_bytes, target.path.removesuffix("/").split("/"))
    if above != list(map(unquote_to_bytes, base.path.split("/")[:-1])):
        return None
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return None
    return name, target.path.endswith("/")


class _Links(HTMLParser):
    """Gathers the targets of links, and the texts of the title and the first headings."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.titles: list[str] = []
        self._is_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_title = tag in ("title", "h1")
        if tag == "a" and len(self.links) <= 2 * MAX_ENTRIES:
            self.links += [value for name, value in attrs if name == "href" and value][:1]

    def handle_endtag(self, tag: str) -> None:
        self._is_title = False

    def handle_data(self, data: str) -> None:
        if self._is_title and len(self.titles) < 16:
            self.titles.append(data)
