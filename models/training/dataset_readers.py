"""Data sets on disk: folders named after emotions, FERG-DB in both of its layouts, tables of paths and labels.

    EMOTION/FILE                                one set
    SET/EMOTION/FILE                            many sets
    CHARACTER/CHARACTER_EMOTION/FILE            FERG-DB as published
    EMOTION/CHARACTER_EMOTION_NUMBER.png        FERG-DB as often redistributed
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
"""Artists of sets, for data without `sets.csv`. The artist of any other set has the name of the set."""

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Values of the column `split` of a table, and their meaning."""


@dataclass(frozen=True, slots=True)
class Source:
    """One set of images: its folder, its artist, and its licence."""

    name: str
    folder: Path
    artist: str
    licence: str = ""
    credit: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One labeled file.

    - `label`: word in the data; `emotion`: its meaning.
    - `character`: who is drawn, if the data says so; `part`: value of `PARTS`, if the data is divided.
    - `digest`: BLAKE3 hex digest of the bytes of the file.
    """

    path: Path
    label: str
    emotion: str
    source: Source
    character: str = ""
    part: str = ""
    digest: str = field(default="", compare=False)


def find_images(datasets: Iterable[Path], labels: Labels | None = None) -> list[SourceImage]:
    """List the labeled images of data sets, in a fixed order, each file once. Duplicate images are kept.

    Raises UsageError for a missing, empty or incomplete data set, and for labels that are not emotions.
    """
    labels = labels or Labels()
    found: dict[Path, SourceImage] = {}
    for dataset in datasets:
        images = list(_read_table(dataset, labels) if dataset.suffix.lower() == ".csv" else _read_folder(dataset, labels))
        if not images:
            raise UsageError(f"The data set {dataset} holds no images.")
        for image in images:
            found.setdefault(image.path.absolute(), image)
    return [replace(image, digest=_digest(image.path)) for image in found.values()]


def _digest(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError:
        return f"unreadable {path}"  # decoding will report the reason


def _read_folder(root: Path, labels: Labels) -> Iterator[SourceImage]:
    inside = _folders(root)
    if any(labels.knows(part.name) for part in inside):
        yield from _labeled(_source(root, _read_sets(root.parent)), labels)
    elif characters := [part for part in inside if _by_character(part, labels)]:
        source = _source(root, _read_sets(root.parent))
        for part in characters:
            words = {folder: folder.name[len(part.name) + 1 :] for folder in _by_character(part, labels)}
            yield from _in_folders(words, source, labels, part.name)
    elif sets := [part for part in inside if _folders(part)]:
        described = _read_sets(root)
        for part in sets:
            yield from _labeled(_source(part, described), labels)
    else:
        raise UsageError(f"{root} has no images in folders named after emotions, as in SET/happy/image.png.")


def _by_character(part: Path, labels: Labels) -> list[Path]:
    """Return the folders CHARACTER_EMOTION in the folder of a character; none if it is something else."""
    start = f"{part.name.lower()}_"
    inside = [folder for folder in _folders(part) if folder.name.lower().startswith(start)]
    return inside if any(labels.knows(folder.name[len(start) :]) for folder in inside) else []


def _labeled(source: Source, labels: Labels) -> Iterator[SourceImage]:
    """Yield the images of one set; file names give the characters if they name at least two."""
    words = {folder: folder.name for folder in _folders(source.folder)}
    if not any(_files(folder) for folder in words):
        raise UsageError(f"The data set {source.folder} holds no images.")
    images = list(_in_folders(words, source, labels))
    named = [_character(image) for image in images]
    if all(named) and len(set(named)) > 1:
        images = [replace(image, character=name) for image, name in zip(images, named, strict=True)]
    yield from images


def _in_folders(words: Mapping[Path, str], source: Source, labels: Labels, character: str = "") -> Iterator[SourceImage]:
    files = {folder: _files(folder) for folder in words}
    unknown = [word for folder, word in words.items() if files[folder] and not labels.knows(word)]
    if unknown:
        raise unknown_labels(unknown, source.folder)
    for folder, word in words.items():
        emotion = labels.emotion(word) if files[folder] else None
        if emotion is not None:
            yield from (SourceImage(file, word, emotion, source, character) for file in files[folder])


def _character(image: SourceImage) -> str:
    """Return the character of a file named CHARACTER_EMOTION or CHARACTER_EMOTION_NUMBER."""
    match = re.fullmatch(rf"(.+?)_{re.escape(image.label)}(_\d+)?", image.path.stem, re.IGNORECASE)
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
            raise UsageError(f"The table {path} names no image in line {number}: a path cannot contain a zero byte.")
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
    """Read the rows of the optional `sets.csv` (set, artist, licence, credit, url) by set."""
    path = folder / "sets.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["set"]: {name: value or "" for name, value in row.items()} for row in csv.DictReader(file) if row.get("set")}


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(
            f"The data set {folder} does not exist." if not folder.exists() else f"{folder} is neither a folder nor a .csv file."
        )
    return sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))


def _files(folder: Path) -> Sequence[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
