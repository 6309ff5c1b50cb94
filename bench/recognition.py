"""Measure how well emotions in drawings by unseen artists are recognized.

    python bench/recognition.py DATA... [--validation DIR] [--epochs N] [--work DIR] [--describe]

The script compares a linear head on frozen ImageNet features with fine-tuning. DATA holds sets as `recipes/faces` and
`recipes/drawn` make them. It leaves one artist out: each artist of avatars is held out in turn, the emoji vendors all together,
because they copy one another. The images that our own program draws are never held out. The work folder keeps each fold, and a
stopped run resumes. The temperature that calibrates the shipped model is fitted to the logits of all folds together.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.describe import describe  # noqa: E402
from bench.machine import machine  # noqa: E402
from bench.retrieval import precision_at_20, same_character  # noqa: E402
from indexer.analysis.input_decoder import InputDecoder  # noqa: E402
from indexer.domain.images import InputSpec  # noqa: E402
from indexer.domain.models import APPEARANCE, EXPRESSION, ModelCard  # noqa: E402
from models import zoo  # noqa: E402
from models.architectures.registry import architecture  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.inference.device import select_device  # noqa: E402
from models.model_card import read_card  # noqa: E402
from models.training.calibration import fit_temperature, scaled  # noqa: E402
from models.training.dataset import LabeledImages, load_images  # noqa: E402
from models.training.dataset_readers import SourceImage, find_images  # noqa: E402
from models.training.initial_weights import IMAGENET, initialize_network  # noqa: E402
from models.training.loop import fit  # noqa: E402
from models.training.metrics import evaluate, evaluate_subset  # noqa: E402
from models.training.model_card_markdown import tables  # noqa: E402
from models.training.recipe import Recipe, find_recipe  # noqa: E402
from models.training.sampling import sampling_weights  # noqa: E402
from models.training.trainer import log_probabilities  # noqa: E402

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
BASELINE_ARCHITECTURE = architecture("efficientnet_lite0")
BASELINE_EMBEDDING_SIZE = 1280
EMOJI_GROUP = "emoji vendors"
OWN_PROGRAM = "moodex"
METHODS = ("frozen", "tuned")
_APPEARANCE_HEAD_IMAGES = 4000
"""Images to which the linear head on the appearance is fitted."""

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
"""The shipped card has these notes, and the tables name their columns after them."""

_SHORT_TRAINING = "Where an artist is held out, training lasts {} epochs of 5,000 images; the shipped model was trained longer."

Floats = np.ndarray[Any, np.dtype[np.float32]]
Embed = Callable[[LabeledImages], Floats]
Predict = Callable[[LabeledImages], Floats]


@dataclass(frozen=True)
class Fold:
    """The results of both methods for one group of held-out artists.

    The work folder stores the fields under these names.

    - `name`: name of the group.
    - `sets`, `truth`: set and label number of each image.
    - `logits`: log-probabilities, (N, labels), by method.
    - `look`: log-probabilities, (N, labels), of a linear head on the appearance.
    - `same`: hit rates for the same character with another emotion, by the space and the filter.
    - `seconds`: training time, by method.
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
    spec = InputSpec(recipe.size, BASELINE_ARCHITECTURE.mean, BASELINE_ARCHITECTURE.std)
    data = load_images(find_images(options.data), spec, InputDecoder()).distinct()
    embed = imagenet_embeddings(data.emotions, spec)
    embeddings = embed(data)
    folds = [
        _cached_fold(options.work, recipe, name, partial(run_fold, name, artists, data, embeddings, recipe))
        for name, artists in held_out_groups(data).items()
    ]
    results: dict[str, Any] = {
        "command": "python bench/recognition.py DATA..." + (" --validation VALIDATION" if options.validation else ""),
        "machine": machine(),
        "data": {"pictures": len(data), "sets": len({source.name for source in data.sources}), "labels": list(data.emotions)},
        "split": "leave one artist out; all emoji vendors are one group",
        "notes": [*NOTES, *([_SHORT_TRAINING.format(options.epochs)] if options.epochs else [])],
        "recipe": asdict(recipe),
        "temperature": {method: _temperature(folds, method) for method in METHODS},
        "folds": [_summary(fold, folds, data.emotions) for fold in folds],
    }
    results["mean"] = {method: _mean_measures([fold[method] for fold in results["folds"]]) for method in METHODS}
    results["mean_of_five_from_look"] = _average([fold["balanced_of_five_from_look"] for fold in results["folds"]])
    shipped = zoo.checkpoints().get(zoo.DEFAULT)
    if options.validation and shipped:
        frozen = linear_head(embeddings, data)
        predictors: dict[str, tuple[Predict, Sequence[str]]] = {
            "frozen": (lambda images: scaled(frozen(embed(images)), results["temperature"]["frozen"]), data.emotions)
        }
        classifier = TorchClassifier.open(shipped)
        predictors["shipped"] = (lambda images: classifier.classify(images.pixels).probabilities, classifier.card.labels)
        results["validation"] = _validate(options.validation, spec, predictors)
        for name, row in results["validation"].items():
            images = load_images(find_images([options.validation / name]), spec, InputDecoder(), emotions=classifier.card.labels)
            vectors = embed(images)
            scores = classifier.classify(images.pixels)
            row["same_character"] = hits_by_space(
                images, classifier.card, vectors, frozen(vectors), scores.embeddings, scores.probabilities
            )
    _write(results, Path(__file__).parent / "results" / "recognition")
    if options.describe and shipped:
        names = ("notes", "split", "mean", "folds", "validation", "machine")
        held_out = {name: results[name] for name in names if name in results}
        describe(shipped, {**read_card(shipped).about.get("measured", {}), **held_out})


