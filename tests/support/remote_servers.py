"""Fake servers of files in this process: Google's and Azure's buckets, WebDAV, index pages, and plain files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import md5
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape as xml_escape

import pytest

Server = TypeVar("Server", bound="FileServer")

_TIME = 1_700_000_000
_ISO_TIME = "2023-11-14T22:13:20.000Z"
_HTTP_TIME = formatdate(_TIME, usegmt=True)


class FileServer:
    """A server of files that are not empty folders, by path without a slash at its start.

    - `address`: its URL without a slash at its end.
    - `requests`: (method, path with query) of each request.
    - `failing`: maps a request to the status with which the server answers instead, None for a good answer.
    """

    ranges = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.failing: Callable[[str, str], int | None] = lambda method, path: None
        self.address = ""

    def put(self, files: Mapping[str, bytes]) -> None:
        self.files.update(files)

    def delete(self, *names: str) -> None:
        for name in names:
            del self.files[name]

    def answer(self, request: Request) -> None:
        """Answer a request for a path that is not that of a file."""
        request.reply(404)

    def path_of(self, path: str) -> str:
        """Return the name of the file at a path."""
        return path.lstrip("/")

    def names_in(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the names of the files and of the subfolders in a folder."""
        start = f"{folder}/" if folder else ""
        rests = [name[len(start) :] for name in self.files if name.startswith(start)]
        return sorted(rest for rest in rests if "/" not in rest), sorted({rest.split("/")[0] for rest in rests if "/" in rest})


class Request(BaseHTTPRequestHandler):
    """A request to such a server."""

    protocol_version = "HTTP/1.1"
    owner: FileServer

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.requests.append((self.command, self.path))
        status = self.owner.failing(self.command, self.path)
        if status is not None:
            self.reply(status)
            return
        path = unquote(urlsplit(self.path).path)
        data = self.owner.files.get(self.owner.path_of(path))
        if data is None or self.command not in ("GET", "HEAD"):
            self.owner.answer(self)
        else:
            self._send_file(data)

    do_GET = do_HEAD = do_OPTIONS = do_PROPFIND = handle_any  # noqa: N815  # the names that http.server gives them

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_file(self, data: bytes) -> None:
        headers = {"ETag": etag(data), "Last-Modified": _HTTP_TIME, "x-ms-blob-type": "BlockBlob"}
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted != etag(data):
            self.reply(412)
            return
        span = self.headers.get("Range")
        if span and self.owner.ranges:
            start, _, last = span.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1, len(data))
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
            self.reply(206, data[int(start) : end], headers)
        else:
            self.reply(200, data, headers)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class GoogleBuckets(FileServer):
    """Speaks the XML interface of Google Cloud Storage. The files of a bucket are below its name."""

    def answer(self, request: Request) -> None:
        if request.command != "GET" or "list-type" not in request.query:
            request.reply(404)
            return
        bucket = unquote(urlsplit(request.path).path).strip("/")
        prefix = request.query.get("prefix", "")
        files, folders = self.names_in(f"{bucket}/{prefix}".rstrip("/"))
        objects = "".join(
            f"<Contents><Key>{xml_escape(prefix + name)}</Key><LastModified>{_ISO_TIME}</LastModified>"
            f"<ETag>{xml_escape(etag(self.files[f'{bucket}/{prefix}{name}']))}</ETag>"
            f"<Size>{len(self.files[f'{bucket}/{prefix}{name}'])}</Size></Contents>"
            for name in files
        )
        prefixes = "".join(f"<CommonPrefixes><Prefix>{xml_escape(prefix + name)}/</Prefix></CommonPrefixes>" for name in folders)
        body = f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{objects}{prefixes}</ListBucketResult>"
        request.reply(200, body.encode(), {"Content-Type": "application/xml"})


