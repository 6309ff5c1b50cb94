"""Measure how many images a second `moodex index` handles, compare it with plain scripts and with the machine's maximum.

    python bench/index.py HEADS [--images N] [--rounds R] [--former CHECKOUT]

HEADS is a folder of drawn heads (PNG). The script makes a folder of mixed images (bench/corpus.py). Each round then measures
in turn: the command into an empty database, start-up included; with `--former`, the same command of another checkout; one file
at a time with Pillow and torch, and a DataLoader with workers, both over 500 of the images and without their start-up; and, for
the ceiling, the CPU seconds an image of decoding alone and of the networks alone, with one thread in each of as many processes
as there are cores.
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
MODELS = {"moodex-lite0": "on", "moodex-lite0, whole images": "off", "resnet50, whole images": "off"}
WAYS = ("moodex", "one at a time", "loader", "decode", "networks")
SAMPLE_SIZE = 500
"""The slow ways are measured on this many images, spread evenly over all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--former", type=Path, help="another checkout, whose command is measured in the same rounds")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "MODEL", "FOLDER"), help="measure one thing, in this process")
    options = parser.parse_args()
    if options.one:
        way, model, folder = options.one
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        print(json.dumps(MEASURES[way](model, paths[:: max(1, len(paths) // SAMPLE_SIZE)])))
        return
    from bench import corpus
    from bench.machine import machine

    results: dict[str, Any] = {"machine": machine(), "images": options.images, "rounds": options.rounds}
    checkouts = {"moodex": ROOT}
    if options.former:
        checkouts["former"] = options.former.resolve()
        results["former"] = _commit(checkouts["former"])
    results["models"] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "images")
        corpus.make(folder, options.heads, options.images, workers=CORES)
        write_resnet50(Path(scratch, "resnet50"))
        for model in MODELS:
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in (*checkouts, *WAYS[1:])}
            for number in range(options.rounds):
                # The commands swap places every round, so that neither always runs on the cooler machine.
                for way in (*sorted(checkouts, reverse=number % 2 == 0), *WAYS[1:]):
                    if way in checkouts:
                        measured = measure_command(checkouts[way], model, folder, Path(scratch))
                    else:
                        measured = _run(way, model, folder, Path(scratch))
                    runs[way].append(measured)
                    print(model, way, measured, flush=True)
            results["models"][model] = _summary(runs)
    path = ROOT / "bench" / "results" / "index"
    path.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(results))


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _summary(measured: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians over the rounds; ratios are taken within a round."""
    ways = {way: {key: round(median(run[key] for run in runs), 4) for key in runs[0]} for way, runs in measured.items()}
    ceilings = [CORES / (d["cpu"] + n["cpu"]) for d, n in zip(measured["decode"], measured["networks"], strict=True)]
    rates = [run["rate"] for run in measured["moodex"]]
    return {
        **ways,
        "ceiling": round(median(ceilings), 2),
        "share_of_ceiling": round(median(rate / ceiling for rate, ceiling in zip(rates, ceilings, strict=True)), 3),
        **{
            f"times_{way}": round(median(rate / run["rate"] for rate, run in zip(rates, measured[way], strict=True)), 3)
            for way in ("former", "one at a time", "loader")
            if way in measured
        },
    }


def _run(way: str, model: str, folder: Path, scratch: Path) -> dict[str, float]:
    together = CORES if way in ("decode", "networks") else 1
    command = [sys.executable, __file__, str(scratch), "--one", way, model, str(folder)]
    environment = {**os.environ, **(ENVIRONMENT if way == "decode" else {})}
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=scratch, env=environment) for _ in range(together)]
    with Memory(processes) as memory:
        answers = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    return {key: median(answer[key] for answer in answers) for key in answers[0]} | {"peak_mb": memory.peak / 1e6}


def measure_command(checkout: Path, model: str, folder: Path, scratch: Path) -> dict[str, float]:
    """Index a folder into an empty database by the command of a checkout; return images a second, and the memory in MB."""
    with tempfile.TemporaryDirectory(dir=scratch) as home:
        network = str(scratch / "resnet50" / "resnet50.safetensors") if model.startswith("resnet50") else "moodex-lite0"
        options = ["--model", network, "--faces", MODELS[model], "--json"]
        command = [sys.executable, str(checkout / "cli.py"), "--home", home, "index", str(folder), *options]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with Memory([process]) as memory:
            answer = json.loads(process.communicate()[0].splitlines()[-1])
        return {"rate": answer["indexed"] / (time.perf_counter() - started), "peak_mb": memory.peak / 1e6}


class Memory:
    """Sample the resident memory of process trees ten times a second, in bytes; a shared page counts once."""

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


def write_resnet50(folder: Path) -> None:
    """Write a ResNet50 with random weights; its speed does not depend on them."""
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
    """A `models.inference.engines.base.Engine` that calls a module as a plain script would."""

    name, device, batch_size, streams = "plain torch", "cpu", 32, 0

    def __init__(self, module: Any) -> None:
        self._module = module

    def run(self, pixels: Any) -> Any:
        import torch

        with torch.inference_mode():
            return [part.numpy() for part in self._module(torch.from_numpy(pixels))]


class Plain:
    """The networks as a plain script uses them: nothing fused, the usual memory layout, whole images resized by Pillow."""

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
        """Decode a file to an `indexer.domain.images.DecodedImage` with Pillow alone."""
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

        shown = crop_views([image.pixels for image in images], self.detector, self.card.input)
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


def _analyzer(model: str) -> Any:
    """Open the analyzer of `moodex index`, with one thread."""
    from indexer.bootstrap import open_analyzer
    from indexer.settings import Settings

    network = "resnet50/resnet50.safetensors" if model.startswith("resnet50") else None
    return open_analyzer(Settings(Path("home"), model=network, faces=MODELS[model]), threads=1, few=False)


def _decode(model: str, paths: list[Path]) -> dict[str, float]:
    """Measure the CPU seconds an image of reading, hashing and decoding."""
    analyzer = _analyzer(model)
    analyzer.decode(paths[0].read_bytes())
    started = time.process_time()
    for path in paths:
        analyzer.decode(path.read_bytes())
    return {"cpu": (time.process_time() - started) / len(paths)}


def _networks(model: str, paths: list[Path]) -> dict[str, float]:
    """Measure the CPU seconds an image of the networks, in batches as `moodex index` makes them."""
    analyzer = _analyzer(model)
    images = [analyzer.decode(path.read_bytes()) for path in paths[:: max(1, len(paths) // 256)]]
    size = analyzer.classifier.batch_size
    analyzer.predict(images[:size])
    started = time.process_time()
    for start in range(0, len(images), size):
        analyzer.predict(images[start : start + size])
    return {"cpu": (time.process_time() - started) / len(images)}


MEASURES = {"one at a time": _one_at_a_time, "loader": _loader, "decode": _decode, "networks": _networks}


def page(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# Indexing",
        "",
        f"`python bench/index.py HEADS` on {results['machine']}: {results['images']} mixed images (JPEG of 256 to 3000",
        f"pixels, PNG, WebP, GIF), medians of {results['rounds']} rounds, fp32. The rate of moodex includes its start-up; the",
        f"rates of one file at a time and of the loader do not, and were taken over {SAMPLE_SIZE} of the images. The ceiling is",
        "the number of cores divided by the CPU seconds an image of decoding and of the networks, each measured alone. MB is the",
        "highest memory of the process tree. Each *times* is moodex's rate divided by that of the column before it.",
        "",
    ]
    ways = {"former": f"commit {results.get('former')}", "one at a time": "one at a time", "loader": "loader"}
    ways = {way: title for way, title in ways.items() if way != "former" or "former" in results}
    titles = ["model", "moodex, images/s", "MB"]
    titles += [title for way in ways.values() for title in (f"{way}, images/s", "times")]
    titles += ["ceiling, images/s", "share of it", "decode, ms", "networks, ms"]
    lines += ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for name, one in results["models"].items():
        cells = [name, f"{one['moodex']['rate']:.1f}", f"{one['moodex']['peak_mb']:.0f}"]
        for way in ways:
            cells += [f"{one[way]['rate']:.1f}", f"{one[f'times_{way}']:.2f}"]
        cells += [f"{one['ceiling']:.1f}", f"{one['share_of_ceiling']:.2f}"]
        cells += [f"{1000 * one[part]['cpu']:.1f}" for part in ("decode", "networks")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
