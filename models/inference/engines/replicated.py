"""Several devices as one engine, which passes each batch to a free device."""

from __future__ import annotations

from collections.abc import Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from indexer.domain.types import Pixels
    from models.inference.engines.base import Engine, Outputs


class ReplicatedEngine:
    """Implements `models.inference.engines.base.Engine` with several engines of the same network."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._free: SimpleQueue[Engine] = SimpleQueue()
        # The engines alternate in the queue, so that the first batches go to different devices.
        for stream in range(max(max(1, engine.streams) for engine in engines)):
            for engine in engines:
                if stream < max(1, engine.streams):
                    self._free.put(engine)

    @property
    def name(self) -> str:
        return self._engines[0].name

    @property
    def device(self) -> str:
        return ", ".join(engine.device for engine in self._engines)

    @property
    def batch_size(self) -> int:
        return min(engine.batch_size for engine in self._engines)

    @property
    def streams(self) -> int:
        return sum(engine.streams for engine in self._engines)

    def run(self, pixels: Pixels) -> Outputs:
        engine = self._free.get()
        try:
            return engine.run(pixels)
        finally:
            self._free.put(engine)
