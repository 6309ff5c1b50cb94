"""Assignment of user labels to indexed images. A label overrides the prediction of every model."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from indexer.domain.emotions import EMOTIONS, canonical, folded
from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.domain.files import FileStamp, changed_ns
from indexer.domain.predictions import LabelAssignment
from indexer.domain.reports import LabelsChanged
from indexer.labels.table import is_table, read_label_table
from indexer.system.paths import indexed_path

if TYPE_CHECKING:
    from indexer.ports.store import Store
    from indexer.ports.store_reader import ImageFile, StoreReader

_MAX_EMOTION_LENGTH = 40


def parse_assignments(paths: Sequence[bytes], emotion: str | None, remove: bool) -> list[LabelAssignment]:
    """Parse the arguments of a command: label tables, and paths that get `emotion`.

    With `remove`, every assignment removes labels. Raises UsageError.
    """
    assignments: list[LabelAssignment] = []
    for path in paths:
        assignments += read_label_table(path, remove) if is_table(path) else [LabelAssignment(path, emotion)]
    return [replace(assignment, emotion=None) for assignment in assignments] if remove else assignments


def apply_labels(store: Store, assignments: Sequence[LabelAssignment], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Apply label assignments, all or none.

    `new` allows emotions that moodex does not know. `skip_unknown` skips images that are not indexed.
    Raises NotIndexed for a path without indexed images, UnknownEmotion, and UsageError for an invalid emotion name or two labels
    of one image.
    """
    known = tuple(
        dict.fromkeys([*EMOTIONS, *store.user_emotions(), *(label for model in store.models() for label in model.card.labels)])
    )
    indexed = store.known_digests({assignment.digest for assignment in assignments if assignment.digest is not None})
    emotions: dict[bytes, str | None] = {}
    skipped = 0
    for assignment in assignments:
        with _naming_row(assignment.row):
            emotion = None if assignment.emotion is None else _emotion(assignment.emotion, known, new)
            if assignment.digest is None:
                digests, errors = _images_at(store, assignment.path)
            else:
                digests, errors = _image_of(assignment.digest, indexed)
            if errors and not skip_unknown:
                raise errors[0]
            skipped += len(errors)
            if other := next((emotions[digest] for digest in digests if emotions.get(digest, emotion) != emotion), None):
                raise UsageError(f"One image gets two labels: {other} and {emotion or 'none'}; remove one of them.")
        emotions |= dict.fromkeys(digests, emotion)
    before = {bytes.fromhex(image.image_id): image.emotion for image in store.labeled_images()}
    changes = {digest: emotion for digest, emotion in emotions.items() if before.get(digest) != emotion}
    store.label(changes)
    return LabelsChanged(len(changes), len(emotions) - len(changes), skipped)


def _emotion(word: str, known: Iterable[str], new: bool) -> str:
    """Return the emotion that a word means; if it is unknown and `new`, the normalized word."""
    try:
        return canonical(word, known)
    except UnknownEmotion as error:
        own = folded(word)
        if not new:
            raise UnknownEmotion(f"{error} To create a new emotion, add --new.") from None
        if len(own) > _MAX_EMOTION_LENGTH or not own.isprintable() or not any(letter.isalpha() for letter in own):
            raise UsageError(
                f"Invalid emotion name {word!r}: use at most {_MAX_EMOTION_LENGTH} printable characters with at least one letter."
            ) from None
        return own


@contextmanager
def _naming_row(row: str) -> Iterator[None]:
    """Add the row of the label table, if any, to errors of the `with` block."""
    try:
        yield
    except (NotIndexed, UnknownEmotion, UsageError) as error:
        raise (type(error)(f"{error} (In {row}.)") if row else error) from None


def _image_of(digest: bytes, indexed: Collection[bytes]) -> tuple[list[bytes], list[NotIndexed]]:
    """Return the digest, or an error if its image is not indexed."""
    if digest in indexed:
        return [digest], []
    sentence = (
        f"The image {digest.hex()[:12]} is not indexed. Skip such rows with --skip-unknown, or remove the column of digests to "
        "match images by path."
    )
    return [], [NotIndexed(sentence)]


def _images_at(store: StoreReader, path: bytes) -> tuple[list[bytes], list[NotIndexed]]:
    """Return the digests of the unchanged images at or below a path, and an error for each of the others."""
    files = store.image_files_at(indexed_path(path, store.holds))
    if not files:
        return [], [NotIndexed(f"No indexed image is at {os.fsdecode(path)!r}; run moodex index on it first.")]
    changed = {file.path for file in files if _has_changed(file)}
    errors = [
        NotIndexed(f"{os.fsdecode(path)!r} has changed since it was indexed; run moodex index on it first.") for path in changed
    ]
    return list(dict.fromkeys(file.digest for file in files if file.path not in changed)), errors


def _has_changed(file: ImageFile) -> bool:
    """Return whether a file exists with another stamp than when it was read."""
    try:
        status = os.stat(file.path)
    except OSError:
        return False  # it may be missing: its image can still be labelled
    return stat.S_ISREG(status.st_mode) and FileStamp(status.st_size, changed_ns(status)) != file.stamp
