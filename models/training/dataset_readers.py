"""Readers of data sets on disk.

    EMOTION/FILE                                one set
    SET/EMOTION/FILE                            many sets
    CHARACTER/CHARACTER_EMOTION/FILE            FERG-DB as published
    EMOTION/CHARACTER_EMOTION_NUMBER.png        FERG-DB as often redistributed
    FILE.csv                                    columns path and label; group and split are optional

A set, which is a folder of the first two layouts, may have a file manifest.csv with the columns file and character: the path of
an image in the set, and the character that it shows. If that path has no folder, the image is in the folder that the column
label names.

The labels of a data set are those that occur in it, not a fixed list.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from indexer.domain.errors import UsageError
from indexer.imaging.further_formats import readable_extensions
from models.training.label_mapping import Labels, unknown_labels

SUFFIXES = frozenset(extension.decode() for extension in readable_extensions())
"""Suffixes, in lower case, of the files in folders that are images."""

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
"""Artists by set, for data without `sets.csv`. For any other set, the name of the set is used as the name of its artist."""

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Values of the column `split` of a table, with the parts that they mean."""


@dataclass(frozen=True, slots=True)
class Source:
    """A set of images.

    - `folder`: its folder, or its table.
    - `licence`, `credit`, `url`: from `sets.csv`; "" if unknown.
    """

    name: str
    folder: Path
    artist: str
    licence: str = ""
    credit: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A labeled image file.

    - `label`: the word in the data; `emotion`: the emotion that it means.
    - `character`: the character that is drawn; "" if the data does not name it.
    - `part`: one of the values of `PARTS`; "" if the data is not divided into parts.
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
    """List the labeled images of data sets, in a fixed order, each file once.

    Files with the same content are all listed. Raises UsageError for a missing, empty or incomplete data set, and for labels
    that are not emotions.
    """
    labels = labels or Labels()
    by_path: dict[Path, SourceImage] = {}
    for dataset in datasets:
        images = list(_read_table(dataset, labels) if dataset.suffix.lower() == ".csv" else _read_folder(dataset, labels))
        if not images:
            raise UsageError(f"The data set {dataset} holds no images.")
        for image in images:
            by_path.setdefault(image.path.absolute(), image)
    return [replace(image, digest=_digest(image.path)) for image in by_path.values()]


def _digest(path: Path) -> str:
    try:
        return blake3(path.read_bytes()).hexdigest()
    except OSError:
        return f"unreadable {path}"  # decoding will report the reason


def _read_folder(root: Path, labels: Labels) -> Iterator[SourceImage]:
    """Yield the images of a folder in any of the layouts that the module lists."""
    folders = _folders(root)
    if any(labels.knows(folder.name) for folder in folders):
        yield from _read_set(_source(root, _read_sets(root.parent)), labels)
    elif characters := [folder for folder in folders if _character_folders(folder, labels)]:
        source = _source(root, _read_sets(root.parent))
        for character in characters:
            words = {folder: folder.name[len(character.name) + 1 :] for folder in _character_folders(character, labels)}
            yield from _in_folders(words, source, labels, character.name)
    elif sets := [folder for folder in folders if _folders(folder)]:
        descriptions = _read_sets(root)
        for folder in sets:
            yield from _read_set(_source(folder, descriptions), labels)
    else:
        raise UsageError(f"{root} has no images in folders named after emotions, as in SET/happy/image.png.")


def _character_folders(folder: Path, labels: Labels) -> list[Path]:
    """Return the folders CHARACTER_EMOTION in the folder of a character; an empty list for another kind of folder."""
    prefix = f"{folder.name.lower()}_"
    candidates = [inner for inner in _folders(folder) if inner.name.lower().startswith(prefix)]
    return candidates if any(labels.knows(inner.name[len(prefix) :]) for inner in candidates) else []


def _read_set(source: Source, labels: Labels) -> Iterator[SourceImage]:
    """Yield the images of one set.

    Its manifest gives their characters if it has any; else their file names do, if they name at least two.
    """
    words = {folder: folder.name for folder in _folders(source.folder)}
    if not any(_files(folder) for folder in words):
        raise UsageError(f"The data set {source.folder} holds no images.")
    images = list(_in_folders(words, source, labels))
    if named := _read_manifest(source.folder):
        yield from (replace(image, character=named.get(image.path, "")) for image in images)
        return
    characters = [_character(image) for image in images]
    if all(characters) and len(set(characters)) > 1:
        images = [replace(image, character=name) for image, name in zip(images, characters, strict=True)]
    yield from images


