"""What people say pictures feel like, and what models doubt of it. A person's word goes before every model's."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from indexer.emotions import EMOTIONS, canonical
from indexer.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.messages import Doubt, LabelsChanged

if TYPE_CHECKING:
    from indexer.domain import Hit
    from indexer.ports import Shelf, Store, StoredModel

_LONGEST = 40
_LIKELY = 0.5


Said = tuple[bytes, str | None]
"""A path and what a person says of the pictures there; None takes back what was said."""


def what_is_said(paths: Sequence[bytes], emotion: str | None, remove: bool) -> list[Said]:
    """What a command line says: an emotion of pictures and folders; tables bring their own. `remove` takes back all of it.

    Raises UsageError.
    """
    said: list[Said] = []
    for path in paths:
        said += _read_table(path) if path.lower().endswith(b".csv") else [(path, emotion)]
    return [(path, None) for path, _ in said] if remove else said


def remember(store: Store, said: Sequence[Said], new: bool) -> LabelsChanged:
    """Change labels, all or none; `new` lets words that name no emotion become one.

    Raises NotIndexed for a path without indexed pictures, UnknownEmotion, and UsageError for a word that cannot be a name.
    """
    known = (*EMOTIONS, *(word for word in store.emotions_said() if word not in EMOTIONS))
    words = {word: _emotion(word, known, new) for _, word in said if word is not None}
    wanted = {digest: None if word is None else words[word] for path, word in said for digest in _pictures_at(store, path)}
    before = {bytes.fromhex(one.image_id): one.emotion for one in store.labelled()}
    changes = {digest: word for digest, word in wanted.items() if before.get(digest) != word}
    store.label(changes)
    return LabelsChanged(len(changes), len(wanted) - len(changes))


def doubts(shelf: Shelf, model: StoredModel, limit: int) -> list[Doubt]:
    """The labels that a model contradicts most surely, surest first: confident learning.

    Northcutt et al., arXiv:1911.00068: an emotion is believed of a picture where its probability reaches the mean that pictures
    labelled so get (one half where none is); a label is doubted where another emotion is believed. Ordered by how much more
    probable that is. Labels that the model does not know cannot be doubted.
    """
    known: list[Hit] = []
    usual: dict[str, list[float]] = defaultdict(list)
    for one in shelf.labelled():
        regions = [] if one.path is None else shelf.predicted_at(model.id, one.path)
        if regions and one.emotion in regions[0].hit.emotions:
            known.append(regions[0].hit)
            usual[one.emotion].append(regions[0].hit.emotions[one.emotion])
    least = {emotion: sum(values) / len(values) for emotion, values in usual.items()}
    doubted = []
    for hit in known:
        said, other = hit.emotion, _believed(hit.emotions, least)
        if other not in ("", said):
            doubted.append(Doubt(hit.path, hit.image_id, said, hit.emotions[said], other, hit.emotions[other]))
    return sorted(doubted, key=lambda doubt: (doubt.said_score - doubt.other_score, doubt.path))[:limit]


def _believed(emotions: Mapping[str, float], least: Mapping[str, float]) -> str:
    """The most probable of the emotions that have at least the probability they need; "" where there is none."""
    enough = [emotion for emotion, probability in emotions.items() if probability >= least.get(emotion, _LIKELY)]
    return max(enough, key=emotions.__getitem__, default="")


def _read_table(table: bytes) -> list[Said]:
    """Paths and labels from a CSV file with the columns path and label; relative paths start from the file's folder."""
    name = os.fsdecode(table)
    try:
        with open(table, "rb") as file:
            text = file.read().decode("utf-8-sig", "surrogateescape")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or ()]
        rows = list(reader)
    except (OSError, csv.Error) as error:
        raise UsageError(f"The table {name!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if missing := [column for column in ("path", "label") if column not in reader.fieldnames]:
        have = ", ".join(reader.fieldnames) or "none"
        raise UsageError(f"The table {name!r} lacks the column {' and '.join(missing)}; its columns are: {have}.")
    folder = os.path.dirname(os.path.abspath(table))
    return [(os.path.join(folder, os.fsencode(row["path"] or "")), row["label"] or "") for row in rows]


def _emotion(word: str, known: Iterable[str], new: bool) -> str:
    """The emotion that a word means, or, where it may be `new`, a person's own."""
    try:
        return canonical(word, known)
    except UnknownEmotion as error:
        own = word.strip().lower()
        if not new:
            raise UnknownEmotion(f"{error} To make it an emotion of your own, say --new.") from None
        if len(own) > _LONGEST or not own.isprintable() or not any(letter.isalpha() for letter in own):
            raise UsageError(f"{word!r} cannot be an emotion's name: a few letters are wanted, {_LONGEST} at most.") from None
        return own


def _pictures_at(shelf: Shelf, path: bytes) -> list[bytes]:
    if digests := shelf.digests_at(os.path.realpath(path)):
        return digests
    raise NotIndexed(f"No indexed picture lies at {os.fsdecode(path)!r}; run moodex index on it first.")
