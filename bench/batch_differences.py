"""Measure, in this process, how far the outputs of each network differ between batches of different sizes.

`python -m bench.batch_differences` prints JSON; bench/batch_invariance.py runs it with several instruction sets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from threadpoolctl import threadpool_info

from bench.first_difference import first_module, first_node, largest_gap
from indexer.analysis.face_crops import DETECTION_MAX_SIDE
from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.imaging.decode import decode
from indexer.imaging.resize import by_pillow, by_simd
from models import checkpoint as classifier_checkpoint
from models import zoo
from models.architectures.registry import ARCHITECTURES, architecture
from models.faces import checkpoint as detector_checkpoint
from models.faces.decode_boxes import decode_detections
from models.faces.detector import GRAPH, MEAN, STD, _fitted
from models.faces.network import normalized_detector
from models.inference.classifier import OnnxClassifier, TorchClassifier
from models.inference.engines.onnx import OnnxEngine
from models.inference.engines.onnx_graph import find_graph, graph_path, read_graph, weights_for
from models.inference.engines.pytorch import TorchEngine
from models.model_card import read_card
from models.safetensors_io import read_arrays
from tests.support.fake_models import FakeClassifier

BATCHES = (1, 2, 3, 4, 8, 9, 16, 48)
THREADS = (1, 2)
SMALL = 64
"""Side of inputs, in pixels, of networks with random weights, except where a graph has another size."""

IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"

Arrays = Mapping[str, Any]
"""Outputs by name: "probabilities" and "embeddings", arrays with a row an image, or "boxes", a list with an array an image."""

Run = Callable[[int, int], Arrays]
"""Compute the images from one number up to another in one batch."""

FirstLayer = Callable[[], str]
"""Name the first layer of which the outputs depend on the batch."""

Case = tuple[str, str, int, Run, FirstLayer]
"""A network's name, its engine, the number of threads, and how to compute it and to look into it."""


def measure() -> dict[str, Any]:
    """Measure every network in this process: rows of the table, what the libraries detected, and resizing."""
    pages, inputs = _images()
    rows = []
    for name, engine, threads, run, first_layer in _networks(inputs, pages):
        print(f"  {name}, {engine}, {threads} threads", file=sys.stderr, flush=True)
        torch.set_num_threads(threads)
        row = {"network": name, "engine": engine, "threads": threads, **_differences(run)}
        if any(row["largest"].values()):
            row["first_layer"] = first_layer()
        rows.append(row)
    return {
        "rows": rows,
        "resized_differently": _resized_differently(pages),
        "torch": torch.backends.cpu.get_cpu_capability(),
        "openblas": sorted({one["architecture"] for one in threadpool_info() if one["internal_api"] == "openblas"}),
    }


