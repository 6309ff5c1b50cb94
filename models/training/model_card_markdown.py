"""Model cards as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from indexer.domain.training import WHOLE_IMAGES

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard


def markdown(card: ModelCard) -> str:
    """Return a card as a Markdown page, with a section for each known field of its `about`."""
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
    """Return measurements as Markdown: those of `bench/unseen_artists.py`, and those of `bench/recognition.py`."""
    lines = []
    if "unseen" in measured:
        lines += unseen_artists(measured["unseen"])
    if "folds" in measured:
        lines += ["", *_held_out_artists(measured)]
    return "\n".join(lines)


def unseen_artists(measured: Mapping[str, Any], former: Mapping[str, Any] | None = None) -> list[str]:
    """Return the lines of a table of the groups that `bench/unseen_artists.py` measured; numbers follow those of `former`."""
    emotions = list(next(iter(measured["groups"].values()))["beside"]["first_20"])
    lines = [
        f"By `{measured['command']}` on {measured['machine']}: drawings by artists that no training has seen, as `moodex index`",
        "predicts them. Five: balanced accuracy over happy, sad, angry, surprise, neutral (chance 0.20), of faces alone, and",
        "beside their look-alikes in a library of the group, with the 95% interval over artists. The other numbers are beside",
        f"look-alikes too. First 20: right images among the first 20 of a search for {', '.join(emotions)}. ECE: calibration",
        "error over all labels. None: images without an emotion. Face: images with a face.",
        "",
        "| group | images | five, alone | beside look-alikes | interval | mean of artists | first 20 | ECE | none | face |",
        "|---" * 10 + "|",
    ]
    for name, row in measured["groups"].items():
        before = (former or {"groups": {}})["groups"].get(name, {})
        beside, beside_before = row["beside"], before.get("beside", {})
        interval = "{:.2f} to {:.2f}".format(*beside["five_interval"]) if beside["five_interval"] else ""
        first = " / ".join("-" if share is None else f"{share:.2f}" for share in beside["first_20"].values())
        five, mean, error = (_change(beside_before.get(key), beside[key]) for key in ("five", "five_mean_of_sets", "ece"))
        alone = _change(before.get("alone", {}).get("five"), row["alone"]["five"])
        lines.append(
            f"| {name} | {row['images']} | {alone} | {five} | {interval} | {mean} | {first} | {error} | {row['none']:.2f} | "
            f"{row['face']:.2f} |"
        )
    return lines


def _change(before: float | None, now: float | None) -> str:
    if now is None:
        return ""
    return f"{now:.2f}" if before is None else f"{before:.2f} → {now:.2f}"


def _held_out_artists(measured: Mapping[str, Any]) -> list[str]:
    """Return the lines of the measurements of `bench/recognition.py`: notes, artists held out, validation sets."""
    folds = [(fold["held_out"], fold["frozen"], fold["tuned"]) for fold in measured["folds"]]
    lines = [*_list([*measured["notes"], f"Split: {measured['split']}."]), ""]
    lines += _table("artist held out", [*folds, ("mean", measured["mean"]["frozen"], measured["mean"]["tuned"])])
    if "validation" in measured:
        rows = [(name, row["frozen"], row["shipped"]) for name, row in measured["validation"].items()]
        lines += ["", *_table("validation set", rows)]
    return [*lines, *_same_character(measured)]


def _same_character(measured: Mapping[str, Any]) -> list[str]:
    """Return a table of how often the first hit, and the first ten, show the same character with the requested emotion."""
    rows = [(fold["held_out"], fold["same_character"]) for fold in measured["folds"] if fold.get("same_character")]
    rows += [(name, row.get("same_character")) for name, row in measured.get("validation", {}).items()]
    rows = [(name, row) for name, row in rows if row and row["ours"]]
    if not rows:
        return []
    methods = list(rows[0][1])
    lines = ["", "The same character with another emotion, hit at 1 / at 10:", ""]
    lines += [f"| of | questions | {' | '.join(methods)} |", "|---" * (len(methods) + 2) + "|"]
    for name, row in rows:
        hits = [f"{row[method]['hit_at_1']:.2f} / {row[method]['hit_at_10']:.2f}" for method in methods]
        lines.append(f"| {name} | {row['ours']['questions']} | {' | '.join(hits)} |")
    return lines


def _facts(card: ModelCard) -> list[str]:
    """List the fields of a card that have no section."""
    about = card.about
    facts = [
        f"Architecture {card.architecture}, input {card.input.size} x {card.input.size}, embedding {card.embedding_size}",
        f"Labels: {', '.join(card.labels)}",
        f"Weights (BLAKE3): `{card.weights_digest}`",
    ]
    if "recipe" in about:
        facts.append("Recipe: " + ", ".join(f"{name} {_plain(value)}" for name, value in about["recipe"].items()))
    if "faces" in about:
        facts.append(
            "Trained on whole images"
            if about["faces"] == WHOLE_IMAGES
            else f"Trained on the main faces that the detector `{about['faces']}` found, and on whole images without a face"
        )
    if "temperature" in about:
        facts.append(f"Temperature {about['temperature']}, part of the weights of the last layer")
    return facts


def _table(title: str, rows: Iterable[tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """Return the lines of a table. A row is a name, the measures of a frozen network, and those of the model."""
    rows = list(rows)
    measures = (("five", "balanced_of_five"), ("all", "accuracy"), ("first 20", "precision_at_20"), ("ECE", "ece"))
    present = [(short, measure) for short, measure in measures if all(measure in row[2] for row in rows)]
    columns = ["images", "chance", *(f"{short}: {model}" for short, _ in present for model in ("frozen", "ours"))]
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, frozen, ours in rows:
        numbers = [f"{row[measure]:.3f}" for _, measure in present for row in (frozen, ours)]
        lines.append(f"| {name} | {ours.get('pictures', '')} | {ours['chance_of_five']:.2f} | {' | '.join(numbers)} |")
    return lines


def _data(about: Mapping[str, Any]) -> list[str]:
    """Return the lines of the section about the training data."""
    counts = ", ".join(f"{emotion} {count}" for emotion, count in about["pictures_by_emotion"].items())
    lines = ["## Training data", "", f"{about['pictures']} images: {counts}.", ""]
    lines += ["| set | images | credit | licence | source |", "|---|---|---|---|---|"]
    for source in about["data"]:
        lines.append(f"| {source['set']} | {source['pictures']} | {source['credit']} | {source['licence']} | {source['url']} |")
    return lines


def _list(items: Iterable[str]) -> list[str]:
    return [f"- {item}" for item in items]


def _plain(value: object) -> str:
    """Return a value of a recipe as text."""
    return (" and ".join(map(str, value)) or "none") if isinstance(value, list | tuple) else str(value)
