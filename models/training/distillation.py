"""Distillation: a network learns the outputs of one or more trained networks in addition to the labels.

The mean of several networks is right more often than each of them, but takes as many times longer. Hinton et al., "Distilling the
Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable
from models import checkpoint
from models.architectures.registry import architecture

if TYPE_CHECKING:
    from indexer.domain.images import InputSpec
    from models.architectures.network import Network

SHARPENING = 1.2
"""Factor of the mean logits of the teachers: where teachers differ, the mean gives its best label too small a probability."""


@dataclass(frozen=True, slots=True)
class Teachers:
    """Trained networks in evaluation mode on one device, with the labels and the input of the network that learns from them."""

    networks: tuple[Network, ...]

    @classmethod
    def open(cls, paths: Sequence[str], emotions: tuple[str, ...], spec: InputSpec, device: torch.device) -> Self:
        """Load checkpoints. Raises ModelUnavailable if one is missing, unreadable, or has other labels or another input."""
        networks = []
        for path in paths:
            card, state = checkpoint.load(Path(path))
            if card.labels != emotions:
                raise ModelUnavailable(
                    f"The teacher {path} has the labels {', '.join(card.labels)}; the images have {', '.join(emotions)}."
                )
            if card.input != spec:
                raise ModelUnavailable(
                    f"The teacher {path} reads images of {card.input.size} pixels, or with other normalization; the new network "
                    f"reads {spec.size} pixels."
                )
            network = architecture(card.architecture).build(len(card.labels), card.input.size)
            network.load_state_dict(dict(state))
            network.requires_grad_(False).eval()
            networks.append(network.to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
        return cls(tuple(networks))

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Return what the teachers predict for N normalized images: float32, (N, labels); rows sum to 1."""
        logits = torch.stack([network(x).logits.float() for network in self.networks])
        return functional.softmax(SHARPENING * logits.mean(dim=0), dim=1)


def distance(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over N images of the Kullback-Leibler divergence of predictions from `targets`, in nats: a scalar.

    `logits` and `targets`, probabilities, are float32, (N, labels).
    """
    return functional.kl_div(functional.log_softmax(logits, dim=1), targets, reduction="sum")
