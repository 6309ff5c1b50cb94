"""Time and memory of a map: `python -m bench.map --fitted 20000 --placed 20000` fits synthetic vectors, and places others."""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from models.projection import TsneProjector

DIMENSIONS, FAMILIES, SPREAD = 128, 500, 0.06
CHUNK_ROWS = 8192


def vectors(count: int, seed: int) -> np.ndarray:
    """Return vectors of length 1 around the centers of families: float32, (count, DIMENSIONS)."""
    centers, random = np.random.default_rng(0).normal(size=(FAMILIES, DIMENSIONS)), np.random.default_rng(seed)
    found = centers[random.integers(0, FAMILIES, count)] / np.sqrt(DIMENSIONS) + SPREAD * random.normal(size=(count, DIMENSIONS))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def main() -> None:
    """Fit and place vectors, and print the processor time of each step and the largest memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fitted", type=int, default=20_000)
    parser.add_argument("--placed", type=int, default=20_000)
    options = parser.parse_args()
    sample = vectors(options.fitted, 1)
    started = time.process_time()
    fitted = TsneProjector().fit(sample, lambda _: None)
    print(f"fit {options.fitted:,} vectors: {time.process_time() - started:.0f} s of processor time")
    started = time.process_time()
    for first in range(0, options.placed, CHUNK_ROWS):
        fitted.place(vectors(min(CHUNK_ROWS, options.placed - first), 2 + first))
    print(f"place {options.placed:,} vectors: {time.process_time() - started:.0f} s of processor time")
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
