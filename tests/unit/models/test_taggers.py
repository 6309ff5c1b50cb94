"""Taggers of a hub: their layouts, their pixels, the tags and embeddings of each form, and the emotions that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from indexer.domain.errors import ModelUnavailable, UsageError
from indexer.domain.models import ModelCard
from indexer.imaging.decode import prepare
from indexer.ports.models import HubOptions
from models.hub.emotion_table import evidence_logits, rules_for
from models.hub.kinds import open_hub_classifier
from models.inference.engines.onnx_runtime import import_onnxruntime
from models.inference.loader import ComputeOptions
from models.model_registry import FolderModelRegistry
from tests.support import hub

NAME = "Some/tagger"
TAGS = [name for name, _ in hub.TAGS]
CPU = ComputeOptions(device="cpu", batch_size=2)

Add = Callable[..., ModelCard]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def add(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Add:
    """A function that writes files into a cache and installs them as the model "tagger"."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def install(files: dict[str, bytes], engine: str = "auto", **options: object) -> ModelCard:
        hub.write_cache(tmp_path / "hf", NAME, files)
        chosen = HubOptions(engine=engine, quiet=True, **options)  # type: ignore[arg-type]
        return FolderModelRegistry(folder).add_from_hub(f"hf:{NAME}", chosen, lambda _: None, force=True)

    return install


@pytest.fixture(scope="module")
def timm_files() -> dict[str, bytes]:
    return hub.timm_files()


def pixels(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, hub.SIZE, hub.SIZE, 3), dtype=np.uint8)


def test_timm_weights_give_what_timm_gives(add: Add, folder: Path, timm_files: dict[str, bytes]) -> None:
    import timm
    from timm.data import create_transform, resolve_data_config

    card = add(timm_files, "torch", tag_threshold=0.01)
    body = hub.timm_body()
    transform = create_transform(**resolve_data_config(hub.timm_config()["pretrained_cfg"], model=body))  # type: ignore[arg-type]
    images = pixels()
    inputs = torch.stack([transform(Image.fromarray(image)) for image in images])[:, [2, 1, 0]]  # WD taggers read BGR
    with torch.inference_mode():
        features = body.forward_head(body.forward_features(inputs), pre_logits=True)  # type: ignore[attr-defined]
        expected = torch.sigmoid(body(inputs)).numpy()  # type: ignore[operator]
    scores = open_hub_classifier(folder / "tagger.safetensors", CPU).classify(images)
    found = np.array([[row.get(tag, 0.0) for tag in TAGS] for row in scores.tags])
    np.testing.assert_allclose(found, np.where(expected >= 0.01, expected, 0), atol=1e-5)
    unit = torch.nn.functional.normalize(features, dim=1).numpy()
    np.testing.assert_allclose(scores.embeddings, unit, atol=1e-5)
    assert (card.embedding_size, card.architecture) == (192, f"hf:{NAME}@{hub.COMMIT}")
    assert timm.__version__


