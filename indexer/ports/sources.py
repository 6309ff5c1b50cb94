"""The port for image sources, and its records."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import BinaryIO, NamedTuple, Protocol

from indexer.domain.files import Failure, FileStamp

EXTENSIONS: frozenset[bytes] = frozenset(
    b".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .avif .avifs .heic .heif"
    b" .ico .cur .jp2 .j2k .j2c .jpc .jpf .jpx .kra .ora".split()
)
"""Extensions, in lower case, of the files that moodex takes for images."""

EXTRA_EXTENSIONS: Mapping[bytes, str] = {
    b".jxl": "jxl",
    b".svg": "svg",
    b".svgz": "svg",
    b".lottie": "lottie",
    b".tgs": "lottie",
    b".mp4": "video",
    b".webm": "video",
    b".psb": "psd",
    b".psd": "psd",
}
"""Extensions of the files that moodex takes for images if an extra is installed, with the name of the extra."""

ARCHIVE_EXTENSIONS: Mapping[bytes, str] = {
    **dict.fromkeys((b".zip", b".cbz", b".tar", b".cbt", b".tar.gz", b".tgz", b".tar.bz2", b".tbz2", b".tar.xz", b".txz"), ""),
    **dict.fromkeys((b".tar.zst", b".tzst"), "zstd"),
    **dict.fromkeys((b".7z", b".cb7"), "7z"),
    **dict.fromkeys((b".rar", b".cbr"), "rar"),
    **dict.fromkeys((b".parquet", b".arrow"), "parquet"),
}
"""Extensions, in lower case, of the files that moodex takes for archives, with the package that they need; "" is none.

Parquet and Arrow files are data sets: each row of a column of images is a member.
"""

TABLE_EXTENSIONS = (b".csv", b".tsv")
"""Extensions of tables of URLs, which are archives only for users who name them; a Parquet file may be such a table, too."""

MAX_VIDEO_BYTES = 1 << 24
"""Limit of a video, 16 MiB, for scans: stickers are smaller, and longer videos would cost much reading for nothing."""

NO_EXTENSION, LINK, HIDDEN, EXCLUDED = "without extension", "link", "hidden", "excluded"
OTHER_FILE_SYSTEM, LARGE_VIDEO = "on another file system", "video over 16 MiB"
"""Kinds of files that a scan passes over."""


def is_video(name: bytes) -> bool:
    """Return whether a file has the extension of a video."""
    return EXTRA_EXTENSIONS.get(extension_of(name)) == "video"


def extension_of(name: bytes) -> bytes:
    """Return the extension of a file's name in lower case, with its dot; the last character of a name without a dot."""
    return name[name.rfind(b".") :].lower()


