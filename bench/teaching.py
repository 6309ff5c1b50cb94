"""How much do a few labels teach the shipped model about an artist it has never seen?

    python bench/teaching.py VALIDATION [--model FILE]

VALIDATION is a folder of labelled sets. Of each set, so many labels an emotion are given to the model, chosen by chance or by
`teach --suggest`; what it then says of the rest of the set is measured, as balanced accuracy over its emotions, and over five.
Beside it: what the colours at the pictures' edges alone tell, where a background goes with an emotion.
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
from indexer.domain.errors import UsageError  # noqa: E402
from indexer.imaging.decode import decode_file  # noqa: E402
from models import checkpoint, zoo  # noqa: E402
from models.inference.classifier import TorchClassifier  # noqa: E402
from models.style_baseline import fit_baseline  # noqa: E402
from models.teaching.fit import teach  # noqa: E402
from models.teaching.replay import classifier_input, extract_head, replay_examples  # noqa: E402
from models.teaching.select import select_informative, selection_features  # noqa: E402
from models.training.dataset import load_images  # noqa: E402
from models.training.dataset_readers import find_images  # noqa: E402

BUDGETS = (1, 2, 5, 10, 20)
REPEATS = 12
LEFT = 5
FIVE = ("happy", "sad", "angry", "surprise", "neutral")
WAYS = ("an emotion", "random", "suggested")
EDGES_AT, EDGE, LEVELS = 5, 0.06, 4
"""Labels an emotion for the edges alone, how broad an edge is beside a picture's side, and how many levels a colour has."""


@dataclass(frozen=True)
class Labelled:
    """The model's view of labelled pictures: embeddings as taught classifiers may read them, guesses, and the truth."""

    readings: list[Any]
    selection_features: Any
    probabilities: Any
    edges: Any
    truth: Any

    def of(self, emotions: tuple[str, ...]) -> Labelled:
        chosen = np.isin(self.truth, emotions)
        readings = [vectors[chosen] for vectors in self.readings]
        rest = (part[chosen] for part in (self.selection_features, self.probabilities, self.edges, self.truth))
        return Labelled(readings, *rest)


class Bench:
    """A model that is taught, again and again from the start."""

    def __init__(self, path: Path) -> None:
        self.classifier = TorchClassifier.open(path, "cpu")
        self.card, stored = checkpoint.load_all(path)
        remembered = replay_examples(self.card, stored)
        if remembered is None:
            raise SystemExit(f"{path} remembers nothing of its training.")
        self.head, self.remembered, self.seconds = extract_head(self.card, stored), remembered, list[float]()

    def look(self, folder: Path) -> Labelled:
        pictures = load_images(find_images([folder]), self.card.input, decode_file)
        scores = self.classifier.classify(pictures.pixels)
        stored = scores.embeddings.astype(np.float16)
        seen = selection_features(self.card, stored, scores.probabilities)
        truth = np.array([pictures.emotions[label] for label in pictures.labels])
        usual = fit_baseline(self.card, stored.astype(np.float32))
        readings = [classifier_input(self.card, stored), classifier_input(self.card, stored, usual)]
        return Labelled(readings, seen, scores.probabilities, edges(pictures.pixels[:]), truth)

    def curves(self, pictures: Labelled) -> dict[str, Any]:
        """Balanced accuracy on what was not labelled, by labels an emotion and by how they were chosen.

        Guesses are among the emotions there are, as for the five of bench/recognition.py.
        """
        emotions = sorted(set(pictures.truth))
        before = balanced(guesses(pictures.probabilities, self.card.labels, emotions), pictures.truth)
        found: dict[str, Any] = {"pictures": len(pictures.truth), "emotions": len(emotions), "0": before}
        curves = {way: self.curve(pictures, emotions, way) for way in WAYS}
        for budget in BUDGETS:
            found[str(budget)] = {way: curve[budget] for way, curve in curves.items()}
        found["edges"] = mean([told_by_edges(pictures, emotions, np.random.default_rng(repeat)) for repeat in range(REPEATS)])
        return found

    def curve(self, pictures: Labelled, emotions: list[str], way: str) -> dict[int, float | None]:
        """What is known at each budget; the labels of one are among those of the next, and suggestions come from the model that
        the labels before have taught, as for who asks for some more.
        """
        measured: dict[int, list[float | None]] = {budget: [] for budget in BUDGETS}
        for repeat in range(REPEATS):
            random = np.random.default_rng(repeat)
            some = np.sort(random.permutation(len(pictures.truth))[: int(len(pictures.truth) * 0.9)])
            turn = random.permutation(some)
            given = turn[:0]
            scores, labels = pictures.probabilities, self.card.labels
            for budget in BUDGETS:
                wanted = budget * len(emotions)
                if way == "an emotion":
                    given = np.concatenate([turn[pictures.truth[turn] == emotion][:budget] for emotion in emotions])
                elif way == "random":
                    given = turn[:wanted]
                else:
                    free = np.setdiff1d(some, given)
                    more = select_informative(pictures.selection_features, scores, free, given, wanted - len(given))
                    given = np.concatenate([given, more])
                rest = left(pictures, emotions, given)
                if rest is None:
                    break
                scores, labels = self.taught(pictures, given)
                measured[budget].append(balanced(guesses(scores[rest], labels, emotions), pictures.truth[rest]))
        return {budget: mean(values) for budget, values in measured.items()}

    def taught(self, pictures: Labelled, given: Any) -> tuple[Any, Sequence[str]]:
        """What the model says of all pictures after teaching, and its labels."""
        labels = pictures.truth[given].tolist()
        said = np.array(self.card.labels)[pictures.probabilities[given].argmax(axis=1)]
        started = time.perf_counter()
        try:
            readings = [vectors[given] for vectors in pictures.readings]
            learnt = teach(self.head, readings, labels, self.remembered, said.tolist(), lambda: None)
            self.seconds.append(time.perf_counter() - started)
        except UsageError:
            learnt = None  # too few to learn from: nothing changes
        if learnt is None or learnt.head is None:
            return pictures.probabilities, self.card.labels
        return learnt.head.probabilities(pictures.readings[learnt.reading]), learnt.head.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--model", type=Path, default=zoo.checkpoints()[zoo.DEFAULT])
    options = parser.parse_args()
    bench = Bench(options.model)
    results: dict[str, Any] = {"machine": machine(), "model": options.model.stem, "repeats": REPEATS, "all": {}, "five": {}}
    for folder in sorted(path for path in options.validation.iterdir() if path.is_dir()):
        pictures = bench.look(folder)
        for name, some in (("five", pictures.of(FIVE)), ("all", pictures)):
            results[name][folder.name] = bench.curves(some)
            print(folder.name, name, json.dumps(results[name][folder.name]), flush=True)
    results["seconds"] = round(float(np.median(bench.seconds)), 2)
    path = Path(__file__).parent / "results" / "teaching"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def left(pictures: Labelled, emotions: list[str], given: Any) -> Any:
    """The pictures without a label; None where too few of an emotion are left to measure on."""
    rest = np.setdiff1d(np.arange(len(pictures.truth)), given)
    return None if any(np.sum(pictures.truth[rest] == emotion) < LEFT for emotion in emotions) else rest


