"""Index runs on a cluster, by a cluster of threads: the same results as without one, whatever its workers do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.analysis.analyzer import Analyzer
from indexer.domain.errors import ModelUnavailable, Unavailable, Unreadable
from indexer.domain.files import FileStamp
from indexer.domain.queries import SearchRequest
from indexer.domain.runs import RunCounts
from indexer.ingest import service as ingest_service
from indexer.ingest.claims import Claim, ClaimRegister
from indexer.ingest.run import IndexRequest
from indexer.library import ClusterParts, Library
from indexer.search import service as search_service
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.memory_library import MemorySource, memory_library
from tests.support.quiet import Remembered
from tests.support.thread_cluster import WorkerDied, thread_cluster

IMAGES = {b"/images/a/%03d.png" % number: encoded(draw_blocks(number)) for number in range(90)}
FILES = {
    **IMAGES,
    **{b"/images/b/%03d.png" % number: IMAGES[b"/images/a/%03d.png" % (3 * number)] for number in range(20)},
    b"/images/c/damaged.png": b"x",
}


class OtherSource(MemorySource):
    """The source of another machine, which finds or reads some files differently."""

    def __init__(self, files: dict[bytes, bytes], lost: bytes | None = None, denied: bytes | None = None) -> None:
        super().__init__(files)
        self._lost, self._denied = lost, denied

    def read(self, path: bytes) -> tuple[bytes, FileStamp]:
        if self._lost is not None and path.startswith(self._lost):
            raise FileNotFoundError
        if self._denied is not None and path.startswith(self._denied):
            raise Unreadable("the bucket denies access; check the credentials")
        return super().read(path)


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


def on_cluster(library: Library, classifier: FakeClassifier, source: Callable[[], MemorySource] | None = None) -> Library:
    memory = library.source
    assert isinstance(memory, MemorySource)
    return replace(
        library, cluster=ClusterParts(thread_cluster, lambda _device: Analyzer(classifier), source or (lambda: memory))
    )


def index(library: Library, **request: Any) -> dict[str, int]:
    return RunCounts.nonzero(ingest_service.index(library, [b"/images"], IndexRequest(**request), Remembered()))


def hits(library: Library) -> set[tuple[bytes, str, float]]:
    found = search_service.search(library, SearchRequest(under=(b"/images",), limit=1000))
    return {(hit.path, hit.emotion, hit.score) for hit in found}


def test_a_cluster_stores_what_threads_store(tmp_path: Path, classifier: FakeClassifier) -> None:
    alone = memory_library(FILES, tmp_path / "alone", FakeClassifier())
    together = on_cluster(memory_library(FILES, tmp_path / "together", FakeClassifier()), classifier)
    expected = {"scanned": 111, "indexed": 90, "reused": 20, "failed": 1}
    assert index(alone) == index(together) == expected
    assert classifier.classified == 90
    assert hits(alone) == hits(together)
    assert index(together) == {"scanned": 111, "unchanged": 110, "failed": 1}
    assert classifier.classified == 90


def test_force_classifies_each_image_once_more(tmp_path: Path, classifier: FakeClassifier) -> None:
    library = on_cluster(memory_library(FILES, tmp_path, FakeClassifier()), classifier)
    index(library)
    assert index(library, force=True) == {"scanned": 111, "indexed": 90, "reused": 20, "failed": 1}
    assert classifier.classified == 180


class Mortal(FakeClassifier):
    """A classifier that ends its worker at some images, by their number, and counts what it classified."""

    def __init__(self, dies_at: Callable[[int], bool]) -> None:
        super().__init__()
        self._dies_at = dies_at
        self.calls = 0

    def classify(self, pixels: Any) -> Any:
        self.calls += 1
        if self._dies_at(self.calls):
            raise WorkerDied
        return super().classify(pixels)


def test_a_page_whose_worker_died_is_analyzed_again(tmp_path: Path) -> None:
    mortal = Mortal(lambda call: call == 3)
    library = on_cluster(memory_library(FILES, tmp_path, FakeClassifier()), mortal)
    assert index(library) == {"scanned": 111, "indexed": 90, "reused": 20, "failed": 1}
    assert 90 <= mortal.classified <= 90 + 32


def test_a_file_that_ends_its_workers_fails_alone(tmp_path: Path) -> None:
    poison = encoded(draw_blocks(5))
    files = {**IMAGES, b"/images/a/copy.png": poison}

    class Poisoned(FakeClassifier):
        def classify(self, pixels: Any) -> Any:
            if any((image == poisoned).all() for image in pixels):
                raise WorkerDied
            return super().classify(pixels)

    poisoned = Analyzer(FakeClassifier()).decode(poison).pixels
    library = on_cluster(memory_library(files, tmp_path, FakeClassifier()), Poisoned())
    assert index(library) == {"scanned": 91, "indexed": 89, "failed": 2}
    with library.database.open() as store:
        failures = store.failures(10)
    assert {path for path, _ in failures} == {b"/images/a/005.png", b"/images/a/copy.png"}
    assert all("2 workers ended" in failure.reason for _, failure in failures)


@pytest.mark.parametrize("trouble", [{"lost": b"/images/a/04"}, {"lost": b"/images/"}, {"denied": b"/images/"}])
def test_a_machine_that_cannot_read_the_files_is_named(
    tmp_path: Path, classifier: FakeClassifier, trouble: dict[str, bytes]
) -> None:
    library = memory_library(FILES, tmp_path, FakeClassifier())
    with pytest.raises(Unavailable, match=r"The machine .* cannot read /images/.*, which this machine reads: "):
        index(on_cluster(library, classifier, lambda: OtherSource(FILES, **trouble)))
    counts = index(on_cluster(library, classifier))  # what other pages committed stays
    assert counts["indexed"] + counts.get("unchanged", 0) + counts["reused"] == 110


def test_files_that_vanish_everywhere_are_no_error(tmp_path: Path, classifier: FakeClassifier) -> None:
    library = memory_library(dict(FILES), tmp_path, FakeClassifier())
    memory = library.source
    assert isinstance(memory, MemorySource)

    def source() -> MemorySource:
        memory.files.pop(b"/images/a/089.png", None)
        return memory

    assert index(on_cluster(library, classifier, source))["indexed"] == 89


def test_a_machine_with_another_model_is_refused(tmp_path: Path) -> None:
    library = on_cluster(memory_library(FILES, tmp_path, FakeClassifier()), FakeClassifier(name="other"))
    with pytest.raises(ModelUnavailable, match="'other' or the face detector differs there"):
        index(library)


@pytest.fixture
def register(tmp_path: Path) -> ClaimRegister:
    library = memory_library({}, tmp_path, FakeClassifier())
    with library.database.open() as store:
        model = store.register_model(FakeClassifier().card)
        run = store.begin_run([b"/images"], model)
    return ClaimRegister(library.database, run, recomputing=(), most_pages=2)


def test_a_digest_belongs_to_one_page_until_it_is_released(register: ClaimRegister) -> None:
    assert register.take(1, b"x") == Claim(is_held=False, unpredicted=(0,))
    assert register.take(2, b"x") == Claim(is_held=True)
    assert register.begin(1) == (1, frozenset({b"x"}))
    assert register.take(1, b"x") == Claim(is_held=False, unpredicted=(0,))
    register.end(1)
    assert register.holds(b"x")
    register.release([b"x"], finished=False)
    assert not register.take(2, b"x").is_held


def test_a_page_remembers_its_attempts_until_its_result_arrived(register: ClaimRegister) -> None:
    assert [register.begin(7), register.begin(7)] == [(1, frozenset()), (2, frozenset())]
    assert [register.begin_file(3), register.begin_file(3)] == [1, 2]
    register.end(7)
    assert register.begin(7) == (1, frozenset())


def test_a_page_begins_when_the_results_of_earlier_ones_have_arrived(register: ClaimRegister) -> None:
    assert register.begin(1) and register.begin(2)
    assert register.begin(3) is None
    assert register.begin(2) == (2, frozenset())  # its worker died
    register.end(1)
    assert register.begin(3) == (1, frozenset())
    assert register.begin(4) is None
    assert register.begin(4, waited=True) == (1, frozenset())
