"""The rule that selects the stored model of a search, and the emotions that can be searched for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed

if TYPE_CHECKING:
    from indexer.domain.models import StoredModel
    from indexer.library import Library
    from indexer.ports.models import ModelRegistry
    from indexer.ports.store import Store
    from indexer.ports.store_reader import StoreReader

_log = logging.getLogger(__name__)


@contextmanager
def open_selected(library: Library) -> Iterator[tuple[Store, StoredModel]]:
    """Open the store for reading, and select its model.

    Raises NotIndexed, ModelUnavailable and what opening the store raises.
    """
    library.require_database()
    with library.database.open(reading=True) as store:
        yield store, select_stored_model(store, library.models)


def select_similar(
    library: Library, store: StoreReader, model: StoredModel, name: str | None
) -> tuple[Library, StoredModel | None]:
    """Return the library and the stored model whose embeddings a search compares: those of a name, or of the model in use.

    The model is None if it is `model` itself. Raises NotIndexed and ModelUnavailable.
    """
    if name is None:
        return library, None
    similar = library.reopen(replace(library.settings, model=name))
    found = select_stored_model(store, similar.models)
    return similar, None if found.id == model.id else found


def warn_of_different_images(store: StoreReader, model: StoredModel, similar_by: StoredModel | None) -> None:
    """Warn if only one of two models has analyzed some images, which a search by both does not find."""
    if similar_by is None:
        return
    names, images = zip(*((one.card.name, store.image_count(one.id)) for one in (model, similar_by)), strict=True)
    if images[0] != images[1]:
        _log.warning(
            "%r has analyzed %s images and %r %s; those of only one model are not found. Index them with both: moodex index "
            "FOLDER --model %s --model %s",
            names[0], f"{images[0]:,}", names[1], f"{images[1]:,}", *names,
        )  # fmt: skip


def select_stored_model(store: StoreReader, models: ModelRegistry) -> StoredModel:
    """Select the stored model like `find_stored_model`. Raises NotIndexed if none exists."""
    model = find_stored_model(store, models)
    if model is None:
        others = sorted({stored.card.name for stored in store.models() if stored.used})
        hint = f" There are images indexed with {', '.join(others)}; choose one with --model." if others else ""
        raise NotIndexed(f"No images are indexed with the model {models.stored_name()!r} yet; run: moodex index FOLDER.{hint}")
    return model


def find_stored_model(store: StoreReader, models: ModelRegistry) -> StoredModel | None:
    """Find the stored model with the key of the model in use; without one, the newest of its name.

    Among models of that name, one with predictions takes precedence. Raises ModelUnavailable if the default model is missing.
    """
    name, key, stored = models.stored_name(), models.stored_key(), store.models()
    same_key = next((model for model in stored if model.card.key == key), None)
    same_name = [model for model in stored if model.card.name == name]
    return same_key or max(same_name, key=lambda model: (model.used, model.id), default=None)


def available_emotions(store: StoreReader, model: StoredModel) -> tuple[str, ...]:
    """Return the model's emotions, followed by those that only users assigned."""
    return (*model.card.labels, *(emotion for emotion in store.user_emotions() if emotion not in model.card.labels))
