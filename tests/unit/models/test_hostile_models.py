"""Foreign checkpoints and cards with faults: one sentence, exit code 6, nothing loaded."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from indexer.domain.errors import ModelUnavailable, MoodexError
from models import checkpoint, checkpoint_arrays, safetensors_io, zoo
from models import model_card as cards
from models.inference.classifier import OnnxClassifier
from models.model_card import card_path, read_card
from models.model_registry import FolderModelRegistry

SHIPPED = zoo.checkpoints()[zoo.DEFAULT]
DATA = SHIPPED.read_bytes()
FACTS: dict[str, Any] = json.loads(card_path(SHIPPED).read_text(encoding="utf-8")) | {"about": {}}
INPUT = FACTS["input"]
COUNT = len(FACTS["labels"])


@pytest.fixture
def foreign_model(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "given.safetensors"


def write_model(path: Path, data: bytes = DATA, card: bytes | None = None, **changes: Any) -> None:
    """Write a checkpoint, with a card that contains its digest, so that only the fault under test is found."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    # The digest of the backbone would reveal other weights before the fault does.
    backbone = {} if data == DATA else {"backbone_digest": ""}
    facts = {**FACTS, "name": "given", "weights_digest": blake3(data).hexdigest(), **backbone, **changes}
    card_path(path).write_bytes(json.dumps(facts).encode() if card is None else card)


def with_tensors(**changes: Any) -> bytes:
    return save({**load(DATA), **{name.replace("_", ".", 1): tensor for name, tensor in changes.items()}})


