"""A network on a device, whatever computes it. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from indexer.domain.types import Floats, Pixels

    Outputs = tuple[Floats, Floats]


class Engine(Protocol):
    """Pictures in, two arrays out. Safe in several threads."""

    @property
    def name(self) -> str:
        """What computes, as "torch" or "onnx"."""

    @property
    def device(self) -> str:
        """Where, as "cpu" or "cuda:0"."""

    @property
    def batch_size(self) -> int:
        """How many pictures to hand over at a time."""

    @property
    def streams(self) -> int:
        """How many batches a device of its own takes at once; 0 where the threads that hand them over compute themselves."""

    def run(self, pixels: Pixels) -> Outputs:
        """What the network makes of N pictures, uint8, (N, S, S, 3), RGB: float32 arrays, a row a picture. N >= 1.

        Raises DeviceUnavailable where not even one picture fits the device.
        """
