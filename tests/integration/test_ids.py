"""The ids that searches print are taken wherever a path of an indexed image is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from indexer.domain.errors import NotIndexed, UsageError
from indexer.domain.export import ExportRequest
from indexer.exporters.text import writer_for
from indexer.ingest import library_roots
from indexer.ingest import service as ingest_service
from indexer.labels import service as labels_service
from indexer.labels.assign import parse_assignments
from indexer.transfer.export import export
from tests.support.builders import write_images
from tests.support.library import Library, counts


@pytest.fixture
def image_id(library: Library) -> str:
    """The first digits of the id of an image with two files, among four images."""
    images = write_images(library.folder, 4)
    shutil.copy(images[0], library.folder / "copy.png")
    library.index()
    return library.show(images[0])[0].image_id[:8]


def label_from(library: Library, table: Path) -> int:
    assignments = parse_assignments([os.fsencode(table)], None, remove=False)
    return labels_service.label(library.opened, assignments, new=False).changed


def test_searches_below_an_id_find_its_files(library: Library, image_id: str) -> None:
    hits = library.search(under=(image_id.encode(),))
    assert {os.path.basename(hit.path) for hit in hits} == {b"000.png", b"copy.png"}


def test_exports_of_an_id_have_its_files(library: Library, image_id: str, tmp_path: Path) -> None:
    target = tmp_path / "x.csv"
    request = ExportRequest(target=target, under=(image_id.upper().encode(),))
    assert export(library.opened, request, writer_for(target, False), library.progress).rows == 2


def test_an_id_is_forgotten(library: Library, image_id: str) -> None:
    assert library_roots.forget(library.opened, [image_id.encode()]).forgotten == 2
    assert library.paths() == {"001.png", "002.png", "003.png"}
    with pytest.raises(NotIndexed, match="nothing was forgotten"):
        library_roots.forget(library.opened, [image_id.encode()])


@pytest.mark.parametrize("column", ["path", "image_id", "digest"])
def test_tables_of_labels_may_name_ids(library: Library, image_id: str, tmp_path: Path, column: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"{column},label\n{image_id},sad\n")
    assert label_from(library, table) == 1
    assert {hit.emotion for hit in library.search(under=(image_id.encode(),))} == {"sad"}
    table.write_text(f"{column},label\n0123456789,sad\n")
    with pytest.raises(NotIndexed, match="'0123456789'.*In row 2"):
        label_from(library, table)


def test_a_file_of_such_a_name_takes_precedence(library: Library, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(library.folder / image_id, 2, first_seed=20)
    library.index()
    monkeypatch.chdir(library.folder)
    assert {os.path.dirname(hit.path) for hit in library.search(under=(image_id.encode(),))} == {
        os.fsencode(library.folder / image_id)
    }
    shutil.rmtree(library.folder / image_id)  # it is indexed, and missing
    assert len(library.search(under=(image_id.encode(),))) == 2


def test_digits_of_several_images_are_refused(library: Library, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.sql.reader.SqlReader.digests_with_prefix", lambda *_: [bytes(32), bytes(32)])
    with pytest.raises(UsageError, match="give more digits"):
        library_roots.forget(library.opened, [b"00000"])
    assert len(library.paths()) == 5


def test_an_id_is_indexed_again(library: Library, image_id: str) -> None:
    paths = ingest_service.typed_paths(library.opened, [image_id.encode(), b"0123456789", os.fsencode(library.folder)])
    copies = [os.fsencode(library.folder / name) for name in ("000.png", "copy.png")]
    assert (sorted(paths[:2]), paths[2:]) == (copies, [b"0123456789", os.fsencode(library.folder)])
    assert counts(library.index(*map(os.fsdecode, copies), force=True)) == {"scanned": 2, "indexed": 1, "reused": 1}


def test_an_image_with_one_file_moves_by_its_id(library: Library, image_id: str) -> None:
    one, other = library.folder / "001.png", library.folder / "renamed.png"
    one_id = library.show(one)[0].image_id[:8].encode()
    one.rename(other)
    report = library_roots.move(library.opened, one_id, os.fsencode(other))
    assert (report.moved, report.old) == (1, os.fsencode(one))
    assert "renamed.png" in library.paths()
    with pytest.raises(UsageError, match="has 2 files"):
        library_roots.move(library.opened, image_id.encode(), os.fsencode(other))
