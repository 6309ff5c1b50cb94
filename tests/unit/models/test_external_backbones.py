"""Backbones of timm and open_clip, without their published weights, which would need the internet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.errors import ModelUnavailable
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from models import checkpoint
from models.architectures.registry import architecture
from models.inference.classifier import TorchClassifier
from models.training.attribution import heat_maps
from models.training.initial_weights import initialize_network

SIZE = 64
LABELS = ("happy", "sad")
WIDTHS = {
    "timm:resnet18.a1_in1k": 512,
    "timm:vit_tiny_patch16_224": 192,
    "timm:mobilenetv3_small_050": 1024,
    "open_clip:tiny": 32,
}
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1},
}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(autouse=True)
def tiny_clip(tmp_path: Path) -> None:
    """Register a tiny network: the smallest of open_clip has 100 million weights."""
    import open_clip

    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "tiny.json")


@pytest.mark.parametrize("name", WIDTHS)
def test_scores_and_embeddings_survive_the_checkpoint(name: str, tmp_path: Path) -> None:
    kind = architecture(f"{name}+unit")
    torch.manual_seed(0)
    network = kind.build(2, SIZE).eval()
    assert network.embedding_size == WIDTHS[name]
    card = ModelCard("net", kind.name, "", LABELS, InputSpec(SIZE, kind.mean, kind.std), network.embedding_size)
    classifier = TorchClassifier.open(checkpoint.save(tmp_path, card, network.state_dict()), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    scores = classifier.classify(pixels)
    with torch.inference_mode():
        logits = network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255).logits
    assert np.allclose(scores.probabilities, logits.softmax(dim=1), atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(scores.embeddings, axis=1), 1, atol=1e-5)


def test_published_weights_come_from_a_file(tmp_path: Path) -> None:
    import timm

    published = timm.create_model("resnet18", num_classes=0).state_dict()
    torch.save(published, tmp_path / "mine.pth")
    network = initialize_network(architecture("timm:resnet18"), str(tmp_path / "mine.pth"), LABELS, SIZE)
    assert torch.equal(network.state_dict()["body.layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])


def test_a_timm_network_has_heat_maps() -> None:
    kind = architecture("timm:resnet18")
    network = kind.build(2, SIZE).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    assert heat_maps(network, kind, pixels, np.array([0]), "grad-cam").shape == (1, SIZE, SIZE)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("timm:resnet81", "timm has no network 'resnet81'. Did you mean resnet"),
        ("open_clip:ViT-B-33", "open_clip has no network 'ViT-B-33'. Did you mean ViT-B"),
        ("keras:resnet50", "no architecture 'keras:resnet50'.*timm:NAME or open_clip:NAME"),
        ("timm:resnet18+plain", "does not support the modifier 'plain'"),
    ],
)
def test_an_unknown_name_is_an_error(name: str, sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=sentence):
        architecture(name).build(2, SIZE)


def test_open_clip_needs_the_name_of_weights() -> None:
    with pytest.raises(ModelUnavailable, match="open_clip:RN50/WEIGHTS, one of .*openai"):
        initialize_network(architecture("open_clip:RN50"), "imagenet", LABELS, 64)
