"""How well are emotions recognised in drawings by artists never seen? Frozen ImageNet features against fine-tuning.

    python bench/recognition.py DATA... [--validation DIR] [--epochs N] [--work DIR] [--describe]

DATA holds sets as `recipes/faces` and `recipes/drawn` make them. Leave one artist out: every artist of avatars is held out in
turn, the vendors of emoji all together, since they copy one another; what our own program draws is never held out. Each fold
is kept in the work folder, and a stopped run goes on where it was. The logits of all folds together give the temperature that
calibrates the shipped model.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from bench.retrieval import precision_at_20, same_character  # noqa: E402
from indexer.domain.images import InputSpec  # noqa: E402
from indexer.domain.models import FEEL, LOOK, ModelCard  # noqa: E402
from indexer.imaging.decode import decode_file  # noqa: E402
from models import checkpoint, zoo  # noqa: E402
from models.architectures.registry import architecture  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.inference.device import select_device  # noqa: E402
from models.training.calibration import fit_temperature, scaled  # noqa: E402
from models.training.dataset import LabeledImages, load_images  # noqa: E402
from models.training.dataset_readers import SourceImage, find_images  # noqa: E402
from models.training.initial_weights import IMAGENET, initialize_network  # noqa: E402
from models.training.loop import fit  # noqa: E402
from models.training.metrics import evaluate, evaluate_subset  # noqa: E402
from models.training.model_card_markdown import markdown, tables  # noqa: E402
from models.training.recipe import Recipe, find_recipe  # noqa: E402
from models.training.sampling import sampling_weights  # noqa: E402
from models.training.trainer import log_probabilities  # noqa: E402

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
KIND = architecture("efficientnet_lite0")
EMBEDDING_SIZE = 1280
EMOJI = "emoji vendors"
OURS = "moodex"
METHODS = ("frozen", "tuned")
_LOOKED_AT = 4000
NOTES = [
    "Five: balanced accuracy over happy, sad, angry, surprise and neutral, with guesses among those of them that the set "
    "has; chance is the result of blind guessing.",
    "All: accuracy over every image and every label. ECE: calibration error of the same guesses (15 bins).",
    "First 20: the share of correct images among the 20 most probable of each of the five, as `search --emotion` shows them.",
    "Frozen: a linear head on ImageNet's EfficientNet-Lite0. Ours, where an artist is held out: the recipe without that "
    "artist, calibrated on all other folds; on a validation set: the model as shipped.",
    "Same character: an image of the set is the query for its character with another emotion. Ours compares appearance; the"
    " filter is the prediction of our model or, as `true filter`, the label of the artist. What it feels: the same with the"
    " expression space, which the classifier reads.",
]

_SHORTER = "Where an artist is held out, training lasts {} epochs of 5,000 images; the shipped model was trained longer."

Floats = np.ndarray[Any, np.dtype[np.float32]]
Embed = Callable[[LabeledImages], Floats]
Predict = Callable[[LabeledImages], Floats]


@dataclass(frozen=True)
class Fold:
    """What two methods say of one group of artists they never saw: log-probabilities, (N, labels), by method, and how well
    they find the same character with another emotion; `look` are the log-probabilities of a linear head on what says who it is.
    """

    name: str
    sets: list[str]
    truth: list[int]
    logits: dict[str, list[list[float]]]
    look: list[list[float]]
    same: dict[str, dict[str, float] | None]
    seconds: dict[str, float]


def main() -> None:
    options = _arguments()
    recipe = replace(find_recipe("default"), **({"epochs": options.epochs} if options.epochs else {}))
    spec = InputSpec(recipe.size, KIND.mean, KIND.std)
    data = load_images(find_images(options.data), spec, decode_file).distinct()
    features = imagenet_embeddings(data.emotions, spec)
    embedded = features(data)
    folds = [
        _kept(options.work, recipe, name, partial(run_fold, name, artists, data, embedded, recipe))
        for name, artists in groups(data).items()
    ]
    results: dict[str, Any] = {
        "command": "python bench/recognition.py DATA..." + (" --validation VALIDATION" if options.validation else ""),
        "machine": machine(),
        "data": {"pictures": len(data), "sets": len({source.name for source in data.sources}), "labels": list(data.emotions)},
        "split": "leave one artist out; all emoji vendors are one group",
        "notes": [*NOTES, *([_SHORTER.format(options.epochs)] if options.epochs else [])],
        "recipe": asdict(recipe),
        "temperature": {method: _temperature(folds, method) for method in METHODS},
        "folds": [_summary(fold, folds, data.emotions) for fold in folds],
    }
    results["mean"] = {method: _mean([fold[method] for fold in results["folds"]]) for method in METHODS}
    results["mean_of_five_from_look"] = _average([fold["balanced_of_five_from_look"] for fold in results["folds"]])
    shipped = zoo.checkpoints().get(zoo.DEFAULT)
    if options.validation and shipped:
        frozen = linear_head(embedded, data)
        predictors: dict[str, tuple[Predict, Sequence[str]]] = {
            "frozen": (lambda pictures: scaled(frozen(features(pictures)), results["temperature"]["frozen"]), data.emotions)
        }
        classifier = TorchClassifier.open(shipped)
        predictors["shipped"] = (lambda pictures: classifier.classify(pictures.pixels).probabilities, classifier.card.labels)
        results["validation"] = _validate(options.validation, spec, predictors)
        for name, row in results["validation"].items():
            pictures = load_images(find_images([options.validation / name]), spec, decode_file, emotions=classifier.card.labels)
            vectors = features(pictures)
            scores = classifier.classify(pictures.pixels)
            row["same_character"] = other_emotion(
                pictures, classifier.card, vectors, frozen(vectors), scores.embeddings, scores.probabilities
            )
    _write(results, Path(__file__).parent / "results" / "recognition")
    if options.describe and shipped:
        card, _ = checkpoint.load(shipped)
        measured = {
            name: results[name] for name in ("notes", "split", "mean", "folds", "validation", "machine") if name in results
        }
        words = tomllib.loads((ROOT / "recipes" / f"{zoo.DEFAULT}.toml").read_text())
        described = replace(card, about={**card.about, **words, "measured": measured})
        checkpoint.write_card(shipped, described)
        (ROOT / "docs" / "explanation" / "model-card.md").write_text(markdown(described))


def groups(data: LabeledImages) -> dict[str, set[str]]:
    """Which artists are held out together, by the group's name."""
    emoji = {source.artist for source in data.sources if source.name.startswith("emoji_")}
    each = {artist: {artist} for artist in sorted(set(data.artists) - emoji - {OURS})}
    return {**each, EMOJI: emoji} if emoji else each


