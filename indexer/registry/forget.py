"""Deletion of a model's predictions and vector index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.ports.store import Store
    from indexer.ports.vectors import VectorStorage


def forget(store: Store, files: VectorStorage, name: str, keys: Mapping[str, str]) -> int | None:
    """Delete the predictions of every version of a model; return their number, None if no version is stored.

    `keys` are those of all installed models, by name. Predictions under the key of another installed model are kept, because
    equal models under two names share their predictions.
    """
    own = keys.get(name)
    others = {key for other, key in keys.items() if other != name}
    stored = [model for model in store.models() if model.used and model.card.key not in others]
    stored = [model for model in stored if model.card.key == own or model.card.name == name]
    deleted = 0
    for model in stored:
        deleted += store.forget_model(model.id)
        files.delete(model.card)
    return deleted if stored else None
