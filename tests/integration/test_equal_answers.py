"""Every kind of question that a user can ask has the same answer in a file and on a PostgreSQL server."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import text

from db.sql.tag_rows import write_tags
from indexer.analysis.analyzer import Analyzer
from indexer.domain.emotions import NONE
from indexer.domain.export import ExportFilter
from indexer.domain.queries import SearchRequest
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.labels import hide
from indexer.labels import service as labels
from indexer.labels.assign import parse_assignments
from indexer.library import Library
from indexer.search import pictures, service
from indexer.search.counts import count_emotions
from indexer.search.folders import folder_tree
from indexer.settings import Settings
from tests.support.builders import draw_blocks, write_images
from tests.support.fake_models import FakeClassifier, FakeFaceDetector
from tests.support.library import opened
from tests.support.quiet import Remembered

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.types import Floats
    from indexer.ports.models import ModelRegistry

IMAGES = 60
FACES, WHOLE = "faces", "whole"


class HashedTexts:
    """A text encoder that gives each text a vector by its digest."""

    def __init__(self, size: int) -> None:
        self._size = size

    def encode(self, texts: Sequence[str]) -> Floats:
        seeds = [int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest()) for one in texts]
        vectors = np.stack([np.random.default_rng(seed).normal(size=self._size) for seed in seeds])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class ReadsText:
    """The models of a library, of which the one in use reads text."""

    def __init__(self, models: ModelRegistry, card: ModelCard) -> None:
        self._models, self._card = models, card

    def text_card(self) -> ModelCard:
        return self._card

    def __getattr__(self, name: str) -> Any:
        return getattr(self._models, name)


@dataclass(frozen=True, slots=True)
class Asked:
    """A library with two models, the first of which reads faces and texts, and the folder of its images."""

    library: Library
    folder: Path

    def path(self, name: str) -> bytes:
        return os.fsencode(self.folder / name)

    def search(self, **request: Any) -> object:
        """Return the hits of a request and their total; names of files and folders are below the folder of images."""
        for name in ("image", "like"):
            if name in request:
                request[name] = self.path(request[name])
        if "under" in request:
            request["under"] = tuple(map(self.path, request["under"]))
        return service.search_and_count(self.library, SearchRequest(**{"limit": 100, **request}))

    def walk(self, size: int, **request: Any) -> list[object]:
        """Return the hits of a request by emotion, page after page."""
        pages: list[object] = []
        after = None
        while (page := service.search_page_of(self.library, SearchRequest(limit=size, after=after, **request))).hits:
            pages.append(page.hits)
            after = page.last
        return pages

    def read(self, question: Callable[..., object]) -> object:
        """Return what a store answers."""
        with self.library.database.open(reading=True) as store:
            return question(store)


def library_in(settings: Settings) -> Library:
    """Open a library with fake models; texts belong to the one in use."""
    classifiers = {FACES: FakeClassifier(name=FACES, spaces=True), WHOLE: FakeClassifier(48, WHOLE)}

    def analyzer(used: Settings) -> Analyzer:
        name = used.model or FACES
        return Analyzer(classifiers[name], FakeFaceDetector() if name == FACES else None)

    made = opened(settings, analyzer)
    card = classifiers[settings.model or FACES].card
    return replace(
        made,
        models=ReadsText(made.models, card),
        open_text_encoder=lambda: HashedTexts(card.embedding_size),
        reopen=library_in,
    )


def fill(folder: Path, settings: Settings) -> Asked:
    """Index the images with both models, then label, hide, tag and remove some."""
    asked = Asked(library_in(settings), folder)
    index = IndexRequest(further_models=(WHOLE,))
    ingest_service.index(asked.library, [os.fsencode(folder)], index, Remembered())
    wrong = [(f"a/{number:03d}.png", "disgust") for number in range(10, 20)]
    for name, label in (("a/003.png", "sad"), ("b/c/007.png", NONE), ("twin.png", "crying"), *wrong):
        labels.label(asked.library, parse_assignments([asked.path(name)], label, False), new=False)
    labels.label(asked.library, parse_assignments([asked.path("a/004.png"), asked.path("b/c/002.png")], "smug", False), new=True)
    hide.hide(asked.library, [asked.path("a/005.png"), asked.path("b/c/009.png")], hidden=True)
    with asked.library.database.open() as store, store._engine.begin() as connection:  # type: ignore[attr-defined]
        embedder = connection.execute(text("SELECT embedder_id FROM models WHERE name = :name"), {"name": FACES}).scalar_one()
        images = connection.execute(text("SELECT id FROM images ORDER BY digest LIMIT 24")).scalars().all()
        tags = {image: {"1girl": 0.9} | ({"comic": 0.5} if number % 3 else {}) for number, image in enumerate(images)}
        write_tags(connection, embedder, tags)
    return asked


@pytest.fixture
def both(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Asked, Asked]]:
    """A library in a file, and one on a server, of the same images."""
    folder = tmp_path / "images"
    write_images(folder / "a", IMAGES // 2)
    write_images(folder / "b/c", IMAGES // 2, first_seed=IMAGES // 2)
    for number, path in enumerate(sorted((folder / "b/c").iterdir())):
        path.rename(path.with_name(f"{number:03d}.png"))
    shutil.copyfile(folder / "a/001.png", folder / "twin.png")
    draw_blocks(1).save(folder / "near.webp", quality=95)
    for number in range(4):
        page = draw_blocks(900 + number, (200, 150))
        for left, color in zip((10, 90), FakeFaceDetector.FACE_COLORS, strict=False):
            page.paste(color, (left, 20 + number, left + 60, 90))
        page.save(folder / f"page {number}.png")
    (folder / "broken.png").write_bytes(b"not an image")
    settings = Settings(home=tmp_path / "file", model=FACES, workers=2)
    yield fill(folder, settings), fill(folder, replace(settings, home=tmp_path / "server", store=postgres_url))


LIKE = {"like": "a/002.png"}
BOTH = {"similar_by": WHOLE}
SEARCHES: dict[str, dict[str, Any]] = {
    "everything": {"all_images": True},
    "an emotion": {"emotions": ("happy",)},
    "a synonym": {"emotions": ("joy",)},
    "an emotion with its children": {"emotions": ("sad",)},
    "an emotion without its children": {"emotions": ("sad",), "exact_label": True},
    "a child": {"emotions": ("crying",)},
    "several emotions": {"emotions": ("happy", "fear", "angry")},
    "all but an emotion": {"excluded": ("happy",)},
    "an emotion and not its child": {"emotions": ("sad",), "excluded": ("crying",)},
    "an emotion of the user": {"emotions": ("smug",)},
    "nothing to tell an emotion by": {"emotions": (NONE,)},
    "a least probability": {"min_score": 0.5},
    "a least probability of an emotion": {"emotions": ("surprise", "fear"), "min_score": 0.3},
    "a folder": {"under": ("b",)},
    "a folder in a folder": {"under": ("b/c",)},
    "two folders": {"under": ("a", "b/c")},
    "a file": {"under": ("twin.png",)},
    "a folder and a file": {"under": ("a", "page 1.png")},
    "a folder by emotion": {"under": ("a",), "emotions": ("happy",)},
    "hidden images, too": {"all_images": True, "hidden": True},
    "near-duplicates once": {"all_images": True, "dedupe": True},
    "a page of a few": {"all_images": True, "limit": 7, "offset": 14},
    "a page of an emotion": {"emotions": ("happy", "sad"), "limit": 3, "offset": 2},
    "after the end": {"all_images": True, "offset": 500},
    "a tag": {"tags": ("1girl",)},
    "a tag in another form": {"tags": ("1Girl",)},
    "two tags": {"tags": ("1girl", "comic")},
    "without a tag": {"excluded_tags": ("comic",)},
    "one tag and not another": {"tags": ("1girl",), "excluded_tags": ("comic",)},
    "a tag in a folder": {"tags": ("1girl",), "under": ("a",)},
    "a tag by emotion": {"tags": ("1girl",), "emotions": ("happy", "sad", "fear")},
    "a path": LIKE,
    "an image file": {"image": "a/002.png"},
    "likeness and emotion": LIKE | {"emotions": ("sad",)},
    "likeness and not an emotion": LIKE | {"excluded": ("happy",)},
    "likeness and least probability": LIKE | {"min_score": 0.4},
    "likeness in a folder": LIKE | {"under": ("b",)},
    "likeness of an own emotion": LIKE | {"emotions": ("smug",)},
    "likeness with hidden images": LIKE | {"hidden": True},
    "likeness, near-duplicates once": LIKE | {"dedupe": True},
    "likeness and tag": LIKE | {"tags": ("1girl",), "excluded_tags": ("comic",)},
    "likeness, a later page": LIKE | {"limit": 5, "offset": 10},
    "likeness of a face": {"like": "page 1.png"},
    "likeness of a twin": {"like": "twin.png"},
    "a text": {"texts": ("girl with an umbrella",)},
    "terms of a text": {"texts": ("girl + 0.5 * umbrella - rain",)},
    "a text and an emotion": {"texts": ("girl",), "emotions": ("sad", "happy")},
    "a text in a folder": {"texts": ("girl",), "under": ("a",)},
    "a text and a tag": {"texts": ("girl",), "tags": ("comic",)},
    "a text, a later page": {"texts": ("girl",), "limit": 4, "offset": 8},
    "an image and a text": LIKE | {"texts": ("at night",)},
    "likeness by another model": LIKE | BOTH,
    "likeness by another model and emotion": LIKE | BOTH | {"emotions": ("happy",)},
    "likeness by another model and tag": LIKE | BOTH | {"tags": ("1girl",)},
    "likeness by another model in a folder": LIKE | BOTH | {"under": ("b",)},
    "a face by another model": BOTH | {"like": "page 2.png", "excluded": ("angry",)},
    "an emotion of images of both models": BOTH | {"emotions": ("happy",)},
}
"""The searches by a name of their kind. All but one have hits."""

OTHERS: dict[str, Callable[[Asked], object]] = {
    "pages by key": lambda asked: asked.walk(7, all_images=True),
    "pages of an emotion by key": lambda asked: asked.walk(2, emotions=("happy", "sad")),
    "pages of tagged images by key": lambda asked: asked.walk(3, tags=("1girl",)),
    "numbers by emotion": lambda asked: count_emotions(asked.library, SearchRequest(), 1000),
    "numbers by emotion, exact": lambda asked: count_emotions(asked.library, SearchRequest(exact_label=True), 1000),
    "numbers by emotion in a folder": lambda asked: count_emotions(
        asked.library, SearchRequest(under=(asked.path("a"),), excluded=("fear",), tags=("1girl",)), 1000
    ),
    "a picture": lambda asked: service.show(asked.library, asked.path("a/003.png")),
    "a page of faces": lambda asked: service.show(asked.library, asked.path("page 0.png")),
    "a picture by its id": lambda asked: service.show(asked.library, _id(asked, "twin.png").encode()),
    "the files of a picture": lambda asked: [one.path for one in pictures.files_of(asked.library, _id(asked, "twin.png"))],
    "main faces": lambda asked: pictures.main_hits(asked.library, [_id(asked, name) for name in ("page 3.png", "a/000.png")]),
    "newest, of an emotion": lambda asked: {
        hit.path for hit in pictures.newest(asked.library, SearchRequest(emotions=("happy",), limit=100), None, 100).hits
    },
    "labels": lambda asked: labels.list_labels(asked.library),
    "doubts": lambda asked: labels.list_conflicts(asked.library, 50),
    "folders": lambda asked: sorted((one.path, one.files, one.children) for one in folder_tree(asked.library)._nodes.values()),
    "failures": lambda asked: asked.read(lambda store: store.failures(10)),
    "counts": lambda asked: asked.read(lambda store: store.counts()),
    "known tags": lambda asked: asked.read(lambda store: store.known_tags(_model(store).id, ["1girl", "comic", "none"])),
    "rows to export": lambda asked: asked.read(_exported),
}
"""Further questions, by a name of their kind."""


def _id(asked: Asked, name: str) -> str:
    return service.show(asked.library, asked.path(name))[0].image_id


def _model(store: Any) -> Any:
    return next(model for model in store.models() if model.card.name == FACES)


def _exported(store: Any) -> list[tuple[object, ...]]:
    chunks = list(store.export_rows(_model(store), ExportFilter(emotions=frozenset({"happy", "sad", "smug"}))))
    return sorted(
        row
        for chunk in chunks
        for row in zip(chunk.paths, chunk.digests, chunk.emotions, chunk.scores, chunk.regions, chunk.boxes, strict=True)
    )


def test_every_kind_of_question_has_the_same_answer(both: tuple[Asked, Asked]) -> None:
    assert len(SEARCHES) + len(OTHERS) >= 50
    for kind, request in SEARCHES.items():
        file, server = (asked.search(**request) for asked in both)
        assert file == server, kind
        assert bool(file.hits) is (kind != "after the end"), kind  # type: ignore[attr-defined]
    for kind, ask in OTHERS.items():
        answers = [ask(asked) for asked in both]
        assert answers[0] == answers[1], kind
        assert answers[0], kind
