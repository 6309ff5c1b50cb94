"""Charts as PNG files, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from indexer.system.optional import require
from indexer.system.text import printable

if TYPE_CHECKING:
    from indexer.domain.training import ComparisonRow, Epoch, Evaluation

_CELL_INCHES, _DPI = 0.62, 130
BEST = "best"
"""The place of a legend. If it is the default, matplotlib warns on a slow machine, because it searches for that place."""

_MAIN_COLOR, _SECONDARY_COLOR = "#c2571a", "#8a8a8a"


def confusion_chart(evaluation: Evaluation, title: str, path: Path) -> None:
    """Draw the confusion matrix of the labels that occur or were predicted: rows true, columns predicted."""
    figure, axes, plt = _chart(title)
    used = [n for n in range(len(evaluation.labels)) if evaluation.confusion[n].sum() or evaluation.confusion[:, n].sum()]
    counts = evaluation.confusion[used][:, used]
    names = [plain(evaluation.labels[n]) for n in used]
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    figure.set_size_inches(2.2 + _CELL_INCHES * len(names), 1.8 + _CELL_INCHES * len(names))
    axes.imshow(shares, cmap="Oranges", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            if counts[row, column]:
                color = "white" if shares[row, column] > 0.6 else "black"
                axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=8)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    save(figure, plt, path)


def reliability_chart(evaluation: Evaluation, title: str, path: Path) -> None:
    """Draw accuracy against confidence; a calibrated model is on the diagonal."""
    figure, axes, plt = _chart(title)
    figure.set_size_inches(5, 4.6)
    confidence, accuracy, counts = zip(*evaluation.reliability, strict=True)
    max_count = max(counts)
    axes.plot([0, 1], [0, 1], color=_SECONDARY_COLOR, linewidth=1, linestyle="--")
    axes.plot(confidence, accuracy, color=_MAIN_COLOR, linewidth=1)
    axes.scatter(confidence, accuracy, s=[20 + 180 * count / max_count for count in counts], color=_MAIN_COLOR, alpha=0.75)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the prediction (area: images)")
    axes.set_ylabel("accuracy")
    axes.text(0.03, 0.93, f"calibration error {evaluation.ece:.3f}", color="#333333")
    save(figure, plt, path)


def history_charts(histories: Mapping[str, Sequence[Epoch]], path: Path) -> None:
    """Draw training and validation accuracy by epoch, one small chart per training."""
    plt = charts()
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure, all_axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.3 * rows), sharey=True, squeeze=False)
    for axes in all_axes.flat[len(histories) :]:
        axes.set_axis_off()
    for axes, (name, history) in zip(all_axes.flat, histories.items(), strict=False):
        numbers = [epoch.number for epoch in history]
        axes.plot(numbers, [epoch.accuracy for epoch in history], color=_SECONDARY_COLOR, label="training")
        validation = [epoch.validation_accuracy for epoch in history]
        if None not in validation:
            axes.plot(numbers, validation, color=_MAIN_COLOR, label="validation")
        axes.set_title("\n".join(map(plain, name.split("\n"))), fontsize=7)
        axes.set_ylim(0, 1)
        axes.locator_params(axis="x", integer=True, nbins=5)
        axes.tick_params(labelsize=7)
    all_axes.flat[0].legend(fontsize=7, loc=BEST)
    figure.supxlabel("epoch", fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    save(figure, plt, path)


def speed_chart(rows: Sequence[ComparisonRow], path: Path) -> None:
    """Draw accuracy on unseen images against speed: one dot per row, one color per data set and split."""
    figure, axes, plt = _chart("Accuracy against speed")
    figure.set_size_inches(7.5, 5)
    kinds = list(dict.fromkeys((row.dataset, row.split) for row in rows))
    colors = plt.get_cmap("tab10")
    for number, kind in enumerate(kinds):
        group = [row for row in rows if (row.dataset, row.split) == kind]
        speeds, accuracies = [row.images_per_second for row in group], [row.test_balanced for row in group]
        axes.scatter(speeds, accuracies, color=colors(number % 10), label=plain(" / ".join(kind)), s=28)
        for row in group:
            axes.annotate(plain(row.variant), (row.images_per_second, row.test_balanced), fontsize=6, xytext=(4, 2),
                          textcoords="offset points")  # fmt: skip
    axes.set_xscale("log")
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(plt.FuncFormatter(lambda speed, _: f"{speed:g}"))
    axes.set_xlabel("images per second")
    axes.set_ylabel("balanced accuracy on the test part")
    axes.legend(fontsize=7, loc=BEST)
    save(figure, plt, path)


def _chart(title: str) -> tuple[Any, Any, Any]:
    plt = charts()
    figure, axes = plt.subplots()
    axes.set_title(plain(title), fontsize=10)
    return figure, axes, plt


def save(figure: Any, plt: Any, path: Path) -> None:
    """Write a figure as PNG, and free it."""
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plain(text: str) -> str:
    """Return text with escaped dollar signs: matplotlib would parse the text between two of them as a formula."""
    return printable(text).replace("$", r"\$")


def need_charts() -> None:
    """Raise MissingExtra if charts cannot be drawn. Call this before long work."""
    require("matplotlib", "matplotlib", "train", "Drawing charts")


def charts() -> Any:
    """Return pyplot, set to draw without a display. Raises MissingExtra."""
    need_charts()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
