"""What only a GPU can show; skipped, saying so, where torch sees none."""

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


def pictures(count: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def test_a_gpu_says_what_the_cpu_says() -> None:
    given = pictures(40)
    on_gpu = TorchClassifier.open(SHIPPED, "cuda:0").classify(given)
    on_cpu = TorchClassifier.open(SHIPPED, "cpu").classify(given)
    assert (on_gpu.probabilities.argmax(axis=1) == on_cpu.probabilities.argmax(axis=1)).mean() >= 0.97
    assert ((on_gpu.embeddings * on_cpu.embeddings).sum(axis=1) / 2).mean() >= 0.999


def test_the_batch_size_is_measured_and_every_picture_answered() -> None:
    classifier = TorchClassifier.open(SHIPPED, "cuda:0")
    assert classifier.batch_size >= 32 and classifier.streams == 2
    count = 2 * classifier.batch_size + 3
    assert classifier.classify(pictures(count)).embeddings.shape == (count, classifier.card.embedding_size)


def test_faces_are_found_on_a_gpu_as_on_the_cpu() -> None:
    pages = [np.asarray(page) for page in pictures(6).repeat(4, axis=1).repeat(4, axis=2)]
    on_gpu, on_cpu = (torch_face_detector(device=device).detect(pages) for device in ("cuda:0", "cpu"))
    assert [len(faces) for faces in on_gpu] == [len(faces) for faces in on_cpu]


def test_out_of_memory_halves_the_batch_and_loses_no_picture() -> None:
    """A module that needs 64 MB a picture on a device of which nearly all is taken."""

    class Greedy(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            taken = pixels.float().mean(dim=(1, 2, 3))[:, None].expand(-1, 1 << 24).clone()
            return taken[:, :1], taken[:, :2]

    engine = TorchEngine(Greedy(), torch.device("cuda", 0), 8, batch_size=256)
    free, _ = torch.cuda.mem_get_info(0)
    hog = torch.empty(max(0, free - (2 << 30)), dtype=torch.uint8, device="cuda:0")
    given = np.arange(200, dtype=np.uint8)[:, None, None, None].repeat(8, axis=1).repeat(8, axis=2).repeat(3, axis=3)
    first, second = engine.run(given)
    del hog
    assert first[:, 0].tolist() == list(range(200)) and second.shape == (200, 2)
    assert engine.batch_size < 200


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_another_model(precision: str) -> None:
    given = pictures(40)
    full, half = (TorchClassifier.open(SHIPPED, "cuda:0", precision=one) for one in ("fp32", precision))
    assert half.card.key != full.card.key
    one, other = full.classify(given), half.classify(given)
    assert ((one.embeddings * other.embeddings).sum(axis=1) / 2).mean() >= 0.99


def test_the_command_uses_the_gpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(tmp_path), "index", str(ROOT / "examples/images"), "--json"]
    done = subprocess.run([*command, "--require-gpu"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["device"].startswith("cuda:0") and summary["engine"] == "torch" and summary["failed"] == 0
