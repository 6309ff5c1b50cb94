"""Rows of the table of models as model cards, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard


def card_to_row(card: ModelCard) -> dict[str, Any]:
    """Return a card's columns, those of JSON as Python objects."""
    return {
        "key": card.key,
        "name": card.name,
        "architecture": card.architecture,
        "weights_digest": card.weights_digest,
        "labels": list(card.labels),
        "input": asdict(card.input),
        "embedding_size": card.embedding_size,
        "spaces": dict(card.spaces),
        "backbone_digest": card.backbone_digest,
        "precision": card.precision,
    }


def card_from_row(row: Mapping[str, Any]) -> ModelCard:
    """Return the card of a row whose JSON columns are Python objects. Raises ValueError or TypeError for unusable values."""
    return ModelCard(
        name=row["name"],
        architecture=row["architecture"],
        weights_digest=row["weights_digest"],
        labels=tuple(row["labels"]),
        input=InputSpec(**row["input"]),
        embedding_size=row["embedding_size"],
        spaces=tuple(row["spaces"].items()),
        backbone_digest=row["backbone_digest"],
        precision=row["precision"],
    )
