"""A training that is killed with SIGKILL three times at random resumes each time and gives the weights of an unkilled one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from blake3 import blake3

from tests.support.drawn import two_artists

ROOT = Path(__file__).parents[2]
KILLS = 3
SEED = int(os.environ.get("MOODEX_SEED") or random.SystemRandom().randrange(2**32))
"""Read at import, since the tests remove all MOODEX_ variables."""


def start(faces: Path, folder: Path) -> subprocess.Popen[str]:
    child = [sys.executable, "-m", "tests.crash.training_child", str(faces), str(folder)]
    return subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def digest(folder: Path) -> str:
    return blake3((folder / "models/faces.safetensors").read_bytes()).hexdigest()


def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    faces = two_artists(tmp_path / "faces")
    with start(faces, tmp_path / "unkilled") as reference:
        assert reference.stdout is not None
        batches = len(reference.stdout.readlines())
    assert reference.returncode == 0 and batches > 3 * KILLS
    print(f"seed {SEED}")  # noqa: T201
    chance = random.Random(SEED)
    for _ in range(KILLS):
        with start(faces, tmp_path / "killed") as run:
            assert run.stdout is not None
            for _ in range(chance.randint(1, batches // (KILLS + 1))):
                run.stdout.readline()
            run.kill()
        assert not (tmp_path / "killed/models/faces.safetensors").exists()
    with start(faces, tmp_path / "killed") as last:
        assert last.stdout is not None
        remaining = len(last.stdout.readlines())
    assert last.returncode == 0 and remaining < batches
    assert digest(tmp_path / "killed") == digest(tmp_path / "unkilled")
