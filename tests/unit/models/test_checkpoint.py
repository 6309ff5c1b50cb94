from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from blake3 import blake3
from safetensors.torch import save as serialize

from indexer.domain.emotions import EMOTIONS
from indexer.domain.errors import ModelUnavailable
from indexer.domain.images import InputSpec
from indexer.domain.models import ModelCard
from models import checkpoint, checkpoint_arrays, zoo
from models.architectures.registry import architecture
from models.model_card import card_path, read_card
from tests.unit.models.conftest import lite0_card, lite0_state


def alter_card(path: Path, **changes: object) -> None:
    facts = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**facts, **changes}))


def replace_weights(path: Path, data: bytes) -> None:
    """Replace the weights, and their digest in the card."""
    path.write_bytes(data)
    alter_card(path, weights_digest=blake3(data).hexdigest())


def test_a_saved_checkpoint_is_loaded(saved: Path) -> None:
    card, state = checkpoint.load(saved)
    written = lite0_state()
    assert card.labels == lite0_card().labels
    assert card.weights_digest == blake3(saved.read_bytes()).hexdigest()
    assert state.keys() == written.keys()
    for name, tensor in written.items():
        assert state[name].dtype == torch.float32
        assert torch.allclose(state[name], tensor, rtol=1e-3, atol=1e-6), name


def test_a_checkpoint_is_small_and_two_files(saved: Path) -> None:
    assert saved.stat().st_size < 10_000_000
    assert sorted(path.name for path in saved.parent.iterdir()) == ["tiny.json", "tiny.safetensors"]


def test_saving_again_replaces_the_checkpoint(saved: Path) -> None:
    before = read_card(saved)
    checkpoint.save(saved.parent, lite0_card(), lite0_state(seed=1))
    after, _ = checkpoint.load(saved)
    assert after.key != before.key


def without(name: str) -> bytes:
    return serialize({other: tensor for other, tensor in lite0_state().items() if other != name})


def with_tensor(name: str, tensor: torch.Tensor) -> bytes:
    return serialize({**lite0_state(), name: tensor})


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing weights": (lambda path: path.unlink(), "cannot be read"),
    "missing card": (lambda path: card_path(path).unlink(), "has no card"),
    "card not JSON": (lambda path: card_path(path).write_text("{"), "cannot be read as JSON"),
    "list as card": (lambda path: card_path(path).write_text("[]"), "is not a model card"),
    "card without labels": (lambda path: card_path(path).write_text('{"name": "tiny"}'), "lacks 'labels'"),
    "invalid labels": (lambda path: alter_card(path, labels=["Happy "]), "not a list of lower-case words"),
    "altered": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "digests differ"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:-100]), "digests differ"),
    "truncated with a matching digest": (lambda path: replace_weights(path, path.read_bytes()[:-100]), "not a safetensors file"),
    "pickle": (lambda path: replace_weights(path, pickle.dumps({"a": 1})), "is a pickle"),
    "torch.save": (lambda path: torch.save({"a": torch.ones(1)}, path), "is a pickle"),
    "unknown architecture": (lambda path: alter_card(path, architecture="resnet9000"), "no architecture 'resnet9000'"),
    "wrong embedding": (lambda path: alter_card(path, embedding_size=512), "embedding size of 512"),
    "missing tensor": (lambda path: replace_weights(path, without("head.conv.weight")), "lacks 1 tensors.*head.conv.weight"),
    "extra tensor": (
        lambda path: replace_weights(path, with_tensor("more", torch.ones(1))),
        "has 1 tensors that",
    ),
    "too few labels": (lambda path: alter_card(path, labels=["happy", "sad"]), "classifier.weight has shape"),
    "NaN": (
        lambda path: replace_weights(path, with_tensor("classifier.bias", torch.full((10,), torch.nan))),
        "classifier.bias holds values that are not finite",
    ),
    "integers": (
        lambda path: replace_weights(path, with_tensor("classifier.bias", torch.ones(10, dtype=torch.int32))),
        "classifier.bias holds values that are not finite",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_bad_checkpoint_is_one_sentence(saved: Path, fault: str) -> None:
    damage, sentence = BROKEN[fault]
    damage(saved)
    with pytest.raises(ModelUnavailable, match=sentence):
        checkpoint.load(saved)


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(saved.parent, lite0_card(), lite0_state(seed=1))
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 2


def test_listing_models_needs_no_torch(saved: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from models import zoo; from models.model_card import read_card\n"
        f"print(read_card(Path({str(saved)!r})).name, zoo.DEFAULT, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["tiny", "moodex-lite0", "False"]


def test_arrays_and_tensors_are_written_as_the_same_files(tmp_path: Path) -> None:
    shipped = zoo.checkpoints()[zoo.DEFAULT]
    card, arrays = checkpoint_arrays.load_all(shipped)
    by_arrays = checkpoint_arrays.save(tmp_path / "arrays", card, arrays)
    by_tensors = checkpoint.save(tmp_path / "tensors", card, {name: torch.from_numpy(part) for name, part in arrays.items()})
    assert by_arrays.read_bytes() == by_tensors.read_bytes() == shipped.read_bytes()
    assert read_card(by_arrays) == read_card(by_tensors) == card


@pytest.mark.parametrize("name", ["efficientnet_lite0+spaces", "efficientnet_lite0+spaces+whole+usual", "resnet18+unit"])
def test_a_graph_and_its_network_have_the_same_weights(name: str) -> None:
    """Without torch, a checkpoint is checked against the shapes of the graph."""
    kind = architecture(name)
    network = kind.build(len(EMOTIONS), 160)
    spec = InputSpec(160, kind.mean, kind.std)
    card = ModelCard("any", name, "", EMOTIONS, spec, network.embedding_size, network.spaces)
    by_graph, by_network = checkpoint_arrays._weights_in_graph(card), checkpoint_arrays._weights_in_network(card)
    assert by_graph is not None and dict(by_graph.shapes) == dict(by_network.shapes)
    assert (by_graph.spaces, by_graph.embedding_size) == (by_network.spaces, by_network.embedding_size)
