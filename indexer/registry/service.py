"""The composition root of the models that are known by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from indexer.bootstrap import model_registry, open_store
from indexer.domain.reports import ListedModel

if TYPE_CHECKING:
    from indexer.domain.reports import DefaultModel, ExportedModel
    from indexer.settings import Settings


def list_models(settings: Settings) -> list[ListedModel]:
    """Every model that `--model` finds by name."""
    known = model_registry(settings)
    pictures: dict[str, int] = {}
    if settings.database.exists():
        with open_store(settings, reading=True) as store:
            pictures = {model.card.key: store.pictures(model.id) for model in store.models()}
    default = known.in_use().name
    return [ListedModel(card, model.origin, model.name == default, pictures.get(card.key, 0)) for model, card in known.cards()]


def default_model(settings: Settings, name: str | None) -> DefaultModel:
    """The model that is used where no `--model` is given, once `name`, if any, is the data folder's default."""
    known = model_registry(settings)
    if name is not None:
        known.use(name)
    known.stored_name()  # says so where it has gone
    return known.in_use()


def remove_model(settings: Settings, name: str, predictions: bool) -> int | None:
    """Remove one of the user's models and, if wanted, its predictions (those alone where its file has gone); how many.

    Raises as `ModelRegistry.remove` does, and WriterBusy.
    """
    known = model_registry(settings)
    if not predictions or not settings.database.exists():
        known.remove(name)
        return 0 if predictions else None
    known.check_removable(name, gone=True)
    from db.vectors.files import FaissFiles
    from db.writer_lock import writer_lock
    from indexer.registry.forget import forget

    with writer_lock(settings.home), open_store(settings) as store:
        keys = {model.name: card.key for model, card in known.cards()}
        forgotten = forget(store, FaissFiles(settings.vectors), name, keys)
    if name in keys or forgotten is None:
        known.remove(name)
    return forgotten or 0


def export_model(settings: Settings, name: str, kind: str, output: Path, force: bool) -> ExportedModel:
    """Write a model as "onnx" or "torch" for other programs. Raises UsageError, ModelUnavailable and MissingExtra."""
    weights = model_registry(settings).find(name)
    from models.export import export

    return export(kind, output, weights, force)
