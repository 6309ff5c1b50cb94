"""What a model sees, for eyes, people and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from commands.output.charts import charts, plain, save
from indexer.system.text import printable

if TYPE_CHECKING:
    from indexer.domain.training import AverageMap, Deletion, Explained, ExplainedData

_HEAT = "inferno"
_BARS = 20


def write_explained(explained: Explained, path: Path, as_json: bool, out: TextIO) -> None:
    """Say what was explained and where its picture lies."""
    facts = {"emotion": explained.emotion, "probability": round(explained.probability, 4), "method": explained.method}
    if as_json:
        out.write(json.dumps({**facts, "picture": str(path), "heat": explained.heat.round(3).tolist()}) + "\n")
    else:
        out.write(f"{printable(explained.emotion)} {explained.probability:.3f}, by {explained.method}: {printable(str(path))}\n")


def write_explained_data(data: ExplainedData, paths: list[Path], as_json: bool, out: TextIO) -> None:
    """Say how a model's attention is shared between the parts of a face, and how far the maps can be believed."""
    by_heat, by_chance = data.deletion.areas
    if as_json:
        facts = {
            "method": data.method,
            "deletion": {"by_heat": round(by_heat, 4), "by_chance": round(by_chance, 4), "pictures": data.deletion.pictures},
            "emotions": {
                emotion: {"pictures": one.pictures, **dict(zip(_THIRDS, (round(share, 4) for share in one.thirds), strict=True))}
                for emotion, one in data.averages.items()
            },
        }
        out.write(json.dumps(facts) + "\n")
        return
    out.write(f"{'emotion':<12} {'pictures':>8}   {'upper':>5} {'middle':>6} {'lower':>5}\n")
    for emotion, one in data.averages.items():
        upper, middle, lower = one.thirds
        bar = "".join(letter * round(share * _BARS) for letter, share in zip("▀■▄", one.thirds, strict=True))
        out.write(f"{printable(emotion):<12} {one.pictures:>8,}   {upper:>5.0%} {middle:>6.0%} {lower:>5.0%}  {bar}\n")
    verdict = "faithful" if by_heat < by_chance else "no better than chance"
    out.write(f"\nDeletion test of {data.method}: area {by_heat:.3f}, at random {by_chance:.3f}: {verdict}.\n")
    out.write("".join(f"{printable(str(path))}\n" for path in paths))


_THIRDS = ("upper", "middle", "lower")


def overlay(explained: Explained, path: Path) -> None:
    """Draw a picture beside the same under its heat map."""
    plt = charts()
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.5))
    left.imshow(explained.picture)
    right.imshow(_greyed(explained))
    shown = right.imshow(explained.heat, cmap=_HEAT, alpha=0.15 + 0.7 * explained.heat, vmin=0, vmax=1)
    figure.colorbar(shown, ax=right, fraction=0.046, pad=0.03, ticks=[0, 1]).set_label("speaks for it", fontsize=8)
    figure.suptitle(f"{plain(explained.emotion)} {explained.probability:.2f}, by {explained.method}", fontsize=10)
    for axes in (left, right):
        axes.set_axis_off()
    save(figure, plt, path)


def emotion_sheet(averages: Mapping[str, AverageMap], path: Path) -> None:
    """Draw the mean picture and the mean map of every emotion, side by side."""
    plt = charts()
    figure, rows = plt.subplots(2, len(averages), figsize=(1.9 * len(averages), 4.3), squeeze=False)
    for column, (emotion, one) in enumerate(averages.items()):
        highest = float(one.heat.max()) or 1.0
        rows[0][column].imshow(one.picture)
        rows[1][column].imshow(one.picture.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        rows[1][column].imshow(one.heat, cmap=_HEAT, alpha=0.15 + 0.75 * one.heat / highest, vmin=0, vmax=highest)
        rows[0][column].set_title(f"{plain(emotion)} ({one.pictures})", fontsize=9)
        upper, middle, lower = one.thirds
        rows[1][column].set_title(f"{upper:.0%} / {middle:.0%} / {lower:.0%}", fontsize=8)
    for axes in rows.flat:
        axes.set_axis_off()
    figure.suptitle("Mean picture, and where the model looks (upper / middle / lower third)", fontsize=9)
    save(figure, plt, path)


def deletion_chart(deletion: Deletion, method: str, path: Path) -> None:
    """Draw how the emotion's probability falls as the picture is blurred away."""
    plt = charts()
    figure, axes = plt.subplots(figsize=(5, 3.6))
    shares = [step / (len(deletion.by_heat) - 1) for step in range(len(deletion.by_heat))]
    by_heat, by_chance = deletion.areas
    axes.plot(shares, deletion.by_heat, color="#c2571a", label=f"hottest first ({by_heat:.3f})")
    axes.plot(shares, deletion.by_chance, color="#8a8a8a", label=f"at random ({by_chance:.3f})")
    axes.set_xlabel("share of the picture that is blurred away")
    axes.set_ylabel("probability of the emotion")
    axes.set_title(f"Deletion test of {method}, {deletion.pictures} pictures", fontsize=10)
    axes.legend(fontsize=8, title="area under the curve", title_fontsize=8)
    save(figure, plt, path)


def _greyed(explained: Explained) -> object:
    grey = explained.picture.mean(axis=2, keepdims=True).repeat(3, axis=2)
    return grey.astype("uint8")
