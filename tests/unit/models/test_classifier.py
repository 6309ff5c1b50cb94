from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from indexer.domain.errors import DeviceUnavailable
from models import checkpoint
from models.architectures.registry import architecture
from models.inference.classifier import TorchClassifier
from models.inference.device import expand_device, select_device
from models.inference.engines.pytorch import TorchEngine, fastest_batch
from models.inference.engines.replicated import ReplicatedEngine
from models.inference.module import build_inference_module
from tests.support.scores import assert_same_scores
from tests.unit.models.conftest import lite0_card, lite0_state

if TYPE_CHECKING:
    from indexer.domain.types import Pixels
    from models.architectures.network import NormalizedClassifier
    from models.inference.engines.base import Outputs


def images(count: int, size: int = 64) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_a_classifier_equals_its_network(saved: Path) -> None:
    classifier = TorchClassifier.open(saved, "cpu")
    pixels = images(3)
    scores = classifier.classify(pixels)

    network = architecture("efficientnet_lite0").build(10, 64)
    network.load_state_dict(checkpoint.load(saved)[1])
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        logits, features, _ = network.eval()(x)
    embeddings = features / features.norm(dim=1, keepdim=True)
    assert np.allclose(scores.probabilities, logits.softmax(dim=1), atol=1e-4)
    assert np.allclose(scores.embeddings, embeddings, atol=1e-4)


def test_scores_are_probabilities_and_unit_vectors(saved: Path) -> None:
    scores = TorchClassifier.open(saved, "cpu").classify(images(2))
    assert scores.probabilities.dtype == scores.embeddings.dtype == np.float32
    assert scores.probabilities.shape == (2, 10) and scores.embeddings.shape == (2, 1280)
    assert np.allclose(scores.probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(scores.embeddings, axis=1), 1, atol=1e-5)


def test_the_batch_size_does_not_change_scores(saved: Path) -> None:
    pixels = images(5)
    single = TorchClassifier.open(saved, "cpu", batch_size=1).classify(pixels)
    batched = TorchClassifier.open(saved, "cpu", batch_size=4).classify(pixels)
    assert_same_scores(single.embeddings, batched.embeddings)


def test_a_classifier_does_not_change_its_input(saved: Path) -> None:
    pixels = images(2)
    before = pixels.copy()
    TorchClassifier.open(saved, "cpu").classify(pixels)
    assert np.array_equal(pixels, before)


def test_a_classifier_accepts_views_and_read_only_images(saved: Path) -> None:
    classifier = TorchClassifier.open(saved, "cpu")
    pixels = images(4)
    pixels.flags.writeable = False
    assert_same_scores(classifier.classify(pixels[::-1]).embeddings, classifier.classify(pixels).embeddings[::-1])


class LowMemoryEngine(TorchEngine):
    """Has memory for `room` images at a time."""

    room = 2

    def _forward(self, pixels: Pixels) -> Outputs:
        if len(pixels) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._forward(pixels)


def module() -> NormalizedClassifier:
    return build_inference_module(lite0_card(), lite0_state())


def test_out_of_memory_halves_the_batch_and_loses_no_image(caplog: pytest.LogCaptureFixture) -> None:
    pixels = images(11)
    engine = LowMemoryEngine(module(), torch.device("cpu"), 64, batch_size=8)
    with caplog.at_level(logging.WARNING):
        embeddings = engine.run(pixels)[1]
    expected = TorchEngine(module(), torch.device("cpu"), 64, batch_size=11).run(pixels)[1]
    assert_same_scores(embeddings, expected)
    assert engine.batch_size == 2
    assert [record.args for record in caplog.records] == [("cpu", 4), ("cpu", 2)]


def test_too_little_memory_for_one_image_is_an_error() -> None:
    engine = LowMemoryEngine(module(), torch.device("cpu"), 64, batch_size=8)
    engine.room = 0
    with pytest.raises(DeviceUnavailable, match="memory for one image"):
        engine.run(images(3))


@pytest.mark.parametrize(
    ("images_per_second", "chosen"),
    [
        ({32: 100, 64: 190, 128: 260, 256: 262, 512: 900}, 128),
        ({32: 100, 64: 101}, 32),
        ({32: 100, 64: 200}, 64),
        ({}, 0),
    ],
)
def test_batches_grow_while_they_fit_and_are_faster(images_per_second: dict[int, float], chosen: int) -> None:
    def seconds(size: int) -> float:
        if size not in images_per_second:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return size / images_per_second[size]

    assert fastest_batch(seconds) == chosen


def test_several_devices_share_batches_and_give_the_same_scores() -> None:
    engines = [TorchEngine(module(), torch.device("cpu"), 64, batch_size=size) for size in (4, 2)]
    replicated = ReplicatedEngine(engines)
    assert (replicated.name, replicated.device, replicated.batch_size, replicated.streams) == ("torch", "cpu, cpu", 2, 0)
    pixels = images(9)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(replicated.run, [pixels[start : start + 3] for start in range(0, 9, 3)] * 4))
    expected = engines[0].run(pixels)[1]
    assert_same_scores(np.concatenate([embeddings for _, embeddings in results[:3]]), expected)
    assert len(results) == 12


def test_a_device_that_fails_stays_in_use() -> None:
    engine = LowMemoryEngine(module(), torch.device("cpu"), 64, batch_size=8)
    engine.room = 0
    replicated = ReplicatedEngine([engine])
    for _ in range(3):
        with pytest.raises(DeviceUnavailable):
            replicated.run(images(1))


def test_auto_prefers_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [str(device) for device in expand_device(select_device("auto"))] == ["cuda:0", "cuda:1"]
    assert [str(device) for device in expand_device(select_device("cuda:1"))] == ["cuda:1"]
    assert [str(device) for device in expand_device(select_device("cpu"))] == ["cpu"]
    with pytest.raises(DeviceUnavailable, match=r"cuda:7 is not on this machine.*cuda:0, cuda:1, cpu"):
        select_device("cuda:7")


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps", "meta", "gpu", "tpu:x"])
def test_a_missing_device_is_an_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match=name):
        select_device(name)


def test_a_required_gpu_excludes_the_cpu(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="GPU is required"):
        TorchClassifier.open(saved, "auto", require_gpu=True)


def test_inference_needs_no_torchvision() -> None:
    import subprocess
    import sys

    script = "import sys, models.inference.module, models.inference.engines.pytorch; print('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
