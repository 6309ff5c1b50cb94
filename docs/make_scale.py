"""Write the tables of docs/scale.md from measurements in bench/results. A test fails if the two differ."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from indexer.domain.growth import COMMITS_PER_SECOND, MILLION, forecast  # noqa: E402

PAGE = ROOT / "docs" / "scale.md"
SIZES = (10 * MILLION, 100 * MILLION, 1000 * MILLION)
MACHINES = (1, 4, 16, 64)
CORES = 16
"""Cores of a machine, with or without a GPU."""

TIMM_RATE, TIMM_SIDE, INPUT_SIDE = 9657.18, 224, 160
"""Images a second of efficientnet_lite0 on an RTX 3090, of TIMM_SIDE pixels; the shipped model reads INPUT_SIDE pixels.

From results/benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv of github.com/huggingface/pytorch-image-models.
"""


def page(text: str) -> str:
    """Return the text of the page with current tables."""
    for name, lines in {"rates": _rates(), "hours": _hours(), "store": _store()}.items():
        block = f"<!-- {name}: docs/make_scale.py -->\n\n" + "\n".join(lines) + f"\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name}: docs/make_scale.py -->.*?<!-- end of {name} -->"
        text, replaced = re.subn(pattern, lambda _, block=block: block, text, flags=re.DOTALL)
        if replaced != 1:
            raise SystemExit(f"{PAGE} must have one place for the table {name!r}.")
    return text


def cpu_rate() -> float:
    """Return images a second of a machine without a GPU: the measured rate of two cores, for each core."""
    return float(_default_model()["moodex"]["rate"]) / 2 * CORES


def gpu_rate() -> float:
    """Return images a second of a machine with a GPU: the slower of decoding by its cores and the networks on the GPU."""
    return min(decoding_rate(), network_rate())


def decoding_rate() -> float:
    """Return images a second that the cores decode, at the share of the cores that an index run uses."""
    model = _default_model()
    return CORES / float(model["decode"]["cpu"]) * float(model["share_of_ceiling"])


def network_rate() -> float:
    """Return images a second of detector and classifier on a GPU.

    The classifier alone is timm's network at fewer pixels; both take longer by the factor by which they do on a CPU.
    """
    models = json.loads((ROOT / "bench/results/index.json").read_text())["models"]
    factor = models["moodex-lite0"]["networks"]["cpu"] / models["moodex-lite0, whole images"]["networks"]["cpu"]
    return TIMM_RATE * (TIMM_SIDE / INPUT_SIDE) ** 2 / factor


def _default_model() -> dict[str, Any]:
    results: dict[str, Any] = json.loads((ROOT / "bench/results/index.json").read_text())
    return dict(results["models"]["moodex-lite0"])


def _rates() -> list[str]:
    return _table(
        ("step", "images/s", "from"),
        [
            (f"{CORES} cores, all steps", f"{cpu_rate():,.0f}", "`bench/results/index.json`, for each core"),
            (f"{CORES} cores, decoding only", f"{decoding_rate():,.0f}", "the same"),
            ("a GPU, networks only", f"{network_rate():,.0f}", "timm, and the ratio of the networks on a CPU; an estimate"),
            (f"{CORES} cores and a GPU", f"{gpu_rate():,.0f}", "the slower of both"),
            ("one process that scans and commits", f"{COMMITS_PER_SECOND:,.0f}", "`bench/results/growth.json`"),
        ],
    )


def _hours() -> list[str]:
    rows = []
    for name, rate in ((f"{CORES} cores", cpu_rate()), (f"{CORES} cores and a GPU", gpu_rate())):
        for machines in MACHINES:
            hours = [size / (machines * rate) / 3600 for size in SIZES]
            rows.append((f"{machines} x {name}", *(f"{number:,.1f}" for number in hours)))
    rows.append(("one process scans and commits", *(f"{size / COMMITS_PER_SECOND / 3600:,.1f}" for size in SIZES)))
    return _table(("machines", *map(_size, SIZES)), rows)


def _store() -> list[str]:
    all_sizes = [forecast(size, 1, cpu_rate()) for size in SIZES]
    rows = {
        "rows": [f"{one.rows:,}" for one in all_sizes],
        "database, GB": [f"{one.database_gb:,.0f}" for one in all_sizes],
        "vector index, GB": [f"{one.index_gb:,.0f}" for one in all_sizes],
        "memory of the process that commits, GB": [f"{one.run_gb:.1f}" for one in all_sizes],
        "vector index built in, hours": [f"{one.build_hours:,.1f}" for one in all_sizes],
        "search for similar faces, p99, ms": [f"{one.search_ms:.1f}" for one in all_sizes],
    }
    return _table(("", *map(_size, SIZES)), [(name, *values) for name, values in rows.items()])


def _size(images: int) -> str:
    return f"{images // MILLION:,} million"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
