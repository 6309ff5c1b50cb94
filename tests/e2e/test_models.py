"""User models on the command line: add, set as default, remove, export; and invalid requests."""

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
from tests.e2e.test_contract import assert_one_sentence_error
from tests.support.builders import write_images
from tests.support.in_process import run_in_process
from tests.unit.models.test_checkpoint import replace_weights

LABELS = ("happy", "sad")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A small model with random weights, outside the data folder."""
    torch.manual_seed(0)
    network = architecture("baseline_cnn").build(len(LABELS), 32)
    card = ModelCard("mine", "baseline_cnn", "", LABELS, InputSpec(32, 0, 255), network.embedding_size)
    return checkpoint.save(tmp_path / "elsewhere", card, network.state_dict())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", 6)
    return tmp_path / "images"


def output(result: subprocess.CompletedProcess[bytes]) -> str:
    """Assert that a command succeeded; return what it printed."""
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def models_by_name(moodex: Run) -> dict[str, tuple[bool, int]]:
    """Return for each model whether it is the default, and its number of images."""
    models = json.loads(output(moodex("models", "list", "--json")))
    return {model["name"]: (model["default"], model["images"]) for model in models}


def hit_count(moodex: Run, *words: str) -> int:
    """Return the number of hits of a search."""
    return len(json.loads(output(moodex("search", "--min-score", "0.01", "-k", "99", "-f", "json", *words))))


def test_an_added_model_becomes_the_default_and_is_used(moodex: Run, home: Path, weights: Path, images: Path) -> None:
    assert output(moodex("models", "add", weights)) == "mine\n"
    assert models_by_name(moodex) == {"moodex-lite0": (True, 0), "mine": (False, 0)}
    assert output(moodex("models", "default")) == "moodex-lite0\n"
    assert output(moodex("models", "default", "mine")) == "mine\n"
    assert json.loads(output(moodex("models", "default", "--json"))) == {"name": "mine", "set_by": "home"}
    assert json.loads(output(moodex("index", images, "--json")))["model"] == "mine"
    assert models_by_name(moodex) == {"moodex-lite0": (False, 0), "mine": (True, 6)}
    assert hit_count(moodex) == 6
    assert_one_sentence_error(moodex("search", "-e", "sad", "--model", "moodex-lite0"), 2, "No images are indexed with the model")


def test_the_environment_overrides_the_default_of_the_data_folder(moodex: Run, home: Path, weights: Path) -> None:
    output(moodex("models", "add", weights))
    output(moodex("models", "default", "mine"))
    shown = run_in_process(["models", "default", "--json"], environment(home) | {"MOODEX_MODEL": "moodex-lite0"})
    assert json.loads(output(shown)) == {"name": "moodex-lite0", "set_by": "settings"}


def test_a_model_under_a_second_name_uses_the_predictions_of_the_first(moodex: Run, weights: Path, images: Path) -> None:
    output(moodex("models", "add", weights))
    output(moodex("index", images, "--model", "mine"))
    assert output(moodex("models", "add", weights, "--name", "again")) == "again\n"
    assert hit_count(moodex, "--model", "again") == 6
    summary = json.loads(output(moodex("index", images, "--model", "again", "--json")))
    assert (summary["indexed"], summary["unchanged"]) == (0, 6)
    assert hit_count(moodex, "--model", "mine") == 6
    # Both names share the predictions: removing one name must keep them for the other.
    assert "0 predictions" in output(moodex("models", "remove", "again", "--predictions"))
    assert hit_count(moodex, "--model", "mine") == 6


def test_a_removed_model_can_still_be_searched_by_name(moodex: Run, home: Path, weights: Path, images: Path) -> None:
    output(moodex("models", "add", weights))
    output(moodex("index", images, "--model", "mine"))
    assert "predictions were kept" in output(moodex("models", "remove", "mine"))
    assert hit_count(moodex, "--model", "mine") == 6
    assert hit_count(moodex, "--model", "mine", "--like", str(images / "000.png")) == 6
    assert_one_sentence_error(moodex("index", images, "--model", "mine"), 6, "Unknown model 'mine'")
    assert "6 predictions" in output(moodex("models", "remove", "mine", "--predictions"))
    assert_one_sentence_error(moodex("models", "remove", "mine", "--predictions"), 6, "You have no model 'mine'")


def test_predictions_are_removed_with_their_vectors_and_computed_again(
    moodex: Run, home: Path, weights: Path, images: Path
) -> None:
    output(moodex("models", "add", weights))
    output(moodex("index", images))
    output(moodex("index", images, "--model", "mine"))
    before = set((home / "vectors").iterdir())
    stale = {path: path.read_bytes() for path in before}
    assert output(moodex("models", "remove", "mine", "--predictions")) == "Removed mine and 6 predictions of it.\n"
    removed = before - set((home / "vectors").iterdir())
    assert {path.suffix for path in removed} == {".rows", ".json"}
    assert len(removed) == 2
    assert hit_count(moodex, "--model", "mine") == 0
    assert hit_count(moodex) == 6
    output(moodex("models", "add", weights))
    for path, data in stale.items():
        path.write_bytes(data)
    assert json.loads(output(moodex("index", images, "--model", "mine", "--json")))["indexed"] == 6
    for path, data in stale.items():
        path.write_bytes(data)
    assert hit_count(moodex, "--model", "mine", "--like", str(images / "000.png")) == 6


def test_a_missing_default_model_is_an_error_that_suggests_a_command(
    moodex: Run, home: Path, weights: Path, images: Path
) -> None:
    output(moodex("models", "add", weights))
    output(moodex("models", "default", "mine"))
    output(moodex("index", images))
    (home / "models/mine.safetensors").unlink()
    for words in (["index", images], ["search", "-e", "sad"], ["models", "default"]):
        assert_one_sentence_error(moodex(*words), 6, "'mine' is missing; choose another: moodex models default moodex-lite0")
    assert list(models_by_name(moodex)) == ["moodex-lite0"]
    assert hit_count(moodex, "--model", "mine") == 6
    assert output(moodex("models", "default", "moodex-lite0")) == "moodex-lite0\n"


def test_an_invalid_model_is_not_added(moodex: Run, weights: Path, tmp_path: Path) -> None:
    assert_one_sentence_error(moodex("models", "add", tmp_path / "none.safetensors"), 2, "does not exist")
    output(moodex("models", "add", weights))
    assert_one_sentence_error(moodex("models", "add", weights), 2, "There is a model 'mine' already")
    assert_one_sentence_error(moodex("models", "add", weights, "--name", "moodex-lite0", "--force"), 2, "came with moodex")
    assert_one_sentence_error(moodex("models", "add", weights, "--name", "../out"), 2, "cannot be called '../out'")
    output(moodex("models", "add", weights, "--force"))
    data = weights.read_bytes()
    weights.write_bytes(data[:-9] + b"damaged!!")
    assert_one_sentence_error(moodex("models", "add", weights, "--name", "other"), 6, "the digests differ")
    replace_weights(weights, pickle.dumps({"a": 1}))
    assert_one_sentence_error(moodex("models", "add", weights, "--name", "other"), 6, "is a pickle under another name")
    weights.with_suffix(".json").unlink()
    assert_one_sentence_error(moodex("models", "add", weights, "--name", "other"), 6, "has no card")
    assert list(models_by_name(moodex)) == ["moodex-lite0", "mine"]


def test_a_model_that_is_shipped_default_or_unknown_is_not_removed(moodex: Run, home: Path, weights: Path) -> None:
    from db.writer_lock import writer_lock

    output(moodex("models", "add", weights))
    output(moodex("models", "default", "mine"))
    for options in ([], ["--predictions"]):
        assert_one_sentence_error(moodex("models", "remove", "moodex-lite0", *options), 2, "came with moodex")
        assert_one_sentence_error(moodex("models", "remove", "mine", *options), 2, "is the default model")
        assert_one_sentence_error(
            moodex("models", "remove", "nonesuch", *options), 6, "You have no model 'nonesuch'; your models: mine"
        )
    assert_one_sentence_error(
        moodex("models", "default", "nonesuch"), 6, "Unknown model 'nonesuch'; installed: mine, moodex-lite0"
    )
    output(moodex("models", "default", "moodex-lite0"))
    output(moodex("status"))
    (home / "moodex.sqlite").touch()
    with writer_lock(home):
        assert_one_sentence_error(moodex("models", "remove", "mine", "--predictions"), 4, f"process {os.getpid()}")
    assert "mine" in models_by_name(moodex)


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_an_exported_model_gives_the_same_results_without_moodex(moodex: Run, weights: Path, tmp_path: Path, form: str) -> None:
    output(moodex("models", "add", weights))
    target = tmp_path / "out"
    exported = moodex("models", "export", "mine", "--format", form, "--output", target)
    assert f"mine as {form}" in output(exported)
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


def test_an_invalid_export_is_refused_and_replaces_nothing(moodex: Run, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.pt2"
    words = ["--format", "torch", "--output", target]
    assert_one_sentence_error(moodex("models", "export", "nonesuch", *words), 6, "Unknown model 'nonesuch'")
    assert moodex("models", "export", "moodex-lite0", "--format", "coreml", "-o", target).returncode == 2
    target.write_bytes(b"mine")
    assert_one_sentence_error(moodex("models", "export", weights, *words), 2, "already exists; --force replaces it")
    assert target.read_bytes() == b"mine"
    assert "mine as torch" in output(moodex("models", "export", weights, *words, "--force"))
    weights.write_bytes(weights.read_bytes()[:-1])
    assert_one_sentence_error(moodex("models", "export", weights, *words, "--force"), 6, "the digests differ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "model.pt2"]


@pytest.mark.process
def test_a_missing_package_is_an_error_of_one_sentence(home: Path, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['onnxscript'] = None; import cli\n"
        f"sys.exit(cli.run(['--home', {str(home)!r}, 'models', 'export', 'moodex-lite0', '-o', {str(tmp_path / 'm.onnx')!r}]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert_one_sentence_error(result, 6, "needs the package onnxscript: pip install 'moodex[export]'")


@pytest.mark.process
@pytest.mark.parametrize("words", [["models", "default", "moodex-lite0"], ["models", "default"], ["models", "remove", "none"]])
def test_default_and_removal_of_models_do_not_load_torch(home: Path, words: list[str]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import cli; cli.run({['--home', str(home), *words]!r})\n"
        "assert not {'torch', 'onnx', 'faiss', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
    assert run_cli(home, "models", "list").returncode == 0
