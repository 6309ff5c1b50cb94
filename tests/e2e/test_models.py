"""Models of one's own on the command line: added, made the default, removed, exported; and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from models import checkpoint
from models.architectures.registry import architecture
from tests.e2e.conftest import ROOT, Run, environment, run_cli
from tests.e2e.test_contract import one_sentence
from tests.support.builders import write_images
from tests.support.in_process import run_in_process
from tests.unit.models.test_checkpoint import replace_weights

LABELS = ("happy", "sad")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small model with random weights, somewhere."""
    torch.manual_seed(0)
    network = architecture("baseline_cnn").build(len(LABELS), 32)
    card = ModelCard("mine", "baseline_cnn", "", LABELS, InputSpec(32, 0, 255), network.embedding_size)
    return checkpoint.save(tmp_path / "elsewhere", card, network.state_dict())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    write_images(tmp_path / "pictures", 6)
    return tmp_path / "pictures"


def done(result: subprocess.CompletedProcess[bytes]) -> str:
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def listed(moodex: Run) -> dict[str, tuple[bool, int]]:
    models = json.loads(done(moodex("models", "list", "--json")))
    return {model["name"]: (model["default"], model["images"]) for model in models}


def count(moodex: Run, *words: str) -> int:
    return len(json.loads(done(moodex("search", "--min-score", "0.01", "-k", "99", "-f", "json", *words))))


def test_an_added_model_becomes_the_default_and_is_used(moodex: Run, home: Path, weights: Path, pictures: Path) -> None:
    assert done(moodex("models", "add", weights)) == "mine\n"
    assert listed(moodex) == {"moodex-lite0": (True, 0), "mine": (False, 0)}
    assert done(moodex("models", "default")) == "moodex-lite0\n"
    assert done(moodex("models", "default", "mine")) == "mine\n"
    assert json.loads(done(moodex("models", "default", "--json"))) == {"name": "mine", "set_by": "home"}
    assert json.loads(done(moodex("index", pictures, "--json")))["model"] == "mine"
    assert listed(moodex) == {"moodex-lite0": (False, 0), "mine": (True, 6)}
    assert count(moodex) == 6
    one_sentence(moodex("search", "-e", "sad", "--model", "moodex-lite0"), 2, "No images are indexed with the model")


def test_the_environment_goes_before_the_homes_default(moodex: Run, home: Path, weights: Path) -> None:
    done(moodex("models", "add", weights))
    done(moodex("models", "default", "mine"))
    shown = run_in_process(["models", "default", "--json"], environment(home) | {"MOODEX_MODEL": "moodex-lite0"})
    assert json.loads(done(shown)) == {"name": "moodex-lite0", "set_by": "settings"}


def test_a_second_name_for_a_model_finds_what_the_first_has_indexed(moodex: Run, weights: Path, pictures: Path) -> None:
    done(moodex("models", "add", weights))
    done(moodex("index", pictures, "--model", "mine"))
    assert done(moodex("models", "add", weights, "--name", "again")) == "again\n"
    assert count(moodex, "--model", "again") == 6
    summary = json.loads(done(moodex("index", pictures, "--model", "again", "--json")))
    assert (summary["indexed"], summary["unchanged"]) == (0, 6)
    assert count(moodex, "--model", "mine") == 6
    # Their predictions are the same ones: removing one name must not take them from the other.
    assert "0 predictions" in done(moodex("models", "remove", "again", "--predictions"))
    assert count(moodex, "--model", "mine") == 6


def test_a_removed_model_can_still_be_searched_by_name(moodex: Run, home: Path, weights: Path, pictures: Path) -> None:
    done(moodex("models", "add", weights))
    done(moodex("index", pictures, "--model", "mine"))
    assert "predictions were kept" in done(moodex("models", "remove", "mine"))
    assert count(moodex, "--model", "mine") == 6
    assert count(moodex, "--model", "mine", "--like", str(pictures / "000.png")) == 6
    one_sentence(moodex("index", pictures, "--model", "mine"), 6, "There is no model 'mine'")
    assert "6 predictions" in done(moodex("models", "remove", "mine", "--predictions"))
    one_sentence(moodex("models", "remove", "mine", "--predictions"), 6, "There is no model 'mine' of yours")


def test_predictions_are_removed_with_their_vectors_and_come_back(moodex: Run, home: Path, weights: Path, pictures: Path) -> None:
    done(moodex("models", "add", weights))
    done(moodex("index", pictures))
    done(moodex("index", pictures, "--model", "mine"))
    before = set((home / "vectors").iterdir())
    stale = {path: path.read_bytes() for path in before}
    assert done(moodex("models", "remove", "mine", "--predictions")) == "Removed mine and 6 predictions of it.\n"
    removed = before - set((home / "vectors").iterdir())
    assert {path.suffix for path in removed} == {".rows", ".json"}
    assert len(removed) == 2
    assert count(moodex, "--model", "mine") == 0
    assert count(moodex) == 6
    done(moodex("models", "add", weights))
    for path, data in stale.items():
        path.write_bytes(data)
    assert json.loads(done(moodex("index", pictures, "--model", "mine", "--json")))["indexed"] == 6
    for path, data in stale.items():
        path.write_bytes(data)
    assert count(moodex, "--model", "mine", "--like", str(pictures / "000.png")) == 6


