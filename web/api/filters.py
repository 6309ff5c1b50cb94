"""The query parameters that choose images, and the requests that they stand for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from indexer.domain.queries import HitKey, SearchRequest
from indexer.search.texts import MAX_CHARACTERS
from web.answers import from_cursor
from web.schemas import ImageId, PathId, Word

if TYPE_CHECKING:
    from web.serving import Serving

_MAX_WORDS = 50
MAX_PAGE = 200
MAX_PLACE = 1 << 31
MAX_OFFSET = 100_000
"""Results by similarity that can be paged through: each page compares all images before it again."""

Words = Annotated[list[Word], Field(max_length=_MAX_WORDS)]


class Filters(BaseModel):
    """A filter of images: emotions by any synonym, folders by id, and a page."""

    model_config = ConfigDict(extra="forbid")

    emotion: Words = Field([], description="Emotions to find.")
    not_: Words = Field([], alias="not", description="Emotions that no face of the image may have.")
    exact: bool = Field(False, description="Exclude sub-emotions: sad without crying.")
    min_score: float = Field(0.0, ge=0, le=1, description="Least probability of the emotion.")
    tag: Words = Field([], description="Tags that the image must have, by a tagger.")
    not_tag: Words = Field([], description="Tags that the image must not have.")
    under: list[PathId] = Field([], max_length=_MAX_WORDS, description="Only images at or below these folders.")
    model: Word | None = Field(None, description="The model of the emotions, by name.")
    similar_by: Word | None = Field(None, description="The model by which images resemble each other, by name.")
    hidden: bool = Field(False, description="Include hidden images.")
    limit: int = Field(60, ge=1, le=MAX_PAGE, description="Images of a page.")
    cursor: str | None = Field(None, max_length=4096, description="The value of `next` of the page before.")
    at: int = Field(0, ge=0, le=MAX_PLACE, description="Images of the list before the page; not with `cursor`.")

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        if self.at and self.cursor is not None:
            raise ValueError("give either cursor or at, not both")
        return self

    def request(self, serving: Serving, **more: Any) -> SearchRequest:
        """Return the request that these parameters stand for. Raises NotIndexed for an unknown folder or model."""
        serving.with_model(self.similar_by)
        tree = serving.folders() if self.under else None
        return SearchRequest(
            emotions=tuple(self.emotion),
            excluded=tuple(self.not_),
            exact_label=self.exact,
            min_score=self.min_score,
            tags=tuple(self.tag),
            excluded_tags=tuple(self.not_tag),
            under=tuple(tree.find(folder).path for folder in self.under) if tree is not None else (),
            limit=self.limit,
            hidden=self.hidden,
            similar_by=self.similar_by,
            all_images=True,
            **more,
        )


class MapFilters(Filters):
    """A filter of the points of a map; `limit` and `cursor` do not matter."""

    version: Word = Field(description="The version of the map.")


class SearchFilters(Filters):
    """A filter, and what hits must resemble: an indexed image or an uploaded one, a text, or an image and a text."""

    like: ImageId | None = Field(None, description="An indexed image that results must resemble.")
    query: ImageId | None = Field(None, description="An uploaded image that results must resemble.")
    text: str | None = Field(
        None, min_length=1, max_length=MAX_CHARACTERS, description="A text that results must resemble: girl + umbrella - rain."
    )
    dedupe: bool = Field(False, description="Show near-duplicates once.")

    @property
    def has_image(self) -> bool:
        """Whether hits must resemble an image."""
        return self.like is not None or self.query is not None

    @property
    def is_by_similarity(self) -> bool:
        """Whether hits are ordered by similarity, to an image or a text."""
        return self.has_image or self.text is not None

    def place(self) -> dict[str, Any]:
        """Return where the page begins, as fields of a request. Raises UsageError for another cursor."""
        if self.is_by_similarity or self.dedupe:
            page = from_cursor(self.cursor, o=int)
            return {"offset": min(self.at if page is None else page["o"], MAX_OFFSET)}
        page = from_cursor(self.cursor, s=float, d=bytes, f=int)
        return {"offset": self.at} if page is None else {"after": HitKey(page["s"], page["d"], page["f"])}

    def liked(self) -> dict[str, Any]:
        """Return the indexed image and the text that hits must resemble, as fields of a request."""
        image: dict[str, Any] = {} if self.like is None else {"like": os.fsencode(self.like)}
        return image if self.text is None else {**image, "texts": (self.text,)}