def test_onnx_gives_what_the_file_gives_and_the_input_of_its_last_layer(add: Add, folder: Path) -> None:
    files = hub.wd_files()
    add(files, tag_threshold=0.01)
    images = pixels()
    session = import_onnxruntime().InferenceSession(files["model.onnx"], providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": images[..., ::-1].astype(np.float32)})
    scores = open_hub_classifier(folder / "tagger.safetensors", CPU).classify(images)
    found = np.array([[row.get(tag, 0.0) for tag in TAGS] for row in scores.tags])
    np.testing.assert_allclose(found, np.where(expected >= 0.01, expected, 0), atol=1e-5)
    cells = images.astype(np.float32).reshape(3, 4, hub.SIZE // 4, 4, hub.SIZE // 4, 3).mean(axis=(2, 4)) / 255 - 0.5
    features = cells[..., ::-1].transpose(0, 3, 1, 2).reshape(3, -1)
    np.testing.assert_allclose(scores.embeddings, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-5)


@pytest.mark.slow
def test_both_forms_of_one_network_agree(add: Add, folder: Path, timm_files: dict[str, bytes]) -> None:
    both = {**timm_files, "model.onnx": hub.onnx_form()}
    images = pixels()
    results = []
    for engine in ("torch", "onnx"):
        assert add(both, engine).embedder_key == add(both, engine).embedder_key
        results.append(open_hub_classifier(folder / "tagger.safetensors", CPU).classify(images))
    np.testing.assert_allclose(results[0].embeddings, results[1].embeddings, atol=1e-4)
    np.testing.assert_allclose(results[0].probabilities, results[1].probabilities, atol=1e-3)


def test_images_are_padded_to_a_white_square(add: Add) -> None:
    card = add(hub.wd_files())
    wide = prepare(Image.new("RGB", (128, 32), (10, 20, 30)), card.input)
    assert wide.shape == (hub.SIZE, hub.SIZE, 3)
    assert (wide[: 3 * hub.SIZE // 8] == 255).all()
    assert (wide[hub.SIZE // 2] == (10, 20, 30)).all()


def test_the_order_of_colors_can_be_chosen(add: Add, folder: Path) -> None:
    red = np.full((1, hub.SIZE, hub.SIZE, 3), (200, 40, 40), dtype=np.uint8)
    best = {}
    for channels in (None, "rgb"):
        add(hub.wd_files(), channels=channels)
        best[channels] = next(iter(open_hub_classifier(folder / "tagger.safetensors", CPU).classify(red).tags[0]))
    assert best == {None: "smile", "rgb": "crying"}


def test_a_multi_label_classifier_of_timm_names_its_labels_itself(add: Add, timm_files: dict[str, bytes]) -> None:
    config = json.dumps(hub.timm_config(label_names=[name.replace("_", " ") for name in TAGS])).encode()
    files = {"config.json": config, "model.safetensors": timm_files["model.safetensors"]}
    card = add(files)
    assert card.hub is not None
    assert (card.hub.options["channels"], card.labels) == ("rgb", ("happy", "angry", "surprise", "crying"))


def test_a_converted_project_of_deepdanbooru_reads_rgb(add: Add) -> None:
    card = add({"tags.txt": "\n".join(TAGS).encode(), "deepdanbooru.onnx": hub.linear_onnx()})
    assert card.hub is not None
    assert (card.hub.options["channels"], card.hub.options["std"]) == ("rgb", [255.0] * 3)


def changed(**changes: bytes | None) -> dict[str, bytes]:
    return hub.wd_files(**changes)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (changed(selected_tags=b"tag_id,name\n1,smile\n"), "is not a table of tags"),
        (
            changed(selected_tags=b"tag_id,name,category,count\n1,smile,0,5\n2,crying,0,5\n"),
            "computes 10 tags, but its list names 2",
        ),
        (changed(selected_tags=None, config=None), "is not a tagger"),
        (changed(selected_tags=None), "The model names no tags"),
        (changed(model=None), "is not complete"),
        (changed(model=b"no onnx"), "is not an ONNX model"),
        ({**changed(model=None), "pytorch_model.bin": b"\x80"}, "only as a pickle"),
        ({**changed(model=None), "model-resnet_custom_v3.h5": b"HDF"}, "only for Keras"),
        (changed(config=json.dumps(hub.timm_config(auto_map={"AutoModel": "code.Model"})).encode()), "code from its repository"),
        (changed(model=hub.linear_onnx(layer="Mod")), "does not run|No last layer"),
    ],
)
def test_other_repositories_are_refused_in_one_sentence(add: Add, folder: Path, files: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(ModelUnavailable, match=sentence) as raised:
        add(files)
    assert "\n" not in str(raised.value)
    assert not list(folder.glob("*")), "nothing is installed"


def test_weights_of_another_network_are_refused(add: Add, timm_files: dict[str, bytes]) -> None:
    config = hub.timm_config()
    config["model_args"] = {**config["model_args"], "depth": 3}  # type: ignore[dict-item]
    with pytest.raises(ModelUnavailable, match="are not those of vit_tiny_patch16_224"):
        add({**timm_files, "config.json": json.dumps(config).encode()})
    with pytest.raises(ModelUnavailable, match="which timm .* does not have"):
        add({**timm_files, "config.json": json.dumps(hub.timm_config(architecture="os.system")).encode()})


def test_a_changed_file_in_the_cache_is_refused_when_the_model_is_opened(add: Add, folder: Path, tmp_path: Path) -> None:
    add(hub.wd_files())
    (weights,) = (tmp_path / "hf/hub").glob("*/snapshots/*/model.onnx")
    weights.resolve().write_bytes(hub.linear_onnx() + b"\0")
    with pytest.raises(ModelUnavailable, match="the digests differ"):
        open_hub_classifier(folder / "tagger.safetensors", CPU)


def test_an_engine_that_cannot_compute_the_weights_says_which_to_add(add: Add, folder: Path) -> None:
    add(hub.wd_files())
    with pytest.raises(UsageError, match="--engine torch --force"):
        open_hub_classifier(folder / "tagger.safetensors", ComputeOptions(engine="torch"))


def test_several_tags_of_an_emotion_add_up_and_contrary_ones_count_against_it() -> None:
    weights = np.array([[0.5, 0.5, -1.0]], dtype=np.float32)
    tags = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]], dtype=np.float32)
    evidence = np.exp(evidence_logits(tags, weights, np.array([0.2], dtype=np.float32)))[:, 0]
    np.testing.assert_allclose(evidence, [0.6, 0.8, 0.0, 0.2], atol=2e-4)


def test_the_shipped_table_covers_all_emotions_with_tags_of_danbooru() -> None:
    tags = [
        "smile",
        "relieved",
        "sad",
        "tears",
        "angry",
        "surprised",
        "scared",
        "disgust",
        "embarrassed",
        "expressionless",
        "no_humans",
    ]
    rules = rules_for(tags)
    assert len(rules.labels) == 11
    best = rules.logits(np.eye(len(tags), dtype=np.float32)).argmax(axis=1)
    assert [rules.labels[number] for number in best] == [
        "happy", "pleased", "sad", "crying", "angry", "surprise", "fear", "disgust", "embarrassed", "neutral", "none"
    ]  # fmt: skip


def test_a_table_of_the_user_replaces_the_shipped_one(add: Add, tmp_path: Path) -> None:
    table = tmp_path / "mine.toml"
    table.write_text('[happy]\n"1girl" = 0.5\n[sad]\ncomic = 1\n')
    card = add(hub.wd_files(), tag_emotions=table)
    assert card.labels == ("happy", "sad")
    assert card.about["emotions_by_tag"] == {"happy": {"1girl": 0.5}, "sad": {"comic": 1.0}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[happy]\nsmile = 2", "must be a number from -1 to 1"),
        ("[happy]\nsmile = 'much'", "must be a number"),
        ("[glorious]\nsmile = 1", "Unknown emotion 'glorious'"),
        ("happy = 1", "is not a section"),
        ("[happy", "cannot be read as TOML"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    table = tmp_path / "mine.toml"
    table.write_text(content)
    with pytest.raises(UsageError, match=sentence):
        rules_for(TAGS, table)


@pytest.mark.parametrize("name", ["/etc/passwd", "../model.onnx", "a/../../b", "C:\\model.onnx"])
def test_a_card_cannot_name_files_outside_of_its_repository(add: Add, folder: Path, name: str) -> None:
    add(hub.wd_files())
    path = folder / "tagger.json"
    fields = json.loads(path.read_text())
    fields["hub"]["files"] = {name: "0" * 64}
    path.write_text(json.dumps(fields))
    with pytest.raises(ModelUnavailable, match="the files of its hub are not names with digests"):
        open_hub_classifier(folder / "tagger.safetensors", CPU)


def test_a_network_whose_last_layer_is_elsewhere_is_refused() -> None:
    from models.hub.normalization import Normalization
    from models.hub.timm_tagger import TimmTagger

    class Odd(torch.nn.Module):
        """Its tags follow from more than the layer that it calls its classifier."""

        def __init__(self, more: float) -> None:
            super().__init__()
            self.layer, self.more = torch.nn.Linear(3, 5), more

        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(2, 3))

        def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            return x if pre_logits else self.layer(x) + self.more

        def get_classifier(self) -> torch.nn.Module:
            return self.layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.forward_head(self.forward_features(x))

    as_published = Normalization("rgb", (0.0,) * 3, (255.0,) * 3)
    TimmTagger(Odd(more=0.0), as_published).check(pixels(1))
    with pytest.raises(ModelUnavailable, match="last layer of this network of timm is not found"):
        TimmTagger(Odd(more=1.0), as_published).check(pixels(1))
