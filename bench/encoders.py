"""Pictures a second of programs that others use to look at a folder, beside `moodex index`, each with its start-up.

    python bench/encoders.py HEADS --python PYTHON [--pictures N] [--rounds R]

HEADS is a folder of drawn pictures, PYTHON one that has imagededup, fastdup and open_clip_torch. Over one folder of mixed
pictures (bench/corpus.py), in turn: moodex; imagededup's CNN; fastdup; and a script that puts CLIP into a DataLoader. CLIP and
the CNN have random weights, which need no download: their speed does not depend on them.
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
DOES = {
    "moodex": "finds faces, labels their emotions, two embeddings a face, by digest into SQLite and an index; resumes, rescans",
    "moodex, whole pictures": "the same without looking for faces",
    "imagededup": "one embedding a picture in memory (MobileNetV3 small, 224 pixels); finds duplicates; nothing is kept",
    "fastdup": "one embedding a picture in files (its own network, 576 numbers); finds duplicates and outliers; closed source",
    "CLIP script": "one embedding a picture in memory (ViT-B/32, 224 pixels); emotions only by prompts; nothing is kept",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help="run one of them, in this process")
    options = parser.parse_args()
    if options.one:
        PEERS[options.one[0]](options.one[1])
        return
    from bench import corpus
    from bench.index import Memory
    from bench.machine import machine

    found: dict[str, list[dict[str, float]]] = {name: [] for name in DOES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "pictures")
        corpus.make(folder, options.heads, options.pictures, workers=CORES)
        for number in range(options.rounds):
            for name in DOES:
                if name.startswith("moodex"):
                    faces = "off" if "whole" in name else "on"
                    home = f"{scratch}/home-{faces}-{number}"
                    command = [
                        sys.executable,
                        str(ROOT / "cli.py"),
                        "--home",
                        home,
                        "index",
                        str(folder),
                        "--faces",
                        faces,
                        "--json",
                    ]
                else:
                    command = [options.python, __file__, str(options.heads), "--one", name, str(folder)]
                started = time.perf_counter()
                process = subprocess.Popen(command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                with Memory([process]) as memory:
                    out, _ = process.communicate()
                seconds = time.perf_counter() - started
                done = json.loads(out.splitlines()[-1])["indexed"] if process.returncode in (0, 3) else 0
                found[name].append({"rate": done / seconds, "pictures": done, "peak_mb": memory.peak / 1e6})
                print(name, found[name][-1], flush=True)
    results = {name: {key: round(median(run[key] for run in runs), 1) for key in runs[0]} for name, runs in found.items()}
    path = ROOT / "bench" / "results" / "encoders"
    about = {"machine": machine(), "pictures": options.pictures, "rounds": options.rounds}
    path.with_suffix(".json").write_text(json.dumps({**about, "programs": results}, indent=1) + "\n")
    path.with_suffix(".md").write_text(page(about, results))


def imagededup(folder: str) -> int:
    import torchvision

    plain = torchvision.models.mobilenet_v3_small
    torchvision.models.mobilenet_v3_small = lambda weights=None: plain(weights=None)
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


def _told(run: Any) -> Any:
    return lambda folder: print(json.dumps({"indexed": run(folder)}))


PEERS = {"imagededup": _told(imagededup), "fastdup": _told(fastdup), "CLIP script": _told(clip)}


def page(about: dict[str, Any], results: dict[str, dict[str, float]]) -> str:
    """The results as Markdown."""
    lines = [
        "# Other programs over the same folder",
        "",
        f"`python bench/encoders.py HEADS --python PYTHON` on {about['machine']}: {about['pictures']} mixed pictures, medians of",
        f"{about['rounds']} rounds, each with its start-up. MB: the process tree's memory at its highest.",
        "",
        "| program | pictures a second | of the pictures | MB | what it does |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {one['rate']:.1f} | {one['pictures']:.0f} | {one['peak_mb']:.0f} | {DOES[name]} |"
            for name, one in results.items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
