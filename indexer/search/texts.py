"""Texts that hits must resemble: terms with weights, and the vector that stands for them and for an image."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import ModelUnavailable, UsageError

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import SearchRequest
    from indexer.domain.types import Floats
    from indexer.library import Library
    from indexer.ports.models import TextEncoder

MAX_CHARACTERS = 1000
"""Most characters of the texts of one search."""

_MAX_TERMS = 20
_SIGN = re.compile(r"(?:^|(?<=\s))([+-])(?:\s+|$)")
_WEIGHT = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*\*\s*(.*)", re.DOTALL)
_LEAST_LENGTH = 1e-3
"""Length of a sum of vectors below which they cancel each other."""


class Term(NamedTuple):
    """A text, and the weight of its vector in the sum: negative if hits must not resemble it."""

    text: str
    weight: float


def parse_terms(text: str) -> list[Term]:
    """Split a text at `+` and `-` that stand alone; a term may begin with a weight, as in "girl - 0.5 * rain".

    Raises UsageError for a term without a text, and for texts that are too long or too many.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be searched for.")
    terms = list(_terms(text))
    if len(terms) > _MAX_TERMS:
        raise UsageError(f"The text has {len(terms)} terms; at most {_MAX_TERMS} can be searched for.")
    return terms


def _terms(text: str) -> Iterator[Term]:
    first, *others = _SIGN.split(text.strip())
    if first.strip() or not others:
        yield _term("+", first, text)
    for sign, words in zip(others[::2], others[1::2], strict=True):
        yield _term(sign, words, text)


def _term(sign: str, words: str, text: str) -> Term:
    match = _WEIGHT.fullmatch(words.strip())
    weight, words = (float(match[1]), match[2]) if match else (1.0, words.strip())
    if not words:
        raise UsageError(f"A term of the text {text!r} is empty; write, for example: girl + umbrella - rain")
    return Term(words, -weight if sign == "-" else weight)


def looks_like_text(words: bytes) -> bool:
    """Return whether words that name no file are meant as a text: they have no separator of folders and no file extension."""
    text = os.fsdecode(words)
    return os.sep not in text and not re.search(r"\.\w{1,5}$", text)


def with_embedding(
    library: Library, request: SearchRequest, model: StoredModel, image_vector: Callable[[], Floats | None]
) -> SearchRequest:
    """Return a request whose texts, and whose image if it has one, became an embedding; any other request as it is.

    The embedding is the sum of the vector of the image, from `image_vector`, and of those of the terms by their weights, at
    length 1. Raises UsageError if the model has no text encoder, and if the terms cancel each other; ModelUnavailable, and
    MissingExtra.
    """
    if not request.texts:
        return request
    import numpy as np  # a search by emotion needs none

    terms = [term for text in request.texts for term in parse_terms(text)]
    vectors = text_encoder_for(library, model).encode([term.text for term in terms])
    total: Floats = np.array([term.weight for term in terms], dtype=np.float32) @ vectors
    if (image := image_vector()) is not None:
        total = total + image
    length = np.linalg.norm(total)
    if not length > _LEAST_LENGTH:
        raise UsageError("The terms of the text cancel each other; leave one out.")
    embedding: Floats = (total / length).astype(np.float32)
    return replace(request, texts=(), image=None, like=None, embedding=embedding)


def text_encoder_for(library: Library, model: StoredModel) -> TextEncoder:
    """Open the text encoder of a model. Raises UsageError if it has none, ModelUnavailable if it has changed since indexing."""
    card = library.models.text_card()
    if card is None:
        raise UsageError(
            f"The model {model.card.name!r} has no text encoder. Add one that has: moodex models add "
            "hf:laion/CLIP-ViT-B-32-laion2B-s34B-b79K, then moodex index FOLDER --model NAME; see docs/guides/text.md."
        )
    if card.backbone_digest != model.card.backbone_digest:
        raise ModelUnavailable(f"The model {card.name!r} has changed since the images were indexed; run moodex index again.")
    return library.open_text_encoder()
