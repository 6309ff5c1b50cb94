"""Pictures a second of `moodex index`, beside the scripts one would write, and beside what the machine could do at most.

    python bench/index.py HEADS [--pictures N] [--rounds R]

HEADS is a folder of drawn pictures. Makes a folder of mixed pictures (bench/corpus.py), then measures, in turn and several
times: the command into an empty database, with its start-up; one file at a time with Pillow and torch, and a DataLoader with
workers, both over some of the pictures and without their start-up; and, for the ceiling, the CPU seconds a picture of decoding
alone and of the networks alone, one thread in each of as many processes as there are cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from indexer.imaging.decoder_pool import ENVIRONMENT  # noqa: E402

CORES = len(os.sched_getaffinity(0))
MODELS = {"moodex-lite0": "on", "moodex-lite0, whole pictures": "off", "resnet50, whole pictures": "off"}
WAYS = ("moodex", "one at a time", "loader", "decode", "networks")
SOME = 500
"""Pictures that the slow ways are measured on, evenly from all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "MODEL", "FOLDER"), help="measure one thing, in this process")
    options = parser.parse_args()
    if options.one:
        way, model, folder = options.one
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        print(json.dumps(MEASURES[way](model, paths[:: max(1, len(paths) // SOME)])))
        return
    from bench import corpus
    from bench.machine import machine

    results: dict[str, Any] = {"machine": machine(), "pictures": options.pictures, "rounds": options.rounds, "models": {}}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        corpus.make(folder, options.heads, options.pictures, workers=CORES)
        _resnet50(Path(scratch, "resnet50"))
        for model in MODELS:
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way in WAYS:
                    found[way].append(_run(way, model, folder, Path(scratch)))
                    print(model, way, found[way][-1], flush=True)
            results["models"][model] = _summary(found)
    path = ROOT / "bench" / "results" / "index"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def _summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds; ratios are taken within a round."""
    ways = {way: {key: round(median(run[key] for run in runs), 4) for key in runs[0]} for way, runs in found.items()}
    ceilings = [CORES / (d["cpu"] + n["cpu"]) for d, n in zip(found["decode"], found["networks"], strict=True)]
    rates = [run["rate"] for run in found["moodex"]]
    return {
        **ways,
        "ceiling": round(median(ceilings), 2),
        "share_of_ceiling": round(median(rate / ceiling for rate, ceiling in zip(rates, ceilings, strict=True)), 3),
        **{
            f"times_{way}": round(median(rate / run["rate"] for rate, run in zip(rates, found[way], strict=True)), 2)
            for way in ("one at a time", "loader")
        },
    }


def _run(way: str, model: str, folder: Path, scratch: Path) -> dict[str, float]:
    if way == "moodex":
        return _command(model, folder, scratch)
    together = CORES if way in ("decode", "networks") else 1
    command = [sys.executable, __file__, str(scratch), "--one", way, model, str(folder)]
    environment = {**os.environ, **(ENVIRONMENT if way == "decode" else {})}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=scratch, env=environment) for _ in range(together)]
    with Memory(processes) as memory:
        answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {key: median(answer[key] for answer in answers) for key in answers[0]} | {"peak_mb": memory.peak / 1e6}


def _command(model: str, folder: Path, scratch: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        network = str(scratch / "resnet50" / "resnet50.safetensors") if model.startswith("resnet50") else "moodex-lite0"
        options = ["--model", network, "--faces", MODELS[model], "--json"]
        command = [sys.executable, str(ROOT / "cli.py"), "--home", home, "index", str(folder), *options]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with Memory([process]) as memory:
            answer = json.loads(process.communicate()[0].splitlines()[-1])
        return {"rate": answer["indexed"] / (time.perf_counter() - started), "peak_mb": memory.peak / 1e6}


class Memory:
    """The resident memory of process trees, in bytes, looked at ten times a second: `seen`; shared pages count once each."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes, self.seen, self._over = processes, [0], threading.Event()
        self._thread = threading.Thread(target=self._watch)

    @property
    def peak(self) -> int:
        return max(self.seen)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.seen.append(sum(_resident(pid) for process in self._processes for pid in _tree(process.pid)))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _tree(int(child))


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _resnet50(folder: Path) -> None:
    """A ResNet50 with random weights: how fast it is does not depend on them."""
    import torch

    from indexer.domain.emotions import EMOTIONS
    from indexer.domain.images import InputSpec
    from indexer.domain.models import ModelCard
    from models import checkpoint
    from models.architectures.registry import architecture

    kind = architecture("resnet50")
    torch.manual_seed(0)
    network = kind.build(len(EMOTIONS), 224)
    card = ModelCard("resnet50", kind.name, "", EMOTIONS, InputSpec(224, kind.mean, kind.std), network.embedding_size)
    checkpoint.save(folder, card, network.state_dict())


class PlainEngine:
    """A module as a script would call it; else as `models.inference.engines.base.Engine`."""

    name, device, batch_size, streams = "plain torch", "cpu", 32, 0

    def __init__(self, module: Any) -> None:
        self._module = module

    def run(self, pixels: Any) -> Any:
        import torch

        with torch.inference_mode():
            return [part.numpy() for part in self._module(torch.from_numpy(pixels))]


class Plain:
    """The networks as one would use them from a script: neither folded nor in another memory layout, and all pictures decoded
    whole and resized by Pillow.
    """

    def __init__(self, model: str) -> None:
        from indexer.imaging import resize
        from models import checkpoint, zoo
        from models.architectures.network import NormalizedClassifier
        from models.architectures.registry import architecture
        from models.faces import checkpoint as faces
        from models.faces.card import SHIPPED
        from models.faces.detector import MEAN, STD, NetworkFaceDetector
        from models.faces.network import FaceNet, NormalizedDetector

        resize._fastest = lambda: resize.by_pillow
        path = Path("resnet50/resnet50.safetensors") if model.startswith("resnet50") else zoo.checkpoints()[zoo.DEFAULT]
        self.card, state = checkpoint.load(path)
        network = architecture(self.card.architecture).build(len(self.card.labels), self.card.input.size)
        network.load_state_dict(dict(state))
        self.network = NormalizedClassifier(network, self.card.input.mean, self.card.input.std).eval()
        self.detector = None
        if MODELS[model] == "on":
            card, weights = faces.load(SHIPPED)
            network = FaceNet()
            network.load_state_dict(weights)
            plain = PlainEngine(NormalizedDetector(network, MEAN, STD).eval())
            self.detector = NetworkFaceDetector(card, plain, lambda: plain)

    def decode(self, path: Path) -> Any:
        """A file as `indexer.domain.images.DecodedImage`, by Pillow alone."""
        from PIL import Image

        from indexer.analysis.face_crops import DETECTION_MAX_SIDE
        from indexer.domain.images import DecodedImage
        from indexer.imaging.decode import prepare

        with Image.open(path) as image:
            whole = image.convert("RGB")
        if self.detector:
            scale = min(1.0, DETECTION_MAX_SIDE / max(whole.size))
            page = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BICUBIC)
            return DecodedImage(b"", np.asarray(page), *whole.size, "")
        return DecodedImage(b"", prepare(whole, self.card.input), *whole.size, "")

    def predict(self, images: list[Any]) -> Any:
        import torch

        from indexer.analysis.face_crops import crop_views

        shown = crop_views(images, self.detector, self.card.input)
        pixels = np.stack([view.pixels for regions in shown for view in regions])
        with torch.inference_mode():
            return [part.numpy() for part in self.network(torch.from_numpy(pixels))]


def _one_at_a_time(model: str, paths: list[Path]) -> dict[str, float]:
    plain = Plain(model)
    plain.predict([plain.decode(paths[0])])
    started = time.perf_counter()
    for path in paths:
        plain.predict([plain.decode(path)])
    return {"rate": len(paths) / (time.perf_counter() - started)}


def _loader(model: str, paths: list[Path]) -> dict[str, float]:
    from torch.utils.data import DataLoader

    class Files:
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> Any:
            return plain.decode(paths[number])

    plain = Plain(model)
    plain.predict([plain.decode(paths[0])])
    started = time.perf_counter()
    for batch in DataLoader(Files(), batch_size=32, num_workers=CORES, collate_fn=list):  # type: ignore[arg-type]
        plain.predict(batch)
    return {"rate": len(paths) / (time.perf_counter() - started)}


def _reader(model: str) -> Any:
    """What `moodex index` computes with, in one thread."""
    from indexer.bootstrap import open_analyzer
    from indexer.settings import Settings

    network = "resnet50/resnet50.safetensors" if model.startswith("resnet50") else None
    return open_analyzer(Settings(Path("home"), model=network, faces=MODELS[model]), threads=1, few=False)


def _decode(model: str, paths: list[Path]) -> dict[str, float]:
    """CPU seconds a picture of reading, hashing and decoding."""
    reader = _reader(model)
    reader.decode(paths[0].read_bytes())
    started = time.process_time()
    for path in paths:
        reader.decode(path.read_bytes())
    return {"cpu": (time.process_time() - started) / len(paths)}


def _networks(model: str, paths: list[Path]) -> dict[str, float]:
    """CPU seconds a picture of the networks, in batches as `moodex index` takes them."""
    reader = _reader(model)
    images = [reader.decode(path.read_bytes()) for path in paths[:: max(1, len(paths) // 256)]]
    size = reader.classifier.batch_size
    reader.predict(images[:size])
    started = time.process_time()
    for start in range(0, len(images), size):
        reader.predict(images[start : start + size])
    return {"cpu": (time.process_time() - started) / len(images)}


MEASURES = {"one at a time": _one_at_a_time, "loader": _loader, "decode": _decode, "networks": _networks}


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Indexing",
        "",
        f"`python bench/index.py HEADS` on {results['machine']}: {results['pictures']} mixed pictures (JPEG of 256-3000",
        f"pixels, PNG, WebP, GIF), medians of {results['rounds']} rounds, all in fp32; moodex with its start-up, one by one and",
        f"the loader without theirs, over {SOME} of them. The ceiling is the number of cores by the CPU seconds of decoding and",
        "of the networks, each alone. MB: the process tree's memory at its highest.",
        "",
        "| model | moodex, a second | ceiling | share | one by one | times | loader | times | decode, ms | networks, ms | MB |",
        "|---" * 11 + "|",
    ]
    for name, one in results["models"].items():
        lines.append(
            f"| {name} | {one['moodex']['rate']:.1f} | {one['ceiling']:.1f} | {one['share_of_ceiling']:.2f} "
            f"| {one['one at a time']['rate']:.1f} | {one['times_one at a time']:.2f} | {one['loader']['rate']:.1f} "
            f"| {one['times_loader']:.2f} | {1000 * one['decode']['cpu']:.1f} | {1000 * one['networks']['cpu']:.1f} "
            f"| {one['moodex']['peak_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
