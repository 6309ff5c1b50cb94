"""Exported models give the scores of PyTorch, or are not written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import MissingExtra, ModelUnavailable, UsageError
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from indexer.domain.reports import ExportedModel
from models import checkpoint
from models.architectures.registry import ARCHITECTURES, architecture
from models.export import export_onnx, export_torch
from models.export_graph import export_graph
from models.inference.classifier import TorchClassifier
from models.model_registry import FolderModelRegistry
from tests.unit.models.test_engines import SHIPPED, save_taught_model

SIZE = 64
ARCHITECTURES_BY_FORMAT = {
    "torch": (["baseline_cnn", "efficientnet_lite0", "resnet18"], list(ARCHITECTURES)),
    "onnx": (["baseline_cnn", "efficientnet_lite0"], ["resnet18", "googlenet", "mobilenet_v3_large"]),
}
"""Architectures of every test run, and those of slow runs, by format."""


def architecture_names(form: str) -> list[object]:
    fast, slow = ARCHITECTURES_BY_FORMAT[form]
    return [*fast, *(pytest.param(name, marks=pytest.mark.slow) for name in slow if name not in fast)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint whose export takes a second."""
    return random_checkpoint(tmp_path, "baseline_cnn")


def random_checkpoint(folder: Path, name: str) -> Path:
    """Save a checkpoint of an architecture with random weights."""
    torch.manual_seed(0)
    kind = architecture(name)
    network = kind.build(len(EMOTIONS), SIZE)
    spec = InputSpec(SIZE, kind.mean, kind.std)
    return checkpoint.save(folder, ModelCard(name, name, "", EMOTIONS, spec, network.embedding_size), network.state_dict())


def export(kind: str, path: Path, weights: Path, force: bool = False) -> ExportedModel:
    return FolderModelRegistry(weights.parent / "none").export(kind, str(weights), path, force)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def assert_exported(exported: ExportedModel) -> None:
    assert exported.probabilities_difference < 1e-4
    assert exported.embeddings_difference < 1e-4
    assert exported.bytes == exported.path.stat().st_size


@pytest.mark.parametrize("name", architecture_names("torch"))
def test_every_architecture_is_exported_to_torch(tmp_path: Path, name: str) -> None:
    assert_exported(export_torch(tmp_path / "model.pt2", random_checkpoint(tmp_path, name)))


@pytest.mark.parametrize("name", architecture_names("onnx"))
def test_architectures_are_exported_to_onnx(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert_exported(export_onnx(tmp_path / "model.onnx", random_checkpoint(tmp_path, name)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model", ["shipped", "taught", "taught with baseline", "resnet18", "resnet18+unit"])
def test_an_export_without_torch_computes_the_same(tmp_path: Path, model: str) -> None:
    import onnxruntime

    if model.startswith("taught"):
        weights = save_taught_model(tmp_path, (*EMOTIONS, "smug"), model == "taught with baseline")
    else:
        weights = SHIPPED if model == "shipped" else random_checkpoint(tmp_path, model)
    path = tmp_path / "model.onnx"
    assert_exported(export_graph(path, weights))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    classifier = TorchClassifier.open(weights, "cpu")
    card, size = classifier.card, classifier.card.input.size
    assert session.get_modelmeta().custom_metadata_map["key"] == card.key
    assert [(output.name, output.shape) for output in session.get_outputs()] == [
        ("probabilities", ["N", len(card.labels)]),
        ("embeddings", ["N", card.embedding_size]),
    ]
    for count in (1, 3):
        pixels = np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
        expected = classifier.classify(pixels)
        probabilities, embeddings = session.run(None, {"pixels": pixels})
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-3)
        np.testing.assert_allclose(embeddings, expected.embeddings, atol=1e-4)


def test_an_onnx_file_has_metadata_and_accepts_any_batch_size(small: Path, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "model.onnx"
    exported = export_onnx(path, small)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    card, _ = checkpoint.load(small)
    metadata = session.get_modelmeta().custom_metadata_map
    assert (metadata["name"], metadata["weights_digest"], metadata["key"]) == (card.name, card.weights_digest, card.key)
    assert json.loads(metadata["labels"]) == list(EMOTIONS)
    assert json.loads(metadata["input"])["size"] == SIZE
    (pixels_input,) = session.get_inputs()
    assert (pixels_input.name, pixels_input.type, pixels_input.shape) == ("pixels", "tensor(uint8)", ["N", SIZE, SIZE, 3])
    assert [(output.name, output.shape) for output in session.get_outputs()] == [
        ("probabilities", ["N", len(EMOTIONS)]),
        ("embeddings", ["N", 64]),
    ]
    for count in (1, 2, 5):
        expected = TorchClassifier.open(small, "cpu").classify(images(count))
        probabilities, embeddings = session.run(None, {"pixels": images(count)})
        np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(embeddings, expected.embeddings, atol=1e-4)
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert (exported.format, exported.model, exported.path) == ("onnx", "baseline_cnn", path)


def test_a_torch_archive_has_its_card_and_accepts_any_batch_size(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    export_torch(path, small)
    extra = {"card.json": ""}
    run = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["card.json"])["labels"] == list(EMOTIONS)
    for count in (1, 4):
        probabilities, embeddings = run(torch.from_numpy(images(count)))
        expected = TorchClassifier.open(small, "cpu").classify(images(count))
        np.testing.assert_allclose(probabilities.numpy(), expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(embeddings.numpy(), expected.embeddings, atol=1e-4)


@pytest.mark.parametrize(("write", "tolerance"), [(export_torch, -1.0), (export_onnx, 0.0)])
def test_an_export_with_different_scores_is_not_written(
    small: Path, write: Callable[..., ExportedModel], tolerance: float
) -> None:
    path = small.parent / "model"
    path.write_bytes(b"the earlier file")
    with pytest.raises(ModelUnavailable, match=r"'baseline_cnn' was not exported: its probabilities would differ by \d"):
        write(path, small, tolerance)
    assert path.read_bytes() == b"the earlier file"
    assert {file.name for file in small.parent.iterdir()} == {"model", "baseline_cnn.json", "baseline_cnn.safetensors"}


def test_an_unsupported_operator_is_one_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a long trace")

    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(ModelUnavailable, match="cannot be exported as torch: RuntimeError, no such operator$"):
        export_torch(small.parent / "model.pt2", small)
    assert len(list(small.parent.iterdir())) == 2


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_an_error(small: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"needs the package {package}: pip install 'moodex\[export\]'"):
        export_onnx(small.parent / "model.onnx", small)
    assert MissingExtra.exit_code == 6


@pytest.mark.parametrize(
    ("name", "force", "sentence"),
    [
        ("existing.onnx", False, "already exists; --force"),
        ("none/model.onnx", False, "cannot be written"),
        (".", True, "cannot be written"),
        ("baseline_cnn.safetensors", True, "might replace one"),
        ("baseline_cnn.json", True, "might replace one"),
    ],
)
def test_invalid_output_paths_are_errors(small: Path, name: str, force: bool, sentence: str) -> None:
    (small.parent / "existing.onnx").touch()
    before = small.read_bytes()
    with pytest.raises(UsageError, match=sentence):
        export("torch", small.parent / name, small, force)
    assert small.read_bytes() == before


def test_force_replaces_an_existing_file(small: Path) -> None:
    path = small.parent / "existing.pt2"
    path.touch()
    assert_exported(export("torch", path, small, force=True))


def test_a_full_disk_is_one_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(UsageError, match="cannot be written: No space left"):
        export("torch", small.parent / "model.pt2", small)
    assert len(list(small.parent.iterdir())) == 2
