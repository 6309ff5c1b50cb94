"""Labels that people gave, and the doubts of models, for people and programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from indexer.system.text import display_path, escape_spreadsheet_formula, pluralize, printable, write_table

if TYPE_CHECKING:
    from indexer.domain.predictions import LabeledImage
    from indexer.domain.reports import LabelConflict, LabelsChanged, Suggestion, TeachReport, UndoReport


def write_changed(changed: LabelsChanged, as_json: bool, out: TextIO) -> None:
    """Say how many labels are others now."""
    if as_json:
        facts = {"changed": changed.changed, "unchanged": changed.unchanged}
        out.write(json.dumps(facts | ({"skipped": changed.skipped} if changed.skipped else {})) + "\n")
        return
    already = f"; {changed.unchanged:,} stay as they are" if changed.unchanged else ""
    unknown = f"; {changed.skipped:,} not indexed here" if changed.skipped else ""
    out.write(f"Labels of {pluralize(changed.changed, 'picture')} changed{already}{unknown}.\n")


def write_labels(labels: Sequence[LabeledImage], as_json: bool, out: TextIO) -> None:
    """Write every label as CSV that labelling reads again, or as JSON. Pictures without a file have an empty path."""
    if as_json:
        paths = [None if one.path is None else os.fsdecode(one.path) for one in labels]
        facts = [{"path": path, "label": one.emotion, "image_id": one.image_id} for one, path in zip(labels, paths, strict=True)]
        out.write(json.dumps(facts, indent=2) + "\n")
        return
    rows = [[os.fsdecode(one.path or b""), escape_spreadsheet_formula(one.emotion), one.image_id] for one in labels]
    write_table([["path", "label", "image_id"], *rows], out)


def write_doubts(doubts: Sequence[LabelConflict], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each doubted label."""
    if as_json:
        rows = [{**asdict(doubt), "path": os.fsdecode(doubt.path)} for doubt in doubts]
        out.write(json.dumps(rows, indent=2) + "\n")
        return
    if not doubts:
        out.write("The model contradicts none of your labels.\n")
        return
    width = max(8, *(len(printable(part)) + 6 for doubt in doubts for part in (doubt.said, doubt.other)))
    out.write(f"{'YOU SAID':<{width}}  {'THE MODEL':<{width}}  PATH\n")
    for doubt in doubts:
        said, other = f"{printable(doubt.said)} {doubt.said_score:.2f}", f"{printable(doubt.other)} {doubt.other_score:.2f}"
        out.write(f"{said:<{width}}  {other:<{width}}  {display_path(doubt.path)}\n")


def write_teaching(teaching: TeachReport, as_json: bool, out: TextIO) -> None:
    """Say what was learned, and how much better it is."""
    if as_json:
        out.write(json.dumps(asdict(teaching)) + "\n")
        return
    labels = ", ".join(f"{count} {printable(emotion)}" for emotion, count in teaching.labels.items())
    out.write(f"Learned from {pluralize(sum(teaching.labels.values()), 'label')}: {labels}.\n")
    measured = f"{teaching.before:.2f} before, {teaching.after:.2f} after"
    out.write(f"Right on {teaching.tested} labels held out in turn (balanced over emotions): {measured}.\n")
    if teaching.new:
        name = printable(teaching.model)
        out.write(f"{pluralize(teaching.rescored, 'picture')} looked at again by {name}.\n")
        out.write("It is used from now on; go back: moodex teach --undo\n" if teaching.default else f"Use it: --model {name}\n")
    elif teaching.already:
        out.write(f"{printable(teaching.model)} has learned that already, and stays as it is.\n")
    else:
        out.write(f"That would be no better: {printable(teaching.model)} stays as it is. More labels may help.\n")


def write_undone(undone: UndoReport, as_json: bool, out: TextIO) -> None:
    """Say which model is in use again."""
    if as_json:
        out.write(json.dumps(asdict(undone)) + "\n")
        return
    out.write(f"In use again: {printable(undone.model)}. Your labels are kept.\n")


def write_suggestions(suggestions: Sequence[Suggestion], as_json: bool, out: TextIO) -> None:
    """Write a line, or an object, for each picture worth labelling."""
    if as_json:
        rows = [{**asdict(one), "path": os.fsdecode(one.path)} for one in suggestions]
        out.write(json.dumps(rows, indent=2) + "\n")
        return
    if not suggestions:
        out.write("Every indexed picture is labelled.\n")
        return
    width = max(8, *(len(printable(one.emotion)) + 6 for one in suggestions))
    out.write(f"{'THE MODEL':<{width}}  PATH\n")
    for one in suggestions:
        said = f"{printable(one.emotion)} {one.score:.2f}"
        out.write(f"{said:<{width}}  {display_path(one.path)}\n")
