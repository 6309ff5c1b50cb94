"""Measure how far the outputs of each network differ between batches of different sizes.

`python -m bench.batch_differences` measures in this process and prints JSON. bench/batch_invariance.py runs it with several
instruction sets.
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

BATCH_SIZES = (1, 2, 3, 4, 8, 9, 16, 48)
THREAD_COUNTS = (1, 2)
SMALL_SIDE = 64
"""Input side, in pixels, of networks with random weights, except where a graph has another size."""

EXAMPLE_IMAGES = Path(__file__).resolve().parent.parent / "examples" / "images"

Outputs = Mapping[str, Any]
"""Outputs by name: "probabilities" and "embeddings", arrays with a row per image, or "boxes", a list with an array per image."""

Run = Callable[[int, int], Outputs]
"""Computes the images from one number up to, but without, another in one batch."""

FirstLayer = Callable[[], str]
"""Names the first layer whose outputs depend on the batch."""

Case = tuple[str, str, int, Run, FirstLayer]
"""A network's name, its engine, the number of threads, its computation, and the search for its first layer that differs."""


def measure() -> dict[str, Any]:
    """Measure every network in this process.

    Return the rows of the table, the instruction sets that the libraries detected, and the differences of resizing.
    """
    pages, inputs = _example_pixels()
    rows = []
    for name, engine, threads, run, first_layer in _cases(inputs, pages):
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
        "openblas": sorted({info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"}),
    }


def _example_pixels() -> tuple[list[Any], Any]:
    """Decode example images for the face detector, uint8, (H, W, 3), and for the classifier, uint8, (N, 128, 128, 3)."""
    spec = read_card(zoo.checkpoints()[zoo.DEFAULT]).input
    paths = sorted(path for path in EXAMPLE_IMAGES.rglob("*") if path.suffix in (".png", ".webp", ".jpg"))
    count = max(BATCH_SIZES)
    files = [path.read_bytes() for path in paths[:: len(paths) // count][:count]]
    pages = [decode(data, spec, DETECTION_MAX_SIDE).pixels for data in files]
    return pages, np.stack([decode(data, spec).pixels for data in files])


def _cases(inputs: Any, pages: Sequence[Any]) -> Iterator[Case]:
    fake = FakeClassifier()
    fake_run = _classifier_run(fake, _subsample(inputs, fake.card.input.size))
    yield "FakeClassifier of the tests", "numpy", 1, fake_run, lambda: "numpy"
    yield from _shipped_classifier(inputs)
    yield from _shipped_detector(pages)
    for name in (*ARCHITECTURES, "efficientnet_lite0+spaces+whole+usual"):
        kind = architecture(name)
        sides = (SMALL_SIDE, inputs.shape[1])
        with_graph = [side for side in sides if find_graph(name, InputSpec(side, kind.mean, kind.std))]
        yield from _with_random_weights(name, _subsample(inputs, (*with_graph, SMALL_SIDE)[0]))


def _subsample(inputs: Any, side: int) -> Any:
    """Take every n-th pixel of images, so that they have that side."""
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
    """Yield one network on each engine with each number of threads."""
    by_torch = TorchClassifier(card, state, torch.device("cpu"), len(inputs))
    graph = find_graph(card.architecture, card.input)
    for threads in THREAD_COUNTS:
        yield name, "torch", threads, _classifier_run(by_torch, inputs), lambda: first_module(by_torch._engine, inputs)
        if graph is not None:
            weights = weights_for(graph, arrays)
            engine = OnnxEngine(graph.onnx, weights, threads, len(inputs))
            run = _classifier_run(OnnxClassifier(card, engine, arrays), inputs)
            yield name, "ONNX Runtime", threads, run, lambda: first_node(graph.onnx, weights, threads, inputs)  # noqa: B023


def _shipped_detector(pages: Sequence[Any]) -> Iterator[Case]:
    card, state = detector_checkpoint.load()
    arrays = read_arrays(detector_checkpoint.SHIPPED, card.weights_digest)
    for side in (card.side, 2 * card.side):
        squares = np.stack([_fitted(page, side) for page in pages])
        by_torch = TorchEngine(normalized_detector(state, MEAN, STD), torch.device("cpu"), side, len(pages))
        graph = read_graph(graph_path(GRAPH, side))
        name = f"face detector (shipped), {side} pixels"
        for threads in THREAD_COUNTS:
            run = _detector_run(by_torch, squares, card.least)
            yield name, "torch", threads, run, lambda: first_module(by_torch, squares)  # noqa: B023
            weights = weights_for(graph, arrays)
            run = _detector_run(OnnxEngine(graph.onnx, weights, threads, len(pages)), squares, card.least)
            yield name, "ONNX Runtime", threads, run, lambda: first_node(graph.onnx, weights, threads, squares)  # noqa: B023


def _classifier_run(classifier: Any, inputs: Any) -> Run:
    def run(start: int, end: int) -> Outputs:
        scores = classifier.classify(inputs[start:end])
        return {"probabilities": scores.probabilities, "embeddings": scores.embeddings}

    return run


def _detector_run(engine: Any, squares: Any, min_probability: float) -> Run:
    def run(start: int, end: int) -> Outputs:
        logits, distances = engine.run(squares[start:end])
        boxes = [boxes for boxes, _ in decode_detections(logits, distances, min_probability)]
        return {"probabilities": 1 / (1 + np.exp(-logits)), "boxes": boxes}

    return run


def _differences(run: Run) -> dict[str, Any]:
    """Compare batches with batches of one image.

    Return the largest differences, over all batches and by batch, by output, and whether the labels and the numbers of faces are
    equal.
    """
    single_outputs = [run(number, number + 1) for number in range(max(BATCH_SIZES))]
    by_batch: dict[int, dict[str, float]] = {}
    equal = True
    for size in BATCH_SIZES:
        batch_outputs = run(0, size)
        by_batch[size] = {}
        for name, values in batch_outputs.items():
            pairs = [(single[name][0], batched) for single, batched in zip(single_outputs[:size], values, strict=True)]
            same = [single.shape == batched.shape for single, batched in pairs]
            if name == "probabilities" and "embeddings" in batch_outputs:
                same += [int(np.argmax(single)) == int(np.argmax(batched)) for single, batched in pairs]
            equal = equal and all(same)
            gaps = [largest_gap(single, batched) for single, batched in pairs if single.shape == batched.shape]
            by_batch[size][name] = max(gaps, default=0.0)
    largest = {name: max(gaps[name] for gaps in by_batch.values()) for name in by_batch[1]}
    return {"largest": largest, "by_batch": by_batch, "equal": equal}


def _resized_differently(pages: Sequence[Any]) -> dict[str, int]:
    """Count the images whose resized bytes depend on other images.

    Each image is resized in order, in reverse order, and in four threads.
    """
    images = [Image.fromarray(page) for page in pages]
    counts = {}
    for name, resize in {"Pillow": by_pillow, "cykooz-resizer": by_simd}.items():
        counts[name] = 0
        for kernel in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR):

            def resized(image: Any, resize: Any = resize, kernel: Any = kernel) -> bytes:
                small: bytes = resize(image, (SMALL_SIDE, SMALL_SIDE), kernel).tobytes()
                return small

            forward = [resized(image) for image in images]
            backward = [resized(image) for image in reversed(images)][::-1]
            with ThreadPoolExecutor(4) as pool:
                threaded = list(pool.map(resized, images))
            counts[name] += sum(not one == two == three for one, two, three in zip(forward, backward, threaded, strict=True))
    return counts


if __name__ == "__main__":
    json.dump(measure(), sys.stdout)
