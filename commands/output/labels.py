"""Labels, conflicts with the model, teaching and suggestions, as text or JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.plain_data.labels import changes_as_dict, conflict_as_dict, label_as_dict, suggestion_as_dict
from indexer.system.text import display_path, escape_spreadsheet_formula, pluralize, printable, write_table

if TYPE_CHECKING:
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.reports import LabelConflict, LabelsChanged, Suggestion, TeachReport, UndoReport


def write_changed(changed: LabelsChanged, as_json: bool, out: TextIO) -> None:
    """Write the number of changed, unchanged and skipped labels."""
    if as_json:
        out.write(json.dumps(changes_as_dict(changed)) + "\n")
        return
    unchanged = f"; {changed.unchanged:,} unchanged" if changed.unchanged else ""
    skipped = f"; {changed.skipped:,} skipped, not indexed" if changed.skipped else ""
    out.write(f"Changed the labels of {pluralize(changed.changed, 'image')}{unchanged}{skipped}.\n")


def write_hidden(changed: LabelsChanged, hidden: bool, as_json: bool, out: TextIO) -> None:
    """Write the number of images that were hidden, or shown again."""
    if as_json:
        write_changed(changed, as_json, out)
        return
    unchanged = f"; {changed.unchanged:,} unchanged" if changed.unchanged else ""
    skipped = f"; {changed.skipped:,} skipped, not indexed" if changed.skipped else ""
    done = "Hid" if hidden else "No longer hides"
    out.write(f"{done} {pluralize(changed.changed, 'image')}{unchanged}{skipped}.\n")


def write_labels(labels: Sequence[LabeledImage], as_json: bool, out: TextIO) -> None:
    """Write every label as CSV that `moodex label` can read, or as JSON.

    An image without a file has the last path that it had. If that is not known, it is empty in CSV, and null in JSON.
    """
    if as_json:
        out.write(json.dumps([label_as_dict(image) for image in labels], indent=2) + "\n")
        return
    rows = [[os.fsdecode(image.path or b""), escape_spreadsheet_formula(image.emotion), image.image_id] for image in labels]
    write_table([["path", "label", "image_id"], *rows], out)


def write_doubts(conflicts: Sequence[LabelConflict], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each label that the model strongly disagrees with."""
    if as_json:
        rows = [conflict_as_dict(conflict) for conflict in conflicts]
        out.write(json.dumps(rows, indent=2) + "\n")
        return
    if not conflicts:
        out.write("There are no labels that the model strongly disagrees with.\n")
        return
    width = max(10, *(len(printable(emotion)) + 6 for conflict in conflicts for emotion in (conflict.label, conflict.predicted)))
    out.write(f"{'YOUR LABEL':<{width}}  {'THE MODEL':<{width}}  PATH\n")
    for conflict in conflicts:
        label = f"{printable(conflict.label)} {conflict.label_score:.2f}"
        predicted = f"{printable(conflict.predicted)} {conflict.predicted_score:.2f}"
        out.write(f"{label:<{width}}  {predicted:<{width}}  {display_path(conflict.path)}\n")


def write_teaching(report: TeachReport, as_json: bool, out: TextIO) -> None:
    """Write the number of labels, the accuracy before and after, and which model is the default now."""
    if as_json:
        out.write(json.dumps(asdict(report)) + "\n")
        return
    labels = ", ".join(f"{count} {printable(emotion)}" for emotion, count in report.labels.items())
    out.write(f"Learned from {pluralize(sum(report.labels.values()), 'label')}: {labels}.\n")
    accuracy = f"{report.before:.2f} before, {report.after:.2f} after"
    out.write(f"Balanced accuracy on {report.tested} held-out labels (cross-validation): {accuracy}.\n")
    if report.new:
        name = printable(report.model)
        out.write(f"{name} re-scored {pluralize(report.rescored, 'image')}.\n")
        out.write(
            "It is the default from now on; to undo: moodex teach --undo\n" if report.default else f"Use it: --model {name}\n"
        )
    elif report.already:
        out.write(f"{printable(report.model)} has already learned these labels; nothing changed.\n")
    else:
        out.write(f"The new version was not better, so {printable(report.model)} stays in use. More labels may help.\n")


def write_undone(report: UndoReport, as_json: bool, out: TextIO) -> None:
    """Write which model is in use again."""
    if as_json:
        out.write(json.dumps(asdict(report)) + "\n")
        return
    out.write(f"In use again: {printable(report.model)}. Your labels are kept.\n")


def write_suggestions(suggestions: Sequence[Suggestion], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each image that is worth labeling."""
    if as_json:
        rows = [suggestion_as_dict(suggestion) for suggestion in suggestions]
        out.write(json.dumps(rows, indent=2) + "\n")
        return
    if not suggestions:
        out.write("Every indexed image is labeled.\n")
        return
    width = max(8, *(len(printable(suggestion.emotion)) + 6 for suggestion in suggestions))
    out.write(f"{'THE MODEL':<{width}}  PATH\n")
    for suggestion in suggestions:
        prediction = f"{printable(suggestion.emotion)} {suggestion.score:.2f}"
        out.write(f"{prediction:<{width}}  {display_path(suggestion.path)}\n")
