"""CLIP and SigLIP as networks of open_clip and transformers, with PyTorch on any device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable
from indexer.domain.hub import OPEN_CLIP
from indexer.system.optional import require
from models.hub.tokens import EXTRA
from models.safetensors_io import NO_TENSORS

if TYPE_CHECKING:
    from models.hub.normalization import Normalization


class ClipNetwork(nn.Module):
    """A network with an image encoder and a text encoder.

    - Input: images, uint8, (N, size, size, 3), RGB.
    - Output: features of images, float, (N, D), and the same at length 1, which are the embeddings.
    """

    def __init__(self, network: nn.Module, library: _Library, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self._library = library
        self.register_buffer("mean", torch.tensor(normalization.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalization.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std  # type: ignore[operator]
        features = self._library.encode_images(self.network, images)
        return features, functional.normalize(features, dim=1)

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Return vectors of length 1, float, (N, D), for the tokens of texts, int64, (N, context length)."""
        return functional.normalize(self._library.encode_texts(self.network, tokens), dim=1)

    @property
    def scale_and_bias(self) -> tuple[float, float | None]:
        """The factor and the summand of cosine similarities; CLIP has no summand."""
        network: Any = self.network
        bias = getattr(network, "logit_bias", None)
        return float(network.logit_scale.exp()), None if bias is None else float(bias)

    @property
    def vocabulary_size(self) -> int:
        """The number of different tokens."""
        return self._library.token_embedding(self.network).num_embeddings


class TextEncoderModule(nn.Module):
    """The text encoder of a network as a module, as an export needs it."""

    def __init__(self, network: ClipNetwork) -> None:
        super().__init__()
        self.clip = network

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.encode_tokens(tokens)


@dataclass(frozen=True, slots=True)
class _Library:
    """How a library computes features: of images, (N, 3, size, size), and of tokens, (N, context length)."""

    encode_images: Callable[[Any, Tensor], Tensor]
    encode_texts: Callable[[Any, Tensor], Tensor]
    token_embedding: Callable[[Any], nn.Embedding]


_OPEN_CLIP = _Library(
    lambda network, images: network.encode_image(images),
    lambda network, tokens: network.encode_text(tokens),
    lambda network: getattr(network, "text", network).token_embedding,
)
_TRANSFORMERS = _Library(
    lambda network, images: network.get_image_features(pixel_values=images).pooler_output,
    lambda network, tokens: network.get_text_features(input_ids=tokens).pooler_output,
    lambda network: network.text_model.embeddings.token_embedding,
)


def build_clip(kind: str, config: Mapping[str, Any], weights: bytes, normalization: Normalization, name: str) -> ClipNetwork:
    """Build the network that a configuration describes, with weights in the format safetensors.

    `kind` is one of `models.hub.layout`, `name` that of the repository. Raises ModelUnavailable for an unknown network and for
    weights of another one, MissingExtra.
    """
    try:
        state = load(weights)
    except NO_TENSORS as error:
        raise ModelUnavailable(f"The weights of {name} are not a safetensors file: {_first_line(error)}.") from error
    is_open_clip = kind == OPEN_CLIP
    build = _open_clip if is_open_clip else _transformers
    try:
        network = build(config, state, name)
    except ModelUnavailable:
        raise
    except Exception as error:  # networks raise many types of errors for unsuitable configurations
        raise ModelUnavailable(f"The weights of {name} are not those of its configuration: {_first_line(error)}.") from error
    network = network.float().eval().requires_grad_(False)
    return ClipNetwork(network, _OPEN_CLIP if is_open_clip else _TRANSFORMERS, normalization)


def _open_clip(config: Mapping[str, Any], state: dict[str, Tensor], name: str) -> nn.Module:
    require("open_clip", "open-clip-torch", EXTRA, f"The model {name}")
    import open_clip

    fields = deepcopy(dict(config["model_cfg"]))
    if "multimodal_cfg" in fields or fields["text_cfg"].get("hf_model_name"):
        raise ModelUnavailable(
            f"{name} is CoCa, or has the text encoder of another repository, which moodex does not open; choose another model."
        )
    if "timm_model_name" in fields["vision_cfg"]:
        fields["vision_cfg"]["timm_model_pretrained"] = False
    kind = open_clip.CustomTextCLIP if fields.pop("custom_text", False) else open_clip.CLIP
    network: nn.Module = kind(**fields)
    own = network.state_dict()
    # Published files have scale and bias as numbers or as vectors of one number.
    scalars = {key: values.reshape(own[key].shape) for key, values in state.items() if key in own and values.numel() == 1}
    network.load_state_dict({**state, **scalars})
    return network


def _transformers(config: Mapping[str, Any], state: dict[str, Tensor], name: str) -> nn.Module:
    require("transformers", "transformers", EXTRA, f"The model {name}")
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    kinds: dict[str, Any] = {"clip": (CLIPConfig, CLIPModel), "siglip": (SiglipConfig, SiglipModel)}
    config_kind, model_kind = kinds[config["model_type"]]
    network: nn.Module = model_kind(config_kind.from_dict(dict(config)))
    # Older files hold the numbers of positions, which are no weights.
    weights = {key: values for key, values in state.items() if not key.endswith("position_ids")}
    network.load_state_dict(weights)
    return network


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")[:200]
