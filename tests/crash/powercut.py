"""What a power cut leaves of files: what was not synced goes, and the latest renames and deletions are as if they never were.

Journalling file systems keep the order of what happens in a folder, so that a power cut undoes the last of it, never something
earlier alone. SQLite's own files are not touched: it syncs them itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SQLITE = (".sqlite", ".sqlite.tmp", "-wal", "-shm", "-journal")
_FOR_THE_MOMENT = ("writer.json", "writer.lock")


@dataclass(slots=True)
class Unsynced:
    """What a power cut at the end of a journal would take: `moves` that no sync of their folder followed. `careless` are the
    paths at which files became visible before they were synced.
    """

    moves: list[dict[str, Any]] = field(default_factory=list)
    careless: list[str] = field(default_factory=list)


def unsynced(journal: Iterable[dict[str, Any]], there_before: Collection[int]) -> Unsynced:
    """What the steps in a journal leave unsynced. `there_before` are the inodes that there were before them."""
    left = Unsynced()
    synced = set(there_before)
    for line in journal:
        match line["kind"]:
            case "fsync":
                synced.add(line["inode"])
                left.moves = [move for move in left.moves if os.path.dirname(_place(move)) != line["path"]]
            case "rename":
                if not synced.issuperset(line["inodes"]) and not _is_temporary(line["target"]):
                    left.careless.append(line["target"])
                left.moves.append(line)
            case "unlink":
                left.moves.append(line)
    return left


def promises_broken(journal: Iterable[dict[str, Any]], there_before: Collection[int]) -> list[str]:
    """What a program that has ended well has not made durable, though it says that it is done."""
    left = unsynced(journal, there_before)
    careless = [f"{path} was made visible before it was synced" for path in left.careless]
    lost = [move for move in left.moves if move["kind"] == "rename" and not _is_temporary(move["target"])]
    return [*careless, *(f"the folder of {move['target']} was not synced after the rename" for move in lost)]


def weak_commits(journal: Iterable[dict[str, Any]], database: Path) -> list[str]:
    """Commits to the database that a power cut may take back."""
    weak = [line for line in journal if line["kind"] == "commit" and line["path"] == str(database) and line["synchronous"] < 2]
    return [f"{len(weak)} commits with synchronous = {weak[0]['synchronous']}"] if weak else []


def cut(world: Path, there_before: Collection[int], journal: Iterable[dict[str, Any]], chance: random.Random) -> None:
    """Do to the files of a killed program what a power cut does. `there_before` are the inodes that there were at its start."""
    lines = list(journal)
    synced = {line["inode"] for line in lines if line["kind"] == "fsync"}
    moves = unsynced(lines, there_before).moves
    for move in reversed(moves[chance.randint(0, len(moves)) :]):
        _undo(move)
    for path in sorted(path for path in world.rglob("*") if path.is_file()):
        inode = path.stat().st_ino
        if inode not in synced and inode not in there_before and not _is_left_alone(path.name):
            os.truncate(path, chance.choice((0, chance.randint(0, path.stat().st_size))))


def _undo(move: dict[str, Any]) -> None:
    place = _place(move)
    if move["kind"] == "rename":
        if not os.path.lexists(place) or os.path.lexists(move["source"]) or not os.path.isdir(os.path.dirname(move["source"])):
            return
        os.rename(place, move["source"])
    if move["kept"] and not os.path.lexists(place) and os.path.isdir(os.path.dirname(place)):
        os.link(move["kept"], place)


def _place(move: dict[str, Any]) -> str:
    return str(move["target"] if move["kind"] == "rename" else move["path"])


def _is_temporary(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def _is_left_alone(name: str) -> bool:
    return name.endswith(_SQLITE) or name in _FOR_THE_MOMENT
