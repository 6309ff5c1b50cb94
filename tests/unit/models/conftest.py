from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from indexer.domain.emotions import EMOTIONS
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from models import checkpoint
from models.architectures.registry import architecture


def lite0_card(name: str = "tiny", size: int = 64) -> ModelCard:
    return ModelCard(name, "efficientnet_lite0", "", EMOTIONS, InputSpec(size, mean=127, std=128), 1280)


def lite0_state(seed: int = 0) -> Mapping[str, Tensor]:
    """Return random weights with batch norms that differ from the identity."""
    torch.manual_seed(seed)
    network = architecture("efficientnet_lite0").build(len(EMOTIONS), 64)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
            module.running_mean = torch.rand_like(module.weight.detach()) - 0.5
            module.running_var = torch.rand_like(module.weight.detach()) + 0.5
    return {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with random weights."""
    return checkpoint.save(tmp_path, lite0_card(), lite0_state())
