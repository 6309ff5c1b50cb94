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
from indexer.system.paths_of_ids import paths_of_ids
from indexer.system.signals import graceful_stop
from indexer.transfer.caption_record import CaptionRecord
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
    - `hidden`: also images that the user hid.
    - `dry_run`: write nothing. `force`: replace captions that exist with another content.
    """

    formats: tuple[SidecarFormat, ...]
    emotions: tuple[str, ...] = ()
    under: tuple[bytes, ...] = ()
    hidden: bool = False
    dry_run: bool = False
    force: bool = False


def write_sidecars(library: Library, request: SidecarRequest, progress: Progress, tell: Callable[[bytes], None]) -> SidecarReport:
    """Write the sidecars of all or some images; `tell` receives the path of each that is new, changed or removed.

    A sidecar that another program wrote or changed stays as it is. Images without an emotion get none, and lose the one that
    moodex wrote. Images without one of the wanted emotions get none, but what moodex wrote earlier is updated. A sidecar that
    cannot be written gives a warning. Raises UnknownEmotion, NotIndexed, ModelUnavailable, StoreDamaged, and MoodexError if
    captions cannot be recorded.
    """
    writer = _Writer(request, CaptionRecord.read(library.settings.home), tell, progress.warn)
    with graceful_stop("sidecars that were written stay") as check_stop, open_selected(library) as (store, model):
        known = available_emotions(store, model)
        wanted = frozenset().union(*(with_children(canonical(word, known)) for word in request.emotions))
        under = indexed_folders(paths_of_ids(request.under, store), store.known_paths)
        chunks = store.export_rows(model, ExportFilter(None, under, request.hidden))
        with task(progress, check_stop, store.regions(model.id)) as advance:
            for path, emotions in _emotions_by_file(chunks, advance):
                writer.update(path, emotions, may_create=not wanted or not wanted.isdisjoint(emotions))
            writer.remove_obsolete()
    return SidecarReport(**writer.counts, dry_run=request.dry_run)


def _emotions_by_file(chunks: Iterator[ExportChunk], advance: Callable[[int], None]) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each file with the different emotions of its faces, the largest face first; a label is the only one."""

    def rows() -> Iterator[tuple[bytes, str]]:
        for chunk in chunks:
            yield from zip(chunk.paths, chunk.emotions, strict=True)
            advance(len(chunk))

    for path, faces in groupby(rows(), key=lambda row: row[0]):
        yield path, [emotion for emotion in dict.fromkeys(emotion for _, emotion in faces) if emotion != NONE]


_OUTCOMES = ("written", "unchanged", "removed", "kept", "failed", "missing")


@dataclass(slots=True)
class _Writer:
    """Writes and removes sidecars, and counts what happened to them."""

    request: SidecarRequest
    captions: CaptionRecord
    tell: Callable[[bytes], None]
    warn: Callable[[str], None]
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_OUTCOMES, 0)))
    current: dict[bytes, bytes] = field(default_factory=dict)
    """The content of the sidecars of this run, by path: two images, a.png and a.jpg, may share a caption."""
    obsolete: list[bytes] = field(default_factory=list)
    """Sidecars of moodex whose image has no emotion any more."""

    def update(self, image: bytes, emotions: list[str], may_create: bool) -> None:
        """Bring the sidecars of one image up to date; without `may_create`, only those that moodex wrote earlier."""
        paths = [(sidecar_path(image, form), form) for form in self.request.formats]
        if not emotions:
            self.obsolete += [path for path, form in paths if self._is_own(path, _read(path), form)]
        elif may_create and not os.path.isfile(image):
            self.counts["missing"] += 1
        else:
            for path, form in paths:
                self._bring_up_to_date(path, sidecar_content(emotions, form), form, may_create)

    def remove_obsolete(self) -> None:
        """Remove the sidecars that no image has any more."""
        for path in self.obsolete:
            if path not in self.current:
                self._change(path, lambda path: Path(os.fsdecode(path)).unlink(missing_ok=True), "removed")

    def _bring_up_to_date(self, path: bytes, content: bytes, form: SidecarFormat, may_create: bool) -> None:
        present = self.current.get(path) or _read(path)
        if present == content:
            self.current[path] = content
            self.counts["unchanged"] += may_create
        elif self._may_write(path, present, form, may_create):
            self.current[path] = content
            self._change(path, lambda path: self._write(path, content, form), "written")
        else:
            self.counts["kept"] += may_create

    def _may_write(self, path: bytes, present: bytes | None, form: SidecarFormat, may_create: bool) -> bool:
        if path in self.current or os.path.isdir(path):
            return False
        if self._is_own(path, present, form):
            return True
        return may_create and (present is None or (self.request.force and form is SidecarFormat.CAPTION))

    def _is_own(self, path: bytes, present: bytes | None, form: SidecarFormat) -> bool:
        """Return whether moodex wrote a sidecar, and no other program changed it afterwards."""
        if present is None:
            return False
        return self.captions.has(path, present) if form is SidecarFormat.CAPTION else is_ours(present)

    def _write(self, path: bytes, content: bytes, form: SidecarFormat) -> None:
        is_caption = form is SidecarFormat.CAPTION
        if is_caption:
            self.captions.add(path, content)
        write_file(Path(os.fsdecode(path)), content)
        if is_caption:
            self.captions.add_time(path, content)

    def _change(self, path: bytes, act: Callable[[bytes], None], outcome: str) -> None:
        """Write or remove a sidecar, unless this is a dry run, and count it."""
        try:
            if not self.request.dry_run:
                act(path)
        except OSError as error:
            self.warn(str(disk_error(f"The sidecar {os.fsdecode(path)}", error)))
            outcome = "failed"
        else:
            self.tell(path)
        self.counts[outcome] += 1


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