def run_fold(name: str, artists: set[str], data: LabeledImages, embedded: Floats, recipe: Recipe) -> Fold:
    """Train both methods without these artists and ask them about these artists."""
    held = np.array([artist in artists for artist in data.artists])
    seen, unseen = data.where(~held), data.where(held)
    started = time.perf_counter()
    frozen = linear_head(embedded[~held], seen)(embedded[held])
    between = time.perf_counter()
    device = select_device("auto")
    kind = architecture(recipe.architecture)
    network = initialize_network(kind, IMAGENET, data.emotions, recipe.size)
    state = fit(network, seen, None, recipe, device).state
    spec = InputSpec(recipe.size, kind.mean, kind.std)
    card = ModelCard(name, kind.name, "", data.emotions, spec, network.embedding_size, network.spaces)
    classifier = TorchClassifier(card, state, device)
    seconds = {"frozen": round(between - started, 1), "tuned": round(time.perf_counter() - between, 1)}
    tuned = log_probabilities(classifier, unseen)
    vectors, look = classifier.classify(unseen.pixels).embeddings, card.space_slice(LOOK)
    some = seen.take(np.random.default_rng(recipe.seed).permutation(len(seen))[:_LOOKED_AT])
    by_look = linear_head(classifier.classify(some.pixels).embeddings[:, look], some)(vectors[:, look])
    logits = {"frozen": np.round(frozen, 4).tolist(), "tuned": np.round(tuned, 4).tolist()}
    return Fold(
        name,
        [source.name for source in unseen.sources],
        unseen.labels.tolist(),
        logits,
        np.round(by_look, 4).tolist(),
        other_emotion(unseen, card, embedded[held], frozen, vectors, tuned),
        seconds,
    )


def other_emotion(
    pictures: LabeledImages, card: ModelCard, frozen_vectors: Floats, frozen: Floats, vectors: Floats, tuned: Floats
) -> dict[str, dict[str, float] | None]:
    """The same character with another emotion, by our two spaces and by ImageNet's vectors, filtered by emotion and not."""
    truth, who = pictures.labels, [_character(file) for file in pictures.files]
    look, feel = vectors[:, card.space_slice(LOOK)], vectors[:, card.space_slice(FEEL)]
    return {
        "ours": same_character(look, tuned.argmax(axis=1), truth, who),
        "ours, true filter": same_character(look, truth, truth, who),
        "ours, unfiltered": same_character(look, None, truth, who),
        "what it feels, our filter": same_character(feel, tuned.argmax(axis=1), truth, who),
        "ImageNet, our filter": same_character(frozen_vectors, tuned.argmax(axis=1), truth, who),
        "ImageNet, its filter": same_character(frozen_vectors, frozen.argmax(axis=1), truth, who),
        "ImageNet, unfiltered": same_character(frozen_vectors, None, truth, who),
    }


def _character(file: SourceImage) -> str:
    """Who is drawn: as the data say, or the number that a portrait's file name begins with."""
    leading = re.match(r"\d{4}(?=_)", file.path.stem)
    return file.character or (leading[0] if leading else "")


