"""Searches: correct hits in the correct order, exactly k of them if there are k; invalid requests."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from db.sql.reader import SqlReader
from db.vectors.sync import CombinedVectorIndex
from indexer.domain.emotions import with_children
from indexer.domain.errors import NotIndexed, UnknownEmotion, UsageError
from indexer.domain.predictions import LabelAssignment
from indexer.labels import service as labels_service
from indexer.ports.store_reader import HitFilter
from indexer.ports.vectors import VectorFilter
from indexer.search import service as search_service
from indexer.search.engine import SearchTuning, search_page
from tests.integration.conftest import short_paths
from tests.support.builders import draw_blocks, encoded, write_images
from tests.support.library import Library


def exact_similarities(library: Library, like: Path) -> list[tuple[float, str]]:
    """Return the negative similarity to an image and the short path of every file, best first, from the stored vectors."""
    with library.store() as store:
        model = store.models()[0]
        (rows,) = store.vectors(model.id)
        (ranked,) = store.predicted_at(model.id, os.fsencode(like))
        vector = store.vectors_of([ranked.prediction_id])[ranked.prediction_id].astype(np.float64)
        files = store.hits(model.id, rows.ids.tolist(), HitFilter())
        return sorted(
            (-round(min(1.0, float(row.astype(np.float64) @ vector)), 6), short_paths([hit])[0])
            for i, row in zip(rows.ids.tolist(), rows.vectors, strict=True)
            for hit in files[i]
        )


def test_a_search_for_an_emotion_includes_its_sub_emotions_best_first(clustered: Library) -> None:
    all_hits = clustered.everything()
    for emotion, count in Counter(hit.emotion for hit in all_hits).items():
        exact = clustered.search(emotions=(emotion,), exact_label=True)
        assert len(exact) == count
        assert {hit.emotion for hit in exact} == {emotion}
        assert [hit.score for hit in exact] == sorted((hit.score for hit in exact), reverse=True)
        wider = clustered.search(emotions=(emotion,))
        assert len(wider) == sum(hit.emotion in with_children(emotion) for hit in all_hits)


def test_searches_combine_emotions_exclusions_and_a_minimum_score(clustered: Library) -> None:
    all_hits = clustered.everything()
    hits = clustered.search(emotions=("anger", "SHOCK"), min_score=0.3)
    assert hits
    assert set(short_paths(hits)) == {
        name
        for name, hit in zip(short_paths(all_hits), all_hits, strict=True)
        if hit.emotion in ("angry", "surprise") and hit.score >= 0.3
    }
    remaining = clustered.search(excluded=("happy", "angry"))
    assert {hit.emotion for hit in remaining} == {hit.emotion for hit in all_hits} - {"happy", "pleased", "angry"}
    assert clustered.search(emotions=("sad",), excluded=("sad",)) == []
    without_crying = clustered.search(emotions=("sad",), excluded=("crying",))
    assert short_paths(without_crying) == short_paths(clustered.search(emotions=("sad",), exact_label=True))


def test_pages_together_are_the_complete_list(clustered: Library) -> None:
    all_hits = clustered.everything()
    pages = [clustered.search(under=(b"/",), limit=7, offset=start) for start in range(0, 130, 7)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in all_hits]
    like = os.fsencode(clustered.folder / "a/007.png")
    similar = clustered.search(like=like)
    pages = [clustered.search(like=like, limit=11, offset=start) for start in range(0, 130, 11)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in similar]
    assert len(all_hits) == len(similar) == 121


@pytest.mark.parametrize("limit", [1, 10, 121, 500])
def test_similarity_search_is_exact_and_complete(clustered: Library, limit: int) -> None:
    like = clustered.folder / "a/005.png"
    hits = clustered.search(like=os.fsencode(like), limit=limit)
    expected = exact_similarities(clustered, like)[:limit]
    assert len(hits) == min(limit, 121)
    assert [hit.similarity for hit in hits] == [-negative for negative, _ in expected]
    assert short_paths(hits)[0] == "a/005.png"
    assert hits[0].similarity == pytest.approx(1, abs=2e-3)


def test_similarity_combines_with_an_emotion(clustered: Library) -> None:
    like = clustered.folder / "a/005.png"
    emotions = {short_paths([hit])[0]: hit.emotion for hit in clustered.everything()}
    for emotion in set(emotions.values()):
        hits = clustered.search(like=os.fsencode(like), emotions=(emotion,), exact_label=True, limit=4)
        expected = [similarity for similarity, name in exact_similarities(clustered, like) if emotions[name] == emotion][:4]
        assert [hit.similarity for hit in hits] == [-negative for negative in expected]


def test_a_similarity_search_can_be_limited_to_a_folder(clustered: Library) -> None:
    hits = clustered.search(
        like=os.fsencode(clustered.folder / "a/005.png"), under=(os.fsencode(clustered.folder / "b"),), limit=41
    )
    assert len(hits) == 41
    assert all(name.startswith("b/") for name in short_paths(hits))


def test_a_query_image_is_a_path_an_id_prefix_or_a_file(clustered: Library, tmp_path: Path) -> None:
    path = clustered.folder / "a/005.png"
    by_path = clustered.search(like=os.fsencode(path), limit=5)
    digest = by_path[0].image_id
    assert clustered.search(like=digest.encode(), limit=5) == by_path
    assert clustered.search(like=digest[:12].upper().encode(), limit=5) == by_path
    classified = clustered.classifier.classified
    elsewhere = shutil.copy(path, tmp_path / "elsewhere.png")
    assert clustered.search(image=os.fsencode(elsewhere), limit=5) == by_path
    assert clustered.classifier.classified == classified  # predictions for these bytes are stored, so nothing is computed


def test_a_query_image_outside_the_index_is_analyzed(clustered: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(5, (96, 80))))  # image a/005, drawn twice as large
    hits = clustered.search(image=os.fsencode(outside), limit=3)
    assert short_paths(hits)[0] == "a/005.png"
    assert hits[0].similarity is not None
    assert hits[0].similarity > 0.99


def test_dedupe_shows_near_duplicates_once(clustered: Library) -> None:
    for i in range(5):
        larger = Image.open(clustered.folder / f"a/00{i}.png").resize((96, 80), Image.Resampling.NEAREST)
        larger.save(clustered.folder / f"b/larger-{i}.png")
    clustered.index()
    assert len(clustered.everything()) == 126
    distinct = clustered.everything(dedupe=True)
    assert len(distinct) == 120
    assert sum(hit.copies for hit in distinct) == 6
    assert [hit.copies for hit in clustered.everything(dedupe=True, limit=7)] == [hit.copies for hit in distinct[:7]]
    like = os.fsencode(clustered.folder / "a/000.png")
    similar = clustered.search(like=like, dedupe=True)
    assert len(similar) == 120
    assert len({hit.image_id for hit in similar}) == 120
    assert sum(hit.copies for hit in similar) == 6
    pages = [clustered.search(like=like, dedupe=True, limit=50, offset=start) for start in (0, 50, 100)]
    assert [hit.path for page in pages for hit in page] == [hit.path for hit in similar]


def test_removed_files_never_reduce_the_number_of_hits(clustered: Library) -> None:
    like = os.fsencode(clustered.folder / "a/050.png")
    similar = clustered.search(like=like, limit=40)
    for hit in similar[1:31]:
        os.unlink(hit.path)
    assert clustered.index(prune=False).kept == 30
    clustered.index(prune=True)
    after = clustered.search(like=like, limit=10)
    assert [hit.path for hit in after] == [similar[0].path, *(hit.path for hit in similar[31:40])]


def test_later_pages_search_exhaustively(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """In large libraries the first page may be approximate, and another approximate ranking would not continue it."""
    exact: list[bool] = []
    search = CombinedVectorIndex.search

    def recorded(self: CombinedVectorIndex, query: np.ndarray, k: int, within: VectorFilter) -> tuple[np.ndarray, np.ndarray]:
        exact.append(within.exact)
        return search(self, query, k, within)

    monkeypatch.setattr(CombinedVectorIndex, "search", recorded)
    like = os.fsencode(clustered.folder / "a/005.png")
    clustered.search(like=like, limit=10)
    assert exact == [False]
    clustered.search(like=like, limit=10, offset=10)
    assert exact == [False, True]


def test_a_hit_missed_at_first_gets_its_correct_rank(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    like = os.fsencode(clustered.folder / "a/050.png")
    similar = clustered.search(like=like, limit=40)
    for hit in similar[1:21]:
        os.unlink(hit.path)
    clustered.index(prune=True)
    search = CombinedVectorIndex.search

    def search_that_misses_one(
        self: CombinedVectorIndex, query: np.ndarray, k: int, within: VectorFilter
    ) -> tuple[np.ndarray, np.ndarray]:
        ids, similarities = search(self, query, k + 1, within)
        returned = np.arange(len(ids)) != (k if within.exact else 22)
        return ids[returned], similarities[returned]

    monkeypatch.setattr(CombinedVectorIndex, "search", search_that_misses_one)
    assert [hit.path for hit in clustered.search(like=like, limit=10)] == [similar[0].path, *(hit.path for hit in similar[21:30])]


@pytest.mark.parametrize("under", ["", "a", "b"])
def test_large_and_small_folders_give_the_same_results(clustered: Library, under: str, monkeypatch: pytest.MonkeyPatch) -> None:
    criteria: dict[str, object] = {
        "like": os.fsencode(clustered.folder / "a/005.png"),
        "under": (os.fsencode(clustered.folder / under),),
        "emotions": ("happy", "sad"),
        "limit": 7,
        "offset": 2,
    }
    before = clustered.search(**criteria)
    assert len(before) == 7
    for tuning in (SearchTuning(listed_max_rows=3), SearchTuning(listed_max_rows=3, spare_candidates=0)):
        monkeypatch.setattr(search_service, "search_page", partial(search_page, tuning=tuning))
        assert clustered.search(**criteria) == before


def test_pages_under_a_folder_are_the_same_for_both_plans(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    criteria: dict[str, object] = {"emotions": ("happy", "sad"), "under": (os.fsencode(clustered.folder / "b"),), "limit": 6}
    pages = [clustered.search(**criteria, offset=offset) for offset in (0, 6, 12)]
    monkeypatch.setattr("db.sql.hit_reader.few_under", lambda *_: False)
    assert [clustered.search(**criteria, offset=offset) for offset in (0, 6, 12)] == pages


def test_a_changed_model_of_the_same_name_is_refused(clustered: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(999)))
    clustered.classifier = type(clustered.classifier)(size=64)
    with pytest.raises(Exception, match="has changed since the images were indexed"):
        clustered.search(image=os.fsencode(outside))


@pytest.mark.parametrize(
    ("criteria", "error", "message"),
    [
        ({}, UsageError, "Give at least one of IMAGE"),
        ({"emotions": ("hapy",)}, UnknownEmotion, "Did you mean 'happy'"),
        ({"min_score": 1.5, "emotions": ("happy",)}, UsageError, "between 0 and 1"),
        ({"limit": 0, "emotions": ("happy",)}, UsageError, "-k must be at least 1"),
        ({"offset": -1, "emotions": ("happy",)}, UsageError, "--offset at least 0"),
        ({"image": b"/none.png"}, UsageError, "'/none.png' does not exist. Give an image, or search by emotion"),
        ({"image": b"none.png"}, UsageError, "'none.png' does not exist"),
        ({"image": b"moody"}, UsageError, "neither a file nor an emotion"),
        ({"like": b"/none.png"}, NotIndexed, "No indexed image has the path or id"),
        ({"like": b"ffffffffffff"}, NotIndexed, "No indexed image has the path or id"),
        ({"image": b"/", "like": b"x"}, UsageError, "not both"),
        ({"image": b"/"}, UsageError, "is a folder"),
    ],
)
def test_an_invalid_request_is_refused(
    clustered: Library, criteria: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        clustered.search(**criteria)


def test_like_with_an_unindexed_file_suggests_the_command(clustered: Library, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(draw_blocks(999)))
    with pytest.raises(NotIndexed, match="is not indexed with the model 'fake'. To search with it anyway: moodex search"):
        clustered.search(like=os.fsencode(outside))


def test_searching_before_indexing_suggests_the_command(library: Library) -> None:
    with pytest.raises(NotIndexed, match="Nothing is indexed yet in .*; run: moodex index FOLDER"):
        library.search(emotions=("happy",))
    write_images(library.folder, 1)
    library.index()
    with pytest.raises(NotIndexed, match="No images are indexed with the model 'other' yet.*indexed with fake"):
        library.with_model("other").search(emotions=("happy",))


def test_a_search_reads_a_snapshot_despite_a_writer(clustered: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    like = os.fsencode(clustered.folder / "a/005.png")
    before = clustered.search(like=like)
    original = SqlReader.hits
    labels = ["sad", "happy"]

    def label_first(store: SqlReader, *arguments: Any) -> Any:
        if labels:  # every prediction gets another id
            labels_service.label(clustered.opened, [LabelAssignment(os.fsencode(clustered.folder), labels.pop())], new=False)
        return original(store, *arguments)

    monkeypatch.setattr(SqlReader, "hits", label_first)
    assert clustered.search(like=like) == before
    after = clustered.search(like=like)
    assert {hit.label for hit in after} == {"happy"} and len(after) == len(before)
