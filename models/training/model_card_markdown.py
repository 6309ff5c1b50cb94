"""Model cards as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard


def markdown(card: ModelCard) -> str:
    """Return the card as a page, without sections that its `about` lacks."""
    about = card.about
    lines = [f"# Model card: {card.name}", "", *_list(_facts(card))]
    for title, name in (("Use", "use"), ("Limits", "limits"), ("What was tried", "tried"), ("Credits", "credits")):
        if name in about:
            lines += ["", f"## {title}", "", *_list(about[name])]
    if "measured" in about:
        lines += ["", "## Measured", "", tables(about["measured"])]
    if "data" in about:
        lines += ["", *_data(about)]
    return "\n".join(lines) + "\n"


def tables(measured: Mapping[str, Any]) -> str:
    """Return the measurements of `bench/recognition.py` as text: notes, unseen artists, validation sets."""
    folds = [(fold["held_out"], fold["frozen"], fold["tuned"]) for fold in measured["folds"]]
    lines = [*_list([*measured["notes"], f"Split: {measured['split']}."]), ""]
    lines += _table("artist held out", [*folds, ("mean", measured["mean"]["frozen"], measured["mean"]["tuned"])])
    if "validation" in measured:
        rows = [(name, row["frozen"], row["shipped"]) for name, row in measured["validation"].items()]
        lines += ["", *_table("validation set", rows)]
    return "\n".join([*lines, *_same_character(measured)])


def _same_character(measured: Mapping[str, Any]) -> list[str]:
    """Return how often a character is found with the requested emotion: first, and among the first ten."""
    rows = [(fold["held_out"], fold["same_character"]) for fold in measured["folds"] if fold.get("same_character")]
    rows += [(name, row.get("same_character")) for name, row in measured.get("validation", {}).items()]
    rows = [(name, row) for name, row in rows if row and row["ours"]]
    if not rows:
        return []
    ways = list(rows[0][1])
    lines = ["", "The same character with another emotion, hit at 1 / at 10:", ""]
    lines += [f"| of | questions | {' | '.join(ways)} |", "|---" * (len(ways) + 2) + "|"]
    for name, row in rows:
        hits = [f"{row[way]['hit_at_1']:.2f} / {row[way]['hit_at_10']:.2f}" for way in ways]
        lines.append(f"| {name} | {row['ours']['questions']} | {' | '.join(hits)} |")
    return lines


def _facts(card: ModelCard) -> list[str]:
    about = card.about
    facts = [
        f"Architecture {card.architecture}, input {card.input.size} x {card.input.size}, embedding {card.embedding_size}",
        f"Labels: {', '.join(card.labels)}",
        f"Weights (BLAKE3): `{card.weights_digest}`",
    ]
    if "recipe" in about:
        facts.append("Recipe: " + ", ".join(f"{name} {value}" for name, value in about["recipe"].items()))
    if "temperature" in about:
        facts.append(f"Temperature {about['temperature']}, part of the weights of the last layer")
    return facts


def _table(title: str, rows: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    rows = list(rows)
    measures = (("five", "balanced_of_five"), ("all", "accuracy"), ("first 20", "precision_at_20"), ("ECE", "ece"))
    shown = [(short, measure) for short, measure in measures if all(measure in row[2] for row in rows)]
    columns = ["images", "chance", *(f"{short}: {whose}" for short, _ in shown for whose in ("frozen", "ours"))]
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, frozen, ours in rows:
        numbers = [f"{row[measure]:.3f}" for _, measure in shown for row in (frozen, ours)]
        lines.append(f"| {name} | {ours.get('pictures', '')} | {ours['chance_of_five']:.2f} | {' | '.join(numbers)} |")
    return lines


def _data(about: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{emotion} {count}" for emotion, count in about["pictures_by_emotion"].items())
    lines = ["## Training data", "", f"{about['pictures']} images: {counts}.", ""]
    lines += ["| set | images | credit | licence | source |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['set']} | {one['pictures']} | {one['credit']} | {one['licence']} | {one['url']} |" for one in about["data"]
    ]
    return lines


def _list(items: Iterable[str]) -> list[str]:
    return [f"- {item}" for item in items]
