"""Images that a client sent, which no file of the library need hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from indexer.domain.errors import Damaged
from indexer.ports.store_reader import HitFilter
from indexer.registry.selection import open_selected
from indexer.search.resolve import hits_of_analysis
from indexer.search.service import same_analyzer
from indexer.system.digest import digest

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit
    from indexer.domain.types import Floats
    from indexer.library import Library
    from indexer.ports.sources import ImageSource
    from indexer.ports.store import Store


class SentImage(NamedTuple):
    """An analyzed image.

    - `image_id`: hex digest of its bytes. `indexed`: whether a file of the library holds it.
    - `hits`: one for each face, the largest first, or one for the whole image. Their path is empty if it is not indexed.
    - `embedding`: of its main face or of the whole image, float32, (embedding size,), by the model with the key `model_key`.
    """

    image_id: str
    indexed: bool
    hits: list[Hit]
    embedding: Floats
    model_key: str


def analyze(library: Library, data: bytes) -> SentImage:
    """Analyze the bytes of an image file, or return what the library knows of it.

    Raises ImageError for an image that cannot be used, NotIndexed, ModelUnavailable, DeviceUnavailable and StoreDamaged.
    """
    with open_selected(library) as (store, model):
        stored = _stored(store, model, digest(data), library.source)
    return _analyzed(library, model, data) if stored is None else stored


def _stored(store: Store, model: StoredModel, image_digest: bytes, source: ImageSource) -> SentImage | None:
    import numpy as np

    with store.snapshot():
        prediction = store.predicted_as(model.id, image_digest)
        if prediction is None:
            return None
        files = store.hits(model.id, [prediction], HitFilter(hidden=True)).get(prediction, [])
        if not files:
            return None
        path = next((hit.path for hit in files if source.has_file(hit.path)), files[0].path)
        hits = [ranked.hit for ranked in store.predicted_at(model.id, path)]
        embedding = store.vectors_of([prediction])[prediction].astype(np.float32)
    return SentImage(image_digest.hex(), True, hits, embedding, model.card.key)


def _analyzed(library: Library, model: StoredModel, data: bytes) -> SentImage:
    import numpy as np

    analyzer = same_analyzer(library, model)
    image = analyzer.decode(data)
    (predictions,) = analyzer.predict([image])
    if predictions is None:
        raise Damaged("The model's result for this image is not finite.")
    hits = hits_of_analysis(b"", image, predictions, model.card.labels)
    return SentImage(image.digest.hex(), False, hits, predictions[0].embedding.astype(np.float32), model.card.key)
