from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from indexer.domain.errors import ModelUnavailable
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from models import checkpoint
from models.architectures.registry import ARCHITECTURES, architecture
from models.inference.classifier import TorchClassifier
from models.training.initial_weights import initialize_network

SIZE = 64
LABELS = ("happy", "sad", "angry")
MODIFIED = (
    "baseline_cnn+leaky_relu+batch_norm+dense64x2+dropout",
    "googlenet+leaky_relu+plain+extra_inception",
    "googlenet+dense64x2",
    "resnet50+dense64",
)

PARAMETERS = {
    # As published, without the last layer: by Keras for the CNN of the study at 224 pixels, by torchvision for the others.
    ("baseline_cnn", 224): 11_132_423 - 455,
    ("googlenet", 224): 6_624_904 - 1_025_000,
    ("resnet50", 224): 25_557_032 - 2_049_000,
    ("mobilenet_v3_large", 224): 5_483_032 - 1_281_000,
    ("vit_b_16", 224): 86_567_656 - 769_000,
}


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MODIFIED])
def test_scores_and_embeddings_survive_the_checkpoint(name: str, tmp_path: Path) -> None:
    kind = architecture(name)
    torch.manual_seed(0)
    network = kind.build(len(LABELS), SIZE).eval()
    card = ModelCard("net", kind.name, "", LABELS, InputSpec(SIZE, kind.mean, kind.std), network.embedding_size)
    classifier = TorchClassifier.open(checkpoint.save(tmp_path, card, network.state_dict()), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)
    scores = classifier.classify(pixels)
    assert scores.probabilities.shape == (2, 3) and scores.embeddings.shape == (2, network.embedding_size)
    with torch.inference_mode():
        output = network((torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - kind.mean) / kind.std)
    # Checkpoints hold matrices as float16.
    assert np.allclose(scores.probabilities, output.logits.softmax(dim=1), atol=5e-3)
    assert np.allclose((scores.embeddings * nn.functional.normalize(output.features).numpy()).sum(axis=1), 1, atol=1e-2)
    assert torch.equal(output.embedding, nn.functional.normalize(output.features))
    assert dict(network.named_modules())[kind.maps] is not None


@pytest.mark.parametrize("name", [*ARCHITECTURES, *MODIFIED])
def test_folding_preserves_the_output_and_removes_all_batch_norms(name: str) -> None:
    torch.manual_seed(0)
    network = architecture(name).build(len(LABELS), SIZE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean = 0.1 * torch.randn_like(module.bias.detach())
            module.running_var = torch.rand_like(module.bias.detach()) + 0.5
    network.eval()
    x = torch.rand(2, 3, SIZE, SIZE)
    with torch.inference_mode():
        before = network(x)
        network.fold()
        after = network(x)
    for original, folded in zip(before, after, strict=True):
        torch.testing.assert_close(original, folded, atol=1e-3 * float(original.abs().max()), rtol=1e-3)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("name", "size"), PARAMETERS)
def test_the_number_of_parameters_is_the_published_one(name: str, size: int) -> None:
    with torch.device("meta"):
        network = architecture(name).build(7, size)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count - sum(parameter.numel() for parameter in network.classifier.parameters()) == PARAMETERS[name, size]


def test_modifiers_change_the_network() -> None:
    plain, leaky = architecture("googlenet+plain").build(3, SIZE), architecture("googlenet+leaky_relu").build(3, SIZE)
    kinds = [type(module) for module in plain.modules()]
    assert nn.BatchNorm2d not in kinds and nn.LeakyReLU not in kinds
    assert {nn.BatchNorm2d, nn.LeakyReLU} <= {type(module) for module in leaky.modules()}
    extended = architecture("googlenet+extra_inception").build(3, SIZE)
    inceptions = [sum(type(module).__name__ == "Inception" for module in network.modules()) for network in (plain, extended)]
    assert inceptions == [9, 11]
    deep = architecture("resnet18+dense64x2+dropout").build(3, SIZE)
    assert [module.out_features for module in deep.neck.modules() if isinstance(module, nn.Linear)] == [64, 64]
    assert deep.dropout.p == 0.5 and deep.embedding_size == 64


