"""Progress of a training and of a comparison on stderr, and their results as tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from commands import logs
from indexer.domain.training import ComparisonRow
from indexer.system.events import log_event
from indexer.system.text import pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.training import Epoch, Inspection, Trained

_COLUMNS = (
    ("data", "dataset"),
    ("split", "split"),
    ("variant", "variant"),
    ("test balanced", "test_balanced"),
    ("test accuracy", "test_accuracy"),
    ("chance", "chance"),
    ("val. best", "accuracy_best"),
    ("val. mean", "accuracy_mean"),
    ("train", "accuracy_train"),
    ("epochs", "epochs"),
    ("s/epoch", "seconds_per_epoch"),
    ("parameters", "parameters"),
    ("images/s", "images_per_second"),
)

_PURPOSE = {"train": "train on", "validation": "choose by", "test": "test on"}


class TerminalTraining:
    """Implements `indexer.domain.training.TrainingWatcher` and `ComparisonWatcher`: one line on stderr per event.

    On a terminal, the lines are above the progress bar. A pipe or a file gets only the lines.
    """

    def data(self, inspection: Inspection, parts: Mapping[str, int], split: str) -> None:
        if logs.shows_progress():
            write_inspection(inspection, False, sys.stderr)
        else:
            log_event("info", "data", "The data set was checked.", **inspection.as_json())
        shares = ", ".join(f"{count:,} to {_PURPOSE[part]}" for part, count in parts.items() if count)
        _report("split", f"Split {split}: {shares}.")

    def resumed(self) -> None:
        _report("resumed", "Resuming the interrupted training.")

    def cell(self, number: int, total: int, title: str, known: bool) -> None:
        _report("cell", f"[{number}/{total}] {title}{': finished before' if known else ''}")

    def epoch(self, epoch: Epoch) -> None:
        validation = ""
        if epoch.validation_accuracy is not None:
            validation = f"; validation {epoch.validation_accuracy:.3f}, balanced {epoch.validation_balanced:.3f}"
        sentence = (
            f"Epoch {epoch.number}: loss {epoch.loss:.3f}, accuracy {epoch.accuracy:.3f}{validation} ({epoch.seconds:.1f} s)"
        )
        _report("epoch", sentence, **asdict(epoch))


def write_inspection(inspection: Inspection, as_json: bool, out: TextIO) -> None:
    """Write the contents of a data set: emotions with their labels, and warnings."""
    if as_json:
        out.write(json.dumps(inspection.as_json()) + "\n")
        return
    out.write(f"{pluralize(inspection.pictures, 'image')} by {pluralize(len(inspection.groups), 'artist')}:\n")
    for emotion, count in inspection.counts.items():
        words = ", ".join(f"{printable(word)}" for word in inspection.words[emotion] if word != emotion)
        out.write(f"  {printable(emotion):<12} {count:>7,}{f'  (from {words})' if words else ''}\n")
    if inspection.copies:
        out.write(f"Exact duplicates: {inspection.copies:,}; trained on once, and never on both sides of a split.\n")
    for sentence in inspection.warnings:
        out.write(f"Note: {printable(sentence)}\n")


def write_trained(trained: Trained, as_json: bool, out: TextIO) -> None:
    """Write the path of the model, and its measurements on images that it never saw."""
    if as_json:
        facts = {
            "name": trained.name,
            "path": str(trained.path),
            "epochs": len(trained.history),
            "parameters": trained.parameters,
            "tested": trained.tested.as_json() if trained.tested else None,
        }
        out.write(json.dumps(facts) + "\n")
        return
    if trained.tested:
        tested = trained.tested
        out.write(
            f"On {pluralize(tested.n, 'image')} that it never saw: accuracy {tested.accuracy:.3f}, balanced "
            f"{tested.balanced_accuracy:.3f} (chance {tested.chance:.2f}), calibration error {tested.ece:.3f}.\n"
        )
    out.write(f"{printable(str(trained.path))}\n")
    out.write(f"Use it: moodex index FOLDER --model {printable(trained.name)}\n")


def write_rows(rows: Sequence[ComparisonRow], as_json: bool, out: TextIO) -> None:
    """Write the rows of a comparison as a Markdown table, or as a JSON array of objects."""
    if as_json:
        out.write(json.dumps([asdict(row) for row in rows]) + "\n")
        return
    out.write(f"| {' | '.join(title for title, _ in _COLUMNS)} |\n{'|---' * len(_COLUMNS)}|\n")
    for row in rows:
        out.write(f"| {' | '.join(_cell(getattr(row, field)) for _, field in _COLUMNS)} |\n")


def write_tables(rows: Sequence[ComparisonRow], folder: Path) -> None:
    """Write the rows of a comparison as results.csv and results.md."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(ComparisonRow)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    with (folder / "results.md").open("w", encoding="utf-8") as file:
        write_rows(rows, False, file)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3f}" if value < 2 else f"{value:.1f}"
        case int():
            return f"{value:,}"
    return printable(str(value)).replace("|", "\\|")


def _report(event: str, sentence: str, **facts: Any) -> None:
    if not logs.shows_progress():
        log_event("info", event, sentence, **facts)
        return
    from tqdm import tqdm

    tqdm.write(printable(sentence), file=sys.stderr)
