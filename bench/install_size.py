"""Measure how much of an installation PyTorch is.

    python bench/install_size.py [--cpu-wheel FILE]

Adds up the files of the packages that moodex needs in this environment: those of requirements-lite.txt, and those that only
PyTorch adds. `--cpu-wheel` is a CPU build of PyTorch, whose size is measured without installing it.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from indexer.system.optional import TORCH  # noqa: E402
from recipes.lite import lite_requirements  # noqa: E402

_CUDA_LIBRARIES = ("libtorch_cuda", "libc10_cuda", "libtorch_nvshmem", "libcaffe2_nvrtc")
"""Beginnings of the names of the libraries in PyTorch that a CPU build lacks."""

_LISTED = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu-wheel", type=Path)
    options = parser.parse_args()
    lines = [line for line in lite_requirements().splitlines() if not line.startswith("#")]
    lite = set(_closure(lines))
    sizes = {name: _megabytes(name) for name in lite | set(_closure(TORCH))}
    text = page(sizes, lite, options.cpu_wheel)
    (ROOT / "bench" / "results" / "install_size.md").write_text(text, encoding="utf-8")
    print(text)


def _closure(requirements: Iterable[str], extras: Iterable[str] = (), seen: set[str] | None = None) -> Iterator[str]:
    """Yield the names of the installed packages that requirements need, each once; `extras` are those of their package."""
    seen = set() if seen is None else seen
    for line in requirements:
        requirement = Requirement(line)
        name = requirement.name.lower().replace("_", "-")
        if name in seen or not any(_applies(requirement, extra) for extra in ("", *extras)):
            continue
        seen.add(name)
        yield name
        yield from _closure(distribution(name).requires or (), requirement.extras, seen)


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _megabytes(name: str, prefixes: tuple[str, ...] = ("",)) -> float:
    """Return the size of the files of a package whose names begin with one of `prefixes`, with their byte code."""
    files = distribution(name).files or ()
    paths = (Path(str(file.locate())) for file in files if file.name.startswith(prefixes))
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6


def page(sizes: dict[str, float], lite: set[str], cpu_wheel: Path | None) -> str:
    """Return the result as Markdown."""
    lite_total, torch_total = (
        sum(size for name, size in sizes.items() if (name in lite) is is_lite) for is_lite in (True, False)
    )
    cuda = _megabytes("torch", _CUDA_LIBRARIES)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:_LISTED]
    parts = [
        "# Size of an installation\n",
        f"`python bench/install_size.py` with Python {sys.version.split()[0]} on {sys.platform}, torch {version('torch')} from "
        "PyPI: the files of the packages that moodex needs, without moodex.\n",
        "| packages | MB on disk |\n|---|---|",
        f"| requirements-lite.txt and what it needs | {lite_total:,.0f} |",
        f"| what PyTorch adds | {torch_total:,.0f} |",
        f"| PyTorch itself without its CUDA libraries, about what its CPU build has | {sizes['torch'] - cuda:,.0f} |",
    ]
    if cpu_wheel is not None:
        with zipfile.ZipFile(cpu_wheel) as wheel:
            unpacked = sum(file.file_size for file in wheel.infolist()) / 1e6
        parts.append(
            f"| `{cpu_wheel.name}`, a CPU build, {cpu_wheel.stat().st_size / 1e6:,.0f} MB to download | {unpacked:,.0f} |"
        )
    parts.append(f"\nThe largest packages: {', '.join(f'{name} {sizes[name]:,.0f} MB' for name in largest)}.\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
