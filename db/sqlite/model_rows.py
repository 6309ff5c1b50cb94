"""Values of the table of models, as SQLite stores them, as model cards, and back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from db.sql.model_rows import card_from_row, card_to_row
from indexer.domain.models import ModelCard

COLUMNS = (
    "key", "name", "architecture", "weights_digest", "labels", "input", "embedding_size", "spaces", "backbone_digest", "precision"
)  # fmt: skip
"""The columns that hold a card, in the order of `card_to_values`."""

_JSON_COLUMNS = ("labels", "input", "spaces")


def card_to_values(card: ModelCard) -> tuple[object, ...]:
    """Return a card's columns as SQLite stores them, JSON as text, in the order of `COLUMNS`."""
    row = card_to_row(card)
    return tuple(json.dumps(row[column]) if column in _JSON_COLUMNS else row[column] for column in COLUMNS)


def stored_cards(connection: sqlite3.Connection) -> dict[int, ModelCard | None]:
    """Return every model's card by id; None for a damaged row, or if the card's key is not the stored one."""
    rows = connection.execute(f"SELECT id, {', '.join(COLUMNS)} FROM models")  # noqa: S608  # constant names
    return {model_id: _card_from_values(dict(zip(COLUMNS, values, strict=True))) for model_id, *values in rows}


def used_cards(connection: sqlite3.Connection) -> dict[int, ModelCard]:
    """Return the cards of the models that have predictions, by id, without damaged ones."""
    used = "SELECT id FROM models m WHERE EXISTS (SELECT 1 FROM predictions p WHERE p.model_id = m.id)"
    ids = {model_id for (model_id,) in connection.execute(used)}
    return {model_id: card for model_id, card in stored_cards(connection).items() if card is not None and model_id in ids}


def _card_from_values(values: Mapping[str, object]) -> ModelCard | None:
    try:
        row: dict[str, Any] = {column: str(value) for column, value in values.items()}
        row |= {column: json.loads(row[column]) for column in _JSON_COLUMNS}
        card = card_from_row({**row, "embedding_size": int(row["embedding_size"])})
        return card if card.key == values["key"] else None
    except (ValueError, TypeError, AttributeError):
        return None
