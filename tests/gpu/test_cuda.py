"""Checks that need a GPU. They are skipped, with the reason, if torch sees no CUDA device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import zoo
from models.faces.detector import torch_face_detector
from models.inference.classifier import TorchClassifier
from models.inference.engines.pytorch import TorchEngine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]
ROOT = Path(__file__).parents[2]
SHIPPED = zoo.checkpoints()[zoo.DEFAULT]


def random_images(count: int) -> np.ndarray:
    """Return images of 16 x 16 blocks, uint8, (count, 128, 128, 3)."""
    blocks = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=1).repeat(8, axis=2)


def test_a_gpu_gives_the_results_of_the_cpu() -> None:
    images = random_images(40)
    on_gpu = TorchClassifier.open(SHIPPED, "cuda:0").classify(images)
    on_cpu = TorchClassifier.open(SHIPPED, "cpu").classify(images)
    assert (on_gpu.probabilities.argmax(axis=1) == on_cpu.probabilities.argmax(axis=1)).mean() >= 0.97
    assert ((on_gpu.embeddings * on_cpu.embeddings).sum(axis=1) / 2).mean() >= 0.999


def test_the_batch_size_is_measured_and_every_image_is_classified() -> None:
    classifier = TorchClassifier.open(SHIPPED, "cuda:0")
    assert classifier.batch_size >= 32 and classifier.streams == 2
    count = 2 * classifier.batch_size + 3
    assert classifier.classify(random_images(count)).embeddings.shape == (count, classifier.card.embedding_size)


def test_a_gpu_detects_as_many_faces_as_the_cpu() -> None:
    pages = [np.asarray(page) for page in random_images(6).repeat(4, axis=1).repeat(4, axis=2)]
    on_gpu, on_cpu = (torch_face_detector(device=device).detect(pages) for device in ("cuda:0", "cpu"))
    assert [len(faces) for faces in on_gpu] == [len(faces) for faces in on_cpu]


def test_out_of_memory_halves_the_batch_and_loses_no_image() -> None:
    """Run a module that needs 64 MB for each image on a device with 2 GB of free memory."""

    class MemoryHungryModule(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            expanded = pixels.float().mean(dim=(1, 2, 3))[:, None].expand(-1, 1 << 24).clone()
            return expanded[:, :1], expanded[:, :2]

    engine = TorchEngine(MemoryHungryModule(), torch.device("cuda", 0), 8, batch_size=256)
    free, _ = torch.cuda.mem_get_info(0)
    ballast = torch.empty(max(0, free - (2 << 30)), dtype=torch.uint8, device="cuda:0")
    images = np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(8, axis=1).repeat(8, axis=2).repeat(3, axis=3)
    first, second = engine.run(images)
    del ballast
    assert first[:, 0].tolist() == list(range(200)) and second.shape == (200, 2)
    assert engine.batch_size < 200


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_close_embeddings_under_another_model_key(precision: str) -> None:
    images = random_images(40)
    full, half = (TorchClassifier.open(SHIPPED, "cuda:0", precision=name) for name in ("fp32", precision))
    assert half.card.key != full.card.key
    full_scores, half_scores = full.classify(images), half.classify(images)
    assert ((full_scores.embeddings * half_scores.embeddings).sum(axis=1) / 2).mean() >= 0.99


def test_the_index_command_uses_the_gpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(tmp_path), "index", str(ROOT / "examples/images"), "--json"]
    done = subprocess.run([*command, "--require-gpu"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["device"].startswith("cuda:0") and summary["engine"] == "torch" and summary["failed"] == 0