def told_by_edges(pictures: Labelled, emotions: list[str], random: np.random.Generator) -> float | None:
    """How right the labelled picture with the most similar edges is."""
    turn = random.permutation(len(pictures.truth))
    given = np.concatenate([turn[pictures.truth[turn] == emotion][:EDGES_AT] for emotion in emotions])
    rest = left(pictures, emotions, given)
    if rest is None:
        return None
    return balanced(pictures.truth[given][(pictures.edges[rest] @ pictures.edges[given].T).argmax(axis=1)], pictures.truth[rest])


def mean(values: Sequence[float | None]) -> float | None:
    """The mean of what could be measured, if that was more than half the times."""
    measured = [value for value in values if value is not None]
    return round(float(np.mean(measured)), 4) if len(measured) > REPEATS // 2 else None


def edges(pixels: Any) -> Any:
    """How frequent colours are at the upper edges of pictures, uint8, (N, H, W, 3): unit vectors, (N, colours)."""
    width = max(1, round(pixels.shape[1] * EDGE))
    half = slice(0, pixels.shape[1] // 2)
    found = np.empty((len(pixels), LEVELS**3), dtype=np.float32)
    for row, picture in enumerate(pixels):
        parts = picture[:width], picture[half, :width], picture[half, -width:]
        colours = np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int64) * LEVELS // 256
        found[row] = np.sqrt(np.bincount(colours @ (LEVELS**2, LEVELS, 1), minlength=LEVELS**3) / len(colours))
    return found


def guesses(scores: Any, labels: Sequence[str], emotions: list[str]) -> Any:
    """The likeliest of some emotions for each row of scores, (N, labels)."""
    known = [emotion for emotion in emotions if emotion in labels]
    return np.array(known)[scores[:, [labels.index(emotion) for emotion in known]].argmax(axis=1)]


def balanced(said: Any, truth: Any) -> float:
    """The mean over emotions of the share that is told right."""
    return round(float(np.mean([(said[truth == emotion] == emotion).mean() for emotion in sorted(set(truth))])), 4)


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# A few labels of an artist never seen", "", f"`python bench/teaching.py VALIDATION` on {results['machine']}.", ""]
    lines += [
        "Balanced accuracy on the pictures without label, guessing among the emotions there are, by labels an emotion: so many",
        "of each by chance / as many in all by chance / as many in all that `teach --suggest` names, in rounds, from what the",
        "labels before have taught. Who labels cannot know the first beforehand. Mean of",
        f"{results['repeats']} draws; none where fewer than {LEFT} of an emotion would be left.",
        f"Teaching took {results['seconds']} s in the median. Edges: the emotion of the labelled picture with the most similar",
        f"colours at its edges, of {EDGES_AT} labels an emotion: where that is far above chance, backgrounds give emotions away.",
        "",
    ]
    for name, title in (("five", "Happy, sad, angry, surprise and neutral"), ("all", "All emotions of a set")):
        lines += [f"## {title}", "", f"| set | emotions | 0 | {' | '.join(str(budget) for budget in BUDGETS)} | edges |"]
        lines += ["|---" * (len(BUDGETS) + 4) + "|"]
        for set_name, one in results[name].items():
            edge = "-" if one["edges"] is None else f"{one['edges']:.2f}"
            cells = [" / ".join("-" if value is None else f"{value:.2f}" for value in one[str(b)].values()) for b in BUDGETS]
            lines.append(f"| {set_name} | {one['emotions']} | {one['0']:.2f} | {' | '.join(cells)} | {edge} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
