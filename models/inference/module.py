"""Conversion of checkpoints to torch modules for inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.architectures.network import NormalizedClassifier
from models.architectures.registry import architecture

if TYPE_CHECKING:
    from indexer.domain.models import ModelCard


def build_inference_module(card: ModelCard, state: Mapping[str, Tensor]) -> NormalizedClassifier:
    """Build the network of a checkpoint for evaluation, on the CPU, with fused batch norms.

    `state` are the weights by name, float32, as `models.checkpoint.load` returns them. Raises ModelUnavailable for an unknown
    architecture, RuntimeError for weights of another network.
    """
    with torch.device("meta"):
        network = architecture(card.architecture).build(len(card.labels), card.input.size)
    network.load_state_dict(dict(state), assign=True)
    network.fold()
    network.requires_grad_(False)
    return NormalizedClassifier(network, card.input.mean, card.input.std).eval()
