"""Who may ask: the names of this server, and the token that others than this machine need."""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from indexer.domain.errors import MoodexError, disk_error
from indexer.system.safe_read import read_bounded

TOKEN_FILE = "web-token"  # noqa: S105  # the name of a file
_TOKEN_BYTES = 32
_MAX_TOKEN_FILE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Access:
    """The rules for requests.

    - `names`: host names, in lower case, by which browsers may ask.
    - `addresses`: whether they may also ask by any IP address. A page of another site cannot make its own name an address, so
      that this opens no door to DNS rebinding.
    - `token`: what every request must present; None if only this machine can ask.
    """

    names: frozenset[str]
    addresses: bool
    token: str | None

    def admits(self, host: str) -> bool:
        """Return whether a Host header, with or without a port, names this server."""
        name = _name_of(host)
        if name in self.names:
            return True
        return self.addresses and _is_address(name)

    def knows(self, token: str) -> bool:
        """Return whether a token is the right one, in a time that does not tell how much of it is."""
        return self.token is not None and secrets.compare_digest(token.encode(), self.token.encode())


def access_to(host: str, names: Sequence[str], home: Path) -> Access:
    """Return the rules for a server that listens at an address or name.

    A loopback address needs no token. `names` are further host names, such as that of a reverse proxy. Raises MoodexError if the
    token cannot be kept.
    """
    known = {"localhost", "127.0.0.1", "::1", *(name.lower() for name in names)}
    if is_loopback(host):
        return Access(frozenset(known), addresses=False, token=None)
    own = socket.gethostname().lower()
    return Access(frozenset({*known, host.lower(), own, f"{own}.local"}), addresses=True, token=_kept_token(home))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def _name_of(host: str) -> str:
    """Return the name in a Host header without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _kept_token(home: Path) -> str:
    """Return the token of a library, which is generated once. Only its owner can read the file."""
    path = home / TOKEN_FILE
    try:
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(_TOKEN_BYTES))
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise MoodexError(f"Others can read the token in {path}. Delete the file, and start again to get a new token.")
        token = read_bounded(path, _MAX_TOKEN_FILE_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise disk_error(f"The token {path}", error if isinstance(error, OSError) else OSError(str(error))) from error
    if len(token) < _TOKEN_BYTES:
        raise MoodexError(f"The token in {path} is too short. Delete the file, and start again to get a new token.")
    return token
