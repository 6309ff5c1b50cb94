"""Files that exist but are left out: by patterns, ignore files, systems' names, links. They are not missing files."""

from __future__ import annotations

import os
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from indexer.domain.errors import NotIndexed, UsageError
from indexer.domain.files import FileState
from indexer.domain.jobs import Job, Trigger
from indexer.domain.predictions import LabelAssignment
from indexer.ingest import library_roots
from indexer.labels import service as labels_service
from indexer.scheduling.service import add_job
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library, counts


def write_ignore_file(folder: Path, *patterns: str) -> None:
    (folder / ".moodexignore").write_text("\n".join(patterns))


@pytest.mark.parametrize("way", ["exclude", "setting", "ignore file", "nomedia", "hidden"])
def test_what_is_left_out_later_leaves_the_answers_and_returns(library: Library, way: str) -> None:
    write_images(library.folder / "keep", 2)
    thumbs = library.folder / "thumbs"
    write_images(thumbs, 5, first_seed=50)
    assert counts(library.index()) == {"scanned": 7, "indexed": 7}
    request = {"exclude": ("thumbs",)} if way == "exclude" else {}
    if way == "setting":
        library.settings = replace(library.settings, exclude=("thumbs/",))
    elif way == "ignore file":
        write_ignore_file(library.folder, "*", "!keep/", "!keep/*")
    elif way == "nomedia":
        (thumbs / ".nomedia").touch()
    elif way == "hidden":
        thumbs = thumbs.rename(library.folder / ".thumbs")
    summary = library.index(**request)
    expected = {"scanned": 2, "unchanged": 2} | ({"removed": 0} if way != "hidden" else {})
    if way == "hidden":  # it is another path: from the old one, the files have gone
        assert (counts(summary), summary.left_out) == ({"scanned": 2, "unchanged": 2, "kept": 5}, 0)
        return
    assert (counts(summary), summary.left_out, summary.exit_code) == ({"scanned": 2, "unchanged": 2}, 5, 0), expected
    assert library.paths() == {"keep/000.png", "keep/001.png"}
    assert library.index(**request).left_out == 0
    library.settings = replace(library.settings, exclude=())
    for file in (library.folder / ".moodexignore", thumbs / ".nomedia"):
        file.unlink(missing_ok=True)
    assert counts(library.index()) == {"scanned": 7, "unchanged": 2, "reused": 5}
    assert library.classifier.classified == 7


