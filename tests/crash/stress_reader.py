"""A reader of a stress test."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from indexer.analysis.analyzer import Analyzer
from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import NotIndexed
from indexer.domain.export import ExportRequest
from indexer.domain.files import FileState
from indexer.domain.queries import Hit, SearchRequest
from indexer.domain.runs import DIED
from indexer.exporters.text import writer_for
from indexer.maintenance import service as maintenance_service
from indexer.maintenance import status as status_service
from indexer.search import service as search_service
from indexer.transfer import export as transfer_export
from tests.crash.consistency import check_complete, check_groups, check_hits
from tests.crash.marked_images import GROUP_IMAGES, GROUPS, UNINDEXED_TICK, Mark, MarkClassifier, TornRead, mark_of
from tests.crash.stress_library import FIRST_MODEL, SECOND_MODEL, StressLibrary
from tests.support.library import opened
from tests.support.quiet import Remembered

if TYPE_CHECKING:
    from indexer.settings import Settings

_UNLIMITED = 10_000


class Reader:
    """Makes random queries and checks the results."""

    def __init__(self, library: StressLibrary, number: int, seed: int) -> None:
        self._library = library
        self._chance = random.Random(seed)
        self._export_file = library.root / f"export-{number}.jsonl"
        self._queries = (
            *3 * (self._search_all, self._search_similar, self._search_page, self._search_emotion, self._search_by_image),
            *2 * (self._show, self._status, self._export),
            self._doctor,
        )
        self._not_made = self._chance.sample(list(dict.fromkeys(self._queries)), len(set(self._queries)))

    @property
    def has_made_all_queries(self) -> bool:
        """Whether each kind of query was made at least once."""
        return not self._not_made

    def query(self) -> str:
        """Make each query once, later a random one, and return its name. Raises TornRead."""
        query = self._not_made.pop() if self._not_made else self._chance.choice(self._queries)
        query()
        return query.__name__.strip("_")

    def _search_all(self) -> None:
        hits = self._search(FIRST_MODEL, under=(os.fsencode(self._library.images),))
        check_hits(FIRST_MODEL, hits)
        check_complete(hits)

    def _search_similar(self) -> None:
        member = self._chance.randrange(GROUP_IMAGES)
        like = self._library.member(0, member)
        min_score = self._chance.choice((0.0, _score_between_members()))
        criteria = self._chance.choice(
            (
                {},
                {"dedupe": True},
                {"under": (os.fsencode(self._library.images),)},
                {"min_score": min_score},
                {"excluded": ("happy",)},
            )
        )
        hits = self._search(FIRST_MODEL, like=like, **criteria)
        query_mark = next((mark_of(hit.emotions) for hit in hits if hit.path == like), None)
        check_hits(FIRST_MODEL, hits, query_mark)
        check_groups(hits, criteria.get("min_score", 0.0))
        if criteria in ({}, {"dedupe": True}) or "under" in criteria:
            if query_mark is None:
                raise TornRead("a search by an indexed image does not return that image")
            check_complete([*{hit.image_id: hit for hit in hits}.values()] if criteria.get("dedupe") else hits)

    def _search_page(self) -> None:
        min_hits = GROUP_IMAGES * (GROUPS - 1)
        limit = self._chance.randrange(1, 30)
        offset = self._chance.randrange(min_hits - limit)
        criteria = self._chance.choice(({"like": self._library.member(0, 0)}, {"under": (os.fsencode(self._library.images),)}))
        hits = self._search(FIRST_MODEL, limit=limit, offset=offset, **criteria)
        check_hits(FIRST_MODEL, hits)
        if len(hits) != limit:
            raise TornRead(f"{len(hits)} hits with limit {limit} and offset {offset}, although at least {min_hits} exist")

    def _search_emotion(self) -> None:
        model = self._chance.choice((FIRST_MODEL, SECOND_MODEL))
        emotion = self._chance.choice(EMOTIONS)
        hits = self._search(model, emotions=(emotion,), exact_label=True)
        check_hits(model, hits)
        check_groups(hits)
        if any(hit.emotion != emotion for hit in hits):
            raise TornRead(f"a search for {emotion} returns {[hit.emotion for hit in hits]}")

    def _search_by_image(self) -> None:
        model = self._chance.choice((FIRST_MODEL, SECOND_MODEL))
        in_group = self._chance.random() < 0.3
        under = self._library.group(self._chance.randrange(GROUPS)) if in_group else self._library.images
        try:
            hits = self._search(model, image=os.fsencode(self._library.unindexed_image), under=(os.fsencode(under),))
        except NotIndexed:
            if in_group:
                return  # the group has moved away, and a folder without indexed files is an error
            raise
        check_hits(model, hits, Mark(UNINDEXED_TICK, 0))
        check_groups(hits)
        if (model, under) == (FIRST_MODEL, self._library.images):
            check_complete(hits)

    def _show(self) -> None:
        path = self._library.member(0, self._chance.randrange(GROUP_IMAGES))
        hits = search_service.show(opened(self._library.settings(FIRST_MODEL), _open_analyzer), path)
        check_hits(FIRST_MODEL, hits)
        if [hit.path for hit in hits] != [path]:
            raise TornRead(f"{path!r} is shown as {hits}")

    def _status(self) -> None:
        status = status_service.status(opened(self._library.settings(FIRST_MODEL)), 10)
        files = status.counts.files
        images = {model.card.name: count for model, count in status.models}
        if files.get(FileState.DONE, 0) % GROUP_IMAGES or any(count % GROUP_IMAGES for count in images.values()):
            raise TornRead(f"half a group: {files}, {images}")
        if len(status.failures) != files.get(FileState.FAILED, 0):
            raise TornRead(f"{files} with {status.failures}")
        if images[FIRST_MODEL] != status.counts.images:
            raise TornRead(f"{images} of {status.counts.images} images")
        if any(run.outcome == DIED for run in status.runs):
            raise TornRead(f"a run that was not killed is reported as died: {status.runs}")

    def _export(self) -> None:
        request = ExportRequest(self._export_file, force=True)
        library = opened(self._library.settings(FIRST_MODEL))
        transfer_export.export(library, request, writer_for(self._export_file, False), Remembered())
        rows = [json.loads(line) for line in self._export_file.read_text().splitlines()]
        hits = [
            Hit(
                os.fsencode(row["path"]),
                row["digest"],
                row["emotion"],
                row["score"],
                {emotion: row[f"p_{emotion}"] for emotion in EMOTIONS},
                label=row["label"],
            )
            for row in sorted(rows, key=lambda row: -row["score"])
        ]
        check_hits(FIRST_MODEL, hits)
        check_complete(hits)

    def _doctor(self) -> None:
        report = maintenance_service.check(opened(self._library.settings(FIRST_MODEL)), False, Remembered()).found
        if report.problems or report.of("runs_died"):
            raise TornRead(f"doctor reports {report.findings}")

    def _search(self, model: str, **criteria: Any) -> list[Hit]:
        request = replace(SearchRequest(limit=_UNLIMITED), **criteria)
        return search_service.search(opened(self._library.settings(model), _open_analyzer), request)


def _score_between_members() -> float:
    """Return a score between those of two neighboring members of a group."""
    return Mark(0, GROUP_IMAGES // 2).score - 0.001


def _open_analyzer(settings: Settings) -> Analyzer:
    return Analyzer(MarkClassifier(str(settings.model)))
