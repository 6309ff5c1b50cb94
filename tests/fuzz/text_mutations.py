"""Mutate files whose content is text or is packed: drawings, animations, archives. The content stays well-formed."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from random import Random
from typing import Any
from zipfile import BadZipFile, ZipFile

_NUMBERS = (0, 1, -1, 0.5, 2, 60, 61, 255, 256, 1e-9, 1e9, -1e9, 1e30, 2**31 - 1, -(2**31), 2**32, 10_000)
_VALUES: tuple[Any, ...] = (*_NUMBERS, True, None, "", "x", [], {}, [0], [[0, 0]], "../../x.png", "data:image/png;base64,AA==")
_SVG_NUMBER, _SVG_VALUE = re.compile(rb"-?[0-9]*[.]?[0-9]+"), re.compile(rb"=\"[^\"]*\"")
_SVG_ELEMENT = re.compile(rb"<[a-zA-Z]+[^<>]*/>")
_SVG_VALUES = (
    b"url(#f)",
    b"url(#m)",
    b"url(#p)",
    b"#b",
    b"#s",
    b"NaN",
    b"100%",
    b"-5em",
    b"1e9",
    b"0",
    b"",
    b"rotate(1e9)",
    b"/x.png",
)

Change = Callable[[Random, bytes], bytes]


def change_svg(random: Random, data: bytes) -> bytes:
    """Change a number, an attribute or an element of a drawing; nest or repeat an element."""
    match random.randrange(5):
        case 0 | 1:
            return _replace(random, _SVG_NUMBER, data, lambda old: f"{_other_number(random, float(old))}".encode())
        case 2:
            return _replace(random, _SVG_VALUE, data, lambda _: b'="' + random.choice(_SVG_VALUES) + b'"')
        case 3:
            return _replace(random, _SVG_ELEMENT, data, lambda old: old * random.choice((0, 2, 50)))
        case _:
            depth = random.choice((1, 5, 90, 120))
            return _replace(random, _SVG_ELEMENT, data, lambda old: b"<g opacity='.9'>" * depth + old + b"</g>" * depth)


def _replace(random: Random, pattern: re.Pattern[bytes], data: bytes, make: Callable[[bytes], bytes]) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    chosen = random.choice(found)
    return data[: chosen.start()] + make(chosen.group()) + data[chosen.end() :]


def _other_number(random: Random, old: float) -> float:
    return random.choice((old * 2, -old, old + 1, old * 1e5, random.choice(_NUMBERS)))


def change_lottie(random: Random, data: bytes) -> bytes:
    """Change, remove, repeat or move a member of an animation."""
    try:
        animation = json.loads(data)
    except ValueError:
        return data
    places = list(_places(animation))
    if not places:
        return data
    owner, key = random.choice(places)
    match random.randrange(5):
        case 0:
            owner[key] = random.choice(_VALUES)
        case 1:
            del owner[key]
        case 2:
            other, other_key = random.choice(places)
            owner[key] = deepcopy(other[other_key])
        case 3 if isinstance(owner[key], int | float):
            owner[key] = _other_number(random, owner[key])
        case 4 if isinstance(owner, list):
            owner[key:key] = [deepcopy(owner[key]) for _ in range(random.choice((1, 2, 50)))]
    return json.dumps(animation).encode()


def _places(value: Any) -> Any:
    """Yield every member of a value of JSON, as the list or mapping that has it, and its index or key."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield value, key
        yield from _places(member)


def inside_gzip(random: Random, data: bytes, change: Change) -> bytes:
    """Change the content of compressed data."""
    try:
        return gzip.compress(change(random, gzip.decompress(data)), mtime=0)
    except (OSError, EOFError, zlib.error):
        return data


def inside_zip(random: Random, data: bytes, change: Change) -> bytes:
    """Change a member of an archive, or the list of its members."""
    file = BytesIO()
    try:
        with ZipFile(BytesIO(data)) as old, ZipFile(file, "w") as new:
            members = [(info, old.read(info)) for info in old.infolist()]
            chosen = random.randrange(len(members))
            for number, (info, member) in enumerate(members):
                if number != chosen or random.random() < 0.8:
                    new.writestr(info, change(random, member) if number == chosen else member)
    except (BadZipFile, ValueError, RuntimeError, zlib.error, OSError, EOFError):
        return data
    return file.getvalue()
