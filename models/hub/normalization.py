"""How a network of a hub wants the pixels of an image: the order of the channels, and their mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from indexer.domain.errors import ModelUnavailable

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels

CHANNELS = ("rgb", "bgr")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What timm assumes of a model that says nothing."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """Pixels, 0-255, become (x - mean) / std; `mean` and `std` are in the order of `channels`, "rgb" or "bgr"."""

    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_timm(cls, config: Mapping[str, Any], channels: str) -> Normalization:
        """Take mean and standard deviation, 0-1, from a `config.json` of timm. Raises ModelUnavailable for other values."""
        fields = {**config, **config.get("pretrained_cfg", {})}
        values = []
        for name, default in zip(("mean", "std"), _IMAGENET, strict=True):
            numbers = fields.get(name, default)
            if not isinstance(numbers, list | tuple) or len(numbers) != 3 or not all(isinstance(n, int | float) for n in numbers):
                raise ModelUnavailable(f"The {name} in the config.json of the model is not three numbers.")
            values.append(tuple(255.0 * number for number in numbers))
        if not all(number > 0 for number in values[1]):
            raise ModelUnavailable("The std in the config.json of the model is not three positive numbers.")
        return cls(channels, *values)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Normalization:
        """Take what `as_options` returned."""
        return cls(options["channels"], tuple(options["mean"]), tuple(options["std"]))

    def as_options(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"channels": self.channels, "mean": list(self.mean), "std": list(self.std)}

    def with_channels(self, channels: str) -> Normalization:
        """Return the same for another order of the channels."""
        return replace(self, channels=channels)

    def apply(self, pixels: Pixels) -> Floats:
        """Return images, uint8, (N, H, W, 3), RGB, as float32, in the order of the channels, normalized."""
        ordered = pixels[..., ::-1] if self.channels == "bgr" else pixels
        mean, std = np.array(self.mean, dtype=np.float32), np.array(self.std, dtype=np.float32)
        images: Floats = (ordered.astype(np.float32) - mean) / std
        return images
