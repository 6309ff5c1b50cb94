"""Data sets of images in Parquet and Arrow files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from indexer.domain.errors import Damaged
from indexer.ports.sources import ScannedFolder, ScanOptions
from indexer.sources.archives import opened
from indexer.sources.archives.opened import OpenedArchive
from indexer.sources.filesystem import FileSystemSource
from tests.support.datasets import arrow_file, arrow_stream, images, parquet

PNG = b"\x89PNG and more"
FILES = {"a.parquet": parquet, "a.arrow": arrow_stream, "b.arrow": arrow_file}


def scan(source: FileSystemSource, root: Path) -> dict[str, ScannedFolder]:
    return {os.path.relpath(os.fsdecode(folder.path), root): folder for folder in source.scan(os.fsencode(root), ScanOptions())}


def names(folder: ScannedFolder) -> list[bytes]:
    return [name for name, *_ in folder.entries]


@pytest.fixture
def source(tmp_path: Path) -> FileSystemSource:
    return FileSystemSource(tmp_path / "kept")


@pytest.mark.parametrize("name", FILES)
def test_rows_without_a_usable_path_are_named_by_their_number(source: FileSystemSource, tmp_path: Path, name: str) -> None:
    table = pa.concat_tables(
        [images({path: PNG + path.encode()}) for path in ("", "/etc/x.png", "../y.jpg", "cat.png", "cat.png", "note")]
    )
    (tmp_path / name).write_bytes(FILES[name](table))
    (folder,) = scan(source, tmp_path / name).values()
    assert names(folder) == [b"000000.png", b"000001.png", b"000002.jpg", b"000004.png", b"000005.png", b"cat.png"]
    assert source.read(os.fsencode(tmp_path / name / "000005.png"))[0] == PNG + b"note"
    assert source.read(os.fsencode(tmp_path / name / "cat.png"))[0] == PNG + b"cat.png"


def test_a_number_that_is_the_path_of_another_row_replaces_no_image(source: FileSystemSource, tmp_path: Path) -> None:
    table = pa.concat_tables([images({path: PNG}) for path in ("000002.png", "", "")])
    (tmp_path / "a.parquet").write_bytes(parquet(table))
    (folder,) = scan(source, tmp_path / "a.parquet").values()
    assert names(folder) == [b"000001.png", b"000002.png", b"row 000002.png"]


def test_each_of_several_columns_is_a_folder_and_bytes_alone_are_images(source: FileSystemSource, tmp_path: Path) -> None:
    front, back = images({"1.png": b"front"}), images({"1.png": b"back"})
    table = pa.table({"front": front["image"], "back": back["image"], "jpg": [b"alone"], "other": [b"no image"]})
    (tmp_path / "a.parquet").write_bytes(parquet(table))
    folders = scan(source, tmp_path / "a.parquet")
    assert {name: names(folder) for name, folder in folders.items() if folder.entries} == {
        "front": [b"1.png"],
        "back": [b"1.png"],
        "jpg": [b"000000.jpg"],
    }
    assert source.read(os.fsencode(tmp_path / "a.parquet/back/1.png"))[0] == b"back"


def test_rows_without_bytes_are_passed_over_and_counted(source: FileSystemSource, tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(arrow_stream(images({"a.png": b"1", "b.png": None})))
    (folder,) = scan(source, tmp_path / "a.arrow").values()
    assert names(folder) == [b"a.png"]
    assert folder.skipped == ((b"b.png", "row without the bytes of an image"),)


def test_a_file_without_images_is_no_failure_in_a_folder(source: FileSystemSource, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/numbers.parquet").write_bytes(parquet(pa.table({"x": [1, 2]})))
    (tmp_path / "set/cache-1.arrow").write_bytes(arrow_stream(pa.table({"indices": [3, 1]})))
    assert all(not folder.entries and folder.problem is None for folder in scan(source, tmp_path / "set").values())


def test_a_row_that_changed_has_another_stamp_and_the_others_keep_theirs(tmp_path: Path) -> None:
    stamps = []
    for changed in (b"two", b"new"):
        (tmp_path / "a.parquet").write_bytes(parquet(images({"1.png": b"one", "2.png": changed})))
        (folder,) = scan(FileSystemSource(), tmp_path / "a.parquet").values()
        stamps.append({file.name: file.stamp for file in folder.files})
    assert stamps[0][b"1.png"] == stamps[1][b"1.png"]
    assert stamps[0][b"2.png"] != stamps[1][b"2.png"]


@pytest.mark.parametrize("make", FILES.values())
def test_damage_is_one_failure(source: FileSystemSource, tmp_path: Path, make: Callable[[Any], bytes]) -> None:
    data = make(images({f"{number}.png": bytes([number]) * 500 for number in range(20)}))
    (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
    (folder,) = scan(source, tmp_path / "a.parquet").values()
    assert folder.problem is not None
    assert folder.problem.kind == "damaged"


def test_more_rows_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: FileSystemSource) -> None:
    monkeypatch.setattr(opened, "MAX_ENTRIES", 5)
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(images({f"{number}.png": b"" for number in range(6)})))
    with path.open("rb") as file, pytest.raises(Damaged, match="more than 5 members"):
        OpenedArchive(file, b"a.parquet", source.stamp(os.fsencode(path)))
