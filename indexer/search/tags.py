"""The stored tags of the images of hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit
    from indexer.ports.store_reader import StoreReader


def with_tags(hits: Sequence[Hit], store: StoreReader, models: Sequence[StoredModel]) -> list[Hit]:
    """Return hits with the tags of their images by some models; the first one that assigned a tag gives its probability."""
    digests = {bytes.fromhex(hit.image_id) for hit in hits}
    tags: dict[bytes, dict[str, float]] = {}
    for model in models:
        for digest, own in store.tags_of(model.id, digests).items():
            tags[digest] = own | tags.get(digest, {})
    return [replace(hit, tags=tags.get(bytes.fromhex(hit.image_id))) for hit in hits]
