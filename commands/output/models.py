"""The installed models, as text or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.plain_data.library import model_as_dict
from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.reports import BlendReport, CalibrationReport, DefaultModel, ExportedModel, ListedModel


def write_models(models: Sequence[ListedModel], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each model."""
    if as_json:
        json.dump([model_as_dict(model) for model in models], out, indent=2)
        out.write("\n")
        return
    for model in models:
        card = model.card
        marker = "*" if model.default else " "
        facts = f"{printable(card.architecture)}, {card.input.size} px, {len(card.labels)} emotions, {card.embedding_size}-d"
        out.write(f"{marker} {printable(card.name)}  {facts}, {model.origin}, {pluralize(model.images, 'image')} indexed\n")
    out.write("* is the default without --model.\n")


def write_default(default: DefaultModel, as_json: bool, out: TextIO) -> None:
    """Write the name of the default model, or an object that also contains where it is set."""
    if as_json:
        json.dump({"name": default.name, "set_by": default.set_by}, out)
        out.write("\n")
    else:
        out.write(f"{printable(default.name)}\n")


def write_removed(name: str, predictions: int | None, out: TextIO) -> None:
    """Write what was removed; `predictions` is their number, None if they were kept."""
    deleted = "; its predictions were kept" if predictions is None else f" and {pluralize(predictions, 'prediction')} of it"
    out.write(f"Removed {printable(name)}{deleted}.\n")


def write_exported(model: ExportedModel, out: TextIO) -> None:
    """Write the path of an exported model and its differences from the model."""
    out.write(
        f"{printable(str(model.path))}: {printable(model.model)} as {model.format}, {model.bytes / 1e6:,.1f} MB; differs "
        f"from the model by {model.probabilities_difference:.1e} in probabilities "
        f"and {model.embeddings_difference:.1e} in embeddings.\n"
    )


def write_calibrated(report: CalibrationReport, as_json: bool, out: TextIO) -> None:
    """Write what a calibration changed, as text or as one JSON object."""
    if as_json:
        json.dump(asdict(report), out)
        out.write("\n")
        return
    losses = f"log loss on held-out images {report.log_loss_before:.3f} before, {report.log_loss_after:.3f} after"
    if not report.changed:
        out.write(f"{printable(report.model)} stays as it is: {losses}.\n")
        return
    errors = f"calibration error {report.ece_before:.3f} before, {report.ece_after:.3f} after"
    out.write(f"{printable(report.model)} is calibrated on {pluralize(report.images, 'image')}: {losses}; {errors}.\n")
    out.write(f"{pluralize(report.rescored, 'stored prediction')} computed again.\n")


def write_blended(report: BlendReport, as_json: bool, out: TextIO) -> None:
    """Write weights and held-out log losses of a blend, as text or as one JSON object."""
    if as_json:
        json.dump(asdict(report), out)
        out.write("\n")
        return
    weights = ", ".join(f"{printable(name)} {weight:.2f}" for name, weight in report.weights.items())
    fitted = f", fitted to {pluralize(report.labels, 'labeled image')}" if report.labels else ""
    out.write(f"{printable(report.model)}: {weights}, temperature {report.temperature:.2f}{fitted}.\n")
    if report.log_losses:
        losses = ", ".join(f"{printable(name)} {loss:.3f}" for name, loss in report.log_losses.items())
        out.write(f"Log loss on held-out labels: {losses}.\n")
    out.write(f"{pluralize(report.derived, 'prediction')} added; search with --model {printable(report.model)}.\n")