def imagenet_embeddings(emotions: tuple[str, ...], spec: InputSpec) -> Embed:
    """Pictures to what the ImageNet network sees in them, unit length, (N, 1280)."""
    state = {
        name: value
        for name, value in initialize_network(KIND, IMAGENET, emotions, spec.size).state_dict().items()
        if "num_batches" not in name
    }
    card = ModelCard("imagenet", KIND.name, "", emotions, spec, EMBEDDING_SIZE)
    classifier = TorchClassifier(card, state, select_device("auto"))
    return lambda pictures: classifier.classify(pictures.pixels).embeddings


def linear_head(embedded: Floats, data: LabeledImages) -> Callable[[Floats], Floats]:
    """Multinomial logistic regression on standardised embeddings, weighted as fine-tuning samples: embeddings to logits."""
    mean, spread = embedded.mean(axis=0), embedded.std(axis=0) + 1e-6
    x = torch.from_numpy((embedded - mean) / spread)
    truth = torch.from_numpy(data.labels)
    weights = torch.from_numpy(sampling_weights(data, Recipe().balance).astype(np.float32))
    layer = torch.nn.Linear(x.shape[1], len(data.emotions))
    torch.nn.init.zeros_(layer.weight)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.cross_entropy(layer(x), truth, reduction="none")
        total = (each * weights).sum() + 0.01 * layer.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        matrix, bias = layer.weight.numpy().copy(), layer.bias.numpy().copy()
    return lambda embeddings: ((embeddings - mean) / spread) @ matrix.T + bias


def _kept(work: Path, recipe: Recipe, name: str, make: Callable[[], Fold]) -> Fold:
    """The fold as it was computed before with the same recipe, or computed now."""
    path = work / f"{name.replace(' ', '-')}.json"
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["recipe"] == asdict(recipe):
            return Fold(**kept["fold"])
    fold = make()
    work.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"recipe": asdict(recipe), "fold": asdict(fold)}))
    unfinished.replace(path)
    print(f"{name}: {fold.seconds}", file=sys.stderr, flush=True)
    return fold


def _temperature(folds: Sequence[Fold], method: str) -> float:
    logits = np.concatenate([np.array(fold.logits[method], dtype=np.float32) for fold in folds])
    return round(fit_temperature(logits, np.concatenate([np.array(fold.truth) for fold in folds])), 4)


def _summary(fold: Fold, folds: Sequence[Fold], labels: Sequence[str]) -> dict[str, Any]:
    """One fold's measures, calibrated by the temperature of all other folds."""
    truth = np.array(fold.truth)
    others = [other for other in folds if other.name != fold.name] or list(folds)
    row: dict[str, Any] = {"held_out": fold.name, "sets": sorted(set(fold.sets)), "seconds": fold.seconds}
    for method in METHODS:
        probabilities = scaled(np.array(fold.logits[method], dtype=np.float32), _temperature(others, method))
        row[method] = _measures(probabilities, truth, labels)
    by_look = scaled(np.array(fold.look, dtype=np.float32), 1.0)
    five = round(evaluate_subset(by_look, truth, labels, FIVE).balanced_accuracy, 4)
    return {**row, "balanced_of_five_from_look": five, "same_character": fold.same}


def _measures(probabilities: Floats, truth: Any, labels: Sequence[str]) -> dict[str, Any]:
    five, whole = evaluate_subset(probabilities, truth, labels, FIVE), evaluate(probabilities, truth, labels)
    return {
        "pictures": whole.n,
        "balanced_of_five": round(five.balanced_accuracy, 4),
        "chance_of_five": round(five.chance, 4),
        "accuracy": round(whole.accuracy, 4),
        "balanced": round(whole.balanced_accuracy, 4),
        "macro_f1": round(whole.macro_f1, 4),
        "ece": round(whole.ece, 4),
        "precision_at_20": round(precision_at_20(probabilities, truth, [labels.index(name) for name in FIVE]), 4),
        "recall_of_five": {label: round(value, 3) for label, value in five.recall.items()},
    }


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = ("balanced_of_five", "chance_of_five", "accuracy", "balanced", "macro_f1", "precision_at_20", "ece")
    return {name: _average([row[name] for row in rows]) for name in names}


def _average(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _validate(folder: Path, spec: InputSpec, predictors: dict[str, tuple[Predict, Sequence[str]]]) -> dict[str, Any]:
    """Each set of the folder, by each predictor; pictures of an emotion that a predictor does not know are left out."""
    found: dict[str, Any] = {}
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        pictures = load_images(find_images([part]), spec, decode_file)
        row = found.setdefault(part.name, {})
        for name, (predict, labels) in predictors.items():
            known = pictures.where([pictures.emotions[label] in labels for label in pictures.labels])
            truth = np.array([labels.index(known.emotions[label]) for label in known.labels])
            row[name] = _measures(predict(known), truth, labels)
    return found


def _write(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(_page(results))
    print(_page(results))


def _page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    return f"# Emotions in drawings by unseen artists\n\n`{results['command']}` on {results['machine']}.\n\n{tables(results)}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, help="a folder of sets to measure the shipped model on")
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "moodex-recognition"), help="where finished folds are kept"
    )
    parser.add_argument(
        "--describe", action="store_true", help="write the measurements into the shipped model's card and its page in docs/"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
