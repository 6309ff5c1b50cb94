"""Folders of web servers: http://HOST/PATH and https://HOST/PATH, listed by WebDAV or on pages."""

from __future__ import annotations

import netrc
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from urllib.parse import quote, urlsplit

import urllib3

from indexer.domain.errors import Unreadable, UsageError
from indexer.sources.entries import InnerFolder, Member
from indexer.sources.remote.index_pages import MAX_ENTRIES, MAX_PAGE_BYTES, Listed, parse_index_page
from indexer.sources.remote.server import Denied, RemoteFile, is_wanted
from indexer.sources.remote.web_client import Answer, WebClient, bounded
from indexer.sources.remote.webdav import REQUEST, parse_listing, time_of

_THREADS = 8
"""Number of files of a folder whose stamps are read at a time."""

_NO_STAMP = Member(0, 0, None)
"""A file that is neither an image nor an archive: scans pass over it."""


class Website:
    """Implements `FileServer`. Only links below the folder that lists them are files of it, and redirects stay on the server.

    A page has no stamps, so that each image of a folder costs a request in every scan.
    """

    def __init__(self, address: bytes) -> None:
        """`address` is that of the server. Raises UsageError if it contains credentials."""
        if b"@" in address:
            raise UsageError("An address contains no credentials; write them to the file .netrc in your home folder.")
        self._client = WebClient(reaches_private=True, may_follow=_stays)
        self._headers = _credentials(urlsplit(address.decode("utf-8", "replace")).hostname or "")
        self._speaks_webdav: bool | None = None

    def is_folder(self, path: bytes) -> bool:
        if _is_host(path):
            return True
        try:
            if self._has_webdav(path):
                next(parse_listing(self._properties(path), _folder_url(path)), None)
            else:
                self._page(path)
        except FileNotFoundError:
            return False
        return True

    def listing(self, folder: bytes) -> InnerFolder:
        known: dict[bytes, RemoteFile] = {}
        if self._has_webdav(folder):
            listed = Listed(set(), set())
            for resource in parse_listing(self._properties(folder), _folder_url(folder)):
                (listed.subfolders if resource.is_folder else listed.files).add(resource.name)
                if resource.file is not None:
                    known[resource.name] = resource.file
        else:
            listed = self._page(folder)
        if len(listed.files) > MAX_ENTRIES:
            raise Unreadable(f"it lists more than {MAX_ENTRIES:,} files")
        unknown = sorted(name for name in listed.files if name not in known and is_wanted(name))
        stamps, denied = self._statuses(folder, unknown)
        members = {name: file.member for name, file in (known | stamps).items()}
        members |= {name: _NO_STAMP for name in listed.files if not is_wanted(name)}
        problem = "" if not denied else f"its server denies access to {denied} of its files"
        return InnerFolder(folder, members, listed.subfolders, whole=not denied, problem=problem)

    def status(self, path: bytes) -> RemoteFile:
        if _is_host(path):
            raise FileNotFoundError(path)
        answer = self._client.request("HEAD", _url(path), self._headers)
        bounded(answer.chunks, 0)  # this gives the connection back
        return _file(path, answer)

    def stream(self, path: bytes) -> tuple[RemoteFile, Iterator[bytes]]:
        answer = self._client.request("GET", _url(path), self._headers)
        return _file(path, answer), answer.chunks

    def part(self, path: bytes, file: RemoteFile, start: int, end: int) -> bytes | None:
        answer = self._client.request("GET", _url(path), {**self._headers, "Range": f"bytes={start}-{end - 1}"})
        if answer.status != 206:
            return None
        _, _, total = answer.headers.get("Content-Range", "").partition("/")
        modified_ns = file.modified_ns if file.tag else time_of(answer.headers.get("Last-Modified"))
        if total not in (str(file.size), "*") or (answer.headers.get("ETag", file.tag), modified_ns) != file[1:]:
            raise Unreadable("it changed while it was read")
        return bounded(answer.chunks, end - start)

    def _statuses(self, folder: bytes, names: list[bytes]) -> tuple[dict[bytes, RemoteFile], int]:
        """Return what the server tells of files, and the number of those that it does not give."""

        def status(name: bytes) -> RemoteFile | Denied | None:
            try:
                return self.status(folder + b"/" + name)
            except FileNotFoundError:
                return None
            except Denied as error:
                return error

        with ThreadPoolExecutor(_THREADS) as threads:
            try:
                found = dict(zip(names, threads.map(status, names), strict=True))
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        files = {name: file for name, file in found.items() if isinstance(file, RemoteFile)}
        return files, sum(isinstance(file, Denied) for file in found.values())

    def _page(self, folder: bytes) -> Listed:
        answer = self._client.request("GET", _folder_url(folder), {**self._headers, "Accept": "text/html"})
        if not answer.headers.get("Content-Type", "").startswith("text/html"):
            raise Denied("its page is not a listing of a folder")
        return parse_index_page(bounded(answer.chunks, MAX_PAGE_BYTES).decode("utf-8", "replace"), _folder_url(folder))

    def _properties(self, folder: bytes) -> bytes:
        headers = {**self._headers, "Depth": "1", "Content-Type": "application/xml"}
        answer = self._client.request("PROPFIND", _folder_url(folder), headers, REQUEST)
        return bounded(answer.chunks, MAX_PAGE_BYTES)

    def _has_webdav(self, folder: bytes) -> bool:
        """Return whether the server says that it speaks WebDAV. It is asked once. Raises Unreadable."""
        if self._speaks_webdav is None:
            try:
                answer = self._client.request("OPTIONS", _folder_url(folder), self._headers)
                bounded(answer.chunks, MAX_PAGE_BYTES)
                self._speaks_webdav = "DAV" in answer.headers
            except (FileNotFoundError, Denied):
                self._speaks_webdav = False
        return self._speaks_webdav


@cache
def open_website(address: bytes) -> Website:
    """Return the web server of an address, which all libraries of this process share. Raises as `Website` does."""
    return Website(address)


def _file(path: bytes, answer: Answer) -> RemoteFile:
    """Return what an answer tells of a file. Raises FileNotFoundError for a folder, to which the server leads."""
    if urlsplit(answer.url).path.endswith("/"):
        raise FileNotFoundError(path)
    size = answer.headers.get("Content-Length", "")
    modified = time_of(answer.headers.get("Last-Modified"))
    return RemoteFile(int(size) if size.isdecimal() else 0, answer.headers.get("ETag", ""), modified)


def _is_host(path: bytes) -> bool:
    return path.count(b"/") < 3


def _url(path: bytes) -> str:
    scheme, _, rest = path.partition(b"://")
    host, slash, names = rest.partition(b"/")
    return f"{scheme.decode()}://{host.decode('utf-8', 'replace')}{slash.decode()}{quote(names, safe='/%')}"


def _folder_url(path: bytes) -> str:
    return f"{_url(path)}/"


def _stays(url: str, target: str) -> bool:
    """Return whether a redirect stays on its server."""
    return urlsplit(url)[:2] == urlsplit(target)[:2]


def _credentials(host: str) -> Mapping[str, str]:
    """Return the header with the name and password for a host in ~/.netrc, if there are any."""
    try:
        found = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return {}
    return urllib3.make_headers(basic_auth=f"{found[0]}:{found[2]}") if found else {}
