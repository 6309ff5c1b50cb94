"""CLIP and SigLIP of a hub: their layouts, equality with open_clip and transformers, emotions by prompts, and text vectors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load, save
from torch.nn import functional

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import ModelCard
from indexer.ports.models import HubOptions
from models.checkpoint_arrays import load_all
from models.hub.kinds import open_hub_classifier
from models.hub.prompts import read_prompts
from models.hub.text_encoder import open_text_encoder
from models.inference.loader import ComputeOptions
from models.model_registry import FolderModelRegistry
from tests.support import clip, hub

TEXTS = [
    "A girl  with an umbrella",
    "a sad, crying_face - the boy's!",
    "the cat, at night in rain: " + "a drawing of the happy boy " * 5,
]
ONNX, TORCH = ComputeOptions(device="cpu", engine="onnx"), ComputeOptions(device="cpu", engine="torch")
LAYOUTS = ("open_clip", "open_clip-siglip", "clip", "siglip", "siglip-pieces")


@cache
def files_of(layout: str) -> dict[str, bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about their own code
        if layout == "open_clip":
            return clip.open_clip_files()
        if layout == "open_clip-siglip":
            return clip.open_clip_files(clip.open_clip_siglip_config(), clip.word_tokenizer_files())
        return clip.transformers_files(layout)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache of the hub for the whole module, and no connection."""
    home = tmp_path_factory.mktemp("clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(home / "hf/hub"))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        (home / "prompts.toml").write_text(
            '[emotions]\nhappy = ["a happy face", "the cat"]\nsad = ["a sad face"]\nangry = ["angry boy"]\n'
        )
        yield home


def add(home: Path, files: dict[str, bytes], repository: str, reference: str | None = None) -> ModelCard:
    hub.write_cache(home / "hf", repository, files)
    chosen = HubOptions(quiet=True, prompts=home / "prompts.toml")
    registry, name = FolderModelRegistry(home / "models"), repository.partition("/")[2]
    return registry.add_from_hub(reference or f"hf:{repository}", chosen, lambda _: None, name, force=True)


@pytest.fixture(scope="module", params=LAYOUTS)
def added(request: pytest.FixtureRequest, shared: Path) -> tuple[str, Path, Path]:
    """Each layout, the checkpoint of the model, and the snapshot in the cache."""
    layout: str = request.param
    add(shared, files_of(layout), f"Some/{layout}")
    snapshot = shared / f"hf/hub/models--Some--{layout}/snapshots" / hub.COMMIT
    return layout, shared / f"models/{layout}.safetensors", snapshot


def published(layout: str, snapshot: Path, images: np.ndarray) -> dict[str, Any]:
    """Return what open_clip or transformers computes by itself: unit vectors, scale and bias."""
    pictures = [Image.fromarray(image) for image in images]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        if layout.startswith("open_clip"):
            import open_clip

            source = f"local-dir:{snapshot}"
            model, _, preprocess = open_clip.create_model_and_transforms(source)
            model.eval()
            tokens = open_clip.get_tokenizer(source)(TEXTS)
            image = model.encode_image(torch.stack([preprocess(picture) for picture in pictures]))
            text = model.encode_text(tokens)
            bias = model.logit_bias
        else:
            from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

            model = AutoModel.from_pretrained(snapshot).eval()
            tokenizer = AutoTokenizer.from_pretrained(snapshot)
            tokens = tokenizer(TEXTS, padding="max_length", max_length=clip.LENGTH, truncation=True, return_tensors="pt")
            prepared = AutoImageProcessor.from_pretrained(snapshot)(images=pictures, return_tensors="pt")
            result = model(input_ids=tokens.input_ids, pixel_values=prepared.pixel_values)
            image, text, bias = result.image_embeds, result.text_embeds, getattr(model, "logit_bias", None)
        return {
            "image": functional.normalize(image, dim=1).numpy(),
            "text": functional.normalize(text, dim=1).numpy(),
            "scale": float(model.logit_scale.exp()),
            "bias": None if bias is None else float(bias),
        }


