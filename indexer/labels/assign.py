"""Assignment of user labels to indexed images. A label overrides the prediction of every model."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.emotions import OUTCOMES, canonical, find_emotion, folded
from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.domain.files import stamp_of
from indexer.domain.image_ids import ambiguous_id, id_prefix
from indexer.domain.path_set import PathSet
from indexer.domain.predictions import LabelAssignment
from indexer.domain.reports import LabelsChanged
from indexer.labels.table import is_table, read_label_table
from indexer.system.paths import indexed_paths

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


class Images(NamedTuple):
    """The images that an assignment names: their digests, and a sentence for each that cannot be labeled."""

    digests: Sequence[bytes]
    problems: Sequence[str] = ()


def apply_labels(store: Store, assignments: Sequence[LabelAssignment], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Apply label assignments, all or none.

    `new` allows emotions that moodex does not know. `skip_unknown` skips images that are not indexed.
    Raises NotIndexed for a path without indexed images, UnknownEmotion, and UsageError for an invalid emotion name or two labels
    of one image.
    """
    labels = (label for model in store.models() for label in model.card.labels)
    known = dict.fromkeys([*OUTCOMES, *labels, *store.user_emotions()]).keys()
    emotion_of = cache(partial(_emotion, known=known, new=new))
    emotions: dict[bytes, str | None] = {}
    skipped = 0
    for assignment, images in zip(assignments, find_images(store, assignments), strict=True):
        with _naming_row(assignment.row):
            emotion = None if assignment.emotion is None else emotion_of(assignment.emotion)
            if images.problems and not skip_unknown:
                raise NotIndexed(images.problems[0])
            skipped += len(images.problems)
            if other := next((emotions[digest] for digest in images.digests if emotions.get(digest, emotion) != emotion), None):
                raise UsageError(f"One image gets two labels: {other} and {emotion or 'none'}; remove one of them.")
        emotions |= dict.fromkeys(images.digests, emotion)
    before = store.labels_of(emotions)
    changes = {digest: emotion for digest, emotion in emotions.items() if before.get(digest) != emotion}
    store.label(changes)
    return LabelsChanged(len(changes), len(emotions) - len(changes), skipped)


def require_known(store: StoreReader, image_ids: Collection[str]) -> None:
    """Raise NotIndexed if the store does not know one of some images, by id."""
    known = store.known_digests(list(map(bytes.fromhex, image_ids)))
    unknown = next((image_id for image_id in image_ids if bytes.fromhex(image_id) not in known), None)
    if unknown is not None:
        raise NotIndexed(f"No indexed image has the id {unknown[:8]}; nothing was changed.")


def _emotion(word: str, known: Collection[str], new: bool) -> str:
    """Return the emotion that a word means; if it is unknown and `new`, the normalized word."""
    if not new:
        try:
            return canonical(word, known)
        except UnknownEmotion as error:
            raise UnknownEmotion(f"{error} To create a new emotion, add --new.") from None
    if (emotion := find_emotion(word, known)) is not None:
        return emotion
    own = folded(word)
    if len(own) > _MAX_EMOTION_LENGTH or not own.isprintable() or not any(letter.isalpha() for letter in own):
        raise UsageError(
            f"Invalid emotion name {word!r}: use at most {_MAX_EMOTION_LENGTH} printable characters with at least one letter."
        )
    return own


@contextmanager
def _naming_row(row: str) -> Iterator[None]:
    """Add the row of the label table, if any, to errors of the `with` block."""
    try:
        yield
    except (NotIndexed, UnknownEmotion, UsageError) as error:
        raise (type(error)(f"{error} (In {row}.)") if row else error) from None


