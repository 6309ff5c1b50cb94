"""The rule for which stored model answers, and which emotions it can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed

if TYPE_CHECKING:
    from indexer.ports.store_reader import StoredModel, StoreReader

if TYPE_CHECKING:
    from indexer.ports.store_reader import StoredModel, StoreReader


def available_emotions(store: StoreReader, model: StoredModel) -> tuple[str, ...]:
    """The emotions that pictures can have: the model's labels, then what only people have said."""
    return (*model.card.labels, *(word for word in store.user_emotions() if word not in model.card.labels))


def select_stored_model(store: StoreReader, name: str, key: str | None) -> StoredModel:
    """The model to search with: the one with `key`, by whatever name it was used, else the newest of those called `name`.

    One with pictures goes before one without. Raises NotIndexed for none.
    """
    stored = store.models()
    same = next((model for model in stored if model.card.key == key), None)
    if same:
        return same
    named = sorted((model for model in stored if model.card.name == name), key=lambda model: (model.used, model.id))
    if not named:
        others = sorted({model.card.name for model in stored if model.used})
        hint = f" There are pictures indexed with {', '.join(others)}; choose one with --model." if others else ""
        raise NotIndexed(f"No pictures are indexed with the model {name!r} yet; run: moodex index FOLDER.{hint}")
    return named[-1]
