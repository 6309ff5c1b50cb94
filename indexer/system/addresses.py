"""Addresses of files on servers: buckets of object storage, and web servers."""

from __future__ import annotations

import re

BUCKETS, WEB = (b"s3", b"gs", b"az"), (b"http", b"https")
"""The schemes of buckets, and those of web servers."""

_ADDRESS = re.compile(rb"(s3|gs|az|https?):/+([^/].*)", re.DOTALL)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
_STAYS_ESCAPED = (b"%", b"/", b"\0")
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def remote_address(path: bytes) -> bytes | None:
    """Return the one form of an address on a server, such as b"s3://bucket/key"; None for any other path.

    It has no slash at its end. Programs that take it for a path of the file system leave one slash of the two. Addresses of web
    servers are without escapes such as %20, except those of percent signs, slashes and zero bytes in names. An
    address with the name ".." has no such form.
    """
    found = _ADDRESS.fullmatch(path)
    if found is None:
        return None
    scheme, (host, *names) = found[1], [name for name in found[2].split(b"/") if name not in (b"", b".")]
    if scheme in WEB:
        host = host.lower().removesuffix(_DEFAULT_PORTS[scheme])
        names = [_ESCAPE.sub(_unescaped, name) for name in names]
    if b".." in names:
        return None
    return scheme + b"://" + b"/".join((host, *names))


def scheme_of(address: bytes) -> bytes:
    """Return the scheme of an address in its one form, such as b"s3"."""
    return address.partition(b":")[0]


def _unescaped(escape: re.Match[bytes]) -> bytes:
    character = bytes.fromhex(escape[1].decode()) if escape[1] else b"%"
    return b"%%%02X" % ord(character) if character in _STAYS_ESCAPED else character