def test_the_order_of_modifiers_does_not_matter() -> None:
    assert architecture("googlenet+dropout+plain").name == architecture("googlenet+plain+dropout").name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("resnet9000", "no architecture 'resnet9000'"),
        ("resnet50+plain", "does not support the modifier 'plain'"),
        ("", "no architecture ''"),
    ],
)
def test_an_unknown_name_is_an_error(name: str, sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=sentence):
        architecture(name)


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty download cache of torchvision."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def published_resnet18() -> dict[str, torch.Tensor]:
    from torchvision.models import resnet18

    torch.manual_seed(3)
    return dict(resnet18(weights=None).state_dict())


def test_imagenet_weights_come_from_torchvisions_cache(torch_home: Path) -> None:
    published = published_resnet18()
    torch.save(published, torch_home / "resnet18-f37072fd.pth")
    network = initialize_network(architecture("resnet18+dense64"), "imagenet", LABELS, SIZE)
    assert torch.equal(network.state_dict()["body.layer4.1.conv2.weight"], published["layer4.1.conv2.weight"])
    assert not network.classifier.weight.any()


def test_imagenet_weights_that_cannot_be_downloaded_are_an_error(torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import ResNet18_Weights

    nowhere = (torch_home / "none" / "resnet18-f37072fd.pth").as_uri()
    monkeypatch.setattr(type(ResNet18_Weights.IMAGENET1K_V1), "url", property(lambda _: nowhere))
    with pytest.raises(ModelUnavailable, match=r"cannot be downloaded from file:.*--weights FILE"):
        initialize_network(architecture("resnet18"), "imagenet", LABELS, SIZE)


def test_published_weights_come_from_a_file(tmp_path: Path) -> None:
    published = published_resnet18()
    torch.save(published, tmp_path / "mine.pth")
    network = initialize_network(architecture("resnet18"), str(tmp_path / "mine.pth"), LABELS, SIZE)
    assert torch.equal(network.state_dict()["body.conv1.weight"], published["conv1.weight"])


def test_the_position_embedding_of_a_transformer_is_resized_to_the_input(tmp_path: Path) -> None:
    from torchvision.models import vit_b_16

    torch.manual_seed(0)
    torch.save(vit_b_16(weights=None, image_size=96).state_dict(), tmp_path / "vit.pth")
    network = initialize_network(architecture("vit_b_16"), str(tmp_path / "vit.pth"), LABELS, SIZE)
    assert network.state_dict()["body.encoder.pos_embedding"].shape == (1, 1 + (SIZE // 16) ** 2, 768)


class CommandPickle:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("echo run > ran",)


def test_a_pickle_in_weights_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": CommandPickle()}, tmp_path / "trap.pth")
    with pytest.raises(ModelUnavailable, match="not a file of weights alone"):
        initialize_network(architecture("resnet18"), str(tmp_path / "trap.pth"), LABELS, SIZE)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "weights", "sentence"),
    [
        ("resnet50", "small.pth", "layer1.0.conv1.weight has shape"),
        ("googlenet", "small.pth", "has no weights of googlenet"),
        ("resnet18", "none.pth", "cannot be read"),
        ("resnet18", "text.pth", "not a file of weights alone"),
        ("resnet18", "list.pth", "is not a state dict"),
        ("baseline_cnn", "small.pth", "no published weights"),
        ("baseline_cnn", "imagenet", "no ImageNet weights for baseline_cnn"),
    ],
)
def test_weights_that_do_not_fit_are_an_error(tmp_path: Path, name: str, weights: str, sentence: str) -> None:
    torch.save(published_resnet18(), tmp_path / "small.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("weights")
    source = weights if weights == "imagenet" else str(tmp_path / weights)
    with pytest.raises(ModelUnavailable, match=sentence):
        initialize_network(architecture(name), source, LABELS, SIZE)
