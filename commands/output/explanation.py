"""Explanations as charts, text and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from commands.output.charts import charts, plain, save
from commands.output.letters import can_write
from indexer.system.text import printable

if TYPE_CHECKING:
    from indexer.domain.training import AverageMap, Deletion, Explained, ExplainedData

_HEAT_COLORS = "inferno"
_THIRD_LETTERS, _ASCII_THIRD_LETTERS = "▀■▄", "^=v"
_BAR_LETTERS = 20
_THIRDS = ("upper", "middle", "lower")


def write_explained(explained: Explained, path: Path, as_json: bool, out: TextIO) -> None:
    """Write the explained emotion and the path of the chart."""
    facts = {"emotion": explained.emotion, "probability": round(explained.probability, 4), "method": explained.method}
    frame = {} if explained.frame is None else {"frame": explained.frame}
    if as_json:
        out.write(json.dumps({**facts, **frame, "picture": str(path), "heat": explained.heat.round(3).tolist()}) + "\n")
    else:
        place = "".join(f" in frame {number}" for number in frame.values())
        emotion = printable(explained.emotion)
        out.write(f"{emotion} {explained.probability:.3f}{place}, by {explained.method}: {printable(str(path))}\n")


def write_explained_data(data: ExplainedData, paths: list[Path], as_json: bool, out: TextIO) -> None:
    """Write how the heat is distributed over thirds of the image, and the result of the deletion test."""
    by_heat, by_chance = data.deletion.areas
    if as_json:
        facts = {
            "method": data.method,
            "deletion": {"by_heat": round(by_heat, 4), "by_chance": round(by_chance, 4), "pictures": data.deletion.images},
            "emotions": {
                emotion: {"pictures": average.images, **_rounded_thirds(average)} for emotion, average in data.averages.items()
            },
        }
        out.write(json.dumps(facts) + "\n")
        return
    out.write(f"{'emotion':<12} {'images':>8}   {'upper':>5} {'middle':>6} {'lower':>5}\n")
    thirds = _THIRD_LETTERS if can_write(_THIRD_LETTERS, out) else _ASCII_THIRD_LETTERS
    for emotion, average in data.averages.items():
        upper, middle, lower = average.thirds
        bar = "".join(letter * round(share * _BAR_LETTERS) for letter, share in zip(thirds, average.thirds, strict=True))
        out.write(f"{printable(emotion):<12} {average.images:>8,}   {upper:>5.0%} {middle:>6.0%} {lower:>5.0%}  {bar}\n")
    verdict = "faithful" if by_heat < by_chance else "no better than chance"
    out.write(f"\nDeletion test of {data.method}: area {by_heat:.3f}, at random {by_chance:.3f}: {verdict}.\n")
    out.write("".join(f"{printable(str(path))}\n" for path in paths))


def _rounded_thirds(average: AverageMap) -> dict[str, float]:
    return {third: round(share, 4) for third, share in zip(_THIRDS, average.thirds, strict=True)}


def overlay(explained: Explained, path: Path) -> None:
    """Draw an image, and the same image under its heat map."""
    plt = charts()
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.5))
    left.imshow(explained.image)
    right.imshow(_grayed(explained))
    shown = right.imshow(explained.heat, cmap=_HEAT_COLORS, alpha=0.15 + 0.7 * explained.heat, vmin=0, vmax=1)
    figure.colorbar(shown, ax=right, fraction=0.046, pad=0.03, ticks=[0, 1]).set_label("evidence for the emotion", fontsize=8)
    figure.suptitle(f"{plain(explained.emotion)} {explained.probability:.2f}, by {explained.method}", fontsize=10)
    for axes in (left, right):
        axes.set_axis_off()
    save(figure, plt, path)


def emotion_sheet(averages: Mapping[str, AverageMap], path: Path) -> None:
    """Draw the mean image and the mean map of every emotion."""
    plt = charts()
    figure, rows = plt.subplots(2, len(averages), figsize=(1.9 * len(averages), 4.3), squeeze=False)
    for column, (emotion, average) in enumerate(averages.items()):
        highest = float(average.heat.max()) or 1.0
        rows[0][column].imshow(average.image)
        rows[1][column].imshow(average.image.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        rows[1][column].imshow(average.heat, cmap=_HEAT_COLORS, alpha=0.15 + 0.75 * average.heat / highest, vmin=0, vmax=highest)
        rows[0][column].set_title(f"{plain(emotion)} ({average.images})", fontsize=9)
        upper, middle, lower = average.thirds
        rows[1][column].set_title(f"{upper:.0%} / {middle:.0%} / {lower:.0%}", fontsize=8)
    for axes in rows.flat:
        axes.set_axis_off()
    figure.suptitle("Mean image, and mean evidence for the emotion (upper / middle / lower third)", fontsize=9)
    save(figure, plt, path)


def deletion_chart(deletion: Deletion, method: str, path: Path) -> None:
    """Draw how the probability of the emotion falls while the image is blurred."""
    plt = charts()
    figure, axes = plt.subplots(figsize=(5, 3.6))
    shares = [step / (len(deletion.by_heat) - 1) for step in range(len(deletion.by_heat))]
    by_heat, by_chance = deletion.areas
    axes.plot(shares, deletion.by_heat, color="#c2571a", label=f"hottest first ({by_heat:.3f})")
    axes.plot(shares, deletion.by_chance, color="#8a8a8a", label=f"at random ({by_chance:.3f})")
    axes.set_xlabel("share of the image that is blurred")
    axes.set_ylabel("probability of the emotion")
    axes.set_title(f"Deletion test of {method}, {deletion.images} images", fontsize=10)
    axes.legend(fontsize=8, title="area under the curve", title_fontsize=8)
    save(figure, plt, path)


def _grayed(explained: Explained) -> object:
    gray = explained.image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return gray.astype("uint8")
