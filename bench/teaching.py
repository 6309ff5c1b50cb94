"""Measure how much a few labels teach the shipped model about an artist that it has not seen.

    python bench/teaching.py VALIDATION [--model FILE] [--repeats N]

VALIDATION is a folder of labeled sets. The images are seen as in an index run: by their main faces. For each set with enough
images, the model is taught a number of labels per emotion, chosen at random or by `teach --suggest`. The score is its balanced
accuracy on the rest of the set, over all emotions of the set and over five. For comparison, the column of edges has the accuracy
of a guess from the colors at the edges of the images alone; it is high if backgrounds are tied to emotions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from indexer.analysis.input_decoder import InputDecoder  # noqa: E402
from indexer.domain.errors import UsageError  # noqa: E402
from models import checkpoint_arrays, zoo  # noqa: E402
from models.faces.card import SHIPPED  # noqa: E402
from models.faces.detector import torch_face_detector  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.inference.embedding_scorer import classifier_input  # noqa: E402
from models.style_baseline import fit_baseline  # noqa: E402
from models.teaching.fit import teach  # noqa: E402
from models.teaching.replay import extract_head, replay_examples  # noqa: E402
from models.teaching.select import select_informative, selection_features  # noqa: E402
from models.training.dataset import load_images  # noqa: E402
from models.training.dataset_readers import find_images  # noqa: E402

LABELS_PER_EMOTION = (1, 2, 5, 10, 20)
REPEATS = 12
MIN_TEST_IMAGES = 5
"""Images of each emotion that must be left to measure on."""

FIVE = ("happy", "sad", "angry", "surprise", "neutral")
CHOICES = ("stratified", "random", "suggested")
"""How labels are chosen: at random with the same number per emotion, at random, or by `teach --suggest`."""

EDGE_LABELS, EDGE_SHARE, COLOR_LEVELS = 5, 0.06, 4
"""Labels per emotion for the edges alone, width of an edge as a share of the image's side, levels of each color channel."""


@dataclass(frozen=True)
class AnalyzedSet:
    """Labeled images as the model sees them.

    - `input_forms`: embeddings in each input form of a taught classifier.
    - `selection_features`, `probabilities`: of the model before teaching.
    - `edges`: unit vectors of the colors at the edges.
    - `truth`: the labels.
    """

    input_forms: list[Any]
    selection_features: Any
    probabilities: Any
    edges: Any
    truth: Any

    def of(self, emotions: tuple[str, ...]) -> AnalyzedSet:
        """Return the images with one of these emotions."""
        chosen = np.isin(self.truth, emotions)
        input_forms = [vectors[chosen] for vectors in self.input_forms]
        rest = (part[chosen] for part in (self.selection_features, self.probabilities, self.edges, self.truth))
        return AnalyzedSet(input_forms, *rest)


