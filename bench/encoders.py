"""Compare the images per second of moodex and of other programs over one folder, start-up included.

    python bench/encoders.py HEADS --python PYTHON [--images N] [--rounds R]

HEADS is a folder of drawn heads (PNG), PYTHON a Python that has imagededup, fastdup and open_clip_torch. The script makes a
folder of mixed images (bench/corpus.py). Each round then runs in turn: moodex; imagededup's CNN; fastdup; and a script that puts
CLIP into a DataLoader. CLIP and the CNN have random weights, which need no download; their speed does not depend on the weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CORES = len(os.sched_getaffinity(0))
DESCRIPTIONS = {
    "moodex": "detects and classifies faces; stores two embeddings per face, by digest, in SQLite and an index; resumes, rescans",
    "moodex, whole images": "the same without face detection",
    "imagededup": "one embedding per image in memory (MobileNetV3 small, 224 pixels); detects duplicates; stores nothing",
    "fastdup": "one embedding per image in files (its own network, 576 numbers); detects duplicates and outliers; closed source",
    "CLIP script": "one embedding per image in memory (ViT-B/32, 224 pixels); emotions only by prompts; stores nothing",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help="run one program, in this process")
    options = parser.parse_args()
    if options.one:
        name, folder_name = options.one
        print(json.dumps({"indexed": PEERS[name](folder_name)}))
        return
    from bench import corpus
    from bench.index import Memory
    from bench.machine import machine

    measured: dict[str, list[dict[str, float]]] = {name: [] for name in DESCRIPTIONS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "images")
        corpus.make(folder, options.heads, options.images, workers=CORES)
        for number in range(options.rounds):
            for name in DESCRIPTIONS:
                if name.startswith("moodex"):
                    faces = "off" if "whole" in name else "on"
                    command = [sys.executable, str(ROOT / "cli.py"), "--home", f"{scratch}/home-{faces}-{number}"]
                    command += ["index", str(folder), "--faces", faces, "--json"]
                else:
                    command = [options.python, __file__, str(options.heads), "--one", name, str(folder)]
                started = time.perf_counter()
                process = subprocess.Popen(command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                with Memory([process]) as memory:
                    out, _ = process.communicate()
                seconds = time.perf_counter() - started
                image_count = json.loads(out.splitlines()[-1])["indexed"] if process.returncode in (0, 3) else 0
                measured[name].append({"rate": image_count / seconds, "images": image_count, "peak_mb": memory.peak / 1e6})
                print(name, measured[name][-1], flush=True)
    results = {name: {key: round(median(run[key] for run in runs), 1) for key in runs[0]} for name, runs in measured.items()}
    path = ROOT / "bench" / "results" / "encoders"
    about = {"machine": machine(), "images": options.images, "rounds": options.rounds}
    path.with_suffix(".json").write_text(json.dumps({**about, "programs": results}, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(about, results))


def imagededup(folder: str) -> int:
    import torchvision

    original = torchvision.models.mobilenet_v3_small
    torchvision.models.mobilenet_v3_small = lambda weights=None: original(weights=None)
    from imagededup.methods import CNN

    return len(CNN().encode_images(folder, recursive=True, num_enc_workers=CORES))


def fastdup(folder: str) -> int:
    import fastdup as package

    with tempfile.TemporaryDirectory() as work:
        package.create(work_dir=work, input_dir=folder).run(overwrite=True)
        names, _ = package.load_binary_feature(f"{work}/atrain_features.dat", d=576)
    return len(names)


def clip(folder: str) -> int:
    import open_clip
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader

    model, _, prepare = open_clip.create_model_and_transforms("ViT-B-32")
    model.eval()
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())

    class Files:
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, number: int) -> Any:
            with Image.open(paths[number]) as image:
                return prepare(image.convert("RGB"))

    with torch.inference_mode():
        parts = [model.encode_image(batch) for batch in DataLoader(Files(), batch_size=32, num_workers=CORES)]  # type: ignore[arg-type]
    return len(torch.cat(parts))


PEERS = {"imagededup": imagededup, "fastdup": fastdup, "CLIP script": clip}
"""Functions that embed the images of a folder and return their number."""


def page(about: dict[str, Any], results: dict[str, dict[str, float]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Other programs over the same folder",
        "",
        f"`python bench/encoders.py HEADS --python PYTHON` on {about['machine']}: {about['images']} mixed images, medians of",
        f"{about['rounds']} rounds. The rates include the start-up. MB is the highest memory of the process tree.",
        "",
        "| program | images/s | images embedded | MB | what it does |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {row['rate']:.1f} | {row['images']:.0f} | {row['peak_mb']:.0f} | {DESCRIPTIONS[name]} |"
            for name, row in results.items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
