"""Sidecars: files beside the images that hold their emotions. Images are never changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.emotions import NONE, canonical, with_children
from indexer.domain.errors import disk_error
from indexer.domain.export import ExportFilter
from indexer.domain.reports import SidecarReport
from indexer.ports.progress import task
from indexer.registry.selection import available_emotions, open_selected
from indexer.system.atomic import write_file
from indexer.system.paths import indexed_folders
from indexer.system.signals import graceful_stop
from indexer.transfer.sidecar_formats import SidecarFormat, is_ours, sidecar_content, sidecar_path

if TYPE_CHECKING:
    from indexer.domain.export import ExportChunk
    from indexer.library import Library
    from indexer.ports.progress import Progress

_MAX_SIDECAR_BYTES = 1 << 20
"""Only the first megabyte of an existing sidecar is read: moodex writes less than a kilobyte."""


@dataclass(frozen=True, slots=True)
class SidecarRequest:
    """Which sidecars to write.

    - `emotions`: only images with one of them; sub-emotions are included. `under`: only images below these folders.
    - `dry_run`: write nothing. `force`: replace captions that exist with another content.
    """

    formats: tuple[SidecarFormat, ...]
    emotions: tuple[str, ...] = ()
    under: tuple[bytes, ...] = ()
    hidden: bool = False
    dry_run: bool = False
    force: bool = False


def write_sidecars(library: Library, request: SidecarRequest, progress: Progress, tell: Callable[[bytes], None]) -> SidecarReport:
    """Write the sidecars of all or some images; `tell` receives the path of each that is new or changed.

    A sidecar of another program stays as it is. Images without an emotion get none. A sidecar that cannot be written gives a
    warning. Raises UnknownEmotion, NotIndexed, ModelUnavailable and StoreDamaged.
    """
    written = _Written(request, tell, progress.warn)
    with graceful_stop("sidecars that were written stay") as check_stop, open_selected(library) as (store, model):
        known = available_emotions(store, model)
        wanted = frozenset().union(*(with_children(canonical(word, known)) for word in request.emotions))
        under = indexed_folders(request.under, store.known_paths)
        chunks = store.export_rows(model, ExportFilter(wanted or None, under, request.hidden))
        with task(progress, check_stop, store.regions(model.id)) as advance:
            for path, emotions in _emotions_by_file(chunks, advance):
                written.add(path, emotions)
    return SidecarReport(**written.counts, dry_run=request.dry_run)


def _emotions_by_file(chunks: Iterator[ExportChunk], advance: Callable[[int], None]) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each file with the different emotions of its faces, the largest face first; a label is the only one."""

    def rows() -> Iterator[tuple[bytes, str]]:
        for chunk in chunks:
            yield from zip(chunk.paths, chunk.emotions, strict=True)
            advance(len(chunk))

    for path, faces in groupby(rows(), key=lambda row: row[0]):
        yield path, [emotion for emotion in dict.fromkeys(emotion for _, emotion in faces) if emotion != NONE]


@dataclass(slots=True)
class _Written:
    request: SidecarRequest
    tell: Callable[[bytes], None]
    warn: Callable[[str], None]
    counts: Counter[str] = field(default_factory=lambda: Counter(written=0, unchanged=0, kept=0, failed=0, missing=0))
    taken: dict[bytes, bytes] = field(default_factory=dict)
    """The content of the sidecars of this run, by path: two images, a.png and a.jpg, may share a caption."""

    def add(self, image: bytes, emotions: list[str]) -> None:
        """Write the sidecars of one image."""
        if not emotions:
            return
        if not os.path.isfile(image):
            self.counts["missing"] += 1
            return
        for form in self.request.formats:
            path, content = sidecar_path(image, form), sidecar_content(emotions, form)
            self.counts[self._outcome(path, content, form)] += 1

    def _outcome(self, path: bytes, content: bytes, form: SidecarFormat) -> str:
        present = self.taken[path] if path in self.taken else _read(path)
        if present == content:
            return "unchanged"
        may_replace = path not in self.taken and (
            is_ours(present or b"", form) or (self.request.force and form is SidecarFormat.CAPTION)
        )
        if os.path.isdir(path) or (present is not None and not may_replace):
            return "kept"
        if not self.request.dry_run:
            try:
                write_file(Path(os.fsdecode(path)), content)
            except OSError as error:
                self.warn(str(disk_error(f"The sidecar {os.fsdecode(path)}", error)))
                return "failed"
        self.taken[path] = content
        self.tell(path)
        return "written"


def _read(path: bytes) -> bytes | None:
    """Return the beginning of a file; None if nothing has that name. What cannot be read is of another program."""
    if not os.path.lexists(path):
        return None
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_SIDECAR_BYTES)
    except OSError:
        return b""
