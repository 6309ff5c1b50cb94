"""Measure the images per second of the networks that docs/guides/which-model.md recommends.

    python bench/model_speed.py [--only NAME ...] [--seconds S] [--batch N] [--device DEVICE]

The networks have their true architecture and random weights, which need no download; their speed does not depend on the weights.
Only the network is measured, in fp32, on images that are ready in memory. The shipped model is measured in both engines. The
results of a CPU replace those in the guide.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402
from models import zoo  # noqa: E402
from models.hub.normalization import Normalization  # noqa: E402
from models.hub.timm_tagger import TimmTagger  # noqa: E402
from models.inference.loader import ComputeOptions, open_classifier  # noqa: E402

WD_TAGS = 10_861
"""Number of tags of the third version of the WD taggers."""

GUIDE = ROOT / "docs/guides/which-model.md"
_SPEED_CELL = 4
"""The number of the cell of a row of the guide's table that has the speed; the text before the first bar has number 0."""

Classify = Callable[[np.ndarray[Any, Any]], object]


@dataclass(frozen=True, slots=True)
class Network:
    """A network: its architecture in timm or open_clip, the side of its input in pixels, and how it is built."""

    architecture: str
    size: int
    build: Callable[[Network, torch.device], tuple[Classify, int]]
    options: dict[str, Any] = field(default_factory=dict)


def _shipped(network: Network, device: torch.device, engine: str) -> tuple[Classify, int]:
    path = zoo.checkpoints()[zoo.DEFAULT]
    classifier = open_classifier(path, ComputeOptions(device=str(device), engine=engine))
    return classifier.classify, path.stat().st_size


def _tagger(network: Network, device: torch.device) -> tuple[Classify, int]:
    import timm

    body = timm.create_model(network.architecture, num_classes=WD_TAGS, **network.options)
    half = (127.5,) * 3
    tagger = TimmTagger(body, Normalization("bgr", half, half)).eval().to(device)
    return partial(_compute, tagger, device), _bytes_of(body)


def _image_encoder(network: Network, device: torch.device) -> tuple[Classify, int]:
    import open_clip

    model = open_clip.create_model(network.architecture).eval().to(device)

    def encode(pixels: torch.Tensor) -> Any:
        return model.encode_image(pixels.permute(0, 3, 1, 2).float() / 255)

    return partial(_compute, encode, device), _bytes_of(model)


_WITHOUT_CLASS_TOKEN = {"img_size": 448, "class_token": False, "global_pool": "avg"}

NETWORKS = {
    "moodex-lite0, ONNX Runtime": Network("efficientnet_lite0", 160, partial(_shipped, engine="onnx")),
    "moodex-lite0, PyTorch": Network("efficientnet_lite0", 160, partial(_shipped, engine="torch")),
    "wd-vit-tagger-v3": Network("vit_base_patch16_224", 448, _tagger, _WITHOUT_CLASS_TOKEN),
    "wd-swinv2-tagger-v3": Network("swinv2_base_window8_256", 448, _tagger, {"img_size": 448, "window_size": 14}),
    "wd-eva02-large-tagger-v3": Network("eva02_large_patch14_448", 448, _tagger),
    "CLIP-ViT-B-32-laion2B-s34B-b79K": Network("ViT-B-32", 224, _image_encoder),
    "ViT-B-16-SigLIP": Network("ViT-B-16-SigLIP", 224, _image_encoder),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), metavar="NAME", default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=20.0, help="least time of each measurement")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    rows = []
    for name in options.only:
        if "ONNX" in name and device.type != "cpu":
            continue
        rows.append({"model": name, **measure(NETWORKS[name], device, options.batch, options.seconds)})
        print(rows[-1], flush=True)
    command = " ".join(["python bench/model_speed.py", *sys.argv[1:]])
    suffix = "" if device.type == "cpu" else f"-{device.type}"
    results = {"command": command, "machine": place, "batch": options.batch, "rows": rows}
    (ROOT / f"bench/results/model_speed{suffix}.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / f"bench/results/model_speed{suffix}.md").write_text(as_markdown(results))
    if device.type == "cpu":
        GUIDE.write_text(with_speeds(GUIDE.read_text(), results))


def measure(network: Network, device: torch.device, batch: int, seconds: float) -> dict[str, Any]:
    """Return the size of a network's weights in MB, and its images per second, after one batch that is not counted."""
    torch.manual_seed(0)
    classify, size_bytes = network.build(network, device)
    pixels = np.random.default_rng(0).integers(0, 256, (batch, network.size, network.size, 3), dtype=np.uint8)
    classify(pixels)
    images, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        classify(pixels)
        images += batch
    return {"input": network.size, "megabytes": round(size_bytes / 1e6, 1), "images_per_second": round(images / elapsed, 2)}


def as_markdown(results: dict[str, Any]) -> str:
    """Return the results as a table."""
    lines = [
        "# Images per second of networks\n",
        f"`{results['command']}` on {results['machine']}; batches of {results['batch']}, fp32, random weights, no decoding.\n",
        "| model | input (pixels) | weights (MB) | images / s |\n|---|---|---|---|",
    ]
    lines += [f"| {row['model']} | {row['input']} | {row['megabytes']} | {row['images_per_second']} |" for row in results["rows"]]
    return "\n".join(lines) + "\n"


def with_speeds(guide: str, results: dict[str, Any]) -> str:
    """Return the guide with these results in the rows of their models, and in the line that names the machine."""
    speeds = {row["model"].split(",")[0]: row["images_per_second"] for row in reversed(results["rows"])}
    lines = []
    for line in guide.splitlines():
        cells = line.split("|")
        name = next((name for name in speeds if len(cells) > _SPEED_CELL + 1 and cells[1].strip().startswith(f"`{name}`")), None)
        if name is not None and re.fullmatch(r"-|[\d.]+", cells[_SPEED_CELL].strip()):
            cells[_SPEED_CELL] = f" {speeds[name]:.2g} " if speeds[name] < 100 else f" {speeds[name]:.0f} "
        lines.append("|".join(cells) if name is not None else line)
    return re.sub(r"(?<=Machine: ).*(?=\.\n)", results["machine"], "\n".join(lines) + "\n")


@torch.inference_mode()
def _compute(network: Callable[[torch.Tensor], Any], device: torch.device, pixels: np.ndarray[Any, Any]) -> object:
    result = network(torch.from_numpy(pixels).to(device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result


def _bytes_of(network: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in network.parameters())


if __name__ == "__main__":
    main()
