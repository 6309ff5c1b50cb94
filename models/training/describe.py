"""A model card for reading: the same facts as its JSON, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from indexer.domain import ModelCard


def markdown(card: ModelCard) -> str:
    """The card as a page. What its `about` does not hold is left out."""
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
    """Measurements as `bench/recognition.py` makes them: its notes, then unseen artists, then validation sets."""
    folds = [(fold["held_out"], fold["frozen"], fold["tuned"]) for fold in measured["folds"]]
    lines = [*_list([*measured["notes"], f"Split: {measured['split']}."]), ""]
    lines += _table("artist held out", [*folds, ("mean", measured["mean"]["frozen"], measured["mean"]["tuned"])])
    if "validation" in measured:
        rows = [(name, row["frozen"], row["shipped"]) for name, row in measured["validation"].items()]
        lines += ["", *_table("validation set", rows)]
    return "\n".join(lines)


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
    columns = ("pictures", "chance", "five: frozen", "five: ours", "all: frozen", "all: ours", "ECE: frozen", "ECE: ours")
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, frozen, ours in rows:
        numbers = [f"{row[measure]:.3f}" for measure in ("balanced_of_five", "accuracy", "ece") for row in (frozen, ours)]
        lines.append(f"| {name} | {ours.get('pictures', '')} | {ours['chance_of_five']:.2f} | {' | '.join(numbers)} |")
    return lines


def _data(about: Mapping[str, Any]) -> list[str]:
    counts = ", ".join(f"{emotion} {count}" for emotion, count in about["pictures_by_emotion"].items())
    lines = ["## Training data", "", f"{about['pictures']} pictures: {counts}.", ""]
    lines += ["| set | pictures | credit | licence | source |", "|---|---|---|---|---|"]
    lines += [
        f"| {one['set']} | {one['pictures']} | {one['credit']} | {one['licence']} | {one['url']} |" for one in about["data"]
    ]
    return lines


def _list(items: Iterable[str]) -> list[str]:
    return [f"- {item}" for item in items]
