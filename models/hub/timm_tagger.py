"""Taggers as networks of timm, with PyTorch on any device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable
from indexer.system.optional import require
from models.hub.normalization import Normalization
from models.safetensors_io import NO_TENSORS

if TYPE_CHECKING:
    from indexer.domain.types import Pixels

_TOLERANCE = 1e-4


class TimmTagger(nn.Module):
    """A network of timm with a sigmoid, and the input of its last layer.

    - Input: uint8, (N, size, size, 3), RGB.
    - Output: the probabilities of tags, float, (N, tags), and embeddings of length 1, float, (N, embedding size).
    """

    def __init__(self, body: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.body = body
        self._is_bgr = normalization.channels == "bgr"
        self.register_buffer("mean", torch.tensor(normalization.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(1, 3, 1, 1), persistent=False)

    def normalized(self, pixels: Tensor) -> Tensor:
        """Return the input of the body, float, (N, 3, size, size)."""
        images = pixels.permute(0, 3, 1, 2).float()
        images = images.flip(1) if self._is_bgr else images
        return (images - self.mean) / self.std  # type: ignore[operator]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        body: Any = self.body
        features: Tensor = body.forward_head(body.forward_features(self.normalized(pixels)), pre_logits=True)
        tags: Tensor = body.get_classifier()(features)
        return tags.sigmoid(), functional.normalize(features, dim=1)

    @torch.inference_mode()
    def check(self, pixels: Pixels) -> None:
        """Raise ModelUnavailable if the last layer is not where timm says, so that the tags would differ from timm's own."""
        images = torch.from_numpy(pixels)
        difference = (self(images)[0] - self.body(self.normalized(images)).sigmoid()).abs().max()
        if not difference <= _TOLERANCE:
            raise ModelUnavailable("The last layer of this network of timm is not found, so it gives no embeddings.")


def build_tagger(config: Mapping[str, Any], weights: bytes, normalization: Normalization, name: str) -> TimmTagger:
    """Build the network that a `config.json` of timm describes, with weights in the format safetensors.

    `name` is that of the repository. Raises ModelUnavailable for an unknown network and for weights of another one, MissingExtra.
    """
    require("timm", "timm", "backbones", "A network of timm")
    import timm

    architecture, fields = str(config.get("architecture", "")), config.get("pretrained_cfg", {})
    if not timm.is_model(architecture):
        raise ModelUnavailable(f"{name} is of the network {architecture!r}, which timm {timm.__version__} does not have.")
    try:
        state = load(weights)
    except NO_TENSORS as error:
        raise ModelUnavailable(f"The weights of {name} are not a safetensors file: {_first_line(error)}.") from error
    arguments = {**_pooling(config), "num_classes": tag_count(config), **config.get("model_args", {})}
    try:
        body = timm.create_model(architecture, pretrained=False, pretrained_cfg=fields or None, **arguments)
        body.load_state_dict(state)
    except Exception as error:  # networks raise many types of errors for unsuitable arguments
        raise ModelUnavailable(f"The weights of {name} are not those of {architecture}: {_first_line(error)}.") from error
    return TimmTagger(body.eval().requires_grad_(False), normalization)


def input_size(config: Mapping[str, Any], name: str) -> int:
    """Return the side of the input in pixels. Raises ModelUnavailable if it is not a square of three channels."""
    shape = config.get("pretrained_cfg", config).get("input_size")
    if not isinstance(shape, list) or len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2] or not isinstance(shape[1], int):
        raise ModelUnavailable(f"The input_size in the config.json of {name} is {shape!r}, not a square of three channels.")
    return shape[1]


def tag_count(config: Mapping[str, Any]) -> int:
    """Return the number of tags. Raises ModelUnavailable if the configuration does not name it."""
    count = config.get("num_classes", config.get("pretrained_cfg", {}).get("num_classes"))
    if not isinstance(count, int) or count < 1:
        raise ModelUnavailable("The config.json of the model does not name the number of its tags, num_classes.")
    return count


def _pooling(config: Mapping[str, Any]) -> dict[str, Any]:
    return {"global_pool": config["global_pool"]} if config.get("global_pool") else {}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")[:200]