def with_header(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def with_dtype(dtype: str) -> bytes:
    return with_header(json.dumps({"a": {"dtype": dtype, "shape": [4], "data_offsets": [0, 2]}}).encode(), b"ab")


def with_offsets(offsets: list[int]) -> bytes:
    size = int.from_bytes(DATA[:8], "little")
    header = json.loads(DATA[8 : 8 + size])
    header["classifier.bias"]["data_offsets"] = offsets
    return with_header(json.dumps(header).encode(), DATA[8 + size :])


CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "a number as name": ({"name": 5}, "its name is not text"),
    "an escape as name": ({"name": "\x1b]0;owned\x07"}, "its name is not text of at most"),
    "a surrogate in the name": ({"name": "\ud800"}, "its name is not text of at most"),
    "an endless name": ({"name": "x" * 1_000_000}, "its name is not text of at most"),
    "an escape as architecture": ({"architecture": "\x1b[2J"}, "its architecture is not text of at most"),
    "a path as architecture": ({"architecture": "../../../etc/passwd"}, "There is no architecture"),
    "an architecture from a hub": ({"architecture": "timm:hf-hub:somebody/model"}, "no network|needs the package"),
    "an architecture from a folder": ({"architecture": "open_clip:local-dir:/tmp"}, "no network|needs the package"),
    "an architecture of another input size": (
        {"architecture": "vit_b_16", "input": {**INPUT, "size": 17}},
        "cannot read images of 17",
    ),
    "too many labels": ({"labels": [f"a{n}" for n in range(256)]}, "not at most 255 words"),
    "millions of labels": ({"labels": [f"a{n}" for n in range(300_000)]}, "not at most 255 words"),
    "escapes as labels": ({"labels": [f"\x1b[3{n}m" for n in range(COUNT)]}, "printable characters"),
    "a surrogate in a label": ({"labels": ["\ud800", *FACTS["labels"][1:]]}, "printable characters"),
    "an empty label": ({"labels": ["", *FACTS["labels"][1:]]}, "printable characters"),
    "the same label repeatedly": ({"labels": ["a"] * COUNT}, "not a usable model card"),
    "an object as labels": ({"labels": {"happy": 1}}, "not a list of lower-case words"),
    "true as embedding size": ({"embedding_size": True, "spaces": {}}, "embedding_size is not a whole number"),
    "a negative embedding size": ({"embedding_size": -1}, "not a usable model card"),
    "a huge embedding size": ({"embedding_size": 10**30, "spaces": {}}, "numbers an embedding|names the spaces|other embeddings"),
    "text as input size": ({"input": {**INPUT, "size": "128"}}, "size of its input is not a usable number"),
    "a fractional input size": ({"input": {**INPUT, "size": 128.5}}, "size of its input is not a usable number"),
    "true as input size": ({"input": {**INPUT, "size": True}}, "size of its input is not a usable number"),
    "a huge input size": ({"input": {**INPUT, "size": 10**9}}, "size of its input is not a usable number"),
    "zero as input size": ({"input": {**INPUT, "size": 0}}, "not a usable model input"),
    "text as mean": ({"input": {**INPUT, "mean": "x"}}, "mean of its input is not a usable number"),
    "NaN as mean": ({"input": {**INPUT, "mean": float("nan")}}, "mean of its input is not a usable number"),
    "infinity as std": ({"input": {**INPUT, "std": float("inf")}}, "std of its input is not a usable number"),
    "a huge std": ({"input": {**INPUT, "std": 10**400}}, "std of its input is not a usable number"),
    "a fractional background": ({"input": {**INPUT, "background": 1.5}}, "background of its input is not a usable number"),
    "a list as input": ({"input": [128, 0, 1]}, "its input is not size, mean and std"),
    "an unknown field of the input": ({"input": {**INPUT, "__class__": 1}}, "its input is not size, mean and std"),
    "a list as spaces": ({"spaces": [128, 128]}, "spaces are not sizes by name"),
    "an empty space": ({"spaces": {"feel": 0, "look": 256}}, "spaces are not sizes by name"),
    "unknown spaces": ({"spaces": {"\x1b[31m": 256}}, "names the spaces|other embeddings"),
    "a list as about": ({"about": [1]}, "its about is not an object"),
    "a surrogate in about": ({"about": {"by": "\ud800"}}, "is not a model card"),
    "a number as digest": ({"weights_digest": 5}, "its weights_digest is not text"),
    "the digest of other weights": ({"weights_digest": "00" * 32}, "the digests differ"),
}
TEXTS: dict[str, tuple[bytes, str]] = {
    "nested lists": (b"[" * 200_000, "cannot be read as JSON"),
    "nested objects": (b'{"a":' * 200_000, "cannot be read as JSON"),
    "a duplicate key": (json.dumps(FACTS).encode()[:-1] + b', "labels": ["x"]}', "it has a name twice"),
    "a number of 5000 digits": (b"1" * 5000, "cannot be read as JSON"),
    "null": (b"null", "it is not an object"),
    "text": (b'"labels"', "it is not an object"),
    "not UTF-8": (b"\xff\xfe", "cannot be read as JSON"),
    "too long": (b" " * (cards.MAX_BYTES + 1), "exceeds the limit"),
}
WEIGHTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an empty file": (lambda: b"", "not a safetensors file"),
    "an endless header": (lambda: struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
    "a header longer than the file": (lambda: struct.pack("<Q", 99_000_000) + b"{}", "not a safetensors file"),
    "a nested header": (lambda: with_header(b'{"a":' * 100_000), "not a safetensors file"),
    "a header that is not text": (lambda: with_header(b"\xff" * 100), "not a safetensors file"),
    "offsets beyond the file": (lambda: with_offsets([0, 2**60]), "not a safetensors file"),
    "negative offsets": (lambda: with_offsets([-5, 3]), "not a safetensors file"),
    "overlapping offsets": (lambda: with_offsets([0, 4 * COUNT]), "not a safetensors file"),
    "numbers of four bits": (lambda: with_dtype("F4"), "not a safetensors file: it holds numbers of an unknown kind"),
    "numbers of an unknown type": (lambda: with_dtype("PICKLE"), "not a safetensors file"),
    "tensors of another network": (lambda: save({"a": np.ones(1, np.float32)}), "lacks .* tensors|is not of the shape"),
    "NaN": (lambda: with_tensors(classifier_bias=np.full(COUNT, np.nan, np.float32)), "not finite"),
    "infinity": (lambda: with_tensors(classifier_bias=np.full(COUNT, -np.inf, np.float32)), "not finite"),
    "a wrong shape": (lambda: with_tensors(classifier_bias=np.ones(COUNT + 1, np.float32)), "shape"),
    "a shape that could be broadcast": (lambda: with_tensors(classifier_bias=np.ones(1, np.float32)), "shape"),
    "booleans": (lambda: with_tensors(classifier_bias=np.ones(COUNT, bool)), "finite|shape"),
}  # fmt: skip
REPLAY_SETS: dict[str, dict[str, Any]] = {
    "negative labels": {"vectors": np.ones((2, 256), np.float16), "labels": np.array([-1, 0])},
    "labels of no dimension": {"vectors": np.ones((2, 256), np.float16), "labels": np.array(1, np.uint8)},
    "labels out of range": {"vectors": np.ones((2, 256), np.float16), "labels": np.array([0, 200], np.uint8)},
    "vectors of integers": {"vectors": np.ones((2, 256), np.int32), "labels": np.array([0, 1], np.uint8)},
    "vectors of another size": {"vectors": np.ones((2, 255), np.float16), "labels": np.array([0, 1], np.uint8)},
    "missing labels": {"vectors": np.ones((2, 256), np.float16)},
    "an unknown tensor": {
        "vectors": np.ones((1, 256), np.float16),
        "labels": np.zeros(1, np.uint8),
        "images": np.ones(1, np.float32),
    },
}


