"""Folders and files that systems and other programs keep beside a user's images: thumbnails, trash, snapshots, leftovers."""

from __future__ import annotations

_FOLDERS = frozenset(
    name.lower().encode()
    for name in (
        # Storage boxes (Synology, QNAP), with their snapshots
        "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", "@tmp", "@sharebin", "~snapshot",
        # Windows
        "$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information", "FOUND.000", "Config.Msi",
        # macOS; its other folders are hidden
        "__MACOSX", "Network Trash Folder", "Temporary Items",
        # Linux and Android
        "lost+found", "LOST.DIR",
        # Programs
        "_gsdata_", "node_modules", "__pycache__",
    )
)  # fmt: skip
"""In lower case. Hidden ones, such as .Trash-1000 and .thumbnails, are not needed here: scans skip all hidden folders."""

_SYNC_CONFLICT = b".sync-conflict-"
"""Part of the names of copies that Syncthing keeps of files that were changed twice."""


def is_system_entry(name: bytes, is_folder: bool) -> bool:
    """Return whether the name of a file or folder is one that a system or a synchronizing program uses for its own."""
    return name.lower() in _FOLDERS if is_folder else _SYNC_CONFLICT in name