def find_images(store: StoreReader, assignments: Sequence[LabelAssignment], orphans_too: bool = True) -> Iterator[Images]:
    """Yield the images of each assignment. The store is asked for all digests and paths at once.

    With `orphans_too`, a path whose label is removed also stands for the images of orphaned labels that were there last.
    """
    known = store.known_digests({assignment.digest for assignment in assignments if assignment.digest is not None})
    paths = list({assignment.path for assignment in assignments if assignment.digest is None})
    stored = dict(zip(paths, indexed_paths(paths, store.known_paths), strict=True))
    files = store.image_files_at(set(stored.values()))
    removals = {stored[one.path] for one in assignments if one.digest is None and one.emotion is None}
    orphans = _orphans(store, removals if orphans_too else ())
    for assignment in assignments:
        if assignment.digest is None:
            path = stored[assignment.path]
            left = orphans.get(path, []) if assignment.emotion is None else []
            found = files[path] or left
            yield _images_at(files[path], left) if found else _image_with_id(store, assignment.path)
        elif assignment.digest in known:
            yield Images([assignment.digest])
        else:
            yield Images(
                [],
                [
                    f"The image {assignment.digest.hex()[:12]} is not indexed. Skip such rows with --skip-unknown, or remove the "
                    "column of digests to match images by path."
                ],
            )


def _orphans(store: StoreReader, paths: Collection[bytes]) -> dict[bytes, list[bytes]]:
    """Return the images of orphaned labels that were last at or below some paths, by the nearest of these."""
    found: dict[bytes, list[bytes]] = defaultdict(list)
    removed = PathSet(paths)
    for image in store.labeled_images() if paths else ():
        around = None if image.last_path is None else removed.around(image.last_path)
        while around is not None:
            found[around].append(bytes.fromhex(image.image_id))
            folder = os.path.dirname(around)
            around = removed.around(folder) if folder != around else None
    return found


def attach_label(store: Store, digest_prefix: str, path: bytes) -> LabelsChanged:
    """Give an orphaned label, by the beginning of its image's id, to the images at a path; it is no orphan any more.

    Raises NotIndexed if no orphaned label has such an id or no image is at the path, and UsageError for an ambiguous id.
    """
    wanted = digest_prefix.lower()
    orphans = [image for image in store.labeled_images() if image.path is None and image.image_id.startswith(wanted)]
    if not wanted or not orphans:
        raise NotIndexed(f"No label without an image has the id {digest_prefix!r}; list them with: moodex label --orphans")
    if len(orphans) > 1:
        raise UsageError(f"Several labels without an image have an id that begins with {digest_prefix!r}; give more digits.")
    changed = apply_labels(store, [LabelAssignment(path, orphans[0].emotion)], new=True)
    store.label({bytes.fromhex(orphans[0].image_id): None})
    return changed


def _image_with_id(store: StoreReader, path: bytes) -> Images:
    """Return the image whose id, or its first digits, a user gave instead of a path. Raises UsageError if there are several."""
    digits = None if os.path.lexists(path) else id_prefix(path)
    match [] if digits is None else store.digests_with_prefix(digits):
        case [digest]:
            return Images([digest])
        case [_, _]:
            raise ambiguous_id(path)
    return Images([], [f"No indexed image is at {os.fsdecode(path)!r}; run moodex index on it first."])


def _images_at(files: Sequence[ImageFile], orphans: Sequence[bytes]) -> Images:
    """Return the unchanged images among the files at or below a path, and those of orphaned labels; other files are problems."""
    problems = {file.path: problem for file in files if (problem := _problem(file))}
    sentences = [f"{os.fsdecode(path)!r} {problem}; run moodex index on it first." for path, problem in problems.items()]
    unchanged = (file.digest for file in files if file.path not in problems)
    return Images(list(dict.fromkeys([*unchanged, *orphans])), sentences)


def _problem(file: ImageFile) -> str | None:
    """Return why a file that exists may show another image than the stored one; None if it shows that one."""
    try:
        status = os.stat(file.path)
    except OSError:
        return None  # it may be missing: its image can still be labeled
    if not stat.S_ISREG(status.st_mode):
        return None
    if file.stamp is None:
        return "waits to be indexed, because a run was interrupted or a check found a fault"
    return None if stamp_of(status).matches(file.stamp) else "has changed since it was indexed"
