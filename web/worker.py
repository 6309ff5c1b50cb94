"""The process that runs one task of the server.

It reads its order, one line of JSON, from its standard input, and writes events, each a line of JSON, to its standard output:
progress (`found`, `done`, `failed`, `total`), a `warning`, and at the end `state` with `result` or `error`. When its input ends,
the server has gone, and the task stops as on SIGTERM.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from indexer.bootstrap import open_input_decoder, open_library
from indexer.domain.errors import Interrupted, MoodexError
from indexer.settings import Settings
from indexer.system.optional import require_torch

if TYPE_CHECKING:
    from indexer.domain.types import Floats
    from indexer.library import Library

_UPDATE_SECONDS = 0.2
_HEAT_COLORS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Colors of heat from none to most, from dark violet to light yellow."""


class EventProgress:
    """Implements `indexer.ports.progress.Progress`: sends events, at most five each second."""

    def __init__(self, send: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._send, self._clock = send, clock
        self._facts: dict[str, Any] = {"found": 0, "done": 0, "failed": 0, "total": None}
        self._sent_at = float("-inf")

    def scanning(self, found: int) -> None:
        self._facts["found"] = found
        self._update()

    def start(self, total: int) -> None:
        self._facts |= {"done": 0, "failed": 0, "total": total}
        self._update(at_once=True)

    def advance(self, done: int, failed: int) -> None:
        self._facts["done"] += done
        self._facts["failed"] += failed
        self._update()

    def finish(self) -> None:
        self._update(at_once=True)

    def warn(self, sentence: str) -> None:
        self._send({"warning": sentence})

    def _update(self, at_once: bool = False) -> None:
        now = self._clock()
        if at_once or now - self._sent_at >= _UPDATE_SECONDS:
            self._sent_at = now
            self._send(dict(self._facts))


def run(order: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> None:
    """Run a task and send its events, the last of which tells how it ended."""
    facts = order["settings"]
    settings = Settings(**{**facts, "home": Path(facts["home"]), "exclude": tuple(facts["exclude"])})
    try:
        result = _KINDS[order["kind"]](open_library(settings), order, EventProgress(send))
    except Interrupted as stop:
        send({"state": "interrupted", "error": str(stop)})
    except MoodexError as error:
        send({"state": "failed", "error": str(error)})
    except Exception as error:
        send({"state": "failed", "error": f"Unexpected {type(error).__name__}: {error}."})
        raise
    else:
        send({"state": "done", "result": result})


def _index(library: Library, order: dict[str, Any], progress: EventProgress) -> dict[str, Any]:
    from indexer.ingest import service
    from indexer.ingest.run import IndexRequest

    request = IndexRequest(force=order["force"], verify=order["verify"])
    return service.index(library, [os.fsencode(root) for root in order["roots"]], request, progress).as_dict()


def _teach(library: Library, order: dict[str, Any], progress: EventProgress) -> dict[str, Any]:
    from dataclasses import asdict

    from indexer.teaching import service

    return asdict(service.teach(library, order["name"], progress))


def _undo(library: Library, _order: dict[str, Any], progress: EventProgress) -> dict[str, Any]:
    from dataclasses import asdict

    from indexer.teaching import service

    return asdict(service.undo_teaching(library, progress))


def _check(library: Library, _order: dict[str, Any], progress: EventProgress) -> dict[str, Any]:
    from indexer.maintenance import service
    from indexer.plain_data.library import doctor_as_dict

    return doctor_as_dict(service.check(library, False, progress))


def _map(library: Library, _order: dict[str, Any], progress: EventProgress) -> dict[str, Any]:
    from dataclasses import asdict

    from indexer.mapping.make import make_map

    return asdict(make_map(library, progress))


def _explain(library: Library, order: dict[str, Any], _progress: EventProgress) -> dict[str, Any]:
    """Explain an emotion in an image, which child processes decode; the pictures are PNG in data URLs."""
    require_torch("An explanation", "train")
    from PIL import Image

    from indexer.imaging.decoder_pool import DecoderPool
    from models.training import service

    weights, path = library.models.weights(), Path(order["path"])
    decoders = DecoderPool()
    try:
        decoder = open_input_decoder(library.settings, decoders)
        explained = service.explain_image(weights, path, decoder, order["emotion"], "grad-cam")
    finally:
        decoders.end()
    return {
        "emotion": explained.emotion,
        "probability": round(explained.probability, 4),
        "method": explained.method,
        "image": _data_url(Image.fromarray(explained.image)),
        "heat": _data_url(Image.fromarray(_colored(explained.heat), "RGBA")),
    }


_KINDS: dict[str, Callable[[Library, dict[str, Any], EventProgress], dict[str, Any]]] = {
    "index": _index,
    "teach": _teach,
    "undo": _undo,
    "check": _check,
    "map": _map,
    "explain": _explain,
}


def _colored(heat: Floats) -> Any:
    """Return a heat map, float32, (H, W), 0-1, as colors, uint8, (H, W, 4), that are more transparent the less heat there is."""
    import numpy as np

    stops = np.linspace(0, 1, len(_HEAT_COLORS))
    channels = [np.interp(heat, stops, [color[channel] for color in _HEAT_COLORS]) for channel in range(3)]
    return np.stack([*channels, 255 * (0.15 + 0.7 * heat)], axis=-1).round().astype(np.uint8)


def _data_url(image: Any) -> str:
    encoded = BytesIO()
    image.save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")


def _stop_at_end_of(pipe: IO[str]) -> None:
    """Stop this process, as on SIGTERM, when a pipe ends."""

    def wait() -> None:
        with suppress(OSError, ValueError):
            pipe.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def main() -> None:
    """Run the task of the order on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = json.loads(sys.stdin.readline())
    _stop_at_end_of(sys.stdin)
    events = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not mix with the events
    lock = threading.Lock()

    def send(event: dict[str, Any]) -> None:
        with lock, suppress(BrokenPipeError):
            events.write(json.dumps(event) + "\n")
            events.flush()

    run(order, send)
    events.close()
    sys.stdout.flush()
    os._exit(0)  # the thread that waits for the parent would keep the process


if __name__ == "__main__":
    main()
