"""Simulate a power cut: files lose what was not synced, and the last renames and deletions are undone.

Journaling file systems keep the order of operations in a folder, so that a power cut undoes the last ones, never an earlier one
alone. The simulation does not touch SQLite's own files: SQLite syncs them itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SQLITE_SUFFIXES = (".sqlite", ".sqlite.tmp", "-wal", "-shm", "-journal")
_TRANSIENT_FILES = ("writer.json", "writer.lock", "labels.lock")
_SYNCHRONOUS_FULL = 2
"""The value of SQLite's PRAGMA synchronous from which on a power cut takes back no commit."""


@dataclass(slots=True)
class UnsyncedChanges:
    """Changes that a power cut at the end of a journal could take back.

    - `moves`: renames and deletions whose folder was not synced afterwards.
    - `visible_before_sync`: paths at which a file became visible before it was synced.
    """

    moves: list[dict[str, Any]] = field(default_factory=list)
    visible_before_sync: list[str] = field(default_factory=list)


def unsynced_changes(journal: Iterable[dict[str, Any]], earlier_inodes: Collection[int]) -> UnsyncedChanges:
    """Return the changes in a journal that are not synced. `earlier_inodes` existed before the journal began."""
    changes = UnsyncedChanges()
    synced = set(earlier_inodes)
    for line in journal:
        match line["kind"]:
            case "fsync":
                synced.add(line["inode"])
                changes.moves = [move for move in changes.moves if os.path.dirname(_changed_path(move)) != line["path"]]
            case "rename":
                if not synced.issuperset(line["inodes"]) and not _is_temporary(line["target"]):
                    changes.visible_before_sync.append(line["target"])
                changes.moves.append(line)
            case "unlink":
                changes.moves.append(line)
    return changes


def durability_violations(journal: Iterable[dict[str, Any]], earlier_inodes: Collection[int]) -> list[str]:
    """Return the changes that a program did not make durable although it ended with success."""
    changes = unsynced_changes(journal, earlier_inodes)
    early = [f"{path} was made visible before it was synced" for path in changes.visible_before_sync]
    lost = [move for move in changes.moves if move["kind"] == "rename" and not _is_temporary(move["target"])]
    return [*early, *(f"the folder of {move['target']} was not synced after the rename" for move in lost)]


def weak_commits(journal: Iterable[dict[str, Any]], database: Path) -> list[str]:
    """Return a violation if a power cut could take back commits to the database."""
    commits = [line for line in journal if line["kind"] == "commit" and line["path"] == str(database)]
    weak = [line for line in commits if line["synchronous"] < _SYNCHRONOUS_FULL]
    return [f"{len(weak)} commits with synchronous = {weak[0]['synchronous']}"] if weak else []


def simulate(root: Path, earlier_inodes: Collection[int], journal: Iterable[dict[str, Any]], chance: random.Random) -> None:
    """Change the files of a killed program as a power cut would. `earlier_inodes` existed when the program started."""
    lines = list(journal)
    synced = {line["inode"] for line in lines if line["kind"] == "fsync"}
    moves = unsynced_changes(lines, earlier_inodes).moves
    for move in reversed(moves[chance.randint(0, len(moves)) :]):
        _undo(move)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        inode = path.stat().st_ino
        if inode not in synced and inode not in earlier_inodes and not _is_exempt(path.name):
            os.truncate(path, chance.choice((0, chance.randint(0, path.stat().st_size))))


def _undo(move: dict[str, Any]) -> None:
    path = _changed_path(move)
    if move["kind"] == "rename":
        if not os.path.lexists(path) or os.path.lexists(move["source"]) or not os.path.isdir(os.path.dirname(move["source"])):
            return
        os.rename(path, move["source"])
    if move["link"] and not os.path.lexists(path) and os.path.isdir(os.path.dirname(path)):
        os.link(move["link"], path)


def _changed_path(move: dict[str, Any]) -> str:
    return str(move["target"] if move["kind"] == "rename" else move["path"])


def _is_temporary(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def _is_exempt(name: str) -> bool:
    return name.endswith(_SQLITE_SUFFIXES) or name in _TRANSIENT_FILES