class AzureContainers(FileServer):
    """Speaks the part of Azure's Blob service that lists and reads, for the account "account"."""

    def path_of(self, path: str) -> str:
        return path.lstrip("/").removeprefix("account/")

    def answer(self, request: Request) -> None:
        if request.command != "GET" or request.query.get("comp") != "list":
            request.reply(404, headers={"x-ms-error-code": "BlobNotFound"})
            return
        container = self.path_of(unquote(urlsplit(request.path).path))
        prefix = request.query.get("prefix", "")
        files, folders = self.names_in(f"{container}/{prefix}".rstrip("/"))
        blobs = "".join(
            f"<Blob><Name>{xml_escape(prefix + name)}</Name><Properties><Last-Modified>{_HTTP_TIME}</Last-Modified>"
            f"<Etag>{etag(self.files[f'{container}/{prefix}{name}']).strip(chr(34))}</Etag>"
            f"<Content-Length>{len(self.files[f'{container}/{prefix}{name}'])}</Content-Length>"
            "<Content-Type>image/png</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob>"
            for name in files
        )
        prefixes = "".join(f"<BlobPrefix><Name>{xml_escape(prefix + name)}/</Name></BlobPrefix>" for name in folders)
        body = f'<?xml version="1.0"?><EnumerationResults><Prefix>{xml_escape(prefix)}</Prefix><Blobs>{blobs}{prefixes}</Blobs>'
        request.reply(200, f"{body}<NextMarker/></EnumerationResults>".encode(), {"Content-Type": "application/xml"})


class IndexPages(FileServer):
    """Lists folders on pages, as Apache does; leads from the name of a folder to its page."""

    title = "Index of"

    def answer(self, request: Request) -> None:
        path = unquote(urlsplit(request.path).path)
        files, folders = self.names_in(path.strip("/"))
        if request.command not in ("GET", "HEAD"):
            request.reply(501)
        elif not files and not folders and path != "/":
            request.reply(404)
        elif not path.endswith("/"):
            request.reply(301, headers={"Location": quote(path) + "/"})
        else:
            links = ["?C=N;O=D", "../", "/elsewhere/x.png", "https://example.com/y.png", "mailto:a@example.com"]
            links += [quote(name) for name in files] + [f"{quote(name)}/" for name in folders]
            rows = "".join(f'<tr><td><a href="{escape(link)}">{escape(link)}</a></td></tr>' for link in links)
            page = f"<html><head><title>{self.title} {escape(path)}</title></head><body><table>{rows}</table></body></html>"
            request.reply(200, page.encode(), {"Content-Type": "text/html;charset=UTF-8"})


class WebDAV(FileServer):
    """Lists folders as WebDAV servers do."""

    def answer(self, request: Request) -> None:
        path = unquote(urlsplit(request.path).path)
        files, folders = self.names_in(path.strip("/"))
        if request.command == "OPTIONS":
            request.reply(200, headers={"DAV": "1, 2"})
        elif request.command != "PROPFIND" or (not files and not folders):
            request.reply(404)
        else:
            start = path.rstrip("/")
            body = '<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">' + _resource(f"{start}/", "<D:collection/>")
            body += "".join(_resource(f"{start}/{name}/", "<D:collection/>") for name in folders)
            for name in files:
                data = self.files[f"{start}/{name}".lstrip("/")]
                size = f"<D:getcontentlength>{len(data)}</D:getcontentlength><D:getetag>{etag(data)}</D:getetag>"
                body += _resource(f"{start}/{name}", "", f"{size}<D:getlastmodified>{_HTTP_TIME}</D:getlastmodified>")
            request.reply(207, f"{body}</D:multistatus>".encode(), {"Content-Type": "application/xml"})


def _resource(path: str, kind: str, properties: str = "") -> str:
    return (
        f"<D:response><D:href>{quote(path)}</D:href><D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype>"
        f"{properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
    )


def etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Start a server and set its address."""
    handler = type("Handler", (Request,), {"owner": server})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    server.address = f"http://127.0.0.1:{listener.server_port}"
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def use_google(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Lead moodex to a server of gs://."""
    for name, value in {"GOOGLE_BASE_URL": endpoint, "GOOGLE_SKIP_SIGNATURE": "true"}.items():
        monkeypatch.setenv(name, value)


def use_azure(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Lead moodex to a server of az://."""
    values = {"ENDPOINT": f"{endpoint}/account", "ACCOUNT_NAME": "account", "ACCOUNT_KEY": "a2V5"}
    for name, value in values.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
