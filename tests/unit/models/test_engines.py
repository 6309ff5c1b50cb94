"""Inference engines: equal scores from every engine, and the choice among engines."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from indexer.analysis.analyzer import Analyzer
from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import MissingExtra, ModelUnavailable, UsageError
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard, with_precision
from models import checkpoint, zoo
from models.architectures.registry import architecture
from models.faces import card as face_card
from models.faces.detector import GRAPH, onnx_face_detector, torch_face_detector
from models.inference import loader
from models.inference.classifier import OnnxClassifier, TorchClassifier
from models.inference.engines.onnx import OnnxEngine
from models.inference.engines.onnx_graph import PREFIX, Graph, Norm, find_graph, graph_path, read_graph, weights_for
from models.inference.loader import ComputeOptions, open_classifier, open_face_detector
from models.model_card import read_card
from models.safetensors_io import read_arrays
from models.style_baseline import fit_baseline

ROOT = Path(__file__).parents[3]

SHIPPED = zoo.checkpoints()[zoo.DEFAULT]


def save_taught_model(folder: Path, labels: tuple[str, ...], subtracts_baseline: bool = False) -> Path:
    """Save the shipped network with another last layer, which reads the whole embedding, perhaps minus a style baseline."""
    card, state = checkpoint.load(SHIPPED)
    kind = architecture(f"{card.architecture}+whole{'+usual' if subtracts_baseline else ''}")
    random = np.random.default_rng(0)
    matrix = torch.from_numpy(random.normal(size=(len(labels), card.embedding_size)).astype(np.float32))
    head = {"classifier.weight": matrix, "classifier.bias": torch.linspace(-1, 1, len(labels))}
    if subtracts_baseline:
        embeddings = random.normal(size=(400, card.embedding_size)).astype(np.float32)
        head |= {name: torch.from_numpy(values) for name, values in fit_baseline(card, embeddings).state().items()}
    return checkpoint.save(folder, replace(card, name="taught", architecture=kind.name, labels=labels), {**state, **head})


@pytest.mark.parametrize("model", ["shipped", "taught", "taught with baseline"])
def test_onnx_and_torch_agree_on_real_images(model: str, tmp_path: Path) -> None:
    path = SHIPPED if model == "shipped" else save_taught_model(tmp_path, (*EMOTIONS, "smug"), model == "taught with baseline")
    by_torch = Analyzer(TorchClassifier.open(path, "cpu"), torch_face_detector(device="cpu"))
    by_onnx = Analyzer(OnnxClassifier.open(path), onnx_face_detector())
    images = [by_torch.decode(file.read_bytes()) for file in sorted((ROOT / "examples/images").rglob("*.*"))[:40]
                if file.suffix in (".png", ".webp", ".jpg", ".gif")]  # fmt: skip
    assert len(images) > 20
    for torch_image, onnx_image in zip(by_torch.predict(images), by_onnx.predict(images), strict=True):
        assert torch_image is not None and onnx_image is not None and len(torch_image) == len(onnx_image)
        for torch_region, onnx_region in zip(torch_image, onnx_image, strict=True):
            assert np.argmax(torch_region.probabilities) == np.argmax(onnx_region.probabilities)
            np.testing.assert_allclose(torch_region.probabilities, onnx_region.probabilities, atol=1e-3)
            np.testing.assert_allclose(torch_region.embedding, onnx_region.embedding, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("efficientnet_lite0+spaces", 128),
        ("efficientnet_lite0+spaces+whole", 128),
        ("efficientnet_lite0", 128),
        ("efficientnet_lite0+dropout", 224),
        *((name, size) for name in ("googlenet", "mobilenet_v3_large", "resnet18", "resnet50") for size in (97, 128, 224)),
    ],
)
def test_graphs_compute_the_same_as_their_networks(name: str, size: int) -> None:
    """A change of a network requires a new graph: run `python -m recipes.graphs.make`."""
    torch.manual_seed(1)
    kind = architecture(name)
    network = kind.build(10, size).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    pixels = np.random.default_rng(2).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    graph = find_graph(name, InputSpec(size, kind.mean, kind.std))
    assert graph is not None
    outputs = OnnxEngine(graph.onnx, weights_for(graph, state)).run(pixels)
    with torch.inference_mode():
        encoding = network.encode((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - kind.mean) / kind.std)
    for output, expected in zip(outputs, (encoding.classifier_input, encoding.embedding), strict=True):
        np.testing.assert_allclose(output, expected.numpy(), atol=1e-3)


def test_missing_weights_are_an_error() -> None:
    graph = read_graph(graph_path(GRAPH, face_card.read_card().side))
    with pytest.raises(ModelUnavailable, match="not those of the architecture"):
        weights_for(graph, {})


def test_batch_norms_are_merged_into_the_preceding_layers() -> None:
    state = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b.weight": np.float32([2, 4])}
    state |= {"b.bias": np.float32([1, 1]), "b.running_mean": np.float32([1, 0]), "b.running_var": np.float32([4, 16])}
    merged = weights_for(Graph(b"", ("a.weight", "a.bias"), (Norm("a", "b", 0.0),)), state)
    assert merged[f"{PREFIX}a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert merged[f"{PREFIX}a.bias"].tolist() == [0, 1]


def test_weights_are_freed_with_the_engine_that_reads_them() -> None:
    """It depends on the processor whether ONNX Runtime reads these arrays or rearranged copies of them."""
    graph = read_graph(graph_path(GRAPH, face_card.read_card().side))
    weights = weights_for(graph, read_arrays(face_card.SHIPPED, face_card.read_card().weights_digest))
    references = [weakref.ref(values) for values in weights.values()]
    engine = OnnxEngine(graph.onnx, weights)
    del weights
    gc.collect()
    assert all(reference() is not None for reference in references)
    del engine
    gc.collect()
    assert all(reference() is None for reference in references)


def test_auto_takes_onnx_for_one_image_and_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "may_have_gpu", lambda: False)
    assert open_classifier(SHIPPED, ComputeOptions()).engine == "onnx"
    monkeypatch.setattr(loader, "may_have_gpu", lambda: True)
    assert open_classifier(SHIPPED, ComputeOptions(few=True)).engine == "onnx"
    assert open_classifier(SHIPPED, ComputeOptions()).engine == "torch"
    assert open_classifier(SHIPPED, ComputeOptions(device="cpu")).engine == "onnx"
    assert open_classifier(SHIPPED, ComputeOptions(device="cpu", engine="torch")).engine == "torch"
    assert open_face_detector(ComputeOptions(device="cpu", precision="bf16")).key == face_card.read_card().key


def test_auto_takes_onnx_for_taught_models(tmp_path: Path) -> None:
    taught = save_taught_model(tmp_path / "taught", EMOTIONS, subtracts_baseline=True)
    assert open_classifier(taught, ComputeOptions(device="cpu")).engine == "onnx"


@pytest.mark.parametrize("name", ["resnet18+dropout", "resnet18+unit"])
def test_auto_takes_onnx_for_common_models(name: str, tmp_path: Path) -> None:
    kind = architecture(name)
    network = kind.build(len(EMOTIONS), 100)
    card = ModelCard("own", kind.name, "", EMOTIONS, InputSpec(100, kind.mean, kind.std), network.embedding_size)
    path = checkpoint.save(tmp_path / "own", card, network.state_dict())
    by_onnx, by_torch = (open_classifier(path, ComputeOptions(device="cpu", engine=engine)) for engine in ("auto", "torch"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 100, 100, 3), dtype=np.uint8)
    assert (by_onnx.engine, by_torch.engine) == ("onnx", "torch")
    onnx_scores, torch_scores = by_onnx.classify(pixels), by_torch.classify(pixels)
    np.testing.assert_allclose(onnx_scores.probabilities, torch_scores.probabilities, atol=1e-5)
    np.testing.assert_allclose(onnx_scores.embeddings, torch_scores.embeddings, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("resnet18", InputSpec(100, 127.5, 127.5)),  # another normalization
        ("efficientnet_lite0", InputSpec(64, 127.0, 128.0)),
        ("efficientnet_lite0@128", InputSpec(64, 127.0, 128.0)),
        ("efficientnet_lite0+spaces+usual", InputSpec(128, 127.0, 128.0)),  # without "whole" it has no such layer
        ("resnet18+dense64", InputSpec(128, 0.0, 255.0)),
        ("efficientnet_lite0+unit+spaces+whole", InputSpec(128, 127.0, 128.0)),
        ("../graphs/resnet18", InputSpec(128, 0.0, 255.0)),
        (str(graph_path("resnet18")).removesuffix("@any.onnx"), InputSpec(128, 0.0, 255.0)),
        ("é" * 200, InputSpec(128, 0.0, 255.0)),
    ],
)
def test_a_graph_is_used_only_for_its_network(name: str, spec: InputSpec) -> None:
    assert find_graph("resnet18", InputSpec(100, 0.0, 255.0)) is not None
    assert find_graph(name, spec) is None


def test_auto_takes_torch_if_onnx_runtime_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "may_have_gpu", lambda: False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert open_classifier(SHIPPED, ComputeOptions()).engine == "torch"
    with pytest.raises(MissingExtra, match=r"pip install 'moodex\[onnx\]'"):
        open_classifier(SHIPPED, ComputeOptions(engine="onnx"))


def test_auto_takes_torch_for_a_network_without_a_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = architecture("baseline_cnn").build(len(EMOTIONS), 64)
    card = ModelCard("small", "baseline_cnn", "", EMOTIONS, InputSpec(64, 0, 255), network.embedding_size)
    path = checkpoint.save(tmp_path, card, network.state_dict())
    assert open_classifier(path, ComputeOptions(device="cpu")).engine == "torch"
    with pytest.raises(ModelUnavailable, match="has no ONNX graph of baseline_cnn for images of 64 pixels: use --engine torch"):
        open_classifier(path, ComputeOptions(engine="onnx"))


@pytest.mark.parametrize(
    "options", [ComputeOptions(device="cuda"), ComputeOptions(require_gpu=True), ComputeOptions(precision="bf16")]
)
def test_unsupported_options_for_onnx_are_an_error(options: ComputeOptions) -> None:
    with pytest.raises(UsageError, match="on the CPU in fp32"):
        open_classifier(SHIPPED, replace(options, engine="onnx"))


def test_another_precision_is_another_model() -> None:
    card = read_card(SHIPPED)
    half = with_precision(card, "bf16")
    assert with_precision(card, "fp32") is card
    assert (half.name, half.precision) == ("moodex-lite0@bf16", "bf16")
    assert half.key != card.key and half.embedder_key != card.embedder_key
    assert with_precision(card, "fp16").key != half.key


def test_half_precision_gives_nearly_the_same_scores() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    full, half = (TorchClassifier.open(SHIPPED, "cpu", precision=precision) for precision in ("fp32", "bf16"))
    assert half.card.name == "moodex-lite0@bf16"
    full_scores, half_scores = full.classify(pixels), half.classify(pixels)
    assert half_scores.probabilities.dtype == half_scores.embeddings.dtype == np.float32
    assert np.abs(full_scores.embeddings - half_scores.embeddings).max() > 0
    assert (full_scores.embeddings * half_scores.embeddings).sum(axis=1).min() > 2 * 0.95


def test_onnx_inference_needs_no_torch(tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    Image.new("RGB", (200, 200), "orange").save(image)
    script = (
        "import sys, os, pathlib\n"
        "from indexer.bootstrap import open_analyzer\n"
        "from indexer.settings import Settings\n"
        "from indexer.search.resolve import analyze_file\n"
        f"print(len(analyze_file(os.fsencode({str(image)!r}), open_analyzer(Settings(pathlib.Path({str(tmp_path)!r}))))))\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "1\nFalse\n"
