"""Measure text and image queries with CLIP ViT-B/32 over N images, cold and warm, beside plain open_clip with numpy.

    python bench/text.py [--images N] [--cold ROUNDS] [--warm ROUNDS]

The network has random weights, because speed does not depend on them. It is saved in the layout of open_clip in a cache of the
hub, added to moodex as a user would, and gets N synthetic images (bench/synthetic.py). A cold query is a whole process; the files
are in the memory of the system. A warm query is a call in a process that has answered one before, as in `moodex serve`. The
medians are in bench/results/text-N.md.

The peer loads the same files with open_clip, computes the same query, and compares it with all vectors, float32, in numpy. rclip
downloads its own weights when it starts and accepts no others, so it cannot run without a connection.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from bench import synthetic  # noqa: E402
from bench.machine import machine  # noqa: E402

ARCHITECTURE, REPOSITORY, RESULTS = "ViT-B-32", "Bench/clip", 10
TEXTS = ("girl with an umbrella", "a boy at night in rain", "an angry cat", "two friends on a beach")
PROMPTS = "[emotions]\n" + "".join(f'{emotion} = ["a drawing of a {emotion} face"]\n' for emotion in synthetic.FREQUENCIES)
_PEER = """
import sys, time
import numpy as np
import open_clip, torch
from PIL import Image

folder, vectors, kind, words, rounds = sys.argv[1:]
model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
model.eval()
tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
all_vectors = np.load(vectors, mmap_mode="r")

@torch.inference_mode()
def answer():
    if kind == "text":
        query = model.encode_text(tokenizer([words]), normalize=True)[0].numpy()
    else:
        query = model.encode_image(preprocess(Image.open(words))[None], normalize=True)[0].numpy()
    similarities = all_vectors @ query
    best = np.argpartition(-similarities, 10)[:10]
    return best[np.argsort(-similarities[best])]

answer()
for _ in range(int(rounds)):
    started = time.perf_counter()
    answer()
    print(time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--cold", type=int, default=11)
    parser.add_argument("--warm", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moodex-bench-") as name:
        folder = Path(name)
        os.environ |= {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "MOODEX_HOME": str(folder / "home")}
        snapshot = _write_model(folder)
        vectors = _fill(folder, options.images)
        image = folder / "query.png"
        _draw(image)
        rows = [
            {"query": kind, "by": by, **measured}
            for kind, words in (("text", TEXTS[0]), ("image", str(image)))
            for by, measured in (
                ("moodex", _moodex(kind, words, options.cold, options.warm)),
                ("open_clip + numpy", _peer(folder, snapshot, vectors, kind, words, options.cold, options.warm)),
            )
        ]
    report = {
        "machine": machine(),
        "command": f"python bench/text.py --images {options.images}",
        "images": options.images,
        "cold_queries": options.cold,
        "warm_queries": options.warm,
        "rows": rows,
    }
    output = ROOT / "bench" / "results" / f"text-{options.images}"
    output.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    output.with_suffix(".md").write_text(page(report))
    print(page(report))


def page(report: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        f"# Text and image queries by CLIP over {report['images']:,} images",
        "",
        f"`{report['command']}` on {report['machine']}, with a ViT-B/32 of random weights. A cold query",
        f"is a whole process (median of {report['cold_queries']}); a warm one is a call (median of {report['warm_queries']}).",
        "",
        "| query | by | cold | warm |",
        "|---|---|---|---|",
    ]
    for row in report["rows"]:
        lines.append(f"| {row['query']} | {row['by']} | {row['cold_s']:.2f} s | {1000 * row['warm_s']:.0f} ms |")
    return "\n".join(lines) + "\n"


def _write_model(folder: Path) -> Path:
    """Save a network with random weights in a cache, add it to moodex, and return the folder of its files."""
    import open_clip

    from tests.support import clip, hub

    config = {"model_cfg": open_clip.get_model_config(ARCHITECTURE), "preprocess_cfg": clip.open_clip_config()["preprocess_cfg"]}
    snapshot = hub.write_cache(folder / "hf", REPOSITORY, clip.open_clip_files(config))
    (folder / "prompts.toml").write_text(PROMPTS)
    _run("models", "add", f"hf:{REPOSITORY}", "--prompts", str(folder / "prompts.toml"))
    _run("models", "default", "clip")
    return snapshot


def _fill(folder: Path, count: int) -> Path:
    """Give moodex synthetic images and their index; return a file with the same vectors, float32."""
    from models.model_card import read_card

    card = read_card(folder / "home/models/clip.safetensors")
    synthetic.fill(folder / "home/moodex.sqlite", count, card=card)
    _run("search", "--text", TEXTS[0])
    path = folder / "vectors.npy"
    np.save(path, synthetic.appearances(count, card.embedding_size).astype(np.float32))
    return path


def _draw(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(path)


def _moodex(kind: str, words: str, cold: int, warm: int) -> dict[str, float]:
    given = ["--text", words] if kind == "text" else [words]
    cold_s = _median_seconds(lambda: _run("search", *given, "-k", str(RESULTS), "-f", "paths"), cold)
    return {"cold_s": cold_s, "warm_s": _warm_moodex(kind, words, warm)}


def _warm_moodex(kind: str, words: str, rounds: int) -> float:
    """Return the median seconds of a search in this process, with the model, the index and the store open."""
    from indexer.bootstrap import open_serving_library
    from indexer.domain.queries import SearchRequest
    from indexer.imaging.decoder_pool import DecoderPool
    from indexer.search.service import search
    from indexer.settings import load_settings

    decoders = DecoderPool()
    library, close = open_serving_library(load_settings({}), decoders)
    request = {"texts": (words,)} if kind == "text" else {"image": os.fsencode(words)}
    try:
        search(library, SearchRequest(limit=RESULTS, **request))  # type: ignore[arg-type]
        return _median_seconds(lambda: search(library, SearchRequest(limit=RESULTS, **request)), rounds)  # type: ignore[arg-type]
    finally:
        close()
        decoders.end()


def _peer(folder: Path, snapshot: Path, vectors: Path, kind: str, words: str, cold: int, warm: int) -> dict[str, float]:
    # Its configuration has no tokenizer of transformers, so open_clip uses its own.
    command = [sys.executable, "-W", "ignore", "-c", _PEER, str(snapshot), str(vectors), kind, words]
    cold_s = _median_seconds(lambda: subprocess.run([*command, "0"], check=True, capture_output=True), cold)
    done = subprocess.run([*command, str(warm)], check=True, capture_output=True, text=True)
    return {"cold_s": cold_s, "warm_s": median(map(float, done.stdout.split()))}


def _run(*words: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *words], check=True, capture_output=True)


def _median_seconds(act: Callable[[], object], rounds: int) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - started)
    return median(seconds)


if __name__ == "__main__":
    main()
