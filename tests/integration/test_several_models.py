"""Several models in one run: each stores what it would store alone, and an image is decoded once for all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from indexer.analysis.analyzer import Analyzer
from indexer.domain.errors import NotIndexed, UsageError
from indexer.domain.images import DecodedImage, DecodeTarget, Face
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.reports import Summary
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.library import Library as OpenedLibrary
from indexer.search import service as search_service
from indexer.settings import Settings
from tests.support.builders import draw_blocks, write_images
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.library import Library, counts, opened
from tests.support.quiet import Remembered
from tests.support.thread_cluster import thread_cluster

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

SIZES = {"fake": 32, "large": 64, "whole": 48}
"""The models of these tests: two read faces, at different sizes, and one reads whole images."""


@dataclass(frozen=True, slots=True)
class CountingAnalyzer(Analyzer):
    """An analyzer that counts the images that are decoded, by the number of their targets."""

    decoded: Counter[int] = field(default_factory=Counter)

    def decode_for(self, data: bytes, targets: Sequence[DecodeTarget]) -> tuple[DecodedImage, ...]:
        self.decoded[len(targets)] += 1
        return Analyzer.decode_for(self, data, targets)


class CountingDetector(FakeFaceDetector):
    """A detector that counts pages."""

    def __init__(self) -> None:
        super().__init__()
        self.pages = 0

    def detect(self, pages: Sequence[Pixels]) -> list[list[Face]]:
        self.pages += len(pages)
        return super().detect(pages)


class Models:
    """The models of a library, each with its own classifier."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, model="fake", workers=2)
        self.classifiers = {name: FakeClassifier(size, name, spaces=name != "whole") for name, size in SIZES.items()}
        self.detector = CountingDetector()
        self.decoded: Counter[int] = Counter()

    def library(self, name: str) -> OpenedLibrary:
        return opened(replace(self.settings, model=name), self._open)

    def _open(self, settings: Settings) -> Analyzer:
        name = settings.model or ""
        return CountingAnalyzer(self.classifiers[name], None if name == "whole" else self.detector, None, self.decoded)

    def index(self, folder: Path, *names: str, progress: Remembered | None = None, **request: Any) -> Summary:
        first, *further = names
        asked = IndexRequest(further_models=tuple(further), **request)
        return ingest_service.index(self.library(first), [os.fsencode(folder)], asked, progress or Remembered())

    def classified(self) -> dict[str, int]:
        return {name: classifier.classified for name, classifier in self.classifiers.items() if classifier.classified}

    def stored(self) -> dict[str, list[tuple[object, ...]]]:
        """Return what is stored of each model."""
        found: dict[str, list[tuple[object, ...]]] = {}
        query = text(
            'SELECT m.name, i.digest, p.region, p."left", p.top, p."right", p.bottom, p.emotion, p.score, p.probabilities, '
            "p.frame, e.vector, e.fingerprint FROM predictions p JOIN models m ON m.id = p.model_id "
            "JOIN images i ON i.id = p.image_id JOIN embeddings e ON e.embedder_id = m.embedder_id "
            "AND e.image_id = p.image_id AND e.region = p.region ORDER BY 1, 2, 3"
        )
        with self.library("fake").database.open() as store, store._engine.connect() as connection:  # type: ignore[attr-defined]
            for name, *values in connection.execute(query):
                found.setdefault(name, []).append(tuple(values))
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of several formats and sizes: with faces, without, animated, and two with the same bytes."""
    folder = tmp_path / "images"
    write_images(folder, 4)
    faces = draw_blocks(60, (200, 150))
    for left, color in ((10, FakeFaceDetector.FACE_COLORS[0]), (90, FakeFaceDetector.FACE_COLORS[1])):
        faces.paste(color, (left, 20, left + 60, 90))
    faces.save(folder / "face.png")
    draw_blocks(61, (1600, 1200)).save(folder / "large.jpg")
    frames = [draw_blocks(seed, (90, 60)) for seed in (70, 71, 72)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "copy.png").write_bytes((folder / "face.png").read_bytes())
    return folder


def test_each_model_stores_what_it_would_store_alone(folder: Path, tmp_path: Path) -> None:
    together, alone = Models(tmp_path / "together"), Models(tmp_path / "alone")
    summary = together.index(folder, "fake", "large", "whole")
    for name in SIZES:
        alone.index(folder, name)
    assert together.stored() == alone.stored()
    assert set(together.stored()) == set(SIZES)
    assert counts(summary) == {"scanned": 8, "indexed": 7, "reused": 1}
    assert summary.model == "fake, large and whole"
    # A page for both face readers, and the input of the third.
    assert together.decoded == {2: 7}
    assert alone.decoded == {1: 21}
    assert together.detector.pages * 2 == alone.detector.pages


def test_a_model_that_knows_the_images_does_not_classify_them_again(folder: Path, tmp_path: Path) -> None:
    models = Models(tmp_path / "home")
    models.index(folder, "fake")
    classified = models.classified()
    summary = models.index(folder, "fake", "whole")
    assert counts(summary)["indexed"] == 7
    assert models.classified() == {**classified, "whole": 9}, "a moving image has three frames"
    again = models.index(folder, "fake", "whole")
    assert counts(again) == {"scanned": 8, "unchanged": 8}
    assert counts(models.index(folder, "whole")) == {"scanned": 8, "unchanged": 8}


def test_runs_name_all_models_and_every_model_is_searchable(folder: Path, tmp_path: Path) -> None:
    models = Models(tmp_path / "home")
    models.index(folder, "fake", "whole")
    with models.library("fake").database.open(reading=True) as store:
        assert [run.models for run in store.runs(9)] == [("fake", "whole")]
        assert {model.card.name: store.image_count(model.id) for model in store.models()} == {"fake": 7, "whole": 7}
    for name in ("fake", "whole"):
        hits = Library.everything(_searched(models, name))
        assert len(hits) == 8


def _searched(models: Models, name: str) -> Library:
    library = Library(Path(), models.settings.home)
    library.settings = replace(models.settings, model=name)
    library.classifier = models.classifiers[name]
    return library


def test_an_interrupted_run_resumes_for_all_models(folder: Path, tmp_path: Path) -> None:
    models, complete = Models(tmp_path / "home"), Models(tmp_path / "complete")
    for classifier in models.classifiers.values():
        classifier.batch_size = 2
    with pytest.raises(KeyboardInterrupt):
        models.index(folder, "fake", "whole", progress=_Stopped())
    resumed = models.index(folder, "fake", "whole")
    assert 0 < counts(resumed)["indexed"] < 7
    complete.index(folder, "fake", "whole")
    assert models.stored() == complete.stored()


class _Stopped(Remembered):
    """Stops a run after its first commit."""

    def advance(self, done: int, failed: int) -> None:
        raise KeyboardInterrupt


def test_a_model_that_is_named_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give each model once; the models of this run are fake"):
        Models(tmp_path / "home").index(folder, "fake", "fake")


def test_a_result_that_is_not_finite_fails_the_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(tmp_path / "home")
    classify = FakeClassifier.classify

    def without_numbers(self: FakeClassifier, pixels: Pixels) -> Any:
        scores = classify(self, pixels)
        if self is models.classifiers["whole"]:
            scores.probabilities[:] = float("nan")
        return scores

    monkeypatch.setattr(FakeClassifier, "classify", without_numbers)
    assert counts(models.index(folder, "fake", "whole"))["failed"] == 8


def _search(models: Models, name: str, **criteria: Any) -> list[Hit]:
    return search_service.search(models.library(name), SearchRequest(limit=50, **criteria))


def test_a_search_takes_emotions_from_one_model_and_likeness_from_another(folder: Path, tmp_path: Path) -> None:
    models = Models(tmp_path / "home")
    models.index(folder, "fake", "whole")
    query = os.fsencode(folder / "000.png")
    alone = {hit.path: hit for hit in _search(models, "fake", under=(b"/",))}
    by_whole = _search(models, "whole", image=query)
    both = _search(models, "fake", image=query, similar_by="whole")
    order = [(hit.path, hit.similarity) for hit in by_whole]
    assert [(hit.path, hit.similarity) for hit in both] == order
    assert [(hit.path, hit.similarity) for hit in _search(models, "fake", image=query)] != order
    assert [hit.emotions for hit in both] == [alone[hit.path].emotions for hit in both]
    for emotion in {hit.emotion for hit in alone.values()}:
        found = _search(models, "fake", image=query, similar_by="whole", emotions=(emotion,), exact_label=True)
        assert [hit.path for hit in found] == [hit.path for hit in by_whole if _shows(models, hit.path, emotion)]
        assert {hit.emotion for hit in found} == {emotion}
    total = search_service.search_and_count(models.library("fake"), SearchRequest(like=query, similar_by="whole", limit=1)).total
    assert total == (8, True)
    assert len(_search(models, "fake", image=query, similar_by="whole", dedupe=True)) == 7
    assert _search(models, "fake", image=query, similar_by="fake") == _search(models, "fake", image=query)


def _shows(models: Models, path: bytes, emotion: str) -> bool:
    return any(hit.emotion == emotion for hit in search_service.show(models.library("fake"), path))


def test_images_of_only_one_model_are_named(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = Models(tmp_path / "home")
    models.index(folder, "fake", "whole")
    write_images(tmp_path / "more", 2, first_seed=500)
    models.index(tmp_path / "more", "fake")
    found = _search(models, "fake", like=os.fsencode(folder / "000.png"), similar_by="whole")
    assert len(found) == 8
    assert "'fake' has analyzed 9 images and 'whole' 7; those of only one model are not found" in caplog.text
    with pytest.raises(NotIndexed, match="500.png' is not indexed with the model 'whole'"):
        _search(models, "fake", like=os.fsencode(tmp_path / "more/500.png"), similar_by="whole")
    with pytest.raises(NotIndexed, match="No images are indexed with the model 'large' yet"):
        _search(models, "fake", like=os.fsencode(folder / "000.png"), similar_by="large")


def test_a_cluster_stores_the_same(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, together = Models(tmp_path / "alone"), Models(tmp_path / "together")
    together.settings = replace(together.settings, cluster="auto")
    monkeypatch.setattr("indexer.executors.ray_cluster.ray_cluster", thread_cluster)
    monkeypatch.setattr("indexer.bootstrap.open_worker_analyzer", lambda settings, _device: together._open(settings))
    assert counts(alone.index(folder, *SIZES)) == counts(together.index(folder, *SIZES))
    assert alone.stored() == together.stored()
    assert together.classified() == alone.classified()
    (folder / "more.png").write_bytes((folder / "face.png").read_bytes() + b" ")
    assert counts(alone.index(folder, "fake")) == counts(together.index(folder, "fake"))
    assert counts(alone.index(folder, *SIZES, force=True)) == counts(together.index(folder, *SIZES, force=True))
    assert alone.stored() == together.stored()
