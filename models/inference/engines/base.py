"""The interface of engines. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels

    Outputs = tuple[Floats, Floats]


class Engine(Protocol):
    """A network on a device: images in, two arrays out. Thread-safe."""

    @property
    def name(self) -> str:
        """The library, "torch" or "onnx"."""

    @property
    def device(self) -> str:
        """The device, as "cpu" or "cuda:0"."""

    @property
    def batch_size(self) -> int:
        """Recommended number of images per call."""

    @property
    def streams(self) -> int:
        """Number of batches that a GPU takes at once; 0 if the calling threads compute themselves."""

    def run(self, pixels: Pixels) -> Outputs:
        """Compute N >= 1 images, uint8, (N, S, S, 3), RGB: two float32 arrays with one row per image.

        Raises DeviceUnavailable if the device has too little memory for one image.
        """