def pixels(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_images_texts_and_emotions_are_those_of_the_library(added: tuple[str, Path, Path]) -> None:
    layout, path, snapshot = added
    card, state = load_all(path)
    images = pixels(card.input.size)
    expected = published(layout, snapshot, images)
    by_onnx, by_torch = (open_hub_classifier(path, options).classify(images) for options in (ONNX, TORCH))
    np.testing.assert_allclose(by_onnx.embeddings, expected["image"], atol=1e-5)
    np.testing.assert_allclose(by_torch.embeddings, expected["image"], atol=1e-5)
    encoder = open_text_encoder(path)
    assert encoder is not None
    np.testing.assert_allclose(encoder.encode(TEXTS), expected["text"], atol=1e-5)
    assert abs(expected["text"][0] - expected["text"][1]).max() > 0.01, "the texts differ"
    # By hand: the average of the prompts of each emotion, the scale, and the bias of SigLIP.
    averages = [encoder.encode(texts).mean(axis=0) for texts in (["a happy face", "the cat"], ["a sad face"], ["angry boy"])]
    vectors = np.stack([average / np.linalg.norm(average) for average in averages])
    logits = expected["scale"] * expected["image"] @ vectors.T
    odds = np.exp(logits) if expected["bias"] is None else 1 / (1 + np.exp(-logits - expected["bias"]))
    np.testing.assert_allclose(by_onnx.probabilities, odds / odds.sum(axis=1, keepdims=True), atol=1e-4)
    assert card.labels == ("happy", "sad", "angry")
    assert state["emotions.vectors"].dtype == np.float32
    assert not card.reads_faces


def test_weights_stay_in_the_cache(added: tuple[str, Path, Path]) -> None:
    layout, path, _ = added
    weights = max(len(content) for content in files_of(layout).values())
    assert path.stat().st_size < weights / 8


def test_changed_weights_are_refused(shared: Path) -> None:
    files = clip.transformers_files("siglip")
    add(shared, files, "Some/changed")
    (blob,) = (shared / "hf/hub/models--Some--changed").glob("snapshots/*/model.safetensors")
    content = bytearray(blob.read_bytes())
    content[-5000] ^= 1
    blob.resolve().write_bytes(content)
    path = shared / "models/changed.safetensors"
    for options in (ONNX, TORCH):
        with pytest.raises(ModelUnavailable, match="the digests differ"):
            open_hub_classifier(path, options)


def without(layout: str, *names: str, **changes: bytes) -> dict[str, bytes]:
    files = {name: content for name, content in files_of(layout).items() if name not in names}
    return files | {name.replace("__", "."): content for name, content in changes.items()}


def config_of(layout: str, name: str, **changes: Any) -> bytes:
    return json.dumps({**json.loads(files_of(layout)[name]), **changes}).encode()


def in_type(number_type: torch.dtype) -> bytes:
    """Return the weights of the small SigLIP in another number type."""
    tensors = load(files_of("siglip")["model.safetensors"])
    return save({name: values.to(number_type) for name, values in tensors.items()})


def test_weights_in_half_precision_are_widened(shared: Path) -> None:
    card = add(shared, without("siglip", model__safetensors=in_type(torch.float16)), "Some/half")
    images, path = pixels(card.input.size), shared / "models/half.safetensors"
    by_onnx, by_torch = (open_hub_classifier(path, options).classify(images) for options in (ONNX, TORCH))
    np.testing.assert_allclose(by_onnx.embeddings, by_torch.embeddings, atol=1e-5)


def test_a_card_without_its_facts_is_one_sentence(shared: Path) -> None:
    add(shared, files_of("siglip"), "Some/card")
    path = shared / "models/card.json"
    fields = json.loads(path.read_text())
    del fields["hub"]["options"]["clean"]
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelUnavailable, match="does not say how to prepare texts"):
        open_text_encoder(path.with_suffix(".safetensors"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: without("open_clip", "tokenizer.json"), "lacks tokenizer.json"),
        (lambda: without("clip", "tokenizer.json"), "of the layout of transformers, it lacks tokenizer.json"),
        (lambda: without("clip", "model.safetensors", pytorch_model__bin=b"\x80"), "only as a pickle"),
        (lambda: without("open_clip", "open_clip_model.safetensors", open_clip_pytorch_model__bin=b"\x80"), "only as a pickle"),
        (lambda: without("clip", tokenizer__json=b"{}"), "is not a tokenizer"),
        (
            lambda: without("clip", config__json=config_of("clip", "config.json", auto_map={"AutoModel": "a.B"})),
            "code from its repo",
        ),
        (lambda: without("clip", config__json=config_of("clip", "config.json", model_type="blip")), "of the type 'blip'"),
        (lambda: without("open_clip", open_clip_config__json=b'{"model_cfg": {}}'), "describes no network"),
        (
            lambda: without("open_clip", open_clip_model__safetensors=files_of("clip")["model.safetensors"]),
            "not those of its config",
        ),
        (lambda: without("siglip", model__safetensors=b"no tensors"), "not a safetensors file"),
        (lambda: without("siglip", model__safetensors=in_type(torch.bfloat16)), "bfloat16"),
    ],
)
def test_other_repositories_are_refused_in_one_sentence(
    shared: Path, make: Callable[[], dict[str, bytes]], sentence: str
) -> None:
    repository = "Some/refused"
    for path in (shared / "hf/hub/models--Some--refused").rglob("*"):
        if path.is_symlink() or path.is_file():
            path.unlink()
    with pytest.raises(ModelUnavailable, match=sentence) as raised:
        add(shared, make(), repository)
    assert "\n" not in str(raised.value)
    assert not (shared / "models/refused.safetensors").exists(), "nothing is installed"


