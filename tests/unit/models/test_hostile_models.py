"""Checkpoints and cards from elsewhere: one sentence, exit code 6, nothing loaded, whatever is wrong with them."""

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
from models import checkpoint, safetensors_io, zoo
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
def given_model(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere" / "given.safetensors"


def put(path: Path, data: bytes = DATA, card: bytes | None = None, **changes: Any) -> None:
    """A checkpoint from elsewhere, with a card that vouches for whatever it is."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    # Its own digest of the network would give other weights away first.
    own = {} if data == DATA else {"backbone_digest": ""}
    facts = {**FACTS, "name": "given", "weights_digest": blake3(data).hexdigest(), **own, **changes}
    card_path(path).write_bytes(json.dumps(facts).encode() if card is None else card)


def with_tensors(**changes: Any) -> bytes:
    return save({**load(DATA), **{name.replace("_", ".", 1): tensor for name, tensor in changes.items()}})


def headed(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def of_kind(kind: str) -> bytes:
    return headed(json.dumps({"a": {"dtype": kind, "shape": [4], "data_offsets": [0, 2]}}).encode(), b"ab")


def moved(offsets: list[int]) -> bytes:
    size = int.from_bytes(DATA[:8], "little")
    header = json.loads(DATA[8 : 8 + size])
    header["classifier.bias"]["data_offsets"] = offsets
    return headed(json.dumps(header).encode(), DATA[8 + size :])


CARDS: dict[str, tuple[dict[str, Any], str]] = {
    "name a number": ({"name": 5}, "its name is not text"),
    "name an escape": ({"name": "\x1b]0;owned\x07"}, "its name is not text of at most"),
    "name half a character": ({"name": "\ud800"}, "its name is not text of at most"),
    "name without end": ({"name": "x" * 1_000_000}, "its name is not text of at most"),
    "architecture an escape": ({"architecture": "\x1b[2J"}, "its architecture is not text of at most"),
    "architecture a path": ({"architecture": "../../../etc/passwd"}, "There is no architecture"),
    "architecture from a hub": ({"architecture": "timm:hf-hub:somebody/model"}, "no network|needs the package"),
    "architecture from a folder": ({"architecture": "open_clip:local-dir:/tmp"}, "no network|needs the package"),
    "architecture of another size": (
        {"architecture": "vit_b_16", "input": {**INPUT, "size": 17}},
        "cannot read images of 17",
    ),
    "too many labels": ({"labels": [f"a{n}" for n in range(256)]}, "not at most 255 words"),
    "millions of labels": ({"labels": [f"a{n}" for n in range(300_000)]}, "not at most 255 words"),
    "labels that are escapes": ({"labels": [f"\x1b[3{n}m" for n in range(COUNT)]}, "printable characters"),
    "labels that are halves": ({"labels": ["\ud800", *FACTS["labels"][1:]]}, "printable characters"),
    "a label that is empty": ({"labels": ["", *FACTS["labels"][1:]]}, "printable characters"),
    "labels that are one": ({"labels": ["a"] * COUNT}, "not a usable model card"),
    "labels an object": ({"labels": {"happy": 1}}, "not a list of lower-case words"),
    "embedding true": ({"embedding_size": True, "spaces": {}}, "embedding_size is not a whole number"),
    "embedding below zero": ({"embedding_size": -1}, "not a usable model card"),
    "embedding huge": ({"embedding_size": 10**30, "spaces": {}}, "numbers an embedding|names the spaces|other embeddings"),
    "size text": ({"input": {**INPUT, "size": "128"}}, "size of its input is not a usable number"),
    "size half": ({"input": {**INPUT, "size": 128.5}}, "size of its input is not a usable number"),
    "size true": ({"input": {**INPUT, "size": True}}, "size of its input is not a usable number"),
    "size huge": ({"input": {**INPUT, "size": 10**9}}, "size of its input is not a usable number"),
    "size nothing": ({"input": {**INPUT, "size": 0}}, "not a usable model input"),
    "mean text": ({"input": {**INPUT, "mean": "x"}}, "mean of its input is not a usable number"),
    "mean no number": ({"input": {**INPUT, "mean": float("nan")}}, "mean of its input is not a usable number"),
    "std without end": ({"input": {**INPUT, "std": float("inf")}}, "std of its input is not a usable number"),
    "std huge": ({"input": {**INPUT, "std": 10**400}}, "std of its input is not a usable number"),
    "background half": ({"input": {**INPUT, "background": 1.5}}, "background of its input is not a usable number"),
    "input a list": ({"input": [128, 0, 1]}, "its input is not size, mean and std"),
    "input with more": ({"input": {**INPUT, "__class__": 1}}, "its input is not size, mean and std"),
    "spaces a list": ({"spaces": [128, 128]}, "spaces are not sizes by name"),
    "spaces nothing": ({"spaces": {"feel": 0, "look": 256}}, "spaces are not sizes by name"),
    "spaces others": ({"spaces": {"\x1b[31m": 256}}, "names the spaces|other embeddings"),
    "about a list": ({"about": [1]}, "its about is not an object"),
    "about half a character": ({"about": {"by": "\ud800"}}, "is not a model card"),
    "digest a number": ({"weights_digest": 5}, "its weights_digest is not text"),
    "digest of others": ({"weights_digest": "00" * 32}, "the digests differ"),
}
TEXTS: dict[str, tuple[bytes, str]] = {
    "lists in lists": (b"[" * 200_000, "cannot be read as JSON"),
    "objects in objects": (b'{"a":' * 200_000, "cannot be read as JSON"),
    "a name twice": (json.dumps(FACTS).encode()[:-1] + b', "labels": ["x"]}', "it has a name twice"),
    "a number of digits": (b"1" * 5000, "cannot be read as JSON"),
    "nothing": (b"null", "it is not an object"),
    "text": (b'"labels"', "it is not an object"),
    "no text": (b"\xff\xfe", "cannot be read as JSON"),
    "too long": (b" " * (cards.MAX_BYTES + 1), "exceeds the limit"),
}
WEIGHTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not a safetensors file"),
    "a header without end": (lambda: struct.pack("<Q", 2**63) + b"{}", "not a safetensors file"),
    "a header longer than the file": (lambda: struct.pack("<Q", 99_000_000) + b"{}", "not a safetensors file"),
    "a header in itself": (lambda: headed(b'{"a":' * 100_000), "not a safetensors file"),
    "a header of bytes": (lambda: headed(b"\xff" * 100), "not a safetensors file"),
    "offsets outside": (lambda: moved([0, 2**60]), "not a safetensors file"),
    "offsets below zero": (lambda: moved([-5, 3]), "not a safetensors file"),
    "offsets that overlap": (lambda: moved([0, 4 * COUNT]), "not a safetensors file"),
    "numbers of four bits": (lambda: of_kind("F4"), "not a safetensors file: it holds numbers of an unknown kind"),
    "numbers of no kind": (lambda: of_kind("PICKLE"), "not a safetensors file"),
    "others": (lambda: save({"a": np.ones(1, np.float32)}), "lacks .* tensors|is not of the shape"),
    "no numbers": (lambda: with_tensors(classifier_bias=np.full(COUNT, np.nan, np.float32)), "not finite"),
    "numbers without end": (lambda: with_tensors(classifier_bias=np.full(COUNT, -np.inf, np.float32)), "not finite"),
    "another shape": (lambda: with_tensors(classifier_bias=np.ones(COUNT + 1, np.float32)), "shape"),
    "a shape that would do": (lambda: with_tensors(classifier_bias=np.ones(1, np.float32)), "shape"),
    "truths": (lambda: with_tensors(classifier_bias=np.ones(COUNT, bool)), "finite|shape"),
}  # fmt: skip
MEMORIES: dict[str, dict[str, Any]] = {
    "labels below zero": {"vectors": np.ones((2, 256), np.float16), "labels": np.array([-1, 0])},
    "labels of no list": {"vectors": np.ones((2, 256), np.float16), "labels": np.array(1, np.uint8)},
    "labels of none": {"vectors": np.ones((2, 256), np.float16), "labels": np.array([0, 200], np.uint8)},
    "vectors of whole numbers": {"vectors": np.ones((2, 256), np.int32), "labels": np.array([0, 1], np.uint8)},
    "vectors of another size": {"vectors": np.ones((2, 255), np.float16), "labels": np.array([0, 1], np.uint8)},
    "no labels": {"vectors": np.ones((2, 256), np.float16)},
    "more": {"vectors": np.ones((1, 256), np.float16), "labels": np.zeros(1, np.uint8), "pictures": np.ones(1, np.float32)},
}


def refused(path: Path, tmp_path: Path, sentence: str) -> None:
    """By everything that opens it, and without a trace."""
    pytest.importorskip("onnxruntime")
    registry = FolderModelRegistry(tmp_path / "models")
    for opened in (partial(checkpoint.load, path), partial(OnnxClassifier.open, path), partial(registry.add, path, "added")):
        with pytest.raises(ModelUnavailable, match=sentence) as caught:
            opened()
        assert len(str(caught.value)) < 700
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("fault", CARDS)
def test_a_card_that_cannot_be(given_model: Path, tmp_path: Path, fault: str) -> None:
    changes, sentence = CARDS[fault]
    put(given_model, **changes)
    if "architecture" in changes:  # ONNX Runtime knows no such network
        sentence += "|has no ONNX graph of"
    refused(given_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", TEXTS)
def test_a_card_that_is_none(given_model: Path, tmp_path: Path, fault: str) -> None:
    text, sentence = TEXTS[fault]
    put(given_model, card=text)
    refused(given_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", WEIGHTS)
def test_weights_that_cannot_be(given_model: Path, tmp_path: Path, fault: str) -> None:
    make, sentence = WEIGHTS[fault]
    put(given_model, make())
    refused(given_model, tmp_path, sentence)


@pytest.mark.parametrize("fault", MEMORIES)
def test_a_memory_that_cannot_be(given_model: Path, fault: str) -> None:
    put(given_model, save({**load(DATA), **{f"{checkpoint.MEMORY}{name}": tensor for name, tensor in MEMORIES[fault].items()}}))
    with pytest.raises(ModelUnavailable, match="replay set of the model .* is not"):
        checkpoint.load(given_model)


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "evil/../x", "..", "C:evil"])
def test_a_name_on_a_card_leads_nowhere(given_model: Path, tmp_path: Path, name: str) -> None:
    put(given_model, name=name)
    with pytest.raises(MoodexError, match="cannot be called"):
        FolderModelRegistry(tmp_path / "models").add(given_model)
    assert not (tmp_path / "models").exists()


def test_pipes_and_devices_are_not_waited_for(given_model: Path, tmp_path: Path) -> None:
    put(given_model)
    card_path(given_model).unlink()
    os.mkfifo(card_path(given_model))
    refused(given_model, tmp_path, "not a regular file")
    put(given_model.with_name("zero.safetensors"))
    card_path(given_model.with_name("zero.safetensors")).unlink()
    card_path(given_model.with_name("zero.safetensors")).symlink_to("/dev/zero")
    refused(given_model.with_name("zero.safetensors"), tmp_path, "not a regular file")
    given_model.unlink()
    card_path(given_model).unlink()
    card_path(given_model).write_text(json.dumps(FACTS))
    os.mkfifo(given_model)
    with pytest.raises(ModelUnavailable, match="not a regular file"):
        checkpoint.load(given_model)


def test_weights_without_end_are_not_read(given_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(given_model)
    monkeypatch.setattr(safetensors_io, "MAX_BYTES", 1000)
    with pytest.raises(ModelUnavailable, match="exceeds the limit"):
        checkpoint.load(given_model)


def test_a_link_to_a_checkpoint_is_one(given_model: Path, tmp_path: Path) -> None:
    put(given_model)
    link = tmp_path / "link.safetensors"
    link.symlink_to(given_model)
    card_path(link).symlink_to(card_path(given_model))
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