def test_a_default_that_has_gone_says_what_to_do(moodex: Run, home: Path, weights: Path, pictures: Path) -> None:
    done(moodex("models", "add", weights))
    done(moodex("models", "default", "mine"))
    done(moodex("index", pictures))
    (home / "models/mine.safetensors").unlink()
    for words in (["index", pictures], ["search", "-e", "sad"], ["models", "default"]):
        one_sentence(moodex(*words), 6, "'mine' is gone; choose another: moodex models default moodex-lite0")
    assert list(listed(moodex)) == ["moodex-lite0"]
    assert count(moodex, "--model", "mine") == 6
    assert done(moodex("models", "default", "moodex-lite0")) == "moodex-lite0\n"


def test_what_cannot_be_added(moodex: Run, weights: Path, tmp_path: Path) -> None:
    one_sentence(moodex("models", "add", tmp_path / "none.safetensors"), 2, "is not a .safetensors file")
    done(moodex("models", "add", weights))
    one_sentence(moodex("models", "add", weights), 2, "There is a model 'mine' already")
    one_sentence(moodex("models", "add", weights, "--name", "moodex-lite0", "--force"), 2, "came with moodex")
    one_sentence(moodex("models", "add", weights, "--name", "../out"), 2, "cannot be called '../out'")
    done(moodex("models", "add", weights, "--force"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9] + b"damaged!!")
    one_sentence(moodex("models", "add", weights, "--name", "other"), 6, "the digests differ")
    replace_weights(weights, pickle.dumps({"a": 1}))
    one_sentence(moodex("models", "add", weights, "--name", "other"), 6, "is a pickle under another name")
    weights.with_suffix(".json").unlink()
    one_sentence(moodex("models", "add", weights, "--name", "other"), 6, "has no card")
    assert list(listed(moodex)) == ["moodex-lite0", "mine"]


def test_what_cannot_be_removed(moodex: Run, home: Path, weights: Path) -> None:
    from db.writer_lock import writer_lock

    done(moodex("models", "add", weights))
    done(moodex("models", "default", "mine"))
    for more in ([], ["--predictions"]):
        one_sentence(moodex("models", "remove", "moodex-lite0", *more), 2, "came with moodex")
        one_sentence(moodex("models", "remove", "mine", *more), 2, "is the default model")
        one_sentence(moodex("models", "remove", "nonesuch", *more), 6, "There is no model 'nonesuch' of yours; yours are mine")
    one_sentence(moodex("models", "default", "nonesuch"), 6, "There is no model 'nonesuch'; known are mine, moodex-lite0")
    done(moodex("models", "default", "moodex-lite0"))
    done(moodex("status"))
    (home / "moodex.sqlite").touch()
    with writer_lock(home):
        one_sentence(moodex("models", "remove", "mine", "--predictions"), 4, f"process {os.getpid()}")
    assert "mine" in listed(moodex)


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_an_exported_model_answers_elsewhere(moodex: Run, weights: Path, tmp_path: Path, form: str) -> None:
    done(moodex("models", "add", weights))
    target = tmp_path / "out"
    exported = moodex("models", "export", "mine", "--format", form, "--output", target)
    assert f"mine as {form}" in done(exported)
    assert exported.stderr == b""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    code = {
        "onnx": "import sys, numpy, onnxruntime; run = onnxruntime.InferenceSession(sys.argv[1]).run\n"
        "p, e = run(None, {'pixels': numpy.load(sys.argv[2])})",
        "torch": "import sys, numpy, torch; run = torch.export.load(open(sys.argv[1], 'rb')).module()\n"
        "p, e = (out.numpy() for out in run(torch.from_numpy(numpy.load(sys.argv[2]))))",
    }[form]
    np.save(tmp_path / "pixels.npy", pixels)
    code += "\nnumpy.savez(sys.argv[3], p=p, e=e)"
    words = [sys.executable, "-c", code, str(target), str(tmp_path / "pixels.npy"), str(tmp_path / "outputs.npz")]
    subprocess.run(words, check=True, cwd=tmp_path, capture_output=True)
    from models.inference.classifier import TorchClassifier

    expected = TorchClassifier.open(weights, "cpu").classify(pixels)
    with np.load(tmp_path / "outputs.npz") as outputs:
        np.testing.assert_allclose(outputs["p"], expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(outputs["e"], expected.embeddings, atol=1e-4)


def test_what_cannot_be_exported(moodex: Run, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.pt2"
    words = ["--format", "torch", "--output", target]
    one_sentence(moodex("models", "export", "nonesuch", *words), 6, "There is no model 'nonesuch'")
    assert moodex("models", "export", "moodex-lite0", "--format", "coreml", "-o", target).returncode == 2
    target.write_bytes(b"mine")
    one_sentence(moodex("models", "export", weights, *words), 2, "is there already; --force replaces it")
    assert target.read_bytes() == b"mine"
    assert "mine as torch" in done(moodex("models", "export", weights, *words, "--force"))
    weights.write_bytes(weights.read_bytes()[:-1])
    one_sentence(moodex("models", "export", weights, *words, "--force"), 6, "the digests differ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "model.pt2"]


@pytest.mark.process
def test_a_missing_package_is_one_sentence(home: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['onnxscript'] = None; import cli\n"
        f"sys.exit(cli.run(['--home', {str(home)!r}, 'models', 'export', 'moodex-lite0', '-o', {str(tmp_path / 'm.onnx')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    one_sentence(result, 6, "needs the package onnxscript: pip install 'moodex[export]'")


@pytest.mark.process
@pytest.mark.parametrize("words", [["models", "default", "moodex-lite0"], ["models", "default"], ["models", "remove", "none"]])
def test_what_needs_no_torch_does_without(home: Path, words: list[str]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli; cli.run({['--home', str(home), *words]!r})\n"
        "assert not {'torch', 'onnx', 'faiss', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    assert run_cli(home, "models", "list").returncode == 0