def held_out_groups(data: LabeledImages) -> dict[str, set[str]]:
    """Return the artists that are held out together, by the name of the group."""
    emoji = {source.artist for source in data.sources if source.name.startswith("emoji_")}
    avatars = {artist: {artist} for artist in sorted(set(data.artists) - emoji - {OWN_PROGRAM})}
    return {**avatars, EMOJI_GROUP: emoji} if emoji else avatars


def run_fold(name: str, artists: set[str], data: LabeledImages, embeddings: Floats, recipe: Recipe) -> Fold:
    """Train both methods without these artists and measure them on these artists."""
    held_out = np.array([artist in artists for artist in data.artists])
    seen, unseen = data.where(~held_out), data.where(held_out)
    started = time.perf_counter()
    frozen = linear_head(embeddings[~held_out], seen)(embeddings[held_out])
    frozen_ended = time.perf_counter()
    device = select_device("auto")
    kind = architecture(recipe.architecture)
    network = initialize_network(kind, IMAGENET, data.emotions, recipe.size)
    state = fit(network, seen, None, recipe, device).state
    spec = InputSpec(recipe.size, kind.mean, kind.std)
    card = ModelCard(name, kind.name, "", data.emotions, spec, network.embedding_size, network.spaces)
    classifier = TorchClassifier(card, state, device)
    seconds = {"frozen": round(frozen_ended - started, 1), "tuned": round(time.perf_counter() - frozen_ended, 1)}
    tuned = log_probabilities(classifier, unseen)
    vectors, appearance = classifier.classify(unseen.pixels).embeddings, card.space_slice(APPEARANCE)
    sample = seen.take(np.random.default_rng(recipe.seed).permutation(len(seen))[:_APPEARANCE_HEAD_IMAGES])
    appearance_head = linear_head(classifier.classify(sample.pixels).embeddings[:, appearance], sample)
    by_appearance = appearance_head(vectors[:, appearance])
    logits = {"frozen": np.round(frozen, 4).tolist(), "tuned": np.round(tuned, 4).tolist()}
    return Fold(
        name,
        [source.name for source in unseen.sources],
        unseen.labels.tolist(),
        logits,
        np.round(by_appearance, 4).tolist(),
        hits_by_space(unseen, card, embeddings[held_out], frozen, vectors, tuned),
        seconds,
    )


def hits_by_space(
    images: LabeledImages, card: ModelCard, imagenet_vectors: Floats, frozen: Floats, vectors: Floats, tuned: Floats
) -> dict[str, dict[str, float] | None]:
    """Return hit rates for the same character with another emotion, by the space and the filter.

    - `imagenet_vectors`, `frozen`: embeddings and logits of the frozen baseline.
    - `vectors`, `tuned`: embeddings and logits of our model.
    """
    truth, characters = images.labels, [_character(file) for file in images.files]
    appearance, expression = vectors[:, card.space_slice(APPEARANCE)], vectors[:, card.space_slice(EXPRESSION)]
    return {
        "ours": same_character(appearance, tuned.argmax(axis=1), truth, characters),
        "ours, true filter": same_character(appearance, truth, truth, characters),
        "ours, unfiltered": same_character(appearance, None, truth, characters),
        "what it feels, our filter": same_character(expression, tuned.argmax(axis=1), truth, characters),
        "ImageNet, our filter": same_character(imagenet_vectors, tuned.argmax(axis=1), truth, characters),
        "ImageNet, its filter": same_character(imagenet_vectors, frozen.argmax(axis=1), truth, characters),
        "ImageNet, unfiltered": same_character(imagenet_vectors, None, truth, characters),
    }