class Bench:
    """Teaches a model many times, each time from its original state."""

    def __init__(self, path: Path, repeats: int) -> None:
        self.classifier, self.repeats = TorchClassifier.open(path, "cpu"), repeats
        self.decoder = InputDecoder(torch_face_detector(SHIPPED, "cpu"))
        self.card, state = checkpoint_arrays.load_all(path)
        replay = replay_examples(self.card, state)
        if replay is None:
            raise SystemExit(f"Cannot teach {path}: it has no replay set.")
        self.head, self.replay, self.seconds = extract_head(self.card, state), replay, list[float]()

    def analyze(self, folder: Path) -> AnalyzedSet:
        """Analyze the labeled images of a folder."""
        images = load_images(find_images([folder]), self.card.input, self.decoder)
        scores = self.classifier.classify(images.pixels)
        embeddings = scores.embeddings.astype(np.float16)
        features = selection_features(self.card, embeddings, scores.probabilities)
        truth = np.array([images.emotions[label] for label in images.labels])
        baseline = fit_baseline(self.card, embeddings.astype(np.float32))
        input_forms = [classifier_input(self.card, embeddings), classifier_input(self.card, embeddings, baseline)]
        return AnalyzedSet(input_forms, features, scores.probabilities, edge_colors(images.pixels[:]), truth)

    def curves(self, images: AnalyzedSet) -> dict[str, Any]:
        """Return the balanced accuracy on unlabeled images, by labels per emotion and by the choice of labels.

        Guesses are among the emotions of the set, as for the five of bench/recognition.py.
        """
        emotions = sorted(set(images.truth))
        before = balanced_accuracy(guesses(images.probabilities, self.card.labels, emotions), images.truth)
        row: dict[str, Any] = {"images": len(images.truth), "emotions": len(emotions), "0": before}
        curves = {choice: self.curve(images, emotions, choice) for choice in CHOICES}
        for budget in LABELS_PER_EMOTION:
            row[str(budget)] = {choice: curve[budget] for choice, curve in curves.items()}
        row["edges"] = mean([edge_accuracy(images, emotions, np.random.default_rng(repeat)) for repeat in range(self.repeats)])
        return row

    def curve(self, images: AnalyzedSet, emotions: list[str], choice: str) -> dict[int, float | None]:
        """Return the accuracy after each number of labels per emotion.

        The labels of one step are among those of the next. Suggestions come from the model that the labels of the step before
        have taught, as for a user who requests more suggestions.
        """
        measured: dict[int, list[float | None]] = {budget: [] for budget in LABELS_PER_EMOTION}
        for repeat in range(self.repeats):
            random = np.random.default_rng(repeat)
            pool = np.sort(random.permutation(len(images.truth))[: int(len(images.truth) * 0.9)])
            shuffled = random.permutation(pool)
            labeled = shuffled[:0]
            scores, labels = images.probabilities, self.card.labels
            for budget in LABELS_PER_EMOTION:
                count = budget * len(emotions)
                if choice == "stratified":
                    labeled = np.concatenate([shuffled[images.truth[shuffled] == emotion][:budget] for emotion in emotions])
                elif choice == "random":
                    labeled = shuffled[:count]
                else:
                    unlabeled = np.setdiff1d(pool, labeled)
                    added = select_informative(images.selection_features, scores, unlabeled, labeled, count - len(labeled))
                    labeled = np.concatenate([labeled, added])
                test = held_out_rows(images, emotions, labeled)
                if test is None:
                    break
                scores, labels = self.teach(images, labeled)
                measured[budget].append(balanced_accuracy(guesses(scores[test], labels, emotions), images.truth[test]))
        return {budget: mean(values) for budget, values in measured.items()}

    def teach(self, images: AnalyzedSet, labeled: Any) -> tuple[Any, Sequence[str]]:
        """Teach the labels of some rows; return the probabilities of all images, and the labels of the taught model."""
        labels = images.truth[labeled].tolist()
        predicted = np.array(self.card.labels)[images.probabilities[labeled].argmax(axis=1)]
        started = time.perf_counter()
        try:
            input_forms = [vectors[labeled] for vectors in images.input_forms]
            fit = teach(self.head, input_forms, labels, self.replay, predicted.tolist(), lambda: None)
            self.seconds.append(time.perf_counter() - started)
        except UsageError:
            fit = None  # too few labels to learn from: the model stays
        if fit is None or fit.head is None:
            return images.probabilities, self.card.labels
        return fit.head.probabilities(images.input_forms[fit.input_form]), fit.head.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--model", type=Path, default=zoo.checkpoints()[zoo.DEFAULT])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    bench = Bench(options.model, options.repeats)
    results: dict[str, Any] = {
        "machine": machine(),
        "model": options.model.stem,
        "repeats": options.repeats,
        "all": {},
        "five": {},
    }
    for folder in sorted(path for path in options.validation.iterdir() if path.is_dir()):
        images = bench.analyze(folder)
        for name, subset in (("five", images.of(FIVE)), ("all", images)):
            if not measurable(subset):
                continue
            results[name][folder.name] = bench.curves(subset)
            print(folder.name, name, json.dumps(results[name][folder.name]), flush=True)
    results["seconds"] = round(float(np.median(bench.seconds)), 2)
    path = Path(__file__).parent / "results" / "teaching"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def measurable(images: AnalyzedSet) -> bool:
    """Return whether a set has several emotions, and enough images of each to teach one label and measure the rest."""
    counts = np.unique(images.truth, return_counts=True)[1]
    return len(counts) > 1 and int(counts.min()) > MIN_TEST_IMAGES


