"""The child process that opens archives: it reads requests from its standard input and writes answers to its standard output.

A request is the length of a JSON text, then that text. An answer is the length of a JSON header, that header, and as many bytes
as it says. Neither can carry code.
"""

from __future__ import annotations

import json
import os
import stat
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from typing import IO, Any

from indexer.domain.errors import Damaged, ImageError, Unreadable, Unsupported
from indexer.domain.files import FileStamp
from indexer.sources.archives.contents import missing
from indexer.sources.archives.opened import OpenedArchive
from indexer.system.addresses import remote_address
from indexer.system.child_process import answer_only, limit_memory, read_exactly
from indexer.system.safe_read import open_without_waiting

_LENGTH = struct.Struct("<I")

_MAX_OPEN_ARCHIVES = 4
"""Several threads read: some are at the end of an archive when others begin with the next one."""

_MISSING = "missing"
_ERRORS = {error.kind: error for error in (Damaged, Unreadable, Unsupported)}

_Key = tuple[str, FileStamp]


def send_request(pipe: IO[bytes], archive: bytes, stamp: FileStamp, member: bytes | None) -> None:
    """Ask a child for the bytes of a member or, without one, for the contents of an archive that has a stamp, as JSON."""
    request = {
        "path": archive.decode("latin-1"),
        "stamp": [stamp.size, stamp.version, stamp.change],
        "member": None if member is None else member.decode("latin-1"),
    }
    text = json.dumps(request).encode()
    pipe.write(_LENGTH.pack(len(text)) + text)
    pipe.flush()


def read_answer(pipe: IO[bytes]) -> bytes:
    """Read a child's answer.

    Raises FileNotFoundError and the ImageErrors that the child raised, and EOFError for a child that ended.
    """
    (length,) = _LENGTH.unpack(read_exactly(pipe, _LENGTH.size))
    header = json.loads(read_exactly(pipe, length))
    if header.get("kind") == _MISSING:
        raise missing()
    if "error" in header:
        raise _ERRORS[header["kind"]](header["error"])
    return read_exactly(pipe, int(header["bytes"]))


def serve(memory: int) -> None:
    """Answer requests until the input ends, in at most `memory` bytes of address space."""
    requests, answers = sys.stdin.buffer, answer_only()
    limit_memory(memory)
    opened: OrderedDict[_Key, OpenedArchive] = OrderedDict()
    while prefix := requests.read(_LENGTH.size):
        request = json.loads(read_exactly(requests, *_LENGTH.unpack(prefix)))
        try:
            data = _answer(request, opened)
        except ImageError as error:
            _send(answers, {"kind": error.kind, "error": str(error)})
        except FileNotFoundError:
            _send(answers, {"kind": _MISSING})
        else:
            _send(answers, {"bytes": len(data)}, data)


def _answer(request: dict[str, Any], opened: OrderedDict[_Key, OpenedArchive]) -> bytes:
    key = request["path"], FileStamp(*request["stamp"])
    if key not in opened:
        opened[key] = _open(*key)
        while len(opened) > _MAX_OPEN_ARCHIVES:
            opened.popitem(last=False)[1].close()
    opened.move_to_end(key)
    archive = opened[key]
    member = request["member"]
    data = archive.read(member.encode("latin-1")) if member else json.dumps(archive.contents.to_json()).encode()
    if not archive.has(key[1]):
        opened.pop(key).close()
        raise Unreadable("its archive changed while it was read")
    return data


def _open(path: str, stamp: FileStamp) -> OpenedArchive:
    name = path.encode("latin-1")
    file = _open_local(name) if remote_address(name) is None else _open_remote(name, stamp)
    try:
        archive = OpenedArchive(file, name, stamp)
        if not archive.has(stamp):
            raise Unreadable("it changed while it was read")
    except BaseException:
        file.close()
        raise
    return archive


def _open_local(path: bytes) -> IO[bytes]:
    try:
        file = open(path, "rb", opener=open_without_waiting)  # noqa: SIM115  # the archive closes it
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise Damaged("it is not a regular file")


def _open_remote(path: bytes, stamp: FileStamp) -> IO[bytes]:
    from indexer.sources.remote.opened_file import open_remote

    return open_remote(path, stamp)


def _send(pipe: IO[bytes], header: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(header).encode()
    pipe.write(_LENGTH.pack(len(text)) + text + data)
    pipe.flush()


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError):
        serve(int(sys.argv[1]))
    os._exit(0)