def test_names_of_open_clip_lead_to_repositories(shared: Path) -> None:
    from models.hub.add import hub_reference

    assert hub_reference("open_clip:ViT-B-32/laion2b_s34b_b79k") == ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "main")
    assert hub_reference("open_clip:ViT-B-32/openai@v1") == ("timm/vit_base_patch32_clip_224.openai", "v1")
    assert hub_reference("open_clip:Some/clip") == ("Some/clip", "main")
    with pytest.raises(ModelUnavailable, match="no weights 'laion2b' of ViT-B-32; it has laion2b"):
        hub_reference("open_clip:ViT-B-32/laion2b")
    with pytest.raises(ModelUnavailable, match="no architecture 'ViT-B-23'; similar ones are .*ViT-B-32"):
        hub_reference("open_clip:ViT-B-23")
    with pytest.raises(ModelUnavailable, match="no repository in the layout of open_clip"):
        hub_reference("open_clip:ViTamin-S/datacomp1b")
    with pytest.raises(ModelUnavailable, match="it lacks open_clip_config.json"):
        add(shared, files_of("siglip"), "Some/other", reference="open_clip:Some/other")


def test_the_shipped_prompts_cover_all_emotions() -> None:
    prompts = read_prompts()
    assert len(prompts) == 11
    assert "a drawing of a happy character." in prompts["happy"]
    assert min(map(len, prompts.values())) >= 8


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[emotions]\nhappy = ['a']", "name 1 emotions; at least two"),
        ("[emotions]\nhappy = 'a'\nsad = ['b']", "happy must be a list of texts"),
        ("[emotions]\nglorious = ['a']\nsad = ['b']", "Unknown emotion 'glorious'"),
        ("templates = ['a drawing']\n[emotions]\nhappy = ['a']\nsad = ['b']", "each of the templates must have {} once"),
        ("[happy]\nsmile = 1", "has no prompts"),
        ("[emotions", "cannot be read as TOML"),
    ],
)
def test_wrong_prompts_are_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        read_prompts(path)