def _read_manifest(folder: Path) -> dict[Path, str]:
    """Read the characters of the images of a set, by path, from its manifest; an empty dict if it names none.

    Raises UsageError for a manifest that cannot be read.
    """
    path = folder / "manifest.csv"
    if not path.is_file():
        return {}
    columns, rows = _read_csv(path, "manifest")
    if not {"file", "character"} <= set(columns):
        return {}
    characters: dict[Path, str] = {}
    for row in rows:
        file, character = Path((row["file"] or "").strip()), (row["character"] or "").strip()
        if character:
            label_folder = (row.get("label") or "").strip() if len(file.parts) == 1 else ""
            characters[folder / label_folder / file] = character
    return characters


def _in_folders(words: Mapping[Path, str], source: Source, labels: Labels, character: str = "") -> Iterator[SourceImage]:
    """Yield the images in folders; `words` are the labels of the folders."""
    files = {folder: _files(folder) for folder in words}
    unknown = [word for folder, word in words.items() if files[folder] and not labels.knows(word)]
    if unknown:
        raise unknown_labels(unknown, source.folder)
    for folder, word in words.items():
        emotion = labels.emotion(word) if files[folder] else None
        if emotion is not None:
            yield from (SourceImage(file, word, emotion, source, character) for file in files[folder])


def _character(image: SourceImage) -> str:
    """Return the character of a file named CHARACTER_EMOTION or CHARACTER_EMOTION_NUMBER; "" for another name."""
    match = re.fullmatch(rf"(.+?)_{re.escape(image.label)}(_\d+)?", image.path.stem, re.IGNORECASE)
    return match[1].lower() if match else ""


def _read_table(path: Path, labels: Labels) -> Iterator[SourceImage]:
    """Yield the images of a CSV file, whose paths are relative to its folder."""
    columns, rows = _read_csv(path, "table")
    if missing := [name for name in ("path", "label") if name not in columns]:
        listed = ", ".join(columns) or "none"
        raise UsageError(f"The table {path} lacks the column {' and '.join(missing)}; its columns are: {listed}.")
    unknown = [row["label"] or "" for row in rows if not labels.knows(row["label"] or "")]
    if unknown:
        raise unknown_labels(unknown, path)
    source = _source(path, _read_sets(path.parent))
    for number, row in enumerate(rows, start=2):
        emotion = labels.emotion(row["label"])
        if "\0" in (row["path"] or ""):
            raise UsageError(f"The path in line {number} of the table {path} contains a zero byte; correct it.")
        if emotion is not None:
            file_path = path.parent / (row["path"] or "")
            part = _part(row.get("split") or "", f"line {number} of {path}")
            yield SourceImage(file_path, row["label"], emotion, source, (row.get("group") or "").strip(), part)


def _read_csv(path: Path, kind: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the columns, in lower case, and the rows of a CSV file. Raises UsageError, which calls the file a `kind`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            reader.fieldnames = columns = [name.strip().lower() for name in reader.fieldnames or ()]
            return columns, list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The {kind} {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _part(word: str, where: str) -> str:
    """Return the part that a value of the column `split` means. Raises UsageError, which names `where` it occurs."""
    word = word.strip().lower()
    if word and word not in PARTS:
        raise UsageError(f"The split {word!r} in {where} is not train, validation or test.")
    return PARTS.get(word, "")


def _source(folder: Path, sets: Mapping[str, Mapping[str, str]]) -> Source:
    """Return the source with the name of a folder or a table; `sets` are the rows of `sets.csv` by set."""
    name = folder.resolve().stem if folder.suffix == ".csv" else folder.resolve().name
    row = sets.get(name, {})
    artist = row.get("artist") or ARTISTS.get(name, name)
    return Source(name, folder, artist, row.get("licence", ""), row.get("credit", ""), row.get("url", ""))


def _read_sets(folder: Path) -> dict[str, dict[str, str]]:
    """Read the rows of `sets.csv` (set, artist, licence, credit, url) by set; an empty dict if there is no such file."""
    path = folder / "sets.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["set"]: {name: value or "" for name, value in row.items()} for row in csv.DictReader(file) if row.get("set")}


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones. Raises UsageError if it is not a folder."""
    if not folder.is_dir():
        raise UsageError(
            f"The data set {folder} does not exist." if not folder.exists() else f"{folder} is neither a folder nor a .csv file."
        )
    return sorted(inner for inner in folder.iterdir() if inner.is_dir() and not inner.name.startswith("."))


def _files(folder: Path) -> Sequence[Path]:
    """Return the image files in a folder, sorted, without hidden ones."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
