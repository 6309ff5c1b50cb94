"""Management of the installed models and their stored predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.domain.reports import CalibrationReport, ListedModel
from indexer.registry.forget import forget

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard
    from indexer.domain.reports import DefaultModel, ExportedModel
    from indexer.library import Library
    from indexer.ports.models import HubOptions
    from indexer.ports.store_writer import Combine


def list_models(library: Library) -> list[ListedModel]:
    """List every installed model with the number of images that it analyzed."""
    images: dict[str, int] = {}
    if library.database.exists():
        with library.database.open(reading=True) as store:
            images = {model.card.key: store.image_count(model.id) for model in store.models()}
    default = library.models.in_use().name
    return [
        ListedModel(card, model.origin, model.name == default, images.get(card.key, 0)) for model, card in library.models.cards()
    ]


def add_model(library: Library, weights: Path, name: str | None, force: bool) -> ModelCard:
    """Verify a checkpoint and install it. Raises UsageError and ModelUnavailable."""
    return library.models.add(weights, name, force)


def add_hub_model(
    library: Library, reference: str, options: HubOptions, announce: Callable[[str], None], name: str | None, force: bool
) -> ModelCard:
    """Download a model of a hub and install it. Raises UsageError, ModelUnavailable, MissingExtra, and MoodexError."""
    library.settings.make_home()
    return library.models.add_from_hub(reference, options, announce, name, force)


def rescore_calibrated(library: Library, before: ModelCard, report: CalibrationReport, combine: Combine) -> CalibrationReport:
    """Compute the stored predictions of a model again after its calibration, from those before; forget these.

    `before` is the card of the model before the calibration, and `combine` the calibration. Raises WriterBusy.
    """
    if not report.changed or not library.database.exists():
        return report
    from db.vectors.sync import sync_index

    after = next(card for model, card in library.models.cards() if model.name == report.model)
    with library.database.lock_writer(), library.database.open() as store:
        old = next((model for model in store.models() if model.used and model.card.key == before.key), None)
        if old is None:
            return report
        target = store.register_model(after)
        rescored = store.derive(target, [old.id], combine, lambda _: None)
        store.forget_model(old.id)
        library.vector_storage().delete(old.card)
        sync_index(store, library.vector_storage(), next(model for model in store.models() if model.id == target))
    return replace(report, rescored=rescored)


def default_model(library: Library, name: str | None) -> DefaultModel:
    """Make `name`, if given, the default of the data folder; return the model that is used without `--model`.

    Raises ModelUnavailable for a missing model.
    """
    if name is not None:
        library.models.use(name)
    library.models.stored_name()  # raises if the default is missing
    return library.models.in_use()


def remove_model(library: Library, name: str, predictions: bool) -> int | None:
    """Remove one of the user's models and, with `predictions`, its predictions.

    Returns the number of deleted predictions; None without `predictions`. With it, the model's file may be missing.
    Raises UsageError, ModelUnavailable and WriterBusy.
    """
    if not predictions or not library.database.exists():
        library.models.remove(name)
        return 0 if predictions else None
    library.models.check_removable(name, gone=True)
    with library.database.lock_writer(), library.database.open() as store:
        keys = {model.name: card.key for model, card in library.models.cards()}
        forgotten = forget(store, library.vector_storage(), name, keys)
    if name in keys or forgotten is None:
        library.models.remove(name)
    return forgotten or 0


def export_model(library: Library, name: str, kind: str, output: Path, force: bool) -> ExportedModel:
    """Write a model as "onnx" or "torch" for other programs. Raises UsageError, ModelUnavailable and MissingExtra."""
    return library.models.export(kind, name, output, force)
