"""Labels that the model strongly disagrees with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from indexer.domain.reports import LabelConflict

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.domain.queries import Hit
    from indexer.ports.store_reader import StoreReader


_LIKELY = 0.5


def find_conflicts(store: StoreReader, model: StoredModel, limit: int) -> list[LabelConflict]:
    """The labels that a model contradicts most surely, surest first: confident learning.

    Northcutt et al., arXiv:1911.00068: an emotion is believed of a picture where its probability reaches the mean that pictures
    labelled so get (one half where none is); a label is doubted where another emotion is believed. Ordered by how much more
    probable that is. Labels that the model does not know cannot be doubted.
    """
    known: list[Hit] = []
    usual: dict[str, list[float]] = defaultdict(list)
    for one in store.labelled():
        regions = [] if one.path is None else store.predicted_at(model.id, one.path)
        if regions and one.emotion in regions[0].hit.emotions:
            known.append(regions[0].hit)
            usual[one.emotion].append(regions[0].hit.emotions[one.emotion])
    least = {emotion: sum(values) / len(values) for emotion, values in usual.items()}
    doubted = []
    for hit in known:
        said, other = hit.emotion, _believed(hit.emotions, least)
        if other not in ("", said):
            doubted.append(LabelConflict(hit.path, hit.image_id, said, hit.emotions[said], other, hit.emotions[other]))
    return sorted(doubted, key=lambda doubt: (doubt.said_score - doubt.other_score, doubt.path))[:limit]


def _believed(emotions: Mapping[str, float], least: Mapping[str, float]) -> str:
    """The most probable of the emotions that have at least the probability they need; "" where there is none."""
    enough = [emotion for emotion, probability in emotions.items() if probability >= least.get(emotion, _LIKELY)]
    return max(enough, key=emotions.__getitem__, default="")
