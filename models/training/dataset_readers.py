"""Labelled pictures on disk: folders named after emotions, FERG-DB in both of its layouts, tables of paths and labels.

    EMOTION/FILE                                one set, as the manga faces
    SET/EMOTION/FILE                            many sets
    CHARACTER/CHARACTER_EMOTION/FILE            FERG-DB as it is published
    EMOTION/CHARACTER_EMOTION_NUMBER.png        FERG-DB as it is often passed on
    FILE.csv                                    columns path and label; group and split are optional

Labels are read from the data, never assumed from a list.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from blake3 import blake3

from indexer.domain.errors import UsageError
from models.training.label_mapping import Labels, unknown_labels

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"})

ARTISTS: dict[str, str] = {
    "avatar_open-peeps": "pablo-stanley",
    "avatar_avataaars": "pablo-stanley",
    "avatar_lorelei": "lisa-wischofsky",
    "avatar_adventurer": "lisa-wischofsky",
    "emoji_noto": "google",
    "emoji_noto-v1": "google",
    "emoji_fluent-emoji": "microsoft",
    "emoji_fluent-emoji-flat": "microsoft",
    "emoji_emojione": "emojione",
    "emoji_emojione-v1": "emojione",
}
"""Sets that share an artist, for data that comes without `sets.csv`. Any other set is its own artist."""

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What a table's column `split` may say, and what it means."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set: where it lies, who drew it, and on what terms."""

    name: str
    folder: Path
    artist: str
    licence: str = ""
    credit: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One labelled file.

    `label` is the word in the data and `emotion` what it means; `character` who is drawn, where the data say so; `part` is of
    `PARTS`, where the data come divided; `digest` the BLAKE3 hex digest of the file's bytes.
    """

    path: Path
    label: str
    emotion: str
    source: Source
    character: str = ""
    part: str = ""
    digest: str = field(default="", compare=False)


def find_images(datasets: Iterable[Path], labels: Labels | None = None) -> list[SourceImage]:
    """Every labelled picture of the data sets, in a fixed order, each file once; copies of a picture are kept.

    Raises UsageError for a data set that is missing, empty or incomplete, and for labels that name no emotion.
    """
    labels = labels or Labels()
    found: dict[Path, SourceImage] = {}
    for dataset in datasets:
        pictures = list(_read_table(dataset, labels) if dataset.suffix.lower() == ".csv" else _read_folder(dataset, labels))
        if not pictures:
            raise UsageError(f"The data set {dataset} holds no pictures.")
        for picture in pictures:
            found.setdefault(picture.path.absolute(), picture)
    return [replace(picture, digest=_digest(picture.path)) for picture in found.values()]


def _digest(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError:
        return f"unreadable {path}"  # decoding says why


def _read_folder(root: Path, labels: Labels) -> Iterator[SourceImage]:
    inside = _folders(root)
    if any(labels.knows(part.name) for part in inside):
        yield from _labelled(_source(root, _read_sets(root.parent)), labels)
    elif characters := [part for part in inside if _by_character(part, labels)]:
        source = _source(root, _read_sets(root.parent))
        for part in characters:
            words = {folder: folder.name[len(part.name) + 1 :] for folder in _by_character(part, labels)}
            yield from _in_folders(words, source, labels, part.name)
    elif sets := [part for part in inside if _folders(part)]:
        described = _read_sets(root)
        for part in sets:
            yield from _labelled(_source(part, described), labels)
    else:
        raise UsageError(f"{root} has no pictures in folders named after emotions, as in SET/happy/picture.png.")


def _by_character(part: Path, labels: Labels) -> list[Path]:
    """The folders CHARACTER_EMOTION in a character's folder; none where it is something else."""
    start = f"{part.name.lower()}_"
    inside = [folder for folder in _folders(part) if folder.name.lower().startswith(start)]
    return inside if any(labels.knows(folder.name[len(start) :]) for folder in inside) else []


def _labelled(source: Source, labels: Labels) -> Iterator[SourceImage]:
    """The pictures of one set; characters are those its file names tell of, as soon as they tell of two."""
    words = {folder: folder.name for folder in _folders(source.folder)}
    if not any(_files(folder) for folder in words):
        raise UsageError(f"The data set {source.folder} holds no pictures.")
    pictures = list(_in_folders(words, source, labels))
    named = [_character(picture) for picture in pictures]
    if all(named) and len(set(named)) > 1:
        pictures = [replace(picture, character=name) for picture, name in zip(pictures, named, strict=True)]
    yield from pictures


def _in_folders(words: Mapping[Path, str], source: Source, labels: Labels, character: str = "") -> Iterator[SourceImage]:
    files = {folder: _files(folder) for folder in words}
    unknown = [word for folder, word in words.items() if files[folder] and not labels.knows(word)]
    if unknown:
        raise unknown_labels(unknown, source.folder)
    for folder, word in words.items():
        emotion = labels.emotion(word) if files[folder] else None
        if emotion is not None:
            yield from (SourceImage(file, word, emotion, source, character) for file in files[folder])


def _character(picture: SourceImage) -> str:
    """Who a file named CHARACTER_EMOTION or CHARACTER_EMOTION_NUMBER shows."""
    match = re.fullmatch(rf"(.+?)_{re.escape(picture.label)}(_\d+)?", picture.path.stem, re.IGNORECASE)
    return match[1].lower() if match else ""


def _read_table(path: Path, labels: Labels) -> Iterator[SourceImage]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [name.strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The table {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if missing := [name for name in ("path", "label") if name not in columns]:
        have = ", ".join(columns) or "none"
        raise UsageError(f"The table {path} lacks the column {' and '.join(missing)}; its columns are: {have}.")
    unknown = [row["label"] or "" for row in rows if not labels.knows(row["label"] or "")]
    if unknown:
        raise unknown_labels(unknown, path)
    source = _source(path, _read_sets(path.parent))
    for number, row in enumerate(rows, start=2):
        emotion = labels.emotion(row["label"])
        if "\0" in (row["path"] or ""):
            raise UsageError(f"The table {path} names no picture in line {number}: no path has a zero byte in it.")
        if emotion is not None:
            file_path = path.parent / (row["path"] or "")
            part = _part(row.get("split") or "", f"line {number} of {path}")
            yield SourceImage(file_path, row["label"], emotion, source, (row.get("group") or "").strip(), part)


def _part(word: str, where: str) -> str:
    word = word.strip().lower()
    if word and word not in PARTS:
        raise UsageError(f"The split {word!r} in {where} is none of train, validation and test.")
    return PARTS.get(word, "")


def _source(folder: Path, sets: Mapping[str, Mapping[str, str]]) -> Source:
    name = folder.resolve().stem if folder.suffix == ".csv" else folder.resolve().name
    facts = sets.get(name, {})
    artist = facts.get("artist") or ARTISTS.get(name, name)
    return Source(name, folder, artist, facts.get("licence", ""), facts.get("credit", ""), facts.get("url", ""))


def _read_sets(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of the optional `sets.csv` (set, artist, licence, credit, url) by set."""
    path = folder / "sets.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["set"]: {name: value or "" for name, value in row.items()} for row in csv.DictReader(file) if row.get("set")}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(
            f"The data set {folder} does not exist." if not folder.exists() else f"{folder} is no folder and no .csv."
        )
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def _files(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
