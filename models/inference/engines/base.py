"""The interface of engines. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels

    Outputs = tuple[Floats, Floats]


class Engine(Protocol):
    """A network on a device, which computes two arrays from images. Thread-safe."""

    @property
    def name(self) -> str:
        """The library: "torch" or "onnx"."""

    @property
    def device(self) -> str:
        """The device, such as "cpu" or "cuda:0"."""

    @property
    def batch_size(self) -> int:
        """The preferred number of images per call."""

    @property
    def streams(self) -> int:
        """The number of batches that the device computes in parallel; 0 if the calling thread computes."""

    def run(self, pixels: Pixels) -> Outputs:
        """Compute the outputs of N >= 1 images, uint8, (N, S, S, 3), RGB.

        Returns two float32 arrays with one row per image. Raises DeviceUnavailable if the device has too little memory for one
        image.
        """
