"""The services on a library in memory, without SQLite, torch and FAISS."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import ModelUnavailable, NotIndexed, UsageError, WriterBusy
from indexer.domain.predictions import LabelAssignment
from indexer.domain.queries import SearchRequest
from indexer.domain.runs import RunCounts
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import service as labels_service
from indexer.library import Library
from indexer.maintenance import service as maintenance_service
from indexer.maintenance import status as status_service
from indexer.registry import service as registry_service
from indexer.scheduling import service as scheduling_service
from indexer.search import service as search_service
from indexer.teaching import service as teaching_service
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.memory_library import MemoryDatabase, MemorySource, memory_library
from tests.support.quiet import Remembered

ROOT = Path(__file__).resolve().parents[2]
FILES = {b"/images/a/%02d.png" % number: encoded(draw_blocks(number)) for number in range(12)}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return memory_library(FILES, tmp_path / "home", FakeClassifier())


def index(library: Library, *paths: bytes, **request: object) -> RunCounts:
    return ingest_service.index(library, paths or [b"/images"], IndexRequest(**request), Remembered())  # type: ignore[arg-type]


def source(library: Library) -> MemorySource:
    assert isinstance(library.source, MemorySource)
    return library.source


def test_a_run_reads_each_file_once(library: Library) -> None:
    assert index(library).nonzero() == {"scanned": 12, "indexed": 12}
    assert sorted(source(library).reads) == sorted(FILES)
    assert index(library).nonzero() == {"scanned": 12, "unchanged": 12}
    assert len(source(library).reads) == 12


def test_a_run_recognizes_copies_by_their_bytes(library: Library) -> None:
    index(library)
    source(library).files[b"/images/b/copy.png"] = FILES[b"/images/a/00.png"]
    assert index(library).nonzero() == {"scanned": 13, "unchanged": 12, "reused": 1}


def test_entries_of_missing_files_are_removed_only_if_that_is_safe(library: Library) -> None:
    index(library)
    del source(library).files[b"/images/a/00.png"]
    assert index(library).nonzero() == {"scanned": 11, "unchanged": 11, "removed": 1}
    source(library).files.clear()
    with pytest.raises(UsageError, match="does not exist"):
        index(library, b"/elsewhere")
    assert index(library).nonzero() == {"kept": 11}
    assert index(library, prune=True).nonzero() == {"removed": 11}


def test_searches_by_emotion_and_by_similarity(library: Library) -> None:
    index(library)
    everything = search_service.search(library, SearchRequest(under=(b"/images",), limit=100))
    assert {hit.path for hit in everything} == set(FILES)
    emotion = everything[0].emotion
    with_emotion = search_service.search(library, SearchRequest(emotions=(emotion,), exact_label=True, limit=100))
    assert [hit.path for hit in with_emotion] == [hit.path for hit in everything if hit.emotion == emotion]
    similar = search_service.search(library, SearchRequest(like=b"/images/a/03.png", limit=3))
    assert (similar[0].path, similar[0].similarity, len(similar)) == (b"/images/a/03.png", 1.0, 3)


def test_a_search_before_the_first_run_is_an_error(library: Library) -> None:
    with pytest.raises(NotIndexed, match="Nothing is indexed yet"):
        search_service.search(library, SearchRequest(emotions=("happy",)))


def test_labels_override_the_model(library: Library) -> None:
    index(library)
    changed = labels_service.label(library, [LabelAssignment(b"/images/a/05.png", "crying")], new=False)
    assert changed.changed == 1
    (hit,) = search_service.search(library, SearchRequest(emotions=("crying",), exact_label=True, min_score=1.0))
    assert (hit.path, hit.label, hit.score) == (b"/images/a/05.png", "crying", 1.0)
    assert [image.emotion for image in labels_service.list_labels(library)] == ["crying"]
    assert len(labels_service.list_conflicts(library, 5)) <= 1


def test_teaching_can_be_undone(library: Library) -> None:
    index(library)
    labels = [LabelAssignment(path, "happy" if number else "sad") for number, path in enumerate(sorted(FILES)[:5])]
    labels_service.label(library, labels, new=False)
    assert len(teaching_service.suggest(library, 3)) == 3
    report = teaching_service.teach(library, None, Remembered())
    assert (report.model, report.default, report.rescored) == ("fake-taught", True, 12)
    unlabeled = [hit for hit in search_service.search(library, SearchRequest(under=(b"/images",), limit=100)) if not hit.label]
    assert {hit.emotion for hit in unlabeled} == {"happy"}
    undone = teaching_service.undo_teaching(library, Remembered())
    assert (undone.model, library.models.in_use().name) == ("fake", "fake")
    with pytest.raises(ModelUnavailable):
        library.models.find("fake-taught")


def test_a_version_that_cannot_be_scored_is_removed(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    index(library)
    labels = [LabelAssignment(path, "happy" if number else "sad") for number, path in enumerate(sorted(FILES)[:5])]
    labels_service.label(library, labels, new=False)

    def fail(*_: object) -> int:
        raise OSError("disk full")

    assert isinstance(library.database, MemoryDatabase)
    monkeypatch.setattr(library.database.store, "rescore", fail)
    with pytest.raises(OSError, match="disk full"):
        teaching_service.teach(library, None, Remembered())
    assert [model.name for model, _ in library.models.cards()] == ["fake"]
    assert library.models.in_use().name == "fake"


def test_one_process_writes_at_a_time(library: Library) -> None:
    index(library)
    with library.database.lock_writer():
        with pytest.raises(WriterBusy):
            index(library)
        assert search_service.search(library, SearchRequest(like=b"/images/a/03.png", limit=1))
    assert status_service.status(library, 5).counts.images == 12


def test_runs_and_models_are_listed(library: Library) -> None:
    assert scheduling_service.list_runs(library, 5) == []
    index(library)
    (run,) = scheduling_service.list_runs(library, 5)
    assert (run.outcome, run.counts) == ("done", RunCounts(scanned=12, indexed=12))
    ((model, default, images),) = [
        (listed.card.name, listed.default, listed.images) for listed in registry_service.list_models(library)
    ]
    assert (model, default, images) == ("fake", True, 12)
    assert set(search_service.show(library, b"/images/a/01.png")[0].emotions) == set(EMOTIONS)


def test_a_check_of_a_database_without_maintenance_is_an_error(library: Library) -> None:
    index(library)
    with pytest.raises(UsageError, match="server"):
        maintenance_service.check(library, False, Remembered())


def test_services_import_no_adapter() -> None:
    script = (
        "import sys\n"
        "from indexer.ingest import service; from indexer.search import service; from indexer.labels import service\n"
        "from indexer.teaching import service; from indexer.maintenance import service, status\n"
        "from indexer.registry import service\n"
        "from indexer.scheduling import service, watch; from indexer.transfer import backup, restore, export\n"
        "print([name for name in ('sqlalchemy', 'sqlite3', 'torch', 'faiss', 'onnxruntime', 'typer') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
