#!/usr/bin/env bash
# Checks moodex on a GPU, and measures it, in at most eight minutes and without a network:
#
#     bench/gpu.sh HEADS [OUTPUT]
#
# HEADS is a folder of drawn heads (PNG). The Python of $PYTHON (python3) must have moodex's dependencies, pytest and scikit-learn.
# Writes OUTPUT.json, OUTPUT.md and OUTPUT-tests.txt; OUTPUT is bench/results/gpu by default.
set -euo pipefail
heads=$(realpath "$1")
output=$(realpath --canonicalize-missing "${2:-$(dirname "$0")/results/gpu}")
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
timeout 180 "$python" -m pytest -rs -m gpu tests/gpu -p no:cacheprovider 2>&1 | tee "$output-tests.txt" || echo "tests/gpu: failures" >&2
timeout 300 "$python" bench/gpu.py "$heads" --rounds 2 --output "$output"
