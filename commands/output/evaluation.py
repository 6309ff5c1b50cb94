"""Evaluations as text, JSON and charts."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from commands.output.charts import confusion_chart, reliability_chart
from commands.output.contact_sheet import Thumbnail, sheet
from indexer.domain.queries import Hit
from indexer.domain.training import WHOLE_IMAGES
from indexer.system.text import joined, pluralize, printable

if TYPE_CHECKING:
    from indexer.domain.training import ByArtist, ComparedModel, Evaluation, Mistake

_MAX_SHOWN_MISTAKES = 60
_MEASURES = (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy"), ("macro_f1", "macro-F1"))


def write_evaluation(evaluation: Evaluation, as_json: bool, out: TextIO) -> None:
    """Write the measurements as a table, or as one JSON object."""
    if as_json:
        out.write(json.dumps(evaluation.as_json()) + "\n")
        return
    for name, title in _MEASURES:
        low, high = evaluation.intervals.get(name, (None, None))
        interval = f"  (95%: {low:.3f} to {high:.3f})" if low is not None else ""
        out.write(f"{title:<18} {getattr(evaluation, name):.3f}{interval}\n")
    out.write(f"{'chance':<18} {evaluation.chance:.3f}\n")
    advice = f"  (temperature {evaluation.temperature:.2f} would fit best)" if evaluation.temperature else ""
    out.write(f"{'calibration error':<18} {evaluation.ece:.3f}{advice}\n\n")
    out.write(f"{'emotion':<12} {'precision':>9} {'recall':>7} {'F1':>6} {'images':>9}\n")
    for label, scores in evaluation.per_class.items():
        if scores.support or scores.precision:
            numbers = f"{scores.precision:>9.3f} {scores.recall:>7.3f} {scores.f1:>6.3f} {scores.support:>9,}"
            out.write(f"{printable(label):<12} {numbers}\n")
    if evaluation.by_artist is not None:
        _write_artists(evaluation.by_artist, evaluation.n, out)
    judged = "whole images" if evaluation.faces == WHOLE_IMAGES else "main faces, as by moodex index; --whole judges whole images"
    out.write(f"\nJudged: {judged}.\n")
    if evaluation.left_out:
        out.write(f"{pluralize(evaluation.left_out, 'image')} of emotions that the model does not know were skipped.\n")


def _write_artists(by_artist: ByArtist, count: int, out: TextIO) -> None:
    """Write a row for each artist, and one with the means over artists; `count` is the number of images."""
    rows = [
        (printable(artist), each.n, each.balanced_accuracy, each.intervals["balanced_accuracy"], each.accuracy, each.ece)
        for artist, each in by_artist.evaluations.items()
    ]
    means, interval = by_artist.means, by_artist.intervals["balanced_accuracy"]
    mean = f"mean of {len(rows)} artists"
    rows.append((mean, count, means["balanced_accuracy"], interval, means["accuracy"], means["ece"]))
    width = max(len(row[0]) for row in rows)
    out.write(f"\n{'artist':<{width}} {'images':>9}  {'balanced accuracy (95%)':<23} {'accuracy':>9} {'ECE':>6}\n")
    for name, images, balanced, (low, high), accuracy, ece in rows:
        measures = f"{balanced:.3f} ({low:.3f} to {high:.3f})"
        out.write(f"{name:<{width}} {images:>9,}  {measures:<23} {accuracy:>9.3f} {ece:>6.3f}\n")


def write_report(
    evaluation: Evaluation, mistakes: Sequence[Mistake], title: str, folder: Path, thumbnail: Thumbnail
) -> list[Path]:
    """Write charts of confusion and reliability, the most confident mistakes, and the JSON; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in ("confusion.png", "reliability.png", "mistakes.html", "evaluation.json")]
    confusion_chart(evaluation, title, files[0])
    reliability_chart(evaluation, title, files[1])
    wrong = [
        Hit(
            path=os.fsencode(mistake.path.absolute()),
            image_id="",
            emotion=f"{mistake.guess}, not {mistake.truth}",
            score=mistake.confidence,
            emotions={mistake.guess: mistake.confidence},
        )
        for mistake in mistakes[:_MAX_SHOWN_MISTAKES]
    ]
    files[2].write_text(
        sheet(wrong, f"{title}: the most confident of {pluralize(len(mistakes), 'mistake')}", thumbnail), encoding="utf-8"
    )
    files[3].write_text(json.dumps(evaluation.as_json(), indent=1) + "\n")
    return files


def write_compared(models: Sequence[ComparedModel], as_json: bool, out: TextIO) -> None:
    """Write a row for each model, the best first, or one JSON array."""
    if as_json:
        rows = [{**asdict(model), "may_be_best": model.behind_interval[0] <= 0} for model in models]
        out.write(json.dumps(rows) + "\n")
        return
    width = max(len("model"), *(len(printable(model.model)) for model in models))
    out.write(f"{'model':<{width}}  {'right (95%)':<22}  {'balanced':>8}  behind the best (95%)\n")
    for model in models:
        right = f"{model.accuracy:.3f} ({model.accuracy_interval[0]:.3f} to {model.accuracy_interval[1]:.3f})"
        low, high = model.behind_interval
        behind = f"{model.behind:.3f} ({low:.3f} to {high:.3f})" if model is not models[0] else "-"
        out.write(f"{printable(model.model):<{width}}  {right:<22}  {model.balanced_accuracy:>8.3f}  {behind}\n")
    out.write(f"\n{_verdict(models)}\n")


def _verdict(models: Sequence[ComparedModel]) -> str:
    """Return which model is best on the images, or which models may be."""
    best, *others = models
    name, images = printable(best.model), pluralize(best.images, "image")
    equals = [printable(model.model) for model in others if model.behind_interval[0] <= 0]
    if not others:
        return f"On your {images}, {name} is right {best.accuracy:.1%} of the time."
    if equals:
        return (
            f"On your {images}, {name} is right most often, but {joined(equals)} may be as good: the interval behind the best "
            "contains 0. More labeled images would decide."
        )
    return f"Best on your {images}: {name}. The intervals of the others are above 0, so this is no chance."
