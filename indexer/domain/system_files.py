"""Folders and files that systems and other programs keep beside a user's images: thumbnails, trash, snapshots, leftovers."""

from __future__ import annotations

_FOLDERS = frozenset(
    name.lower().encode()
    for name in (
        # Storage boxes (Synology, QNAP), with their snapshots
        "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", "@tmp", "@sharebin", "~snapshot",
        "@appstore", "@database", "@sharesnap", ".@__thumb", ".snapshot", ".recycle",
        # Windows
        "$RECYCLE.BIN", "RECYCLER", "RECYCLED", "System Volume Information", "FOUND.000", "Config.Msi", "$WINDOWS.~BT",
        "$WINDOWS.~WS",
        # macOS
        "__MACOSX", "Network Trash Folder", "Temporary Items", ".AppleDouble", ".DocumentRevisions-V100", ".fseventsd",
        ".Spotlight-V100", ".TemporaryItems", ".Trashes",
        # Linux and Android
        "lost+found", "LOST.DIR", ".Trash", ".thumbnails", ".thumbs",
        # Programs
        "_gsdata_", "node_modules", "__pycache__",
    )
)  # fmt: skip
"""In lower case. Scans skip all hidden folders; those named here are told, and can be included by a pattern."""

_TRASH = b".trash-"
"""Start of the name of the trash that desktops keep on other disks, by the number of a user; in lower case."""

_SYNC_CONFLICT = b".sync-conflict-"
"""Part of the names of copies that Syncthing keeps of files that were changed twice."""


def is_system_entry(name: bytes, is_folder: bool) -> bool:
    """Return whether the name of a file or folder is one that a system or a synchronizing program uses for its own."""
    if not is_folder:
        return _SYNC_CONFLICT in name
    lower = name.lower()
    return lower in _FOLDERS or lower.startswith(_TRASH)