def test_everything_may_be_left_out(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    summary = library.index(exclude=("*.png",))
    assert (summary.left_out, summary.exit_code, library.paths()) == (3, 0, set())


def test_links_that_are_not_followed_any_more_are_left_out(library: Library, tmp_path: Path) -> None:
    write_images(library.folder, 1)
    write_images(tmp_path / "elsewhere", 4, first_seed=20)
    (library.folder / "link").symlink_to(tmp_path / "elsewhere")
    assert library.index(follow_symlinks=True).indexed == 5
    summary = library.index()
    assert (counts(summary), summary.left_out, summary.exit_code) == ({"scanned": 1, "unchanged": 1}, 4, 0)


def test_an_excluded_folder_on_a_missing_disk_is_still_missing(library: Library) -> None:
    write_images(library.folder / "a", 3)
    library.index()
    (library.folder / "a").rename(library.folder.with_name("elsewhere"))
    assert counts(library.index(exclude=("a",))) == {"kept": 3}


def test_deeper_ignore_files_override_outer_ones_and_options_override_both(library: Library) -> None:
    for folder in ("a", "b"):
        write_images(library.folder / folder, 1, first_seed=ord(folder))
    (name,) = (path.name for path in (library.folder / "a").iterdir())
    write_ignore_file(library.folder, "*.png")
    write_ignore_file(library.folder / "b", "!*.png")
    assert library.index().scanned == 1
    assert library.index(exclude=("!a/*.png",)).scanned == 2
    assert {os.path.dirname(path) for path in library.paths()} == {"a", "b"} and name in "/".join(library.paths())


def test_an_ignore_file_that_cannot_be_used_fails_its_folder(library: Library) -> None:
    write_images(library.folder / "a", 2)
    write_images(library.folder / "b", 1, first_seed=10)
    library.index()
    write_ignore_file(library.folder / "a", "!")
    summary = library.index()
    assert (counts(summary), summary.left_out) == ({"scanned": 1, "unchanged": 1, "failed": 1}, 0)
    with library.store() as store:
        ((_, failure),) = store.failures(9)
    assert "its .moodexignore cannot be used" in failure.reason
    assert len(library.paths()) == 3


def test_an_ignore_file_in_utf_16_is_read(library: Library) -> None:
    write_images(library.folder, 1)
    write_images(library.folder / "größe", 1, first_seed=10)
    (library.folder / ".moodexignore").write_bytes("größe/\r\n".encode("utf-16"))
    assert counts(library.index()) == {"scanned": 1, "indexed": 1}


def test_a_folder_that_can_be_scanned_again_is_no_lost_image(library: Library) -> None:
    write_images(library.folder / "a", 1)
    write_images(library.folder / "b", 1, first_seed=10)
    write_ignore_file(library.folder, "!")
    summary = library.index()
    assert counts(summary) == {"failed": 1} and "its .moodexignore cannot be used" in summary.unlisted[str(library.folder)]
    write_ignore_file(library.folder, "")
    write_ignore_file(library.folder / "a", "!")
    write_ignore_file(library.folder / "b", "!")
    summary = library.index()
    assert (counts(summary), summary.not_scanned) == ({"failed": 2}, 2)
    shutil.rmtree(library.folder / "a")
    write_ignore_file(library.folder / "b", "*.gif")
    summary = library.index()
    assert (counts(summary), summary.exit_code, summary.unlisted) == ({"scanned": 1, "indexed": 1}, 0, {})
    with library.store() as store:
        assert {state: number for state, number in store.counts().files.items() if number} == {FileState.DONE: 1}


def test_a_removed_ignore_file_brings_its_images_back(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    write_ignore_file(library.folder, "*.png")
    summary = library.index()
    assert (counts(summary), summary.left_out, summary.exit_code) == ({}, 3, 0)
    (library.folder / ".moodexignore").unlink()
    assert counts(library.index()) == {"scanned": 3, "reused": 3}
    assert counts(library.index()) == {"scanned": 3, "unchanged": 3}


def test_folders_of_systems_are_left_out_and_reported(library: Library) -> None:
    write_images(library.folder, 1)
    write_images(library.folder / "@eaDir/pic.png", 1, first_seed=5)
    write_images(library.folder / "sub/$recycle.bin", 1, first_seed=6)
    (library.folder / "a.sync-conflict-20260101-120000-ABC.png").write_bytes(b"x")
    summary = library.index()
    assert summary.scanned == 1
    assert sorted(summary.system_entries) == ["$recycle.bin", "@eaDir", "a.sync-conflict-20260101-120000-ABC.png"]
    assert library.index(exclude=("!@eaDir/",)).indexed == 1
    write_ignore_file(library.folder, "!@eaDir/")
    assert library.index().scanned == 2
    assert library.index(library.folder / "sub/$recycle.bin").indexed == 1


@pytest.mark.parametrize("name", [".Trash-1000", ".Trashes", ".thumbnails", ".AppleDouble", ".Spotlight-V100", ".fseventsd"])
def test_hidden_folders_of_systems_are_reported_and_can_be_included(library: Library, name: str) -> None:
    write_images(library.folder / name, 1)
    write_images(library.folder / ".hidden", 1, first_seed=5)
    summary = library.index()
    assert (summary.scanned, dict(summary.system_entries)) == (0, {name: 1})
    assert library.index(exclude=(f"!{name}/",)).indexed == 1
    assert library.index(exclude=("!.hidden",)).indexed == 0


def test_system_folders_are_listed_in_the_detailed_log(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    write_images(library.folder / "@eaDir", 1)
    with caplog.at_level("DEBUG", logger="indexer.ingest.root_survey"):
        library.index()
    assert f"Passed over {str(library.folder / '@eaDir')!r} (system)." in caplog.messages


def test_a_folder_with_an_image_name_is_no_failure(library: Library) -> None:
    write_images(library.folder / "set.png", 2)
    summary = library.index()
    assert (counts(summary), summary.exit_code) == ({"scanned": 2, "indexed": 2}, 0)
    (image,) = write_images(library.folder, 1, first_seed=9)
    library.index()
    image.unlink()
    write_images(image, 1, first_seed=30)
    assert counts(library.index()) == {"scanned": 3, "indexed": 1, "unchanged": 2, "removed": 1}


def test_named_files_stay_when_their_folder_is_indexed(library: Library, tmp_path: Path) -> None:
    (image,) = write_images(library.folder, 1)
    plain, hidden = image.rename(library.folder / "no extension"), library.folder / ".hidden.png"
    write_images(tmp_path / "x", 1, first_seed=3)[0].rename(hidden)
    inner = library.folder / ".stickers"
    write_images(inner, 2, first_seed=20)
    library.index(plain, hidden, inner)
    write_images(library.folder, 1, first_seed=40)
    assert counts(library.index()) == {"scanned": 3, "indexed": 1, "unchanged": 2}
    assert library.paths() == {"no extension", ".hidden.png", ".stickers/020.png", ".stickers/021.png", "040.png"}
    write_images(tmp_path / "y", 1, first_seed=60)[0].replace(plain)
    assert counts(library.index()) == {"scanned": 3, "indexed": 1, "unchanged": 2}
    plain.unlink()
    assert counts(library.index(prune=True)) == {"scanned": 2, "unchanged": 2, "removed": 1}


def test_roots_inside_a_root_are_listed_while_no_scan_finds_them(library: Library) -> None:
    inner, hidden = library.folder / "inner", library.folder / ".hidden"
    (file,) = write_images(inner, 1)
    write_images(hidden, 1, first_seed=5)
    library.index(file)
    library.index(inner, hidden)
    library.index()
    roots = [(os.fsdecode(root.path), root.files, exists) for root, exists in library_roots.list_roots(library.opened)]
    assert roots == [(str(library.folder), 2, True), (str(hidden), 1, True)]


def test_a_forgotten_folder_leaves_the_library_at_once(library: Library) -> None:
    write_images(library.folder / "a", 2)
    write_images(library.folder / "b", 1, first_seed=10)
    library.index()
    report = library_roots.forget(library.opened, [os.fsencode(library.folder / path) for path in ("a/000.png", "a", "a")])
    assert (report.forgotten, report.indexed_by) == (2, (os.fsencode(library.folder),))
    assert library.paths() == {"b/010.png"}
    with library.store() as store:
        assert store.counts().images == 1
    with pytest.raises(NotIndexed, match="nothing was forgotten"):
        library_roots.forget(library.opened, [os.fsencode(library.folder / "a")])
    assert library.index().indexed == 2


def test_a_moved_library_is_one_act(library: Library) -> None:
    write_images(library.folder / "old", 3)
    library.index(library.folder / "old")
    old, new = library.folder / "old", library.folder / "new"
    with pytest.raises(UsageError, match="is still there"):
        library_roots.move(library.opened, os.fsencode(old), os.fsencode(library.folder))
    old.rename(new)
    assert library_roots.move(library.opened, os.fsencode(old), os.fsencode(new)).moved == 3
    assert library.paths() == {"new/000.png", "new/001.png", "new/002.png"}
    assert counts(library.index(new)) == {"scanned": 3, "unchanged": 3}
    with pytest.raises(NotIndexed, match="nothing was changed"):
        library_roots.move(library.opened, os.fsencode(old), os.fsencode(new))


def test_a_link_at_the_old_path_does_not_hinder_a_move(library: Library) -> None:
    old, new = library.folder / "old", library.folder / "new"
    write_images(old, 2)
    library.index(old)
    old.rename(new)
    old.symlink_to(new)
    assert library_roots.move(library.opened, os.fsencode(old), os.fsencode(new)).moved == 2
    assert library.paths() == {"new/000.png", "new/001.png"}
    assert counts(library.index(old)) == {"scanned": 2, "unchanged": 2}


def test_jobs_follow_a_move_through_links_and_other_unicode_forms(library: Library) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    old, new, link, other = (library.folder / name for name in (decomposed, "new", "link", "other"))
    write_images(old / "sub", 2)
    library.index(old)
    link.symlink_to(old / "sub")
    other.mkdir()
    jobs = {"link": link, "path": old, "form": library.folder / composed / "sub", "elsewhere": other}
    for name, root in jobs.items():
        add_job(library.opened, Job(name, (os.fsencode(root),), Trigger(every=3600)))
    old.rename(new)
    library_roots.move(library.opened, os.fsencode(old), os.fsencode(new))
    with library.store() as store:
        roots = {job.name: [Path(os.fsdecode(root)) for root in job.roots] for job in store.jobs()}
    assert roots == {"link": [new / "sub"], "path": [new], "form": [new / "sub"], "elsewhere": [other]}


def test_a_library_that_is_forgotten_has_no_vector_index(library: Library) -> None:
    write_images(library.folder, 3)
    library.index()
    assert list(library.settings.vectors.iterdir())
    library_roots.forget(library.opened, [os.fsencode(library.folder)])
    assert not list(library.settings.vectors.iterdir())


def test_a_move_keeps_a_folder_a_folder_and_a_file_a_file(library: Library) -> None:
    (file,) = write_images(library.folder / "old", 1)
    library.index(library.folder / "old")
    before, new = library.paths(), library.folder / "new"
    moved = (library.folder / "old").rename(new) / file.name
    with pytest.raises(UsageError, match="was a folder and .* is a file; nothing was changed"):
        library_roots.move(library.opened, os.fsencode(file.parent), os.fsencode(moved))
    with pytest.raises(UsageError, match="was a file and .* is a folder; nothing was changed") as raised:
        library_roots.move(library.opened, os.fsencode(file), os.fsencode(new))
    assert (raised.value.exit_code, library.paths()) == (2, before)
    assert library_roots.move(library.opened, os.fsencode(file), os.fsencode(moved)).moved == 1


def test_a_move_onto_indexed_files_of_the_same_names_is_refused(library: Library) -> None:
    old, new = library.folder / "old", library.folder / "new"
    write_images(old, 3)
    library.index(old)
    old.rename(library.folder / "elsewhere")
    new.mkdir()
    for number, image in enumerate(write_images(library.folder / "others", 2, first_seed=50)):
        image.rename(new / f"{number:03}.png")
    library.index(new)
    before = library.paths()
    with pytest.raises(UsageError, match="^2 files are indexed at .* under the same names: run moodex forget ") as raised:
        library_roots.move(library.opened, os.fsencode(old), os.fsencode(new))
    assert (raised.value.exit_code, library.paths()) == (2, before)
    assert library_roots.forget(library.opened, [os.fsencode(new)]).forgotten == 2
    assert library_roots.move(library.opened, os.fsencode(old), os.fsencode(new)).moved == 3


def test_an_empty_folder_at_the_old_path_does_not_hinder_a_move(library: Library) -> None:
    old, new = library.folder / "old", library.folder / "new"
    write_images(old, 2)
    library.index(old)
    old.rename(new)
    (old / "lost+found").mkdir(parents=True)
    (new / "000.png").rename(old / "000.png")
    with pytest.raises(UsageError, match="is still there"):
        library_roots.move(library.opened, os.fsencode(old), os.fsencode(new))
    (old / "000.png").rename(new / "000.png")
    assert library_roots.move(library.opened, os.fsencode(old), os.fsencode(new)).moved == 2


def test_a_moved_root_is_recognized_when_the_new_one_is_indexed(library: Library) -> None:
    write_images(library.folder / "old", 3)
    library.index(library.folder / "old")
    (library.folder / "old").rename(library.folder / "new")
    assert counts(library.index(library.folder / "new")) == {"scanned": 3, "moved": 3}
    assert library.paths() == {"new/000.png", "new/001.png", "new/002.png"}
    assert [os.fsdecode(root.path) for root, _ in library_roots.list_roots(library.opened)] == [str(library.folder / "new")]


def test_what_did_not_move_with_most_of_a_root_is_missing(library: Library) -> None:
    """Before and after a root moved, files were deleted, retouched and left out: nothing of it remains in the answers."""
    old, new = library.folder / "old", library.folder / "new"
    images = write_images(old, 6)
    write_images(old / "thumbs", 2, first_seed=30)
    library.index(old)
    images[0].unlink()
    images[1].write_bytes(encoded(draw_blocks(50)))
    old.rename(new)
    summary = library.index(new, exclude=("thumbs",))
    assert (counts(summary), summary.exit_code) == ({"scanned": 5, "indexed": 1, "moved": 4, "removed": 1}, 0)
    assert summary.left_out == 2
    assert library.paths() == {f"new/00{number}.png" for number in range(1, 6)}
    assert [os.fsdecode(root.path) for root, _ in library_roots.list_roots(library.opened)] == [str(new)]


@pytest.mark.parametrize("names", [("old", "new"), ("new",)], ids=["both", "the new one"])
@pytest.mark.parametrize("moved", [1, 3])
def test_a_root_is_taken_for_moved_only_if_most_of_its_files_are(library: Library, names: tuple[str, ...], moved: int) -> None:
    old, new = library.folder / "old", library.folder / "new"
    images = write_images(old, 4)
    library.index(old)
    new.mkdir()
    for image in images[:moved]:
        image.rename(new / image.name)
    old.rename(library.folder / ".elsewhere")
    summary = library.index(*(library.folder / name for name in names))
    assert summary.moved == moved
    assert sum(path.startswith("old/") for path in library.paths()) == (3 if moved == 1 else 0)
    assert summary.exit_code == (3 if moved == 1 and "old" in names else 0)


def test_what_is_left_of_a_moved_root_stays_without_pruning(library: Library) -> None:
    old, new = library.folder / "old", library.folder / "new"
    images = write_images(old, 3)
    library.index(old)
    images[0].unlink()
    old.rename(new)
    assert library.index(new, prune=False).kept == 1
    assert {"new/000.png", "new/001.png", "new/002.png"} == library.paths()


def test_jobs_and_labels_follow_a_root_that_is_recognized_as_moved(library: Library) -> None:
    old, new = library.folder / "old", library.folder / "new"
    images = write_images(old, 3)
    library.index(old)
    labels_service.label(library.opened, [LabelAssignment(os.fsencode(images[0]), "sad")], new=False)
    add_job(library.opened, Job("nightly", (os.fsencode(old),), Trigger(every=3600)))
    images[0].write_bytes(encoded(Image.open(images[0]).point(lambda level: min(255, level + 2))))
    old.rename(new)
    summary = library.index(new)
    assert (counts(summary), summary.labels_followed) == ({"scanned": 3, "indexed": 1, "moved": 2}, 1)
    (warning,) = library.progress.warnings
    assert "the jobs that index it follow" in warning
    with library.store() as store:
        assert [job.roots for job in store.jobs()] == [(os.fsencode(new),)]
    assert library.index(new, record_idle=False).unchanged == 3 and not library.progress.warnings


def test_a_folder_with_the_same_names_is_no_moved_root(library: Library) -> None:
    """The disk of the old root is not mounted."""
    old, new = library.folder / "old", library.folder / "new"
    for image in write_images(old, 3):
        os.utime(image, (1, 1))
    library.index(old)
    old.rename(library.folder / ".elsewhere")
    for image in write_images(new, 3, first_seed=10):
        os.utime(image.rename(new / f"00{int(image.stem) - 10}.png"), (2, 2))
    assert counts(library.index(new)) == {"scanned": 3, "indexed": 3}
    assert len(library.paths()) == 6


def test_a_copy_is_not_a_move(library: Library) -> None:
    (image,) = write_images(library.folder / "old", 1)
    library.index(library.folder / "old")
    (library.folder / "new").mkdir()
    (library.folder / "new/copy.png").write_bytes(image.read_bytes())
    assert counts(library.index(library.folder / "new")) == {"scanned": 1, "reused": 1}
    assert library.paths() == {"old/000.png", "new/copy.png"}


def test_names_are_compared_in_any_unicode_form(library: Library) -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    write_images(library.folder / decomposed, 2)
    composed = library.folder / "é"
    assert library.index(composed).indexed == 2
    assert len(library.search(under=(os.fsencode(composed),))) == 2
    assert library.show(composed / "000.png")[0].path == os.fsencode(library.folder / decomposed / "000.png")
    assert len(library.search(image=os.fsencode(composed / "000.png"))) == 2
    write_images(library.folder / "new", 1, first_seed=9)[0].rename(library.folder / "new" / f"{decomposed}.png")
    assert library.show(library.folder / "new/é.png")[0].emotion
    assert library.index(exclude=("é/",)).left_out == 0  # it is a root of its own
    assert library_roots.forget(library.opened, [os.fsencode(composed)]).forgotten == 2
