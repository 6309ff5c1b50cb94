"""Requests to web servers, with limits: of time, of size, of redirects, and of the addresses that they reach."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from indexer.domain.errors import Unreadable
from indexer.sources.remote.server import REQUEST_SECONDS, RETRIES, Denied

_CONNECT_SECONDS, _SILENCE_SECONDS = 10.0, 30.0
"""Limits of the time until a server accepts a connection, and of a time in which it sends nothing."""

_DOWNLOAD_SECONDS = 600.0
_MAX_PAUSE_SECONDS = 20
_MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 18
_CONNECTIONS = 16
_FOR_THE_MOMENT = (408, 429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_NOTHING_THERE = (404, 410)
_NOT_IMPLEMENTED = 501
_NONE: Mapping[str, str] = {}


class Answer(NamedTuple):
    """The answer of a server: its status, its headers, the address that answered, and the body in chunks."""

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Iterator[bytes]


class WebClient:
    """Sends requests. Thread-safe. No proxy is used.

    - `reaches_private`: whether servers on this machine and in private networks are reached.
    - `may_follow`: decides whether a redirect from one URL to another is followed.
    """

    def __init__(self, reaches_private: bool, may_follow: Callable[[str, str], bool], retries: int = RETRIES) -> None:
        self._may_follow = may_follow
        retry = urllib3.Retry(
            total=retries,
            redirect=0,
            allowed_methods=None,
            status_forcelist=_FOR_THE_MOMENT,
            backoff_factor=0.25,
            backoff_max=_MAX_PAUSE_SECONDS,
            retry_after_max=_MAX_PAUSE_SECONDS,
            raise_on_status=False,
        )
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_SILENCE_SECONDS)
        self._pools = urllib3.PoolManager(num_pools=_CONNECTIONS, maxsize=_CONNECTIONS, retries=retry, timeout=timeout)
        if not reaches_private:
            self._pools.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTLSPool}
        else:
            self._pools.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def request(self, method: str, url: str, headers: Mapping[str, str] = _NONE, body: bytes | None = None) -> Answer:
        """Send a request and return the answer to it, whose chunks the caller reads to the end.

        Raises FileNotFoundError if the server answers that there is nothing, Denied if it answers with another error of the
        request, and Unreadable if it does not answer, has an error of its own, or leads elsewhere.
        """
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._send(method, url, {"Accept-Encoding": "identity", "User-Agent": "moodex", **headers}, body)
            if response.status not in _REDIRECTS or "Location" not in response.headers:
                _require_success(response)
                return Answer(response.status, response.headers, url, _body(response, has_body=method != "HEAD"))
            target = urljoin(url, response.headers["Location"])
            response.close()
            if urlsplit(target).scheme not in ("http", "https") or not self._may_follow(url, target):
                raise Denied("its server leads to another address")
            url = target
        raise Denied(f"its server leads from one address to another more than {_MAX_REDIRECTS} times")

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Any:
        with _explained():
            return self._pools.urlopen(
                method, url, body=body, headers=headers, redirect=False, preload_content=False, decode_content=False
            )


def bounded(chunks: Iterator[bytes], max_bytes: int) -> bytes:
    """Return the bytes of a page. Raises Unreadable if there are more than `max_bytes`."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > max_bytes:
            raise Unreadable(f"the answer of its server exceeds the limit of {max_bytes >> 20} MiB")
    return bytes(data)


def _require_success(response: Any) -> None:
    if response.status < 300:
        return
    response.close()
    if response.status in _NOTHING_THERE:
        raise FileNotFoundError(response.status, "the server answers that there is nothing")
    reason = f"its server answers {response.status} {response.reason or ''}".rstrip()
    is_of_server = response.status >= 500 and response.status != _NOT_IMPLEMENTED
    raise Unreadable(reason) if is_of_server or response.status in _FOR_THE_MOMENT else Denied(reason)


def _body(response: Any, has_body: bool) -> Iterator[bytes]:
    """Yield the body of an answer. Raises Unreadable if it ends early or takes too long."""
    stated = response.headers.get("Content-Length", "") if has_body else "0"
    received, end = 0, time.monotonic() + _DOWNLOAD_SECONDS
    try:
        with _explained():
            while chunk := response.read1(_CHUNK_BYTES):
                received += len(chunk)
                if time.monotonic() > end:
                    raise Unreadable(f"its download takes more than {_DOWNLOAD_SECONDS:g} seconds")
                yield chunk
        if stated.isdecimal() and received != int(stated):
            raise Unreadable("its download ended early")
        response.release_conn()
    finally:
        if not response.closed:
            response.close()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        reason = _innermost(error)
        text = " ".join(str(reason).split())[:200] or type(reason).__name__
        if isinstance(reason, NewConnectionError):
            # Its text begins with the connection, as Python writes it.
            raise Unreadable(f"its server cannot be reached: {text.partition('): ')[2] or text}") from error
        raise Unreadable(f"its server does not answer as it should: {text}") from error


def _innermost(error: BaseException) -> BaseException:
    """Return the reason of an error of urllib3, which often wraps another."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else error


def is_public(address: str) -> bool:
    """Return whether an IP address belongs to the public internet: not to this machine, a private network or a special use."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class _Hurried:
    """A connection that is closed if the head of an answer takes too long, although bytes arrive."""

    sock: Any

    def getresponse(self) -> Any:
        timer = threading.Timer(REQUEST_SECONDS, _shut, (self.sock,))
        timer.daemon = True
        timer.start()
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()


class _Public:
    """A connection to a public address. The name is resolved once, so that it cannot lead elsewhere after the check."""

    host: str
    port: int
    timeout: Any
    socket_options: Any
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, f"the name {self.host} is unknown") from error  # type: ignore[arg-type]
        addresses = [str(address[4][0]) for address in found]
        if not all(map(is_public, addresses)):
            raise PrivateAddress(f"{self.host} is in a private network; see the setting private_urls")
        failure: OSError | None = None
        for address in addresses:
            try:
                return urllib3.util.connection.create_connection(
                    (address, self.port), self.timeout, socket_options=self.socket_options
                )
            except OSError as error:
                failure = error
        raise NewConnectionError(self, f"no connection to {self.host}: {failure}") from failure  # type: ignore[arg-type]


class PrivateAddress(Unreadable):
    """An address in a private network, which a table of URLs may not name."""


class _Connection(_Hurried, HTTPConnection):
    pass


class _TLSConnection(_Hurried, HTTPSConnection):
    pass


class _PublicConnection(_Public, _Connection):
    pass


class _PublicTLSConnection(_Public, _TLSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTLSConnection


def _shut(sock: Any) -> None:
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is closed already
