"""Faces read beside their look-alikes, on real files: any order of runs, labels, searches, teaching, kills."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.sql.writer import SqlWriter
from db.vectors.files import FaissFiles
from db.vectors.sync import is_index_current
from indexer.analysis import look_alikes
from indexer.domain.errors import Interrupted
from indexer.domain.predictions import LabelAssignment
from indexer.domain.reports import Summary
from indexer.labels import service as labels_service
from indexer.maintenance import service as maintenance_service
from tests.support.builders import draw_character, encoded
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.library import Library
from tests.support.quiet import Remembered

CHARACTERS, EXPRESSIONS = 4, 5


def open_library(folder: Path, home: Path, **settings: Any) -> Library:
    library = Library(folder, home)
    library.settings = replace(library.settings, **settings)
    library.classifier = FakeClassifier(spaces=True)
    return library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for character in range(CHARACTERS):
        folder = tmp_path / "all" / str(character)
        folder.mkdir(parents=True)
        for expression in range(EXPRESSIONS):
            (folder / f"{expression}.png").write_bytes(encoded(draw_character(character, expression)))
    return tmp_path / "all"


@pytest.fixture
def library(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(look_alikes, "_BATCH_ROWS", 3)
    return open_library(folder, tmp_path / "home")


def predictions(library: Library) -> dict[str, list[float]]:
    hits = {os.path.relpath(os.fsdecode(hit.path), library.folder): hit for hit in library.everything()}
    return {path: [*hit.emotions.values()] for path, hit in hits.items()}


def assert_same(first: dict[str, list[float]], second: dict[str, list[float]]) -> None:
    assert first.keys() == second.keys()
    for path, numbers in first.items():
        np.testing.assert_allclose(numbers, second[path], atol=1e-5, err_msg=path)


def index_in_parts(folder: Path, library: Library, *is_part: Callable[[Path], bool]) -> list[Summary]:
    """Copy the files of each part to the folder of a library, and index after each."""
    summaries = []
    for chosen in is_part:
        for path in filter(chosen, sorted(folder.rglob("*.png"))):
            target = library.folder / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        summaries.append(library.index())
    return summaries


def test_the_order_of_runs_does_not_matter(library: Library, folder: Path, tmp_path: Path) -> None:
    library.index()
    several = open_library(tmp_path / "parts", tmp_path / "home-of-parts")
    index_in_parts(folder, several, lambda path: path.stem == "3", lambda path: path.stem in "04", lambda _: True)
    assert_same(predictions(several), predictions(library))
    plain = open_library(folder, tmp_path / "home-of-plain", look_alikes="off")
    plain.index()
    read = predictions(library)
    assert all(not np.allclose(numbers, read[path], atol=1e-3) for path, numbers in predictions(plain).items())


def test_every_search_agrees_after_new_images(library: Library, folder: Path, tmp_path: Path) -> None:
    parts = open_library(tmp_path / "parts", tmp_path / "home-of-parts")
    index_in_parts(folder, parts, lambda path: path.stem in "012", lambda _: True)
    with parts.store() as store:
        (model,) = store.models()
        assert store.count_uncompared(model.id) == 0
        assert is_index_current(store, FaissFiles(parts.settings.vectors), model)
    everything = parts.everything()
    like = os.fsencode(parts.folder / "0/0.png")
    for emotion in {hit.emotion for hit in everything}:
        expected = {hit.path for hit in everything if hit.emotion == emotion}
        by_emotion = parts.search(emotions=(emotion,), exact_label=True)
        by_both = parts.search(emotions=(emotion,), exact_label=True, like=like)
        assert {hit.path for hit in by_emotion} == {hit.path for hit in by_both} == expected
        assert [hit.score for hit in by_emotion] == sorted((hit.score for hit in by_emotion), reverse=True)
    assert maintenance_service.check(parts.opened, True, Remembered()).found.problems == ()


def test_an_idle_run_changes_nothing_and_skips_unchanged_folders(library: Library) -> None:
    library.index()
    before = predictions(library)
    with library.store() as store:
        generation = store.generation(1)
    summary = library.index(record_idle=False)
    with library.store() as store:
        assert store.generation(1) == generation and len(store.runs(9)) == 1
    assert (summary.unchanged, predictions(library)) == (CHARACTERS * EXPRESSIONS, before)


def test_labels_override_what_look_alikes_change(library: Library, folder: Path, tmp_path: Path) -> None:
    parts = open_library(tmp_path / "parts", tmp_path / "home-of-parts")
    index_in_parts(folder, parts, lambda path: path.stem in "012")
    labeled = os.fsencode(parts.folder / "1/1.png")
    labels_service.label(parts.opened, [LabelAssignment(labeled, "crying")], new=False)
    index_in_parts(folder, parts, lambda _: True)
    (hit,) = parts.show(parts.folder / "1/1.png")
    assert (hit.emotion, hit.score, hit.label) == ("crying", 1.0, "crying")
    labels_service.label(parts.opened, [LabelAssignment(labeled, None)], new=False)
    library.index()
    assert_same(predictions(parts), predictions(library))


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_label_between_two_batches_of_a_comparison_does_not_change_its_result(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    labeled = open_library(folder, tmp_path / "home-of-labeled")
    apply, count = SqlWriter.apply_comparison, iter(range(1000))

    def label_then_apply(*arguments: Any) -> dict[int, int]:
        if next(count) == batches:
            assignments = [LabelAssignment(os.fsencode(folder / name), "crying") for name in ("0/0.png", "1/1.png", "3/4.png")]
            assert labels_service.label(labeled.opened, assignments, new=False).changed == 3
        return apply(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SqlWriter, "apply_comparison", label_then_apply)
        labeled.index()
    library.index()
    assert_same(predictions(labeled), predictions(library))
    assert {hit.emotion for hit in labeled.show(folder / "1/1.png")} == {"crying"}
    assert maintenance_service.check(labeled.opened, False, Remembered()).found.problems == ()


def test_off_leaves_new_images_plain_until_a_run_with_on(library: Library, folder: Path, tmp_path: Path) -> None:
    parts = open_library(tmp_path / "parts", tmp_path / "home-of-parts", look_alikes="off")
    index_in_parts(folder, parts, lambda path: path.stem in "012", lambda _: True)
    with parts.store() as store:
        assert store.count_uncompared(1) == CHARACTERS * EXPRESSIONS
    parts.settings = replace(parts.settings, look_alikes="on")
    assert parts.index(record_idle=False).indexed == 0
    library.index()
    assert_same(predictions(parts), predictions(library))


@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_run_that_ends_at_any_batch_is_finished_by_the_next(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    broken = open_library(folder, tmp_path / "home-of-broken")
    apply, count = SqlWriter.apply_comparison, iter(range(1000))

    def fail_later(*arguments: Any) -> dict[int, int]:
        if next(count) == batches:
            raise KeyboardInterrupt
        return apply(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SqlWriter, "apply_comparison", fail_later)
        with pytest.raises(KeyboardInterrupt):
            broken.index()
    assert len(broken.everything()) == CHARACTERS * EXPRESSIONS
    assert maintenance_service.check(broken.opened, False, Remembered()).found.problems == ()
    broken.index()
    library.index()
    assert_same(predictions(broken), predictions(library))


def test_a_stop_ends_the_comparison_after_a_batch(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = SqlWriter.apply_comparison

    def stop_then_apply(*arguments: Any) -> dict[int, int]:
        os.kill(os.getpid(), signal.SIGINT)
        return apply(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SqlWriter, "apply_comparison", stop_then_apply)
        with pytest.raises(Interrupted):
            library.index()
    with library.store() as store:
        assert store.runs(1)[0].outcome == "interrupted"
        assert store.count_uncompared(1) == CHARACTERS * EXPRESSIONS - 3


def test_faces_of_one_image_are_not_look_alikes(library: Library, tmp_path: Path) -> None:
    page = Image.new("RGB", (200, 100))
    for number, color in enumerate(FakeFaceDetector.FACE_COLORS[:2]):
        page.paste(color, (20 + 100 * number, 20, 60 + 100 * number, 60))
    folder = tmp_path / "page"
    folder.mkdir()
    page.save(folder / "page.png")
    read, plain = open_library(folder, tmp_path / "1"), open_library(folder, tmp_path / "2", look_alikes="off")
    for one in (read, plain):
        one.detector = FakeFaceDetector()
        one.index()
    assert len(read.everything()) == 1 and len(read.show(folder / "page.png")) == 2
    assert [hit.emotions for hit in read.show(folder / "page.png")] == [hit.emotions for hit in plain.show(folder / "page.png")]
