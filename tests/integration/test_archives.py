"""Archives in a library: the same answers as from a folder, and the promises about what is missing, moved and copied."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.domain.errors import UsageError
from indexer.ingest.library_roots import forget, move
from indexer.maintenance import service as maintenance_service
from indexer.search import pictures
from indexer.search.collect import collect
from tests.support.archives import FORMATS, Members, encrypted_zip, zipped
from tests.support.builders import draw_blocks, encoded
from tests.support.library import Library, counts

PAGES: Members = {f"ch {number % 2}/page {number:02d}.png": encoded(draw_blocks(number)) for number in range(6)}


@pytest.fixture
def book(library: Library) -> Path:
    path = library.folder / "book.cbz"
    path.write_bytes(zipped(PAGES))
    return path


def pages_of(name: str) -> set[str]:
    return {f"{name}/{page}" for page in PAGES}


@pytest.mark.parametrize("name", FORMATS)
def test_an_archive_gives_the_answers_of_a_folder(library: Library, name: str) -> None:
    folder = library.folder / "plain"
    for page, data in PAGES.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_bytes(data)
    library.index()
    expected = {os.fsdecode(hit.path).removeprefix(f"{folder}/"): replace(hit, path=b"") for hit in library.everything()}
    shutil.rmtree(folder)
    packed = library.folder / name
    packed.write_bytes(FORMATS[name](PAGES))
    summary = library.index(force=True)
    assert (summary.scanned, summary.indexed, summary.failed) == (6, 6, 0)
    assert {os.fsdecode(hit.path).removeprefix(f"{packed}/"): replace(hit, path=b"") for hit in library.everything()} == expected
    assert counts(library.index()) == {"scanned": 6, "unchanged": 6}


def test_pages_are_searched_shown_and_filtered_by_their_archive(library: Library, book: Path) -> None:
    library.index(book)
    assert library.paths() == pages_of("book.cbz")
    page = book / "ch 1/page 01.png"
    (shown,) = library.show(page)
    assert shown.path == os.fsencode(page)
    assert len(library.search(under=(os.fsencode(book),))) == 6
    assert len(library.search(under=(os.fsencode(book / "ch 1"),))) == 3
    assert library.search(like=os.fsencode(page))[0].path == os.fsencode(page)


def test_a_page_that_is_not_indexed_is_shown_and_is_a_query(library: Library, book: Path) -> None:
    library.index(book / "ch 0")
    page = book / "ch 1/page 01.png"
    assert library.show(page)[0].image_id
    assert library.search(image=os.fsencode(page))
    with pytest.raises(UsageError, match="is a folder"):
        library.search(image=os.fsencode(book))


@pytest.mark.parametrize("bad", [b"damaged", encrypted_zip(PAGES)])
def test_an_archive_that_cannot_be_read_any_more_loses_nothing(library: Library, book: Path, bad: bytes) -> None:
    library.index()
    good = book.read_bytes()
    book.write_bytes(bad)
    summary = library.index(prune=True)
    assert (summary.failed, summary.removed, summary.left_out) == (1, 0, 0)
    assert list(summary.unlisted) == [str(book)]
    assert library.paths() == pages_of("book.cbz")
    book.write_bytes(good)
    assert counts(library.index()) == {"scanned": 6, "unchanged": 6}
    with library.store() as store:
        assert not store.failures(10)


def test_a_named_page_stays_when_its_archive_cannot_be_read_any_more(library: Library, book: Path) -> None:
    library.index(book / "ch 0/page 00.png")
    book.write_bytes(b"damaged")
    summary = library.index(book / "ch 0/page 00.png", prune=True)
    assert (summary.failed, summary.removed, summary.left_out) == (1, 0, 0)
    assert library.paths() == {"book.cbz/ch 0/page 00.png"}


def test_pages_that_left_their_archive_are_removed_and_new_ones_are_analyzed(library: Library, book: Path) -> None:
    library.index()
    pages = dict(list(PAGES.items())[1:])
    book.write_bytes(zipped({**pages, "new.png": encoded(draw_blocks(50))}))
    assert counts(library.index()) == {"scanned": 6, "indexed": 1, "unchanged": 5, "removed": 1}


def test_a_deleted_archive_keeps_its_pages_until_they_are_pruned(library: Library, book: Path) -> None:
    library.index()
    book.unlink()
    assert counts(library.index()) == {"kept": 6}
    assert counts(library.index(prune=True)) == {"removed": 6}
    assert not library.paths()


def test_a_renamed_archive_and_an_unpacked_one_moved(library: Library, book: Path) -> None:
    library.index()
    book.rename(library.folder / "new.cbz")
    assert counts(library.index()) == {"scanned": 6, "moved": 6}
    for page, data in PAGES.items():
        (library.folder / "unpacked" / page).parent.mkdir(parents=True, exist_ok=True)
        (library.folder / "unpacked" / page).write_bytes(data)
    (library.folder / "new.cbz").unlink()
    assert counts(library.index()) == {"scanned": 6, "moved": 6}
    assert library.paths() == pages_of("unpacked")


def test_a_moved_archive_is_not_read(library: Library, book: Path) -> None:
    library.index()
    target = library.folder / "shelf.cbz"
    book.rename(target)
    assert move(library.opened, os.fsencode(book), os.fsencode(target)).moved == 6
    assert counts(library.index()) == {"scanned": 6, "unchanged": 6}


def test_pages_are_forgotten_with_their_archive(library: Library, book: Path) -> None:
    library.index(book)
    assert forget(library.opened, [os.fsencode(book)]).forgotten == 6
    assert not library.everything()


def test_pages_are_copied_out_and_links_into_archives_are_refused(library: Library, book: Path, tmp_path: Path) -> None:
    library.index()
    hits, source = library.everything(), library.opened.source
    target = tmp_path / "out"
    assert collect(hits, os.fsencode(target), source, link=False).done == 6
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {
        os.path.basename(page): data for page, data in PAGES.items()
    }
    assert collect(hits, os.fsencode(target), source, link=False).present == 6
    with pytest.raises(UsageError, match="where no link can point; use --copy-to"):
        collect(hits, os.fsencode(tmp_path / "links"), source, link=True)


def test_doctor_reads_pages_and_notices_those_that_changed(library: Library, book: Path) -> None:
    library.index()
    findings = maintenance_service.check(library.opened, True, library.progress).found.findings
    assert not {finding.kind for finding in findings} & {"files_changed", "files_missing", "files_unreadable", "files_rotten"}
    book.write_bytes(zipped({**PAGES, "ch 0/page 00.png": b"other"}))
    findings = maintenance_service.check(library.opened, False, library.progress).found.findings
    assert "files_changed" in {finding.kind for finding in findings}


def test_the_original_of_a_page_is_served_while_it_is_unchanged(library: Library, book: Path) -> None:
    library.index()
    hit = library.everything()[0]
    files = pictures.files_of(library.opened, hit.image_id)
    opened = pictures.open_unchanged(files, library.opened.source)
    assert opened.file.read() == PAGES[os.path.relpath(os.fsdecode(hit.path), book)]
    book.write_bytes(zipped(dict.fromkeys(PAGES, b"other")))
    with pytest.raises(type(pictures.changed_file())):
        pictures.open_unchanged(files, library.opened.source)


def test_verify_reads_every_page(library: Library, book: Path) -> None:
    library.index()
    assert counts(library.index(verify=True)) == {"scanned": 6, "reused": 6}
