"""Searches: exactly k hits if there are k, in every state of the derived vector index."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.sqlite.reader import SqliteReader
from db.vectors.sync import CombinedVectorIndex
from db.vectors.tuning import IndexTuning
from indexer.domain.emotions import with_children
from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.domain.predictions import LabelAssignment
from indexer.domain.queries import Hit
from indexer.labels import service as labels_service
from indexer.ports.store_reader import HitFilter
from indexer.ports.vectors import VectorFilter
from indexer.search import service as search_service
from indexer.search.engine import SearchTuning, search
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library


@pytest.fixture
def stocked(library: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    """120 pictures in two folders, one of them copied; enough for clusters."""
    monkeypatch.setattr("db.vectors.files.DEFAULT_TUNING", IndexTuning(clustered_min_rows=100))
    write_images(library.folder / "a", 80)
    write_images(library.folder / "b", 40, first_seed=200)
    shutil.copy(library.folder / "a/000.png", library.folder / "b/copy.png")
    library.index()
    return library


def names(hits: list[Hit]) -> list[str]:
    return ["/".join(os.fsdecode(hit.path).split("/")[-2:]) for hit in hits]


def truth(library: Library, like: Path) -> list[tuple[float, str]]:
    """Return every file with its negative similarity to an image, computed directly from the stored vectors."""
    with library.store() as store:
        model = store.models()[0]
        (rows,) = store.vectors(model.id)
        (ranked,) = store.predicted_at(model.id, os.fsencode(like))
        vector = store.vectors_of([ranked.prediction_id])[ranked.prediction_id].astype(np.float64)
        files = store.hits(model.id, rows.ids.tolist(), HitFilter())
        return sorted(
            (-round(min(1.0, float(row.astype(np.float64) @ vector)), 6), names([hit])[0])
            for i, row in zip(rows.ids.tolist(), rows.vectors, strict=True)
            for hit in files[i]
        )


def test_an_emotion_finds_it_and_its_sub_emotions_best_first(stocked: Library) -> None:
    every = stocked.everything()
    for emotion, count in Counter(hit.emotion for hit in every).items():
        exact = stocked.search(emotions=(emotion,), exact_label=True)
        assert len(exact) == count
        assert {hit.emotion for hit in exact} == {emotion}
        assert [hit.score for hit in exact] == sorted((hit.score for hit in exact), reverse=True)
        wider = stocked.search(emotions=(emotion,))
        assert len(wider) == sum(hit.emotion in with_children(emotion) for hit in every)


def test_several_emotions_negation_and_thresholds(stocked: Library) -> None:
    every = stocked.everything()
    found = stocked.search(emotions=("anger", "SHOCK"), min_score=0.3)
    assert found
    assert set(names(found)) == {
        name for name, hit in zip(names(every), every, strict=True) if hit.emotion in ("angry", "surprise") and hit.score >= 0.3
    }
    left = stocked.search(excluded=("happy", "angry"))
    assert {hit.emotion for hit in left} == {hit.emotion for hit in every} - {"happy", "pleased", "angry"}
    assert stocked.search(emotions=("sad",), excluded=("sad",)) == []
    without = stocked.search(emotions=("sad",), excluded=("crying",))
    assert names(without) == names(stocked.search(emotions=("sad",), exact_label=True))


def test_pages_add_up_to_the_whole_list(stocked: Library) -> None:
    whole = stocked.everything()
    pages = [stocked.search(under=b"/", limit=7, offset=start) for start in range(0, 130, 7)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in whole]
    like = os.fsencode(stocked.folder / "a/007.png")
    near = stocked.search(like=like)
    pages = [stocked.search(like=like, limit=11, offset=start) for start in range(0, 130, 11)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in near]
    assert len(whole) == len(near) == 121


@pytest.mark.parametrize("limit", [1, 10, 121, 500])
def test_similarity_search_is_exact_and_complete(stocked: Library, limit: int) -> None:
    like = stocked.folder / "a/005.png"
    hits = stocked.search(like=os.fsencode(like), limit=limit)
    expected = truth(stocked, like)[:limit]
    assert len(hits) == min(limit, 121)
    assert [hit.similarity for hit in hits] == [-negative for negative, _ in expected]
    assert names(hits)[0] == "a/005.png"
    assert hits[0].similarity == pytest.approx(1, abs=2e-3)


def test_similarity_combines_with_an_emotion(stocked: Library) -> None:
    like = stocked.folder / "a/005.png"
    every = {names([hit])[0]: hit.emotion for hit in stocked.everything()}
    for emotion in set(every.values()):
        hits = stocked.search(like=os.fsencode(like), emotions=(emotion,), exact_label=True, limit=4)
        expected = [similarity for similarity, name in truth(stocked, like) if every[name] == emotion][:4]
        assert [hit.similarity for hit in hits] == [-negative for negative in expected]


def test_similarity_search_under_a_folder(stocked: Library) -> None:
    hits = stocked.search(like=os.fsencode(stocked.folder / "a/005.png"), under=os.fsencode(stocked.folder / "b"), limit=41)
    assert len(hits) == 41
    assert all(name.startswith("b/") for name in names(hits))


def test_a_query_image_is_a_path_an_id_prefix_or_a_file(stocked: Library, tmp_path: Path) -> None:
    path = stocked.folder / "a/005.png"
    by_path = stocked.search(like=os.fsencode(path), limit=5)
    digest = by_path[0].image_id
    assert stocked.search(like=digest.encode(), limit=5) == by_path
    assert stocked.search(like=digest[:12].upper().encode(), limit=5) == by_path
    classified = stocked.classifier.classified
    elsewhere = shutil.copy(path, tmp_path / "elsewhere.png")
    assert stocked.search(image=os.fsencode(elsewhere), limit=5) == by_path
    assert stocked.classifier.classified == classified  # the bytes are known, so nothing is computed


def test_a_query_image_outside_the_index_is_analyzed(stocked: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(5, (96, 80))))  # image a/005, drawn twice as large
    hits = stocked.search(image=os.fsencode(outside), limit=3)
    assert names(hits)[0] == "a/005.png"
    assert hits[0].similarity is not None
    assert hits[0].similarity > 0.99


def test_dedupe_shows_near_duplicates_once(stocked: Library) -> None:
    for i in range(5):
        larger = Image.open(stocked.folder / f"a/00{i}.png").resize((96, 80), Image.Resampling.NEAREST)
        larger.save(stocked.folder / f"b/larger-{i}.png")
    stocked.index()
    assert len(stocked.everything()) == 126
    assert len(stocked.everything(dedupe=True)) == 120
    like = os.fsencode(stocked.folder / "a/000.png")
    near = stocked.search(like=like, dedupe=True)
    assert len(near) == 120
    assert len({hit.image_id for hit in near}) == 120
    pages = [stocked.search(like=like, dedupe=True, limit=50, offset=start) for start in (0, 50, 100)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in near]


def test_removed_files_never_reduce_the_number_of_hits(stocked: Library) -> None:
    like = os.fsencode(stocked.folder / "a/050.png")
    near = stocked.search(like=like, limit=40)
    for hit in near[1:31]:
        os.unlink(hit.path)
    assert stocked.index(prune=False).kept == 30
    stocked.index(prune=True)
    after = stocked.search(like=like, limit=10)
    assert [hit.path for hit in after] == [near[0].path, *(hit.path for hit in near[31:40])]


def test_later_pages_search_exhaustively(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """In large libraries the first page may be approximate, and another approximate ranking would not continue it."""
    exact: list[bool] = []
    search = CombinedVectorIndex.search

    def recorded(self: CombinedVectorIndex, query: np.ndarray, k: int, within: VectorFilter) -> tuple[np.ndarray, np.ndarray]:
        exact.append(within.exact)
        return search(self, query, k, within)

    monkeypatch.setattr(CombinedVectorIndex, "search", recorded)
    like = os.fsencode(stocked.folder / "a/005.png")
    stocked.search(like=like, limit=10)
    assert exact == [False]
    stocked.search(like=like, limit=10, offset=10)
    assert exact == [False, True]


def test_a_hit_missed_at_first_gets_its_right_rank(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    like = os.fsencode(stocked.folder / "a/050.png")
    near = stocked.search(like=like, limit=40)
    for hit in near[1:21]:
        os.unlink(hit.path)
    stocked.index(prune=True)
    search = CombinedVectorIndex.search

    def forgetful(self: CombinedVectorIndex, query: np.ndarray, k: int, within: VectorFilter) -> tuple[np.ndarray, np.ndarray]:
        ids, similarities = search(self, query, k + 1, within)
        kept = np.arange(len(ids)) != (k if within.exact else 22)
        return ids[kept], similarities[kept]

    monkeypatch.setattr(CombinedVectorIndex, "search", forgetful)
    assert [hit.path for hit in stocked.search(like=like, limit=10)] == [near[0].path, *(hit.path for hit in near[21:30])]


Damage = Callable[[Path, Path], None]


def _delete(vectors: Path, rows: Path) -> None:
    vectors.unlink()
    rows.unlink()


def _delete_one(vectors: Path, rows: Path) -> None:
    vectors.unlink()


def _delete_the_other(vectors: Path, rows: Path) -> None:
    rows.unlink()


def _truncate(vectors: Path, rows: Path) -> None:
    os.truncate(vectors, vectors.stat().st_size // 2)


def _truncate_rows(vectors: Path, rows: Path) -> None:
    os.truncate(rows, rows.stat().st_size // 2)


def _empty(vectors: Path, rows: Path) -> None:
    vectors.write_bytes(b"")
    rows.write_bytes(b"")


def _flip(vectors: Path, rows: Path) -> None:
    data = bytearray(vectors.read_bytes())
    for place in range(200, len(data), 97):
        data[place] ^= 0x55
    vectors.write_bytes(data)


def _scribble(vectors: Path, rows: Path) -> None:
    vectors.write_bytes(os.urandom(5000))
    rows.write_bytes(os.urandom(5000))


@pytest.mark.parametrize("damage", [_delete, _delete_one, _delete_the_other, _truncate, _truncate_rows, _empty, _flip, _scribble])
@pytest.mark.parametrize("repaired", [True, False], ids=["repaired by the search", "read only"])
def test_a_damaged_index_changes_no_result(
    stocked: Library, damage: Damage, repaired: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = _searches(stocked)
    before = [stocked.search(**criteria) for criteria in searches]
    (vectors,) = stocked.settings.vectors.glob("*.faiss")
    (rows,) = stocked.settings.vectors.glob("*.rows")
    damage(vectors, rows)
    if not repaired:
        monkeypatch.setattr("db.vectors.sync.sync_index", _refuse)
    assert [stocked.search(**criteria) for criteria in searches] == before
    assert vectors.exists() is (repaired or damage not in (_delete, _delete_one))


def _refuse(*_: object) -> bool:
    raise PermissionError(13, "Permission denied")


def _searches(library: Library) -> list[dict[str, object]]:
    like = os.fsencode(library.folder / "a/005.png")
    return [
        {"like": like, "limit": 30},
        {"like": like, "emotions": ("happy",), "limit": 5},
        {"like": like, "excluded": ("happy",), "min_score": 0.2},
        {"like": like, "under": os.fsencode(library.folder / "b"), "dedupe": True},
    ]


@pytest.mark.parametrize("under", ["", "a", "b"])
def test_large_and_small_folders_give_the_same_results(stocked: Library, under: str, monkeypatch: pytest.MonkeyPatch) -> None:
    criteria: dict[str, object] = {
        "like": os.fsencode(stocked.folder / "a/005.png"),
        "under": os.fsencode(stocked.folder / under),
        "emotions": ("happy", "sad"),
        "limit": 7,
        "offset": 2,
    }
    before = stocked.search(**criteria)
    assert len(before) == 7
    for tuning in (SearchTuning(listed_max_rows=3), SearchTuning(listed_max_rows=3, spare_candidates=0)):
        monkeypatch.setattr(search_service, "run_query", partial(search, tuning=tuning))
        assert stocked.search(**criteria) == before


def test_pages_under_a_folder_are_the_same_for_both_plans(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    criteria: dict[str, object] = {"emotions": ("happy", "sad"), "under": os.fsencode(stocked.folder / "b"), "limit": 6}
    pages = [stocked.search(**criteria, offset=offset) for offset in (0, 6, 12)]
    monkeypatch.setattr("db.sqlite.reader.few_under", lambda *_: False)
    assert [stocked.search(**criteria, offset=offset) for offset in (0, 6, 12)] == pages


def test_an_outdated_index_changes_no_result(stocked: Library, tmp_path: Path) -> None:
    old = shutil.copytree(stocked.settings.vectors, tmp_path / "old")
    write_images(stocked.folder / "c", 30, first_seed=400)
    os.unlink(stocked.folder / "a/006.png")
    stocked.index()
    searches = [*_searches(stocked), {"like": os.fsencode(stocked.folder / "c/410.png"), "limit": 12}]
    before = [stocked.search(**criteria) for criteria in searches]
    both, vectors_only = list(old.iterdir()), list(old.glob("*.faiss"))
    for older in (both, vectors_only):
        for file in older:
            shutil.copy(file, stocked.settings.vectors / file.name)
        assert [stocked.search(**criteria) for criteria in searches] == before


def test_an_index_of_another_history_is_rejected(stocked: Library, tmp_path: Path) -> None:
    """The database is replaced by an older copy and grows again, so that the same ids mean other images."""
    saved = shutil.copytree(stocked.settings.home, tmp_path / "saved")
    write_images(stocked.folder / "c", 20, first_seed=400)
    stocked.index()
    later = shutil.copytree(stocked.settings.vectors, tmp_path / "later")
    shutil.rmtree(stocked.settings.home)
    shutil.copytree(saved, stocked.settings.home)
    shutil.rmtree(stocked.folder / "c")
    write_images(stocked.folder / "d", 20, first_seed=600)
    stocked.index()
    criteria = {"like": os.fsencode(stocked.folder / "d/610.png"), "limit": 30}
    before = stocked.search(**criteria)
    for file in later.iterdir():
        shutil.copy(file, stocked.settings.vectors / file.name)
    assert stocked.search(**criteria) == before


def test_a_new_image_is_found_before_the_index_is_updated(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(stocked.folder / "c", 5, first_seed=400)
    with monkeypatch.context() as patch:
        patch.setattr("db.vectors.sync.sync_index", lambda *_: False)
        stocked.index()
    monkeypatch.setattr("db.vectors.sync.sync_index", _refuse)
    hits = stocked.search(like=os.fsencode(stocked.folder / "c/402.png"), limit=3)
    assert names(hits)[0] == "c/402.png"
    assert len(stocked.search(like=os.fsencode(stocked.folder / "c/402.png"), limit=500)) == 126


def test_reanalyzed_images_are_found_once(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("db.vectors.sync.sync_index", lambda *_: False)
        stocked.index(force=True)
    monkeypatch.setattr("db.vectors.sync.sync_index", _refuse)
    hits = stocked.search(like=os.fsencode(stocked.folder / "a/005.png"), limit=500)
    assert Counter(hit.path for hit in hits).most_common(1)[0][1] == 1
    assert len(hits) == 121


def test_a_changed_model_of_the_same_name_is_refused(stocked: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(999)))
    stocked.classifier = type(stocked.classifier)(size=64)
    with pytest.raises(Exception, match="has changed since the images were indexed"):
        stocked.search(image=os.fsencode(outside))


@pytest.mark.parametrize(
    ("criteria", "error", "message"),
    [
        ({}, UsageError, "Give at least one of IMAGE"),
        ({"emotions": ("hapy",)}, UnknownEmotion, "Did you mean 'happy'"),
        ({"min_score": 1.5, "emotions": ("happy",)}, UsageError, "between 0 and 1"),
        ({"limit": 0, "emotions": ("happy",)}, UsageError, "-k must be at least 1"),
        ({"offset": -1, "emotions": ("happy",)}, UsageError, "--offset at least 0"),
        ({"image": b"/none.png"}, UsageError, "does not exist"),
        ({"like": b"/none.png"}, NotIndexed, "No indexed image has the path or id"),
        ({"like": b"ffffffffffff"}, NotIndexed, "No indexed image has the path or id"),
        ({"image": b"/", "like": b"x"}, UsageError, "not both"),
        ({"image": b"/"}, UsageError, "Cannot use the image"),
    ],
)
def test_an_invalid_request_is_refused(
    stocked: Library, criteria: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stocked.search(**criteria)


def test_like_with_an_unindexed_file_suggests_the_command(stocked: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(999)))
    with pytest.raises(NotIndexed, match="is not indexed. To search with it anyway: moodex search"):
        stocked.search(like=os.fsencode(outside))


def test_searching_before_indexing_suggests_the_command(library: Library) -> None:
    with pytest.raises(NotIndexed, match="Nothing is indexed yet in .*; run: moodex index FOLDER"):
        library.search(emotions=("happy",))
    write_images(library.folder, 1)
    library.index()
    with pytest.raises(NotIndexed, match="No images are indexed with the model 'other' yet.*indexed with fake"):
        library.with_model("other").search(emotions=("happy",))


def test_a_search_reads_a_snapshot_despite_a_writer(stocked: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    like = os.fsencode(stocked.folder / "a/005.png")
    before = stocked.search(like=like)
    original = SqliteReader.hits
    labels = ["sad", "happy"]

    def label_first(store: SqliteReader, *arguments: Any) -> Any:
        if labels:  # every prediction gets another id
            labels_service.label(stocked.opened, [LabelAssignment(os.fsencode(stocked.folder), labels.pop())], new=False)
        return original(store, *arguments)

    monkeypatch.setattr(SqliteReader, "hits", label_first)
    assert stocked.search(like=like) == before
    after = stocked.search(like=like)
    assert {hit.label for hit in after} == {"happy"} and len(after) == len(before)
