"""Searches by text: terms and weights, combination with images and filters, and the meaning of a word without an option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.queries import SearchRequest
from indexer.ingest import service as ingest_service
from indexer.ingest.run import IndexRequest
from indexer.search.service import search, search_and_count
from indexer.search.texts import looks_like_text, parse_terms
from tests.support.builders import draw_blocks, encoded
from tests.support.fake_models import FakeClassifier
from tests.support.memory_library import MemoryModels, memory_library
from tests.support.quiet import Remembered

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from indexer.library import Library

FILES = {b"/images/%s/%d.png" % (b"ab"[number % 2 :][:1], number): encoded(draw_blocks(number)) for number in range(8)}


class NamedImages:
    """A text encoder for which the text "image 3" has the vector of image 3."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def encode(self, texts: Sequence[str]) -> Floats:
        with self._library.database.open(reading=True) as store:
            (model,) = store.models()
            vectors = {}
            for path in FILES:
                number = store.predicted_at(model.id, path)[0].prediction_id
                vectors[f"image {path[-5:-4].decode()}"] = store.vectors_of([number])[number].astype(np.float32)
        return np.stack([vectors[text] for text in texts])


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library whose model reads text."""
    opened = memory_library(FILES, tmp_path / "home", FakeClassifier())
    ingest_service.index(opened, [b"/images"], IndexRequest(), Remembered())
    assert isinstance(opened.models, MemoryModels)
    opened.models.text = opened.models.cards_by_name["fake"]
    return replace(opened, open_text_encoder=lambda: NamedImages(opened))


def found(library: Library, *texts: str, **request: object) -> list[str]:
    hits = search(library, SearchRequest(texts=texts, **request))  # type: ignore[arg-type]
    return [hit.path[-5:-4].decode() for hit in hits]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("girl with an umbrella", [("girl with an umbrella", 1.0)]),
        ("girl + umbrella - rain", [("girl", 1.0), ("umbrella", 1.0), ("rain", -1.0)]),
        ("- rain", [("rain", -1.0)]),
        ("girl - 0.5 * rain +  2*night", [("girl", 1.0), ("rain", -0.5), ("night", 2.0)]),
        ("jack-o-lantern a+b -c", [("jack-o-lantern a+b -c", 1.0)]),
        ("16:9 wallpaper, 10 * 2", [("16:9 wallpaper, 10 * 2", 1.0)]),
    ],
)
def test_signs_that_stand_alone_begin_terms(text: str, terms: list[tuple[str, float]]) -> None:
    assert parse_terms(text) == terms


@pytest.mark.parametrize("text", ["", "  ", "girl + ", "girl + - rain", "2 *", "-  "])
def test_an_empty_term_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is empty"):
        parse_terms(text)


def test_long_texts_and_many_terms_are_refused() -> None:
    with pytest.raises(UsageError, match="1,001 characters"):
        parse_terms("a" * 1001)
    with pytest.raises(UsageError, match="21 terms"):
        parse_terms(" + ".join("a" * 21))


@pytest.mark.parametrize(("words", "is_text"), [("cat", True), ("a girl vs. a boy", True), ("a.png", False), ("art/cat", False)])
def test_names_of_files_are_no_texts(words: str, is_text: bool) -> None:
    assert looks_like_text(words.encode()) == is_text


def test_a_text_finds_the_images_that_resemble_it(library: Library) -> None:
    hits = search(library, SearchRequest(texts=("image 3",)))
    assert (hits[0].path[-5:-4], hits[0].similarity) == (b"3", 1.0)
    assert len(hits) == 8


def test_filters_apply_as_before(library: Library) -> None:
    assert found(library, "image 3", under=(b"/images/a",))[0] != "3"
    assert set(found(library, "image 3", under=(b"/images/a",))) == {"0", "2", "4", "6"}
    emotion = search(library, SearchRequest(texts=("image 3",)))[0].emotion
    chosen = search(library, SearchRequest(texts=("image 3",), emotions=(emotion,)))
    assert {hit.emotion for hit in chosen} == {emotion}
    result = search_and_count(library, SearchRequest(texts=("image 3",), limit=2))
    assert (len(result.hits), result.total) == (2, (8, True))
    assert found(library, "image 3", limit=2, offset=2) == found(library, "image 3")[2:4]


def test_terms_and_images_are_summed_by_their_weights(library: Library) -> None:
    by_text = search(library, SearchRequest(texts=("image 1 + 0.5 * image 2 - image 5",)))
    vectors = NamedImages(library).encode([f"image {number}" for number in (1, 2, 5)])
    total = vectors[0] + 0.5 * vectors[1] - vectors[2]
    expected = search(library, SearchRequest(embedding=(total / np.linalg.norm(total)).astype(np.float32)))
    assert [(hit.path, hit.similarity) for hit in by_text] == [(hit.path, hit.similarity) for hit in expected]
    image = SearchRequest(like=b"/images/b/1.png", texts=("0.5 * image 2 - image 5",))
    assert [hit.path for hit in search(library, image)] == [hit.path for hit in expected]
    upload = SearchRequest(embedding=vectors[0], texts=("0.5 * image 2", "- image 5"))
    assert [hit.path for hit in search(library, upload)] == [hit.path for hit in expected]


def test_terms_that_cancel_are_refused(library: Library) -> None:
    with pytest.raises(UsageError, match="cancel each other"):
        found(library, "image 1 - image 1")


def test_a_word_is_a_file_or_an_emotion_or_an_id_before_it_is_a_text(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    by_word = search(library, SearchRequest(image=b"image 3"))
    assert by_word[0].path == b"/images/b/3.png"
    assert not caplog.records
    assert search(library, SearchRequest(image=b"/images/b/3.png"))[0].path == b"/images/b/3.png"
    assert {hit.similarity for hit in search(library, SearchRequest(image=b"sad"))} <= {None}
    image_id = by_word[0].image_id[:10].encode()
    assert search(library, SearchRequest(image=image_id))[0].path == b"/images/b/3.png"
    with pytest.raises(UsageError, match="does not exist"):
        search(library, SearchRequest(image=b"misspelled.png"))


def test_a_single_word_is_searched_as_text_with_a_hint(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError):
        search(library, SearchRequest(image=b"hapy"))
    assert "neither an emotion nor a file: searching with --text hapy" in caplog.text


def test_without_a_text_encoder_a_sentence_says_what_to_add(library: Library) -> None:
    assert isinstance(library.models, MemoryModels)
    library.models.text = None
    with pytest.raises(UsageError, match=r"'fake' has no text encoder. Add one that has: moodex models add hf:"):
        found(library, "image 3")
    with pytest.raises(UsageError, match="the model 'fake' reads no text"):
        search(library, SearchRequest(image=b"girl with an umbrella"))


def test_a_text_encoder_of_another_network_is_refused(library: Library) -> None:
    assert isinstance(library.models, MemoryModels)
    assert library.models.text is not None
    library.models.text = replace(library.models.text, backbone_digest="another")
    with pytest.raises(ModelUnavailable, match="has changed since the images were indexed"):
        found(library, "image 3")
