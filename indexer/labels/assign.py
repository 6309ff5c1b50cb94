"""What people say pictures feel like, and what models doubt of it. A person's word goes before every model's."""

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

_LONGEST = 40


def parse_assignments(paths: Sequence[bytes], emotion: str | None, remove: bool) -> list[LabelAssignment]:
    """What a command line says: an emotion of pictures and folders; tables bring their own. `remove` takes back all of it.

    Raises UsageError.
    """
    said: list[LabelAssignment] = []
    for path in paths:
        said += read_label_table(path, remove) if is_table(path) else [LabelAssignment(path, emotion)]
    return [replace(one, emotion=None) for one in said] if remove else said


def apply_labels(store: Store, said: Sequence[LabelAssignment], new: bool, skip_unknown: bool = False) -> LabelsChanged:
    """Change labels, all or none; `new` lets words that name no emotion become one, `skip_unknown` leaves out unknown pictures.

    Raises NotIndexed for a path without indexed pictures, UnknownEmotion, and UsageError for a word that cannot be a name.
    """
    known = tuple(
        dict.fromkeys([*EMOTIONS, *store.user_emotions(), *(word for one in store.models() for word in one.card.labels)])
    )
    digests = store.known_digests({one.digest for one in said if one.digest is not None})
    wanted: dict[bytes, str | None] = {}
    skipped = 0
    for one in said:
        with _standing(one.row):
            word = None if one.emotion is None else _emotion(one.emotion, known, new)
            meant, unknown = _pictures_at(store, one.path) if one.digest is None else _picture(one.digest, digests)
            if unknown and not skip_unknown:
                raise unknown[0]
            skipped += len(unknown)
            if other := next((wanted[digest] for digest in meant if wanted.get(digest, word) != word), None):
                raise UsageError(f"Two things are said of one picture: {other} and {word or 'nothing'}; leave one of them.")
        wanted |= dict.fromkeys(meant, word)
    before = {bytes.fromhex(one.image_id): one.emotion for one in store.labelled()}
    changes = {digest: word for digest, word in wanted.items() if before.get(digest) != word}
    store.label(changes)
    return LabelsChanged(len(changes), len(wanted) - len(changes), skipped)


def _emotion(word: str, known: Iterable[str], new: bool) -> str:
    """The emotion that a word means, or, where it may be `new`, a person's own."""
    try:
        return canonical(word, known)
    except UnknownEmotion as error:
        own = folded(word)
        if not new:
            raise UnknownEmotion(f"{error} To make it an emotion of your own, say --new.") from None
        if len(own) > _LONGEST or not own.isprintable() or not any(letter.isalpha() for letter in own):
            raise UsageError(f"{word!r} cannot be an emotion's name: a few letters are wanted, {_LONGEST} at most.") from None
        return own


@contextmanager
def _standing(row: str) -> Iterator[None]:
    """Errors inside say in which row of a table what they are about stands, if it stands in one."""
    try:
        yield
    except (NotIndexed, UnknownEmotion, UsageError) as error:
        raise (type(error)(f"{error} It stands in {row}.") if row else error) from None


def _picture(digest: bytes, known: Collection[bytes]) -> tuple[list[bytes], list[NotIndexed]]:
    """The picture of a digest, if it is known, and what to say where it is not."""
    if digest in known:
        return [digest], []
    sentence = (
        f"The picture {digest.hex()[:12]} is not indexed here; --skip-unknown leaves it out, and in a table without the column "
        "of digests paths decide."
    )
    return [], [NotIndexed(sentence)]


def _pictures_at(store: StoreReader, path: bytes) -> tuple[list[bytes], list[NotIndexed]]:
    """The pictures at or below a path that are as they were indexed, and what to say of the others."""
    found = store.pictures_at(indexed_path(path, store.holds))
    if not found:
        return [], [NotIndexed(f"No indexed picture lies at {os.fsdecode(path)!r}; run moodex index on it first.")]
    changed = {one.path for one in found if _has_changed(one)}
    sentences = (f"{os.fsdecode(one)!r} has changed since it was indexed; run moodex index on it first." for one in changed)
    return list(dict.fromkeys(one.digest for one in found if one.path not in changed)), [NotIndexed(one) for one in sentences]


def _has_changed(known: ImageFile) -> bool:
    """Whether there is a file that is not the one of which this is known."""
    try:
        found = os.stat(known.path)
    except OSError:
        return False  # away, perhaps: what is known of it can still be labelled
    return stat.S_ISREG(found.st_mode) and FileStamp(found.st_size, changed_ns(found)) != known.stamp
