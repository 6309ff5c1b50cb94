"""How much do a few labels teach the shipped model about an artist it has never seen?

    python bench/teaching.py VALIDATION [--model FILE]

VALIDATION is a folder of labelled sets. Of each set, so many labels an emotion are given to the model, chosen by chance or by
`teach --suggest`; what it then says of the rest of the set is measured, as balanced accuracy over its emotions.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.recognition import _machine  # noqa: E402
from indexer.decode import decode_file  # noqa: E402
from indexer.domain import FEEL  # noqa: E402
from indexer.errors import UsageError  # noqa: E402
from indexer.teach import representatives  # noqa: E402
from models import checkpoint, zoo  # noqa: E402
from models.classifier import TorchClassifier  # noqa: E402
from models.teaching.memory import as_read, head_of, recall  # noqa: E402
from models.teaching.teach import teach  # noqa: E402
from models.training.datasets import find_pictures  # noqa: E402
from models.training.pictures import load_pictures  # noqa: E402

BUDGETS = (1, 2, 5, 10, 20)
REPEATS = 5
WAYS = ("an emotion", "random", "suggested")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--model", type=Path, default=zoo.checkpoints()[zoo.DEFAULT])
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": _machine(), "model": options.model.stem, "repeats": REPEATS, "sets": {}}
    for folder in sorted(path for path in options.validation.iterdir() if path.is_dir()):
        results["sets"][folder.name] = curves(folder, options.model)
        print(folder.name, json.dumps(results["sets"][folder.name]), flush=True)
    path = Path(__file__).parent / "results" / "teaching"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def curves(folder: Path, model: Path) -> dict[str, Any]:
    """Balanced accuracy on what was not labelled, by labels an emotion and by how they were chosen."""
    classifier = TorchClassifier.open(model, "cpu")
    card, stored = checkpoint.load_all(model)
    pictures = load_pictures(find_pictures([folder]), card.input, decode_file)
    scores = classifier.classify(pictures.pixels)
    stored_vectors = scores.embeddings.astype(np.float16)
    vectors, feel = as_read(card, stored_vectors), stored_vectors[:, card.columns(FEEL)].astype(np.float32)
    truth = np.array([pictures.emotions[label] for label in pictures.labels])
    said = np.array([card.labels[best] for best in scores.probabilities.argmax(axis=1)])
    old, remembered = head_of(card, stored), recall(card, stored)
    if remembered is None:
        raise SystemExit(f"{model} remembers nothing of its training.")
    emotions = sorted(set(truth))
    found: dict[str, Any] = {"pictures": len(truth), "emotions": len(emotions), "before": balanced(said, truth), "seconds": []}
    for budget in BUDGETS:
        row: dict[str, Any] = {}
        for way in WAYS:
            measured = []
            for repeat in range(REPEATS):
                random = np.random.default_rng(repeat)
                some = np.sort(random.permutation(len(truth))[: int(len(truth) * 0.9)])  # suggestions vary with what there is
                if way == "an emotion":
                    each = [random.permutation(some[truth[some] == emotion])[:budget] for emotion in emotions]
                    given = np.concatenate(each)
                elif way == "random":
                    given = random.permutation(some)[: budget * len(emotions)]
                else:
                    given = some[representatives(feel[some], feel[:0], budget * len(emotions))]
                rest = np.setdiff1d(np.arange(len(truth)), given)
                if min(np.sum(truth[rest] == emotion) for emotion in emotions) < 1:
                    continue
                started = time.perf_counter()
                try:
                    head = teach(old, vectors[given], truth[given].tolist(), remembered, said[given].tolist()).head
                    found["seconds"].append(time.perf_counter() - started)
                except UsageError:
                    head = None  # too few to learn from: nothing changes
                now = said[rest] if head is None else np.array(head.labels)[head.logits(vectors[rest]).argmax(axis=1)]
                measured.append(balanced(now, truth[rest]))
            row[way] = round(float(np.mean(measured)), 4) if measured else None
        found[str(budget)] = row
    found["seconds"] = round(float(np.median(found["seconds"])), 2)
    return found


def balanced(said: Any, truth: Any) -> float:
    """The mean over emotions of the share that is told right."""
    return round(float(np.mean([(said[truth == emotion] == emotion).mean() for emotion in sorted(set(truth))])), 4)


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# A few labels of an artist never seen", "", f"`python bench/teaching.py VALIDATION` on {results['machine']}.", ""]
    lines += [
        "Balanced accuracy over all emotions of a set, on the pictures without label, by labels an emotion: so many of each by"
    ]
    lines += [
        "chance / as many in all by chance / as many in all that were suggested. Who labels cannot know the first beforehand."
    ]
    lines += [f"Mean of {results['repeats']} draws. A set too small for a number has none.", ""]
    head = " | ".join(str(budget) for budget in BUDGETS)
    lines += [f"| set | emotions | 0 | {head} | seconds |", "|---" * (len(BUDGETS) + 4) + "|"]
    for name, one in results["sets"].items():
        cells = [" / ".join("-" if value is None else f"{value:.2f}" for value in one[str(b)].values()) for b in BUDGETS]
        lines.append(f"| {name} | {one['emotions']} | {one['before']:.2f} | {' | '.join(cells)} | {one['seconds']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