def assert_refused(path: Path, tmp_path: Path, sentence: str) -> None:
    """Assert that everything that opens the model refuses it, and that nothing is left behind."""
    pytest.importorskip("onnxruntime")
    registry = FolderModelRegistry(tmp_path / "models")
    for open_model in (partial(checkpoint.load, path), partial(OnnxClassifier.open, path), partial(registry.add, path, "added")):
        with pytest.raises(ModelUnavailable, match=sentence) as caught:
            open_model()
        assert len(str(caught.value)) < 700
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("fault", CARDS)
def test_a_card_with_invalid_fields_is_refused(foreign_model: Path, tmp_path: Path, fault: str) -> None:
    changes, sentence = CARDS[fault]
    write_model(foreign_model, **changes)
    if "architecture" in changes:  # ONNX Runtime has no graph of it
        sentence += "|has no ONNX graph of"
    assert_refused(foreign_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", TEXTS)
def test_a_card_that_is_not_a_json_object_is_refused(foreign_model: Path, tmp_path: Path, fault: str) -> None:
    text, sentence = TEXTS[fault]
    write_model(foreign_model, card=text)
    assert_refused(foreign_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", WEIGHTS)
def test_invalid_weights_are_refused(foreign_model: Path, tmp_path: Path, fault: str) -> None:
    make, sentence = WEIGHTS[fault]
    write_model(foreign_model, make())
    assert_refused(foreign_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", REPLAY_SETS)
def test_an_invalid_replay_set_is_refused(foreign_model: Path, fault: str) -> None:
    write_model(
        foreign_model,
        save({**load(DATA), **{f"{checkpoint_arrays.MEMORY}{name}": tensor for name, tensor in REPLAY_SETS[fault].items()}}),
    )
    with pytest.raises(ModelUnavailable, match="replay set of the model .* is not"):
        checkpoint.load(foreign_model)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "evil/../x", "..", "C:evil"])
def test_a_path_as_name_is_refused(foreign_model: Path, tmp_path: Path, name: str) -> None:
    write_model(foreign_model, name=name)
    with pytest.raises(MoodexError, match="cannot be called"):
        FolderModelRegistry(tmp_path / "models").add(foreign_model)
    assert not (tmp_path / "models").exists()


def test_pipes_and_devices_are_refused_without_waiting(foreign_model: Path, tmp_path: Path) -> None:
    write_model(foreign_model)
    card_path(foreign_model).unlink()
    os.mkfifo(card_path(foreign_model))
    assert_refused(foreign_model, tmp_path, "not a regular file")
    write_model(foreign_model.with_name("zero.safetensors"))
    card_path(foreign_model.with_name("zero.safetensors")).unlink()
    card_path(foreign_model.with_name("zero.safetensors")).symlink_to("/dev/zero")
    assert_refused(foreign_model.with_name("zero.safetensors"), tmp_path, "not a regular file")
    foreign_model.unlink()
    card_path(foreign_model).unlink()
    card_path(foreign_model).write_text(json.dumps(FACTS))
    os.mkfifo(foreign_model)
    with pytest.raises(ModelUnavailable, match="not a regular file"):
        checkpoint.load(foreign_model)


def test_weights_beyond_the_limit_are_not_read(foreign_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(foreign_model)
    monkeypatch.setattr(safetensors_io, "MAX_BYTES", 1000)
    with pytest.raises(ModelUnavailable, match="exceeds the limit"):
        checkpoint.load(foreign_model)


def test_a_link_to_a_checkpoint_is_added_as_a_copy(foreign_model: Path, tmp_path: Path) -> None:
    write_model(foreign_model)
    link = tmp_path / "link.safetensors"
    link.symlink_to(foreign_model)
    card_path(link).symlink_to(card_path(foreign_model))
    assert FolderModelRegistry(tmp_path / "models").add(link).name == "given"
    assert not (tmp_path / "models/given.safetensors").is_symlink()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from(sorted(FACTS)), _JSON, max_size=4),
    st.dictionaries(st.sampled_from(sorted(INPUT)), _JSON, max_size=2),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_card_is_valid_or_gives_one_sentence(tmp_path: Path, changes: dict[str, Any], inputs: dict[str, Any]) -> None:
    path = tmp_path / "given.safetensors"
    card_path(path).write_text(json.dumps({**FACTS, "input": {**INPUT, **inputs}, **changes}), encoding="utf-8")
    try:
        card = read_card(path)
    except ModelUnavailable as error:
        assert len(str(error)) < 500 + len(str(path))
    else:
        assert all(label.isprintable() for label in card.labels)
        cards.card_text(card).encode()
