"""What people say pictures feel like, and what models doubt of it. A person's word goes before every model's."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from indexer.domain.emotions import EMOTIONS, canonical, folded
from indexer.domain.errors import ImageError, NotIndexed, UnknownEmotion, UsageError
from indexer.domain.models import FileStamp, changed_ns
from indexer.domain.reports import LabelConflict, LabelsChanged
from indexer.system.paths import indexed_path
from indexer.system.safe_read import read

if TYPE_CHECKING:
    from indexer.domain.models import Hit
    from indexer.ports.store import Store
    from indexer.ports.store_reader import ImageFile, StoredModel, StoreReader

_LONGEST = 40
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class LabelAssignment:
    """What a person says of the pictures at a path or, with a `digest`, of that picture, wherever it lies; None takes back what
    was said. `row` is where it stands in a table.
    """

    path: bytes
    emotion: str | None
    digest: bytes | None = None
    row: str = ""


def parse_assignments(paths: Sequence[bytes], emotion: str | None, remove: bool) -> list[LabelAssignment]:
    """What a command line says: an emotion of pictures and folders; tables bring their own. `remove` takes back all of it.

    Raises UsageError.
    """
    said: list[LabelAssignment] = []
    for path in paths:
        said += _read_table(path, remove) if is_table(path) else [LabelAssignment(path, emotion)]
    return [replace(one, emotion=None) for one in said] if remove else said


def is_table(path: bytes) -> bool:
    """Whether a path means a table of labels, by its name; a folder never does."""
    return path.lower().endswith(b".csv") and not os.path.isdir(path)


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


def find_conflicts(store: StoreReader, model: StoredModel, limit: int) -> list[LabelConflict]:
    """The labels that a model contradicts most surely, surest first: confident learning.

    Northcutt et al., arXiv:1911.00068: an emotion is believed of a picture where its probability reaches the mean that pictures
    labelled so get (one half where none is); a label is doubted where another emotion is believed. Ordered by how much more
    probable that is. Labels that the model does not know cannot be doubted.
    """
    known: list[Hit] = []
    usual: dict[str, list[float]] = defaultdict(list)
    for one in store.labelled():
        regions = [] if one.path is None else store.predicted_at(model.id, one.path)
        if regions and one.emotion in regions[0].hit.emotions:
            known.append(regions[0].hit)
            usual[one.emotion].append(regions[0].hit.emotions[one.emotion])
    least = {emotion: sum(values) / len(values) for emotion, values in usual.items()}
    doubted = []
    for hit in known:
        said, other = hit.emotion, _believed(hit.emotions, least)
        if other not in ("", said):
            doubted.append(LabelConflict(hit.path, hit.image_id, said, hit.emotions[said], other, hit.emotions[other]))
    return sorted(doubted, key=lambda doubt: (doubt.said_score - doubt.other_score, doubt.path))[:limit]


def _believed(emotions: Mapping[str, float], least: Mapping[str, float]) -> str:
    """The most probable of the emotions that have at least the probability they need; "" where there is none."""
    enough = [emotion for emotion, probability in emotions.items() if probability >= least.get(emotion, _LIKELY)]
    return max(enough, key=emotions.__getitem__, default="")


def _read_table(table: bytes, remove: bool) -> list[LabelAssignment]:
    """What a CSV file says in the columns label and path, or digest (or image_id); rows without a label say nothing, but
    where labels are to be removed.

    Relative paths start from the file's folder.
    """
    name = os.fsdecode(table)
    try:
        text = read(table)[0].decode("utf-8-sig", "surrogateescape")
        header, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True)) or [[]]
    except (OSError, ImageError, csv.Error) as error:
        raise UsageError(f"The table {name!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    columns = [column.strip().lower() for column in header]
    have = set(columns)
    missing = [] if have & {"path", "digest", "image_id"} else ["path"]
    if missing := [*missing, *({"label"} - have)]:
        listed = ", ".join(columns) or "none"
        raise UsageError(
            f"The table {name!r} lacks the column {' and '.join(missing)}; its columns are: {listed}. Tables are saved as "
            "UTF-8, with commas between the columns."
        )
    if twice := [column for column in columns if column in ("label", "path", "digest", "image_id") and columns.count(column) > 1]:
        raise UsageError(f"The table {name!r} has two columns named {twice[0]}; leave one of them.")
    named = [dict(zip(columns, row, strict=False)) for row in rows]
    said = list(_rows(named, os.path.dirname(os.path.abspath(table)), name))
    return said if remove else [one for one in said if one.emotion]


def _rows(rows: Iterable[Mapping[str, str]], folder: bytes, name: str) -> Iterator[LabelAssignment]:
    for number, row in enumerate(rows, 2):
        label, path = _bare(row.get("label") or "").strip(), _bare(row.get("path") or "")
        digest = _digest((row.get("digest") or row.get("image_id") or "").strip())
        if "\0" in path:
            raise UsageError(f"The table {name!r} names no picture in row {number}: no path has a zero byte in it.")
        if label and not path and digest is None:
            raise UsageError(
                f"The table {name!r} names no picture in row {number}: it has neither a path nor a whole digest there."
            )
        if path or digest:
            # An empty path is none, not the folder.
            yield LabelAssignment(
                os.path.join(folder, os.fsencode(path)) if path else b"", label, digest, f"row {number} of {name!r}"
            )


def _bare(cell: str) -> str:
    """Undo `indexer.system.text.escape_spreadsheet_formula`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _digest(cell: str) -> bytes | None:
    try:
        digest = bytes.fromhex(cell)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None


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