def _character(file: SourceImage) -> str:
    """Return the character: that of the data, or the number with which the file name of a portrait begins."""
    leading = re.match(r"\d{4}(?=_)", file.path.stem)
    return file.character or (leading[0] if leading else "")


def imagenet_embeddings(emotions: tuple[str, ...], spec: InputSpec) -> Embed:
    """Return a function that embeds images with the ImageNet network: unit vectors, float32, (N, 1280)."""
    state = {
        name: value
        for name, value in initialize_network(BASELINE_ARCHITECTURE, IMAGENET, emotions, spec.size).state_dict().items()
        if "num_batches" not in name
    }
    card = ModelCard("imagenet", BASELINE_ARCHITECTURE.name, "", emotions, spec, BASELINE_EMBEDDING_SIZE)
    classifier = TorchClassifier(card, state, select_device("auto"))
    return lambda images: classifier.classify(images.pixels).embeddings


def linear_head(embeddings: Floats, data: LabeledImages) -> Callable[[Floats], Floats]:
    """Fit a multinomial logistic regression on standardized embeddings; return it as a function from embeddings to logits.

    The images have the weights with which fine-tuning samples them.
    """
    mean, spread = embeddings.mean(axis=0), embeddings.std(axis=0) + 1e-6
    x = torch.from_numpy((embeddings - mean) / spread)
    truth = torch.from_numpy(data.labels)
    weights = torch.from_numpy(sampling_weights(data, Recipe().balance).astype(np.float32))
    layer = torch.nn.Linear(x.shape[1], len(data.emotions))
    torch.nn.init.zeros_(layer.weight)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        losses = torch.nn.functional.cross_entropy(layer(x), truth, reduction="none")
        total = (losses * weights).sum() + 0.01 * layer.weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        matrix, bias = layer.weight.numpy().copy(), layer.bias.numpy().copy()
    return lambda vectors: ((vectors - mean) / spread) @ matrix.T + bias


def _cached_fold(work: Path, recipe: Recipe, name: str, run: Callable[[], Fold]) -> Fold:
    """Return the fold that the work folder has for the same recipe; without one, run it."""
    path = work / f"{name.replace(' ', '-')}.json"
    if path.exists():
        cached = json.loads(path.read_text())
        if cached["recipe"] == asdict(recipe):
            return Fold(**cached["fold"])
    fold = run()
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
    """Return the measures of one fold, calibrated by a temperature that was fitted to all other folds."""
    truth = np.array(fold.truth)
    others = [other for other in folds if other.name != fold.name] or list(folds)
    row: dict[str, Any] = {"held_out": fold.name, "sets": sorted(set(fold.sets)), "seconds": fold.seconds}
    for method in METHODS:
        probabilities = scaled(np.array(fold.logits[method], dtype=np.float32), _temperature(others, method))
        row[method] = _measures(probabilities, truth, labels)
    by_appearance = scaled(np.array(fold.look, dtype=np.float32), 1.0)
    five = round(evaluate_subset(by_appearance, truth, labels, FIVE).balanced_accuracy, 4)
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


def _mean_measures(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    names = ("balanced_of_five", "chance_of_five", "accuracy", "balanced", "macro_f1", "precision_at_20", "ece")
    return {name: _average([row[name] for row in rows]) for name in names}


def _average(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _validate(folder: Path, spec: InputSpec, predictors: dict[str, tuple[Predict, Sequence[str]]]) -> dict[str, Any]:
    """Measure each predictor on each set of the folder, without the images of emotions that the predictor lacks."""
    results: dict[str, Any] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = load_images(find_images([path]), spec, InputDecoder())
        row = results.setdefault(path.name, {})
        for name, (predict, labels) in predictors.items():
            predictable = images.where([images.emotions[label] in labels for label in images.labels])
            truth = np.array([labels.index(predictable.emotions[label]) for label in predictable.labels])
            row[name] = _measures(predict(predictable), truth, labels)
    return results


def _write(results: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(_page(results))
    print(_page(results))


def _page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    return f"# Emotions in drawings by unseen artists\n\n`{results['command']}` on {results['machine']}.\n\n{tables(results)}\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, help="a folder of sets on which the shipped model is measured")
    parser.add_argument("--epochs", type=int)
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "moodex-recognition"), help="the folder of finished folds"
    )
    parser.add_argument(
        "--describe", action="store_true", help="write the measurements on the shipped model's card and its page in docs/"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
