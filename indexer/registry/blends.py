"""Blends of models, which are computed from stored predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from indexer.domain.errors import NotIndexed, UsageError
from indexer.domain.reports import BlendReport
from indexer.ports.models import BlendExamples

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard, StoredModel
    from indexer.library import Library
    from indexer.ports.store import Store


def blend_models(
    library: Library, name: str, members: Sequence[str], weights: Sequence[float] | None, force: bool
) -> BlendReport:
    """Blend models by name, with given weights or with those that fit the user's labels, and add its predictions.

    Raises UsageError, ModelUnavailable, NotIndexed if a model has no predictions, and WriterBusy.
    """
    from db.vectors.sync import sync_index

    if len(members) < 2 or len(set(members)) < len(members):
        raise UsageError("A blend needs at least two different models.")
    library.require_database()
    with library.database.lock_writer(), library.database.open() as store:
        models = [_stored(library, store, member) for member in members]
        examples = None if weights is not None else _examples(store, models)
        blended = library.models.blend(name, [model.card for model in models], examples, weights, force)
        target = store.register_model(blended.card)
        derived = store.derive(target, [model.id for model in models], blended.combine, lambda _: None)
        sync_index(store, library.vector_storage(), _by_id(store, target))
    return BlendReport(
        model=name,
        weights=dict(zip(members, blended.weights, strict=True)),
        temperature=blended.temperature,
        labels=0 if examples is None else len(examples.labels),
        log_losses=dict(blended.log_losses),
        derived=derived,
    )


def update_blends(library: Library, store: Store, cards: Sequence[ModelCard], check_stop: Callable[[], None]) -> None:
    """Add the missing predictions of all blends with one of some models, after a run with them."""
    updated = {card.key for card in cards}
    for blend, combine in library.models.blends():
        stored = {model.card.key: model for model in store.models()}
        keys = [key for _, key in blend.members]
        if updated.isdisjoint(keys) or not all(key in stored and stored[key].used for key in keys):
            continue
        from db.vectors.sync import sync_index

        target = store.register_model(blend)
        if store.derive(target, [stored[key].id for key in keys], combine, lambda _: check_stop()):
            sync_index(store, library.vector_storage(), _by_id(store, target))


def _stored(library: Library, store: Store, name: str) -> StoredModel:
    """Return the stored model of an installed one. Raises ModelUnavailable, UsageError for a blend, NotIndexed."""
    library.models.find(name)
    card = next((card for model, card in library.models.cards() if model.name == name), None)
    if card is not None and card.members:
        raise UsageError(
            f"{name!r} is a blend itself; name its models instead: {', '.join(member for member, _ in card.members)}."
        )
    for model in store.models():
        if model.used and card is not None and model.card.key == card.key:
            # Only the installed card names the files of a hub and the backbone.
            return model._replace(card=card)
    raise NotIndexed(f"No images are indexed with the model {name!r} yet; run: moodex index FOLDER --model {name}")


def _examples(store: Store, models: Sequence[StoredModel]) -> BlendExamples:
    """Return the labeled images that all models have predicted, with the predictions for their main regions."""
    import numpy as np

    labels: list[str] = []
    rows: list[list[list[float]]] = [[] for _ in models]
    for image in store.labeled_images():
        if image.path is None:
            continue
        found = [store.predicted_at(model.id, image.path) for model in models]
        if all(found):
            labels.append(image.emotion)
            for each, hits, model in zip(rows, found, models, strict=True):
                each.append([hits[0].hit.emotions[label] for label in model.card.labels])
    arrays = [
        np.array(each, dtype=np.float32).reshape(len(labels), len(model.card.labels))
        for each, model in zip(rows, models, strict=True)
    ]
    return BlendExamples(tuple(arrays), tuple(labels))


def _by_id(store: Store, model_id: int) -> StoredModel:
    return next(model for model in store.models() if model.id == model_id)
