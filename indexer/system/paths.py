"""Translation of paths to the form in which the store contains them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from unicodedata import normalize

from indexer.domain.errors import NotIndexed
from indexer.system.addresses import remote_address

KnownPaths = Callable[[Collection[bytes]], set[bytes]]
"""A function that returns the subset of absolute paths at or below which the store has files."""


def absolute_path(path: bytes) -> bytes:
    """Return the absolute form of a path that a user typed; the address of a server is one."""
    return remote_address(path) or os.path.abspath(path)


def indexed_path(path: bytes, known_paths: KnownPaths) -> bytes:
    """Return the stored form of a path that a user typed; see `indexed_paths`."""
    return indexed_paths([path], known_paths)[0]


def indexed_folders(paths: Sequence[bytes], known_paths: KnownPaths) -> tuple[bytes, ...]:
    """Return the stored forms of folders or files that a user typed. Raises NotIndexed for one that holds no indexed file."""
    stored = indexed_paths(paths, known_paths)
    known = known_paths(set(stored)) | {b"/"}  # every library is below it
    for path, form in zip(paths, stored, strict=True):
        if form not in known:
            advice = "run moodex index on it first" if os.path.exists(path) else "it does not exist; check its name"
            raise NotIndexed(f"No indexed file is at or below {os.fsdecode(path)!r}: {advice}.")
    return tuple(dict.fromkeys(stored))


def indexed_paths(paths: Sequence[bytes], known_paths: KnownPaths) -> list[bytes]:
    """Return the stored form of each path that a user typed; its real path if no form is stored.

    Roots are stored by their real paths; links below them, if they are followed, under their own names. Therefore this tries the
    path with no links resolved, then with links resolved in ever more of its leading folders, and returns the first form that the
    store has. Each folder is resolved once for all paths in it. A path that does not exist is also tried in both Unicode forms,
    NFC and NFD, in which systems write letters with accents.
    """
    forms: dict[bytes, list[bytes]] = {}
    names: dict[bytes, dict[str, bytes]] = {}
    candidates = []
    for path in paths:
        stored = [_stored_forms(absolute_path(variant), forms) for variant in _variants(path, names)]
        real = stored[0][-1]
        candidates.append(stored[0] if len(stored) == 1 else [*(form for some in stored for form in some), real])
    known = known_paths({form for possible in candidates for form in possible[:-1]})
    return [next((form for form in possible[:-1] if form in known), possible[-1]) for possible in candidates]


def existing_form(path: bytes, names: dict[bytes, dict[str, bytes]] | None = None) -> bytes:
    """Return a path as it is on the disk, if that differs only in the Unicode form of its names; else the path itself.

    `names` keeps the names in folders, by their NFC, for the next call.
    """
    if path.isascii() or remote_address(path) is not None or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    if not name or folder == path:
        return path
    names = {} if names is None else names
    folder = existing_form(folder, names) if folder else folder
    if folder not in names:
        names[folder] = _names_in(folder)
    return os.path.join(folder, names[folder].get(_composed(name), name))


def _names_in(folder: bytes) -> dict[str, bytes]:
    """Return the names in a folder that are not ASCII, by their NFC."""
    try:
        return {_composed(name): name for name in os.listdir(folder or b".") if not name.isascii()}
    except OSError:
        return {}


def _composed(name: bytes) -> str:
    return normalize("NFC", os.fsdecode(name))


def _variants(path: bytes, names: dict[bytes, dict[str, bytes]]) -> list[bytes]:
    """Return the form of a path that exists, or else all forms in which it may be stored."""
    if (address := remote_address(path)) is not None:
        return [address]
    existing = existing_form(path, names)
    if existing.isascii() or os.path.lexists(existing):
        return [existing]
    text = os.fsdecode(path)
    return list(dict.fromkeys([path, *(os.fsencode(normalize(form, text)) for form in ("NFC", "NFD"))]))


def _stored_forms(path: bytes, forms: dict[bytes, list[bytes]]) -> list[bytes]:
    """Return the forms under which an absolute path may be stored; the last one is its real path.

    `forms` keeps the results for the folders above, which other paths share.
    """
    if remote_address(path) is not None:
        return [path, path]
    above = []
    while path not in forms and (folder := os.path.dirname(path)) != path:
        above.append(path)
        path = folder
    possible = forms.setdefault(path, [os.path.realpath(path)])
    for path in reversed(above):
        possible = [os.path.join(form, os.path.basename(path)) for form in possible]
        if os.path.islink(path):
            possible = list(dict.fromkeys([*possible, os.path.realpath(path)]))
        forms[path] = possible
    return possible


def path_below(path: bytes, folder: bytes) -> bytes | None:
    """Return the path of `path` relative to `folder`, b"" for the folder itself; None if it is not at or below the folder.

    Both are absolute. Names that differ only in their Unicode form are equal.
    """
    names, above = path.rstrip(b"/").split(b"/"), folder.rstrip(b"/").split(b"/")
    if len(names) < len(above) or any(_composed(name) != _composed(other) for name, other in zip(names, above, strict=False)):
        return None
    return b"/".join(names[len(above) :])


def is_under(path: bytes, folder: bytes) -> bool:
    """Return whether `path` is `folder` or below it; both are absolute."""
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
