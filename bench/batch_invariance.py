"""Measure how far the scores of one image differ between batches of different sizes.

    python bench/batch_invariance.py [--emulate] [--only COLUMN...]

Each network (the shipped classifier, the shipped face detector at both of its sizes, every architecture with random weights) runs
on each engine with 1 and 2 threads and batches of 1 to 48 images. The table has the largest difference from batches of one image
and the first layer that differs, if any does. A separate process measures each instruction set, because torch, oneDNN, MKL,
OpenBLAS and numpy read environment variables. ONNX Runtime has no such variable. `--emulate` makes all of them detect another
processor (bench/show_processor.c; it needs a C compiler, Linux, and an x86-64 processor with CPUID faulting).
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.machine import machine  # noqa: E402

EMULATED_PROCESSORS = ("haswell", "zen3", "zen4")
RESIZERS = ("Pillow", "cykooz-resizer")
PACKAGES = ("torch", "onnxruntime", "numpy", "cykooz-resizer", "pillow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emulate", action="store_true", help="measure with emulated processors, too")
    parser.add_argument("--only", nargs="+", metavar="COLUMN", help="measure only these columns of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variants = {"as it is": {}, **(_by_emulation(Path(folder)) if options.emulate else {}), **_by_settings()}
        chosen = options.only or list(variants)
        measured = {name: _measure_with(name, variants[name]) for name in chosen}
    results = {
        "command": shlex.join(["python", "bench/batch_invariance.py", *sys.argv[1:]]),
        "machine": machine().rpartition(",")[0],
        "versions": {name: version(name) for name in PACKAGES},
        "variants": measured,
    }
    target = ROOT / "bench" / "results" / "batch_invariance"
    target.with_suffix(".json").write_text(json.dumps(results, indent=None, separators=(",", ":")) + "\n")
    target.with_suffix(".md").write_text(page(results))
    print(page(results))


def _by_settings() -> dict[str, dict[str, str]]:
    """Return the environments that select an instruction set in the libraries that have a setting for it."""
    from numpy._core._multiarray_umath import __cpu_dispatch__ as numpy_features

    def environment(torch: str, onednn: str, mkl: str, openblas: str, numpy_without: Sequence[str]) -> dict[str, str]:
        return {
            "ATEN_CPU_CAPABILITY": torch,
            "ONEDNN_MAX_CPU_ISA": onednn,
            "MKL_ENABLE_INSTRUCTIONS": mkl,
            "OPENBLAS_CORETYPE": openblas,
            **({"NPY_DISABLE_CPU_FEATURES": " ".join(numpy_without)} if numpy_without else {}),
        }

    avx512 = [name for name in numpy_features if name.startswith(("AVX512", "X86_V4"))]
    return {
        "AVX2, by settings": environment("avx2", "AVX2", "AVX2", "Haswell", avx512),
        "AVX-512, by settings": environment("avx512", "AVX512_CORE", "AVX512", "SkylakeX", ()),
        "SSE4, by settings": environment("default", "SSE41", "SSE4_2", "Nehalem", numpy_features),
    }


def _by_emulation(folder: Path) -> dict[str, dict[str, str]]:
    """Return the environments in which programs detect another processor, by its name."""
    library = folder / "show_processor.so"
    source = ROOT / "bench" / "show_processor.c"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return {f"{name}, emulated": {"SHOWN_PROCESSOR": name, "LD_PRELOAD": str(library)} for name in EMULATED_PROCESSORS}


def _measure_with(name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    print(f"{name} ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "bench.batch_differences"]
    # Waiting threads would otherwise occupy a core. The setting does not change any sum.
    passive = {"OMP_WAIT_POLICY": "PASSIVE"}
    process = subprocess.run(command, env={**os.environ, **passive, **environment}, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    measured: dict[str, Any] = json.loads(process.stdout)
    return measured


def page(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    variants = results["variants"]
    rows = {
        name: {(row["network"], row["engine"], row["threads"]): row for row in measured["rows"]}
        for name, measured in variants.items()
    }
    keys = list(next(iter(rows.values())))
    kinds = list(dict.fromkeys((network, engine) for network, engine, _ in keys))
    unequal = sorted({network for column in rows.values() for (network, _, _), row in column.items() if not row["equal"]})
    equal = "were equal in every run" if not unequal else f"differed for {', '.join(unequal)}"
    changed = [f"{sum(measured['resized_differently'][name] for measured in variants.values())} with {name}" for name in RESIZERS]
    detected = [f"{name}: {measured['torch']}, {', '.join(measured['openblas'])}" for name, measured in variants.items()]
    sizes = list(next(iter(rows.values()))[keys[0]]["by_batch"])
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        "# Dependence of scores on the batch",
        "",
        f"`{results['command']}` on {results['machine']}; {versions}.",
        "",
        f"{sizes[-1]} example images, alone and in batches of {', '.join(sizes[1:])}, with 1 and 2 threads. A cell has the",
        "largest difference of a probability, and of a number of the embedding (each part of an embedding has length 1) or of",
        "the edge of a box, in pixels of the detector's input. 0: all bits are equal. Networks other than the shipped ones have",
        "random weights and inputs of 64 pixels (128 if their graph has that size).",
        "",
        f"Labels and the numbers of faces {equal}. The resizers take one image at a time. The number of images whose bytes",
        f"changed with the order or with threads is {' and '.join(changed)}.",
        "",
        "Columns: the processor as it is; another processor, emulated for all libraries (bench/show_processor.c); and the",
        "instruction set that settings select in torch, oneDNN, MKL, OpenBLAS and numpy. ONNX Runtime has no such setting.",
        "",
        *_table(("network", "engine", *variants), [(*kind, *_by_variant(rows, keys, kind)) for kind in kinds]),
        "",
        f"torch and OpenBLAS used: {'; '.join(detected)}.",
        "",
        "## By batch size",
        "",
        "The largest difference of a probability over all columns and both numbers of threads.",
        "",
        *_table(("network", "engine", *sizes), [(*kind, *_by_batch(rows, keys, kind, sizes)) for kind in kinds]),
        "",
        "## The first layer that differs",
        "",
        "Between one batch of 16 images and batches of one image, with the largest difference of its outputs.",
        "",
        *_table(("network", "engine", "threads", "columns", "layer"), list(_first_layers(rows, keys))),
    ]
    return "\n".join(lines) + "\n"


Rows = Mapping[str, Mapping[tuple[str, str, int], Any]]
"""The measurements, by column of the table and by network, engine and threads."""


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = [" | ".join(map(str, row)) for row in (head, *rows)]
    return [f"| {lines[0]} |", "|---" * len(head) + "|", *(f"| {line} |" for line in lines[1:])]


def _by_variant(rows: Rows, keys: Sequence[tuple[str, str, int]], kind: tuple[str, str]) -> Iterator[str]:
    for measured in rows.values():
        largest = [measured[key]["largest"] for key in keys if key[:2] == kind]
        values = {name: max(gaps[name] for gaps in largest) for name in largest[0]}
        yield ", ".join(f"{_number(value)} {name}" for name, value in values.items()) if any(values.values()) else "0"


def _by_batch(rows: Rows, keys: Sequence[tuple[str, str, int]], kind: tuple[str, str], sizes: Sequence[str]) -> Iterator[str]:
    by_batch = [measured[key]["by_batch"] for measured in rows.values() for key in keys if key[:2] == kind]
    yield from (_number(max(gaps[size]["probabilities"] for gaps in by_batch)) for size in sizes)


def _first_layers(rows: Rows, keys: Sequence[tuple[str, str, int]]) -> Iterator[tuple[object, ...]]:
    for key in keys:
        columns: dict[str, list[str]] = {}
        for name, measured in rows.items():
            if layer := measured[key].get("first_layer"):
                columns.setdefault(layer, []).append(name)
        yield from ((*key, "; ".join(names), layer) for layer, names in columns.items())


def _number(value: float) -> str:
    return f"{value:.1e}" if value else "0"


if __name__ == "__main__":
    main()