ScannedEntry = tuple[bytes, int, int] | tuple[bytes, int, int, int]
"""A name, and the size and version of a file, with its change where the source has one."""


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A file with an image extension. `problem` says why it cannot be an image, if known."""

    name: bytes
    stamp: FileStamp
    problem: Failure | None = None


@dataclass(frozen=True, slots=True)
class ScannedFolder:
    """The image files directly in one folder.

    - `entries`: (name, and the parts of the stamp that are known), by name. Plain tuples, because every run makes
      one for every file.
    - `problems`: why some files cannot be images, by name.
    - `whole`: False if only part of the folder was scanned, so that files and subfolders without an entry may exist.
    - `problem`: why the folder could not be listed. Its subfolders are unknown then.
    - `system_entries`: names of folders and files left out because systems use them, see `indexer.domain.system_files`.
    - `skipped`: the other files, and the links and folders that the scan passed over: (name, kind). The kind is an extension such
      as ".svg", or one of `NO_EXTENSION`, `LINK`, `HIDDEN`, `EXCLUDED`,
      `OTHER_FILE_SYSTEM` and `LARGE_VIDEO`.
    """

    path: bytes
    entries: tuple[ScannedEntry, ...] = ()
    problems: Mapping[bytes, Failure] = field(default_factory=dict)
    whole: bool = True
    problem: Failure | None = None
    system_entries: tuple[bytes, ...] = ()
    skipped: tuple[tuple[bytes, str], ...] = ()

    @property
    def files(self) -> tuple[ScannedFile, ...]:
        """The entries as files with stamps and problems."""
        return tuple(ScannedFile(name, FileStamp(*stamp), self.problems.get(name)) for name, *stamp in self.entries)

    def listing(self) -> bytes:
        """Return a digest of all entries: scans with equal digests saw the same files."""
        names = b"/".join(name for name, *_ in self.entries)
        stamps = array("q", [number for _, *stamp in self.entries for number in stamp])
        return blake2b(names + b"//" + stamps.tobytes(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """The files that a scan skips or follows.

    - `exclude`: gitignore patterns below the root, which override those of ignore files.
    - `always_exclude`: the same, but ignore files override them.
    - `own_folder`: moodex's data folder.
    - `one_file_system`: whether folders on other file systems than that of the root are skipped.
    - `named`: paths of files that users named, which are found although they are hidden or have no image extension.
    - `extensions`: the extensions of images, in lower case with their dot.
    """

    exclude: tuple[str, ...] = ()
    always_exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    own_folder: bytes | None = None
    one_file_system: bool = False
    named: Set[bytes] = frozenset()
    extensions: Set[bytes] = EXTENSIONS

    def find(self, name: bytes) -> bool:
        """Return whether scans find a file by its name: it is not hidden and has an image extension."""
        return extension_of(name) in self.extensions and not name.startswith(b".")

    def find_at_any_size(self, name: bytes) -> bool:
        """Return whether scans find a file by its name alone: videos must be small, too."""
        return self.find(name) and not is_video(name)


class SourceFile(NamedTuple):
    """A file that is open for reading, with the stamp of its bytes, and when it was modified, in nanoseconds since the epoch."""

    file: BinaryIO
    stamp: FileStamp
    modified_ns: int


class Watcher(Protocol):
    """A watcher of folders. It detects every change from the moment it is `ready`."""

    @property
    def ready(self) -> bool:
        """Whether the watcher detects changes now."""

    def changed(self) -> set[bytes]:
        """Return the roots below which something changed since the last call."""

    def wait(self) -> float:
        """Return the seconds after which to call `changed` again, if `wake` is not called before."""


class ImageSource(Protocol):
    """A source of image files: it scans, reads and watches them.

    A path identifies a file: bytes, absolute and real; no path is in two sources. Only the source interprets stamps; other code
    compares them for equality.
    """

    def name_of(self, path: bytes) -> str:
        """Return the name of the source of a path, which the store keeps with each folder."""

    def exists(self, path: bytes) -> bool:
        """Return whether a file or folder exists."""

    def is_folder(self, path: bytes) -> bool:
        """Return whether a path is a folder."""

    def has_file(self, path: bytes) -> bool:
        """Return whether something other than a folder is at a path, be it a link to nothing."""

    def real_path(self, path: bytes) -> bytes:
        """Return the absolute path of a file or folder with links resolved."""

    def scan(self, root: bytes, options: ScanOptions) -> Iterator[ScannedFolder]:
        """List every folder under a root, a folder before its subfolders; for a file, the file alone."""

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        """Read a file and its stamp. Raises FileNotFoundError, Unreadable (worth a retry) and Damaged."""

    def open(self, path: bytes) -> SourceFile:
        """Open a file, which nothing can replace while it is read. The caller closes it. Raises what `read` raises."""

    def stamp(self, path: bytes) -> FileStamp:
        """Return the stamp of a file. Raises FileNotFoundError, Unreadable and Damaged."""

    def local_path(self, path: bytes) -> bytes | None:
        """Return the path by which other programs open a file; None if they cannot, as in an archive, or if it does not exist."""

    def watch(
        self, roots: Sequence[bytes], own_folder: bytes, poll: float | None, wake: Callable[[], None], warn: Callable[[str], None]
    ) -> AbstractContextManager[Watcher]:
        """Watch for changes below roots inside a `with` block, except in moodex's data folder.

        With `poll`, check every `poll` seconds instead of using events of the operating system. `wake` is called from another
        thread after a change. `warn` is called with a sentence if events are not available.
        """