def _images() -> tuple[list[Any], Any]:
    """Example images as pages for the face detector, uint8, (H, W, 3), and as inputs of the classifier, (N, 128, 128, 3)."""
    spec = read_card(zoo.checkpoints()[zoo.DEFAULT]).input
    files = sorted(path for path in IMAGES.rglob("*") if path.suffix in (".png", ".webp", ".jpg"))
    chosen = [path.read_bytes() for path in files[:: len(files) // max(BATCHES)][: max(BATCHES)]]
    pages = [decode(data, spec, DETECTION_MAX_SIDE).pixels for data in chosen]
    return pages, np.stack([decode(data, spec).pixels for data in chosen])


def _networks(inputs: Any, pages: Sequence[Any]) -> Iterator[Case]:
    fake = FakeClassifier()
    yield "FakeClassifier of the tests", "numpy", 1, _classified(fake, _shrunk(inputs, fake.card.input.size)), lambda: "numpy"
    yield from _shipped_classifier(inputs)
    yield from _shipped_detector(pages)
    for name in (*ARCHITECTURES, "efficientnet_lite0+spaces+whole+usual"):
        kind = architecture(name)
        sides = (SMALL, inputs.shape[1])
        with_graph = [side for side in sides if find_graph(name, InputSpec(side, kind.mean, kind.std))]
        yield from _with_random_weights(name, _shrunk(inputs, (*with_graph, SMALL)[0]))


def _shrunk(inputs: Any, side: int) -> Any:
    """Every n-th pixel of images, so that they have that side."""
    step = inputs.shape[1] // side
    return inputs[:, ::step, ::step]


def _shipped_classifier(inputs: Any) -> Iterator[Case]:
    path = zoo.checkpoints()[zoo.DEFAULT]
    card, state = classifier_checkpoint.load(path)
    yield from _classifiers("moodex-lite0 (shipped)", card, state, read_arrays(path, card.weights_digest), inputs)


def _with_random_weights(name: str, inputs: Any) -> Iterator[Case]:
    torch.manual_seed(1)
    kind = architecture(name)
    side = inputs.shape[1]
    network = kind.build(len(EMOTIONS), side).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    for parameter in network.usual.parameters() if network.usual else ():
        parameter.data = torch.nn.functional.normalize(torch.randn_like(parameter))
    spec = InputSpec(side, kind.mean, kind.std)
    card = ModelCard("random", kind.name, "", EMOTIONS, spec, network.embedding_size, spaces=network.spaces)
    state = network.state_dict()
    yield from _classifiers(name, card, state, {key: value.numpy() for key, value in state.items()}, inputs)


def _classifiers(name: str, card: Any, state: Mapping[str, Any], arrays: Mapping[str, Any], inputs: Any) -> Iterator[Case]:
    """One network on each engine with each number of threads."""
    by_torch = TorchClassifier(card, state, torch.device("cpu"), len(inputs))
    graph = find_graph(card.architecture, card.input)
    for threads in THREADS:
        yield name, "torch", threads, _classified(by_torch, inputs), lambda: first_module(by_torch._engine, inputs)
        if graph is not None:
            weights = weights_for(graph, arrays)
            engine = OnnxEngine(graph.onnx, weights, threads, len(inputs))
            run = _classified(OnnxClassifier(card, engine, arrays), inputs)
            yield name, "ONNX Runtime", threads, run, lambda: first_node(graph.onnx, weights, threads, inputs)  # noqa: B023


def _shipped_detector(pages: Sequence[Any]) -> Iterator[Case]:
    card, state = detector_checkpoint.load()
    arrays = read_arrays(detector_checkpoint.SHIPPED, card.weights_digest)
    for side in (card.side, 2 * card.side):
        squares = np.stack([_fitted(page, side) for page in pages])
        by_torch = TorchEngine(normalized_detector(state, MEAN, STD), torch.device("cpu"), side, len(pages))
        graph = read_graph(graph_path(GRAPH, side))
        name = f"face detector (shipped), {side} pixels"
        for threads in THREADS:
            run = _detected(by_torch, squares, card.least)
            yield name, "torch", threads, run, lambda: first_module(by_torch, squares)  # noqa: B023
            weights = weights_for(graph, arrays)
            run = _detected(OnnxEngine(graph.onnx, weights, threads, len(pages)), squares, card.least)
            yield name, "ONNX Runtime", threads, run, lambda: first_node(graph.onnx, weights, threads, squares)  # noqa: B023


def _classified(classifier: Any, inputs: Any) -> Run:
    def run(start: int, end: int) -> Arrays:
        scores = classifier.classify(inputs[start:end])
        return {"probabilities": scores.probabilities, "embeddings": scores.embeddings}

    return run


def _detected(engine: Any, squares: Any, least: float) -> Run:
    def run(start: int, end: int) -> Arrays:
        logits, distances = engine.run(squares[start:end])
        boxes = [found for found, _ in decode_detections(logits, distances, least)]
        return {"probabilities": 1 / (1 + np.exp(-logits)), "boxes": boxes}

    return run


def _differences(run: Run) -> dict[str, Any]:
    """The largest differences of each batch from batches of one image, by output; whether labels or faces are equal."""
    alone = [run(number, number + 1) for number in range(max(BATCHES))]
    by_batch: dict[int, dict[str, float]] = {}
    equal = True
    for size in BATCHES:
        together = run(0, size)
        by_batch[size] = {}
        for name, values in together.items():
            pairs = [(one[name][0], other) for one, other in zip(alone[:size], values, strict=True)]
            same = [one.shape == other.shape for one, other in pairs]
            if name == "probabilities" and "embeddings" in together:
                same += [int(np.argmax(one)) == int(np.argmax(other)) for one, other in pairs]
            equal = equal and all(same)
            gaps = [largest_gap(one, other) for one, other in pairs if one.shape == other.shape]
            by_batch[size][name] = max(gaps, default=0.0)
    largest = {name: max(one[name] for one in by_batch.values()) for name in by_batch[1]}
    return {"largest": largest, "by_batch": by_batch, "equal": equal}


def _resized_differently(pages: Sequence[Any]) -> dict[str, int]:
    """Images of which the resized bytes depend on their neighbours: alone, in reverse order, and in four threads."""
    images = [Image.fromarray(page) for page in pages]
    found = {}
    for name, resize in {"Pillow": by_pillow, "cykooz-resizer": by_simd}.items():
        found[name] = 0
        for kernel in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):

            def resized(image: Any, resize: Any = resize, kernel: Any = kernel) -> bytes:
                small: bytes = resize(image, (SMALL, SMALL), kernel).tobytes()
                return small

            forward = [resized(image) for image in images]
            backward = [resized(image) for image in reversed(images)][::-1]
            with ThreadPoolExecutor(4) as pool:
                beside = list(pool.map(resized, images))
            found[name] += sum(not one == two == three for one, two, three in zip(forward, backward, beside, strict=True))
    return found


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