def held_out_rows(images: AnalyzedSet, emotions: list[str], labeled: Any) -> Any:
    """Return the rows without a label; None if an emotion has fewer than MIN_TEST_IMAGES of them."""
    rest = np.setdiff1d(np.arange(len(images.truth)), labeled)
    return None if any(np.sum(images.truth[rest] == emotion) < MIN_TEST_IMAGES for emotion in emotions) else rest


def edge_accuracy(images: AnalyzedSet, emotions: list[str], random: np.random.Generator) -> float | None:
    """Return the balanced accuracy of the label of the labeled image with the most similar edges."""
    shuffled = random.permutation(len(images.truth))
    labeled = np.concatenate([shuffled[images.truth[shuffled] == emotion][:EDGE_LABELS] for emotion in emotions])
    test = held_out_rows(images, emotions, labeled)
    if test is None:
        return None
    nearest = (images.edges[test] @ images.edges[labeled].T).argmax(axis=1)
    return balanced_accuracy(images.truth[labeled][nearest], images.truth[test])


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the measured values; None unless more than half of the repeats could be measured."""
    measured = [value for value in values if value is not None]
    return round(float(np.mean(measured)), 4) if len(measured) > len(values) // 2 else None


def edge_colors(pixels: Any) -> Any:
    """Return the color histograms of the upper edges of images, uint8, (N, H, W, 3), as unit vectors, (N, colors)."""
    width = max(1, round(pixels.shape[1] * EDGE_SHARE))
    half = slice(0, pixels.shape[1] // 2)
    result = np.empty((len(pixels), COLOR_LEVELS**3), dtype=np.float32)
    for row, image in enumerate(pixels):
        parts = image[:width], image[half, :width], image[half, -width:]
        colors = np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int64) * COLOR_LEVELS // 256
        counts = np.bincount(colors @ (COLOR_LEVELS**2, COLOR_LEVELS, 1), minlength=COLOR_LEVELS**3)
        result[row] = np.sqrt(counts / len(colors))
    return result


def guesses(scores: Any, labels: Sequence[str], emotions: list[str]) -> Any:
    """Return the most probable of these emotions for each row of scores, (N, labels)."""
    candidates = [emotion for emotion in emotions if emotion in labels]
    return np.array(candidates)[scores[:, [labels.index(emotion) for emotion in candidates]].argmax(axis=1)]


def balanced_accuracy(guessed: Any, truth: Any) -> float:
    """Return the mean, over emotions, of the share of correct guesses."""
    return round(float(np.mean([(guessed[truth == emotion] == emotion).mean() for emotion in sorted(set(truth))])), 4)


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# A few labels of an unseen artist",
        "",
        f"`python bench/teaching.py VALIDATION` on {results['machine']}.",
        "",
        "Balanced accuracy on the images without a label, with guesses among the emotions of the set, by labels per",
        "emotion. A cell has three choices of labels: random with that number per emotion / random with the same total /",
        "suggested by `teach --suggest` with the same total, requested in rounds from the model that the earlier labels have",
        "taught. A user cannot make the first choice, because it needs the emotions of all images. Mean of",
        f"{results['repeats']} draws; `-`: fewer than {MIN_TEST_IMAGES} images of an emotion would be left. Teaching took",
        f"{results['seconds']} s in the median. Edges: the guess is the label of the image with the most similar colors at its",
        f"edges, among {EDGE_LABELS} labels per emotion. If it is far above chance, backgrounds are tied to emotions.",
        "",
    ]
    for name, title in (("five", "Happy, sad, angry, surprise and neutral"), ("all", "All emotions of a set")):
        lines += [f"## {title}", "", f"| set | emotions | 0 | {' | '.join(map(str, LABELS_PER_EMOTION))} | edges |"]
        lines += ["|---" * (len(LABELS_PER_EMOTION) + 4) + "|"]
        for set_name, row in results[name].items():
            edges = "-" if row["edges"] is None else f"{row['edges']:.2f}"
            cells = [
                " / ".join("-" if value is None else f"{value:.2f}" for value in row[str(budget)].values())
                for budget in LABELS_PER_EMOTION
            ]
            lines.append(f"| {set_name} | {row['emotions']} | {row['0']:.2f} | {' | '.join(cells)} | {edges} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
